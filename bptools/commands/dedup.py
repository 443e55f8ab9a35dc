"""bp-dedup: keep the first of what says the same, or nearly the same.

cat raw.jsonl | bp-chatml | bp-dedup --minhash > clean.jsonl
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn

from bptools.commands.shared import RoleMap, Text, Texts
from bptools.core import cli
from bptools.core.options import data_command, option, pairs
from bptools.core.pipeline import Pipeline

app = cli.command_app()


@app.command(cls=cli.PlainCommand)
@data_command("bp-dedup", drops=True)
def dedup(
    pipe: Pipeline,
    exact: Annotated[Literal["content", "normalized", "raw"], option("--exact", help="What makes two records the same: their content, their text but for case and white space, or their bytes.")] = "content",
    on: Annotated[str, option("--on", metavar="WHAT", help="The content that is compared: all, user, assistant, system, or a field.")] = "all",
    minhash: Annotated[bool, option("--minhash", help="Drop near-duplicates too.")] = False,
    threshold: Annotated[float, option("--threshold", min=0.05, max=1, metavar="T", help="The Jaccard similarity from which texts are near-duplicates.")] = 0.7,
    ngram: Annotated[int, option("--ngram", min=1, max=100, metavar="N", help="Compare runs of N words.")] = 5,
    prefer: Annotated[str, option("--prefer", metavar="WHICH", help="Which one of several stays: first, last, longest, or best:FIELD.")] = "first",
    against: Annotated[Texts, option("--against", metavar="SOURCE", help="Drop what is in SOURCE too; may be repeated.")] = None,
    index: Annotated[Text, option("--index", metavar="DIR", help="Drop what earlier runs kept, and remember what this one keeps.")] = None,
    wait: Annotated[Text, option("--wait", metavar="DURATION", help="How long to wait for another run to release --index: 30, 10m, 2h.")] = None,
    max_memory: Annotated[Text, option("--max-memory", metavar="SIZE", help="Go over to the disk beyond SIZE of memory: 500M, 4G.")] = None,
    jobs: Annotated[int, option("--jobs", "-j", min=1, metavar="N", help="Cores to use for --minhash.")] = 1,
    signatures: Annotated[Text, option("--signatures", metavar="FILE", help="Write the signatures of what stays to FILE, for datasketch.")] = None,
    seed: Annotated[int, option("--seed", min=0, max=(1 << 32) - 1, metavar="N", help="What the permutations are drawn by.")] = 1,
    role_map: RoleMap = None,
) -> None:  # fmt: skip
    """Drop exact duplicates, and near ones with --minhash; keep the first."""
    import os

    # No linear algebra is done here, and starting its threads takes half of numpy's start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from bptools.chat import Options, as_conversation
    from bptools.chat.view import Views
    from bptools.quality.dedup import deduplicating

    settings = pipe.settings
    pipe.intake.coerce = as_conversation
    reading = Options(
        role_map=pairs("--role-map", role_map, "NAME=ROLE"),
        text_field=settings.text_field,
        field_map=settings.field_map,
    )
    deduplicating.run(
        pipe,
        Views(reading),
        deduplicating.Wanted(
            exact=exact,
            on=on,
            minhash=minhash,
            threshold=threshold,
            ngram=ngram,
            prefer=prefer,
            against=against or [],
            index=index,
            wait=wait,
            max_memory=max_memory,
            jobs=jobs,
            signatures=signatures,
            seed=seed,
        ),
    )


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bp-dedup")
