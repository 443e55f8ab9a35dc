"""Documentation to text records: python -m bptools._dev.nano.documents [--cache FOLDER] [--record] OUT.jsonl.

Each record is {"text", "source", "held_out"?}: 300 to 4,000 characters of whole paragraphs, one paragraph
a line, from one file of one package in sources.json. A paragraph that was seen anywhere before, digits
apart, is left out, and so is what reads like a licence, a list of names or a table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from bptools._dev.nano import plain, sources

SHORTEST, LONGEST = 300, 4000
_LEGAL = re.compile(
    r"copyright|permission is hereby|redistribution and use|licensed under|all rights reserved"
    r"|warrant(?:y|ies)\b.*"
    r"\bliab|spdx|this (?:work|file) is licen[cs]ed|licen[cs]es/|except in compliance with",
    re.IGNORECASE,
)
_CHANGE = re.compile(
    r"^(?:- )?(?:versionadded|versionchanged|new in version|changed in version|deprecated since"
    r"|added in|#\d|gh-?\d"
    r"|bug \d|pull request|todo\b|table of contents|contents:|\.\. |:ref|see also:?$|bases: )|\(#\d+\)"
    r"|issues?/\d",
    re.IGNORECASE,
)


def paragraphs(name: str, text: str) -> list[str]:
    """Return the paragraphs of a file by what its name says it is."""
    if name.endswith((".rst", ".rst.txt", ".txt")):
        return plain.restructured(text)
    if name.endswith(".md"):
        return plain.markdown(text)
    if name.endswith(".py"):
        return plain.docstrings(text)
    return plain.hypertext(text)


def tidy(paragraph: str) -> str:
    """Return the paragraph with plain white space, or nothing if it is no prose."""
    code = "\n" in paragraph
    words = paragraph.rstrip() if code else " ".join(paragraph.split())
    if (
        len(words) < 12
        or len(words) > LONGEST
        or "\ufffd" in words
        or _LEGAL.search(words)
        or _CHANGE.search(words)
    ):
        return ""
    letters = sum(map(str.isalpha, words)) / len(words)
    if letters < (0.4 if code else 0.68) or sum(c > "\u024f" for c in words) > 0.02 * len(words):
        return ""
    if not code and (max(map(len, words.split())) > 60 or re.search(r"[|=~_^<>]{3}|\}\}|\{\{|::", words)):
        return ""
    prose = words.count(" ") >= 5 and words[-1] in ".:;!?)\"'"
    heading = len(words) < 70 and words[0].isalpha() and " " in words
    return words if code or prose or heading or (words.startswith("- ") and words.count(" ") >= 5) else ""


def _is_heading(paragraph: str) -> bool:
    return len(paragraph) < 70 and paragraph[-1] not in ".:;!?" and not paragraph.startswith("- ")


def fresh(found: Iterable[str], seen: set[bytes]) -> Iterator[str]:
    """Yield the tidy paragraphs that were not seen before; a heading only if something follows it."""
    heading = ""
    for paragraph in map(tidy, found):
        if not paragraph:
            continue
        if "\n" not in paragraph and _is_heading(paragraph):
            heading = paragraph
            continue
        key = hashlib.blake2b(re.sub(r"[\W\d_]+", " ", paragraph.lower()).encode(), digest_size=8).digest()
        if key in seen:
            continue
        seen.add(key)
        if heading:
            yield heading
            heading = ""
        yield paragraph


def documents(found: Iterable[str], choice: random.Random) -> Iterator[str]:
    """Join paragraphs to documents of varied length, none longer than the longest."""
    held: list[str] = []
    size = 0
    target = choice.choice((500, 900, 1600, 2600, 3600))
    for paragraph in found:
        if held and (size + len(paragraph) > LONGEST or (size >= target and size >= SHORTEST)):
            if size >= SHORTEST:
                yield "\n".join(held)
            held, size = [], 0
            target = choice.choice((500, 900, 1600, 2600, 3600))
        held.append(paragraph)
        size += len(paragraph) + 1
    if size >= SHORTEST:
        yield "\n".join(held)


def records(source: sources.Source, path: Path, seen: set[bytes]) -> Iterator[dict[str, object]]:
    """Yield the text records of one package."""
    choice = random.Random(source.label)
    for name, text in sources.members(source, path):
        for document in documents(fresh(paragraphs(name, text), seen), choice):
            entry: dict[str, object] = {"text": document, "source": source.label}
            yield entry | {"held_out": True} if source.held_out else entry


def write(out: Path, cache: Path, note: bool = False) -> None:
    """Write the records of all listed sources, held-out ones first; with note, their sizes into the list."""
    seen: set[bytes] = set()
    listed = sources.listed()
    used: dict[str, int] = {}
    with out.open("w", encoding="utf-8", newline="\n") as stream:
        # what is held out comes first, so that a paragraph it shares with another source is not trained on
        for source in sorted(listed, key=lambda source: (not source.held_out, source.name.lower())):
            size = 0
            for entry in records(source, sources.fetch(source, cache), seen):
                size += len(str(entry["text"]).encode())
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")
            used[source.label] = size
            sys.stderr.write(f"{source.label}: {size / 1e6:.2f} MB\n")
    if note:
        sources.record([source._replace(bytes=used[source.label]) for source in listed])


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="bptools._dev.nano.documents", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--cache", type=Path, default=Path("build/nano/packages"), help="where the packages lie"
    )
    parser.add_argument("--record", action="store_true", help="write the bytes used into sources.json")
    options = parser.parse_args(arguments)
    write(options.out, options.cache, options.record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
