"""Benchmark data, made here: words drawn by a seeded generator into the shapes of real sets."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson


def _words(chance: random.Random, count: int) -> str:
    return " ".join(chance.choices(_VOCABULARY, k=count)) + "."


def vocabulary(count: int) -> list[str]:
    """Return so many made words, and a few that are not plain."""
    chance = random.Random(7)
    letters = "etaoinshrdlucmfwypvbgk"
    weights = range(len(letters), 0, -1)
    made = [
        "".join(chance.choices(letters, weights, k=chance.choice([2, 3, 4, 5, 5, 6, 7, 9])))
        for _ in range(count)
    ]
    return [*made, "café", "naïve", "don’t", "“so”", "日本", 'say "it"', "a\nb"]


_VOCABULARY = vocabulary(4000)


def sharegpt(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield dialogues of 8 to 24 turns, about 1.7 kB each, as ShareGPT sets have them."""
    number = 0
    while True:
        turns = [
            {"from": ("human", "gpt")[turn % 2], "value": _words(chance, chance.randint(5, 24))}
            for turn in range(chance.randrange(8, 26, 2))
        ]
        yield {"id": f"train/{number}", "conversations": turns}
        number += 1


def messages(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the same dialogues as OpenAI messages."""
    roles = {"human": "user", "gpt": "assistant"}
    for record in sharegpt(chance):
        turns = [{"role": roles[turn["from"]], "content": turn["value"]} for turn in record["conversations"]]
        yield {"messages": turns, "id": record["id"]}


def alpaca(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield instruction records of about 500 bytes."""
    while True:
        yield {
            "instruction": _words(chance, chance.randint(6, 20)),
            "input": "" if chance.random() < 0.6 else _words(chance, 15),
            "output": _words(chance, chance.randint(10, 120)),
            "source": "made",
        }


def short(chance: random.Random) -> Iterator[dict[str, Any]]:
    """Yield records of about 180 bytes."""
    while True:
        yield {
            "messages": [
                {"role": "user", "content": _words(chance, 7)},
                {"role": "assistant", "content": _words(chance, 8)},
            ]
        }


SHAPES = {"sharegpt": sharegpt, "messages": messages, "alpaca": alpaca, "short": short}


def write_jsonl(shape: str, path: Path, size: int) -> Path:
    """Write about `size` bytes of one shape, once."""
    if not path.exists():
        written = 0
        part = path.with_suffix(".part")
        with open(part, "wb") as file:
            for record in SHAPES[shape](random.Random(1)):
                written += file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
                if written >= size:
                    break
        part.replace(path)  # whole or not at all: it is measured on again
    return path


def write_array(source: Path, path: Path, indent: int | None) -> Path:
    """Write a JSONL file's records as one JSON array, pretty-printed or compact."""
    if not path.exists():
        separator = ",\n" if indent else ", "
        with open(source, "rb") as lines, open(path, "w", encoding="utf-8") as file:
            for number, line in enumerate(lines):
                text = json.dumps(orjson.loads(line), ensure_ascii=False, indent=indent)
                if indent:
                    text = "\n".join(" " * indent + part for part in text.split("\n"))
                file.write(("[" + ("\n" if indent else "") if number == 0 else separator) + text)
            file.write("\n]\n")
    return path
