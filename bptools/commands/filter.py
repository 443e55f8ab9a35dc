"""bp-filter: keep what is good, say why the rest went.

bp-chatml raw/ | bp-filter --min-tokens 10 --max-tokens 4096 --alternating --rules gopher > clean.jsonl
"""

from __future__ import annotations

from typing import Annotated, Literal, NoReturn, Optional

from bptools.commands.shared import Number, RoleMap, Text, Texts
from bptools.core import cli
from bptools.core.errors import UsageError
from bptools.core.options import data_command, option, pairs
from bptools.core.pipeline import Pipeline

app = cli.command_app()


@app.command(cls=cli.PlainCommand)
@data_command("bp-filter", drops=True)
def filter_records(
    pipe: Pipeline,
    min_tokens: Annotated[Number, option("--min-tokens", min=1, metavar="N", help="Drop shorter texts.")] = None,
    max_tokens: Annotated[Number, option("--max-tokens", min=1, metavar="N", help="Drop longer texts.")] = None,
    tokenizer: Annotated[Text, option("--tokenizer", metavar="MODEL", help="Count tokens exactly: a tokenizer.json, its folder, or a model.")] = None,
    min_chars: Annotated[Number, option("--min-chars", min=1, metavar="N", help="Drop texts of fewer characters.")] = None,
    max_chars: Annotated[Number, option("--max-chars", min=1, metavar="N", help="Drop texts of more characters.")] = None,
    min_turns: Annotated[Number, option("--min-turns", min=1, metavar="N", help="Drop conversations of fewer turns, the system's included.")] = None,
    max_turns: Annotated[Number, option("--max-turns", min=1, metavar="N", help="Drop conversations of more turns.")] = None,
    require_assistant: Annotated[bool, option("--require-assistant", help="Drop what has no turn by the assistant.")] = False,
    require_role: Annotated[Texts, option("--require-role", metavar="ROLE", help="Drop what has no turn by ROLE; may be repeated.")] = None,
    alternating: Annotated[bool, option("--alternating", help="Drop conversations in which user and assistant do not take turns, user first.")] = False,
    ends_with: Annotated[Optional[Literal["user", "assistant", "system", "tool"]], option("--ends-with", help="Drop conversations that another role ends.")] = None,
    no_empty_turns: Annotated[bool, option("--no-empty-turns", help="Drop conversations with a blank turn.")] = False,
    on: Annotated[str, option("--on", metavar="WHAT", help="The text that is judged: all, user, assistant, system, tool, or a field.")] = "all",
    role_map: RoleMap = None,
    keep_match: Annotated[Texts, option("--keep-match", metavar="REGEX", help="Drop texts in which no such expression is found; may be repeated.")] = None,
    drop_match: Annotated[Texts, option("--drop-match", metavar="REGEX", help="Drop texts in which one is found; may be repeated.")] = None,
    range: Annotated[Texts, option("--range", metavar="FIELD=LO:HI", help="Drop what has no number from LO to HI in a field; may be repeated.")] = None,
    where: Annotated[Texts, option("--where", metavar="FIELD=VALUE", help="Drop what has another value, or with != this one; may be repeated.")] = None,
    drop_marked: Annotated[bool, option("--drop-marked", help="Drop what an earlier --tag marked.")] = False,
    language: Annotated[Text, option("--language", metavar="CODE,...", help="Drop texts in other languages than these.")] = None,
    min_language_score: Annotated[float, option("--min-language-score", min=0, max=1, metavar="P", help="How sure --language must be.")] = 0.65,
    rules: Annotated[Texts, option("--rules", metavar="NAME[=LIMIT],...", help="Drop what breaks published quality rules: gopher, c4, fineweb, or single ones.")] = None,
    redact: Annotated[Text, option("--redact", metavar="KIND,...", help="Replace what is found of email, phone, key and ip by a placeholder.")] = None,
    phone_region: Annotated[str, option("--phone-region", metavar="COUNTRY", help="Whose phone numbers need no country code.")] = "US",
    stats: Annotated[bool, option("--stats", help="Show how what is bounded is distributed, in place of the records.")] = False,
    sample: Annotated[Text, option("--sample", metavar="N|P%", help="Keep N records, or P percent, chosen by content and seed.")] = None,
    shuffle: Annotated[bool, option("--shuffle", help="Put the records in an order of chance.")] = False,
    order: Annotated[Text, option("--order", metavar="BY", help="Order by difficulty, tokens, or a number in a field, ascending.")] = None,
    reverse: Annotated[bool, option("--reverse", help="Order descending.")] = False,
    seed: Annotated[int, option("--seed", min=0, metavar="N", help="What --sample, --shuffle and --split draw by.")] = 0,
    split: Annotated[Text, option("--split", metavar="NAME=SHARE,...", help="Write DIR/NAME.jsonl by content: train=.9,val=.1.")] = None,
    group_by: Annotated[Text, option("--group-by", metavar="FIELD", help="Keep records with one value of a field on one side of --split.")] = None,
    split_by: Annotated[Text, option("--split-by", metavar="FIELD", help="Write DIR/VALUE.jsonl for each value of a field.")] = None,
    chunks: Annotated[Number, option("--chunks", min=1, metavar="N", help="Cut what is ordered into N files DIR/1.jsonl, ...")] = None,
    out_dir: Annotated[Text, option("--out-dir", metavar="DIR", help="The folder for --split, --split-by and --chunks.")] = None,
    mix: Annotated[str, option("--mix", metavar="HOW", help="Take from the sources in turn (round-robin), by weight (3,1) or one after the other (concat).")] = "concat",
    mix_until: Annotated[Literal["all", "first"], option("--mix-until", help="End --mix when all sources are at their end, or the first.")] = "all",
) -> None:  # fmt: skip
    """Drop records by length, turns, fields and quality rules; redact, sample, order, mix and split them."""
    from bptools.chat import Options, as_conversation
    from bptools.chat.view import Views
    from bptools.quality import filtering

    settings = pipe.settings
    pipe.intake.coerce = as_conversation
    reading = Options(
        role_map=pairs("--role-map", role_map), text_field=settings.text_field, field_map=settings.field_map
    )
    views = Views(reading, on)
    sieve = filtering.sieve(
        views,
        structure={
            "min_turns": min_turns,
            "max_turns": max_turns,
            "require_roles": [*(["assistant"] if require_assistant else []), *(require_role or [])],
            "alternating": alternating,
            "ends_with": ends_with,
            "no_empty_turns": no_empty_turns,
        },
        length={
            "min_chars": min_chars,
            "max_chars": max_chars,
            "min_tokens": min_tokens,
            "max_tokens": max_tokens,
        },
        tokenizer=tokenizer,
        keep_match=keep_match or [],
        drop_match=drop_match or [],
        ranges=range or [],
        wheres=where or [],
        drop_marked=drop_marked,
        languages=language,
        language_score=min_language_score,
        rules=rules or [],
        thorough=settings.tag or settings.explain or settings.dropped is not None,
    )
    filtering.mix(pipe.intake, mix, mix_until)
    filtering.check(
        {"--shuffle": shuffle, "--order": order},
        reverse,
        {"--split": split, "--split-by": split_by, "--chunks": chunks},
        out_dir,
        settings.output,
        group_by,
    )
    filtering.warn_of_unused(
        pipe,
        {
            "--redact": redact,
            "--language": language,
            "--sample": sample,
            "--shuffle": shuffle,
            "--split": split,
        },
    )
    shaped = shuffle or any(value is not None for value in (redact, sample, order, out_dir))
    if stats:
        of_records = {
            "--shuffle": shuffle, "--redact": redact, "--sample": sample, "--order": order,
            "--out-dir": out_dir, "--tag": settings.tag, "--dropped": settings.dropped,
        }  # fmt: skip
        for name, value in of_records.items():
            if value not in (None, False):
                raise UsageError(f"--stats writes no records, {name} is about what is written; leave one out")
        filtering.show_stats(pipe, sieve)
        return
    shaping = None
    if shaped:
        from bptools.quality.shaping import Shaping

        shaping = Shaping(pipe, views, seed)
        if redact is not None:
            shaping.redact(filtering.redactor(redact, phone_region))
        if sample is not None:
            shaping.sample(sample)
        if shuffle:
            shaping.shuffle()
        if order is not None:
            shaping.order(order, reverse)
        if out_dir is not None:
            shaping.into(out_dir, split, group_by, split_by, chunks)
    filtering.run(pipe, sieve, shaping)


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bp-filter")
