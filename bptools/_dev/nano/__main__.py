"""All the text for the model: python -m bptools._dev.nano [--cache FOLDER] [--seed S] FOLDER.

Writes into FOLDER documents.jsonl, pretrain.jsonl (documents, prose and dialogues in ChatML, shuffled),
further.jsonl (the most prose-like of these and the texts written by hand), sft.jsonl (chat records) and
heldout.jsonl (documents of sources and dialogues of a seed that are in none of these).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path

from bptools._dev.nano import dialogues, documents, further


def _write(path: Path, records: Iterable[object]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="bptools._dev.nano", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--cache", type=Path, default=Path("build/nano/packages"), help="where the packages lie"
    )
    parser.add_argument(
        "--dialogues", type=int, default=60_000, help="dialogues to learn from in pretraining"
    )
    parser.add_argument("--prose", type=int, default=20_000, help="records of prose in pretraining")
    parser.add_argument(
        "--further", type=int, default=10_000, help="dialogues, and records of prose, in the second round"
    )
    parser.add_argument("--sft", type=int, default=30_000, help="dialogues for fine-tuning")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    texts = folder / "documents.jsonl"
    if not texts.exists():
        documents.write(texts, options.cache)
    with texts.open(encoding="utf-8") as stream:
        entries = [json.loads(line) for line in stream]
    known = dialogues.questions(texts)
    seed = options.seed
    talk = list(dialogues.dialogues(options.dialogues, seed, known))
    mixed: list[dialogues.Record] = [entry for entry in entries if not entry.get("held_out")]
    mixed += [{"text": dialogues.chatml(record), "source": "dialogues"} for record in talk]
    mixed += [record | {"source": "prose"} for record in dialogues.prose(options.prose, seed)]
    random.Random(seed).shuffle(mixed)
    _write(folder / "pretrain.jsonl", mixed)
    _write(folder / "further.jsonl", further.records(mixed, options.further, seed))
    _write(folder / "sft.jsonl", dialogues.dialogues(options.sft, seed + 1, known))
    learnt = {json.dumps(record) for record in talk}
    other = [record for record in dialogues.dialogues(3000, seed + 2) if json.dumps(record) not in learnt]
    held: list[dialogues.Record] = [
        {"text": entry["text"], "source": entry["source"]} for entry in entries if entry.get("held_out")
    ]
    _write(folder / "heldout.jsonl", held + other[:1000])
    return 0


if __name__ == "__main__":
    sys.exit(main())
