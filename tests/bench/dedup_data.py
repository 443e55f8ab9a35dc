"""Sets for the benchmark of bp-dedup, made here from texts: copies, near copies, and new records.

A text is a pair (what the user wrote, what the assistant wrote). Everything is drawn by seeded generators.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tests.bench.bench import BIN, FOLDER
from tests.bench.data import vocabulary

Text = tuple[str, str]

_WORD = re.compile(r"\w+")


def made_texts(count: int) -> list[Text]:
    """Return texts of words by Zipf's law, with the lengths of instruction sets: median 90 words, mean 115."""
    chance = random.Random(3)
    words = vocabulary(30_000)
    weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))
    texts = []
    for _ in range(count):
        length = max(4, int(chance.lognormvariate(math.log(90), 0.7)))
        drawn = chance.choices(words, cum_weights=weights, k=length)
        asked = max(2, length // 5)
        texts.append((" ".join(drawn[:asked]) + "?", " ".join(drawn[asked:]) + "."))
    return texts


def read_texts(path: Path) -> list[Text]:
    """Return the user's and the assistant's contents of chat or Alpaca records; the rest is passed over."""
    texts = []
    with open(path, "rb") as lines:
        for line in lines:
            record = orjson.loads(line)
            if "messages" in record:
                said = {
                    role: [turn.get("content") or "" for turn in record["messages"] if turn["role"] == role]
                    for role in ("user", "assistant")
                }
                texts.append(("\n".join(said["user"]), "\n".join(said["assistant"])))
            elif "instruction" in record:
                asked = "\n\n".join(filter(None, (record["instruction"], record.get("input"))))
                texts.append((asked, record.get("output") or record.get("response") or ""))
    return [text for text in texts if text[0].strip() and text[1].strip()]


def as_chat(text: Text, number: int) -> dict[str, Any]:
    """Return a text as OpenAI messages."""
    turns = [{"role": "user", "content": text[0]}, {"role": "assistant", "content": text[1]}]
    return {"messages": turns, "id": number}


def as_alpaca(text: Text, number: int) -> dict[str, Any]:
    """Return a text as an instruction record."""
    return {"instruction": text[0], "input": "", "output": text[1], "id": number}


SHAPES = {"chat": as_chat, "alpaca": as_alpaca}


def edited(text: Text, share: float, chance: random.Random, words: list[str]) -> Text:
    """Return a text with a share of its words replaced, here and there."""

    def replace(found: re.Match[str]) -> str:
        return chance.choice(words) if chance.random() < share else found[0]

    return _WORD.sub(replace, text[0]), _WORD.sub(replace, text[1])


def scaled(texts: list[Text], seed: int) -> Iterator[Text]:
    """Yield texts without end: 10 % exact copies, 15 % copies with 5 % of their words changed, the rest new.

    New texts are the given ones, in order, and after them texts stitched from pieces of 4 to 30 words with
    the lengths of the given ones.
    """
    chance = random.Random(seed)
    words = [word for text in texts for part in text for word in part.split()]
    lengths = [(len(text[0].split()), len(text[1].split())) for text in texts]
    given = iter(texts)
    past: list[Text] = []

    def stitched(length: int) -> str:
        pieces: list[str] = []
        while length > 0:
            size = min(length, chance.randint(4, 30))
            at = chance.randrange(len(words) - size)
            pieces += words[at : at + size]
            length -= size
        return " ".join(pieces)

    while True:
        draw = chance.random()
        if past and draw < 0.10:
            yield chance.choice(past)
        elif past and draw < 0.25:
            yield edited(chance.choice(past), 0.05, chance, words)
        else:
            text = next(given, None)
            if text is None:
                asked, answered = chance.choice(lengths)
                text = stitched(asked), stitched(answered)
            if len(past) < 200_000:
                past.append(text)
            else:
                past[chance.randrange(len(past))] = text
            yield text


def planted(texts: list[Text], count: int, seed: int) -> Iterator[Text]:
    """Yield texts of which two in five are edited copies of earlier ones, similar to them by 0.5 to 1.0.

    The similarity aimed at is drawn evenly; a copy comes near it by words replaced here and there, by one
    block replaced, or by words left out or added.
    """
    chance = random.Random(seed)
    words = [word for text in texts for part in text for word in part.split()]
    fresh = chance.sample(texts, min(len(texts), count))
    past: list[list[str]] = []
    for number in range(count):
        if past and (chance.random() < 0.4 or number >= len(fresh)):
            copied = _moved(chance.choice(past), chance.uniform(0.5, 1.0), chance, words)
        else:
            copied = " ".join(fresh[number]).split()
        past.append(copied)
        asked = max(1, len(copied) // 4)
        yield " ".join(copied[:asked]), " ".join(copied[asked:])


def _moved(source: list[str], similarity: float, chance: random.Random, words: list[str]) -> list[str]:
    """Return words whose 5-grams are about so similar to those of the source."""
    changed = (len(source) - 4) * (1 - similarity) / (1 + similarity)  # 5-grams to lose
    copy = list(source)
    kind = chance.choice(("scattered", "block", "left out", "added"))
    if kind == "block":
        size = max(1, round(changed - 4))
        at = chance.randrange(max(1, len(copy) - size))
        copy[at : at + size] = chance.choices(words, k=size)
        return copy
    for _ in range(max(1, round(changed / 5))):
        at = chance.randrange(len(copy))
        if kind == "left out" and len(copy) > 1:
            del copy[at]
        elif kind == "added":
            copy.insert(at, chance.choice(words))
        else:
            copy[at] = chance.choice(words)
    return copy


def write_texts(
    name: str,
    texts: Iterator[Text],
    shape: str,
    count: int | None = None,
    size: int | None = None,
    remake: bool = False,
) -> Path:
    """Write so many records or bytes of texts to a file of the benchmark's folder, once."""
    path = FOLDER / f"{name}.jsonl"
    if remake or not path.exists():
        written = 0
        making = path.with_suffix(".making")
        with open(making, "wb") as file:
            for number, text in enumerate(texts):
                if number == count or (size is not None and written >= size):
                    break
                record = SHAPES[shape](text, number)
                written += file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        making.replace(path)
    return path


def first_records(path: Path, count: int) -> Path:
    """Write the first so many records of a file to one of its own."""
    sample = FOLDER / f"{path.stem}-first-{count}.jsonl"
    with open(path, "rb") as lines, open(sample, "wb") as file:
        file.writelines(itertools.islice(lines, count))
    return sample


def joined(files: list[str], env: dict[str, str]) -> Path:
    """Write files one after the other: as they are when all are Alpaca or all chat records, else as chat."""
    shapes = {_shape(Path(name)) for name in files}
    as_they_are = len(shapes) == 1 and None not in shapes
    path = FOLDER / f"dedup-{_name(files)}.jsonl"
    with open(path, "wb") as target:
        for name in files:
            if as_they_are:
                target.write(Path(name).read_bytes())
            else:
                convert = [sys.executable, str(BIN / "bp-chatml"), "-q", name]
                subprocess.run(convert, env=env, stdin=subprocess.DEVNULL, stdout=target, check=True)
                target.seek(0, 2)
    return path


def _shape(path: Path) -> str | None:
    try:
        with open(path, "rb") as lines:
            record = orjson.loads(lines.readline())
    except ValueError:
        return None
    return next((field for field in ("messages", "instruction") if field in record), None)


def _name(files: list[str]) -> str:
    """Return a name that stands for these files as they are now."""
    known = hashlib.sha256()
    for name in files:
        found = Path(name).stat()
        known.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return f"{Path(files[0]).name.split('.')[0]}-{known.hexdigest()[:8]}"
