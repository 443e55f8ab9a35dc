"""The text of the second round: what reads most like prose of the first, and what was written for it.

Every text begins with <|endoftext|>, as it does when it is scored; pretrain.jsonl has none, and a model of it
alone spreads the first token of a text as badly as chance.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from bptools._dev.nano import dialogues, written

BEGIN = "<|endoftext|>"
_WORD = re.compile(r"(?<![^\s(\"'])[a-z]+(?:'[a-z]+)?(?=[\s.,;:!?)\"']|$)")
_LEAST = 0.83  # three fifths of the documentation
_REPEATS = 10  # half of them marked with ChatML, half plain


def plain_share(text: str) -> float:
    """Return the share of words in lower-case letters alone: high in prose, low in lists of names."""
    return len(_WORD.findall(text)) / max(1, len(text.split()))


def records(first: Iterable[dialogues.Record], talk: int, seed: int) -> Iterator[dialogues.Record]:
    """Yield the records of the second round out of those of the first, in random order.

    first: {"text", "source"}, as in pretrain.jsonl; talk: how many dialogues and how many paragraphs of prose
    to take of those that the grammars make.
    """
    made: dict[str, list[dialogues.Record]] = {"dialogues": [], "prose": []}
    chosen: list[dialogues.Record] = []
    for record in first:
        if record["source"] in made:
            made[str(record["source"])].append(record)
        elif plain_share(str(record["text"])) >= _LEAST:
            chosen.append(record)
    for entries in made.values():
        chosen += islice(entries, talk)
    for entry in written.records():
        forms = written.texts(entry)
        chosen += [{"text": forms[turn % 2], "source": "written"} for turn in range(_REPEATS)]
    random.Random(f"further {seed}").shuffle(chosen)
    for record in chosen:
        yield record | {"text": BEGIN + str(record["text"])}
