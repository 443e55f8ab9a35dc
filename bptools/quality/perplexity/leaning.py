"""Whether a cut leans: when most of what it takes is of one script, one source, or code.

leaning = Leaning()
leaning.note("def f(x): ...", "b.jsonl", cut=True)
leaning.warnings()
# ['29 of 41 records that were cut look like code, and 3 % of all: the model may not know what it judges; cut
#  with --by, or by a model that does']

A small English model finds what it has never read unlikely, and that is no fault of the text.
"""

from __future__ import annotations

import re
from collections import Counter

_SAMPLE = 2_000  # characters looked at
_LEAST = 10  # records cut
_SCRIPTS = (
    ("Latin", 0x41, 0x24F), ("Greek", 0x370, 0x3FF), ("Cyrillic", 0x400, 0x52F), ("Armenian", 0x530, 0x58F),
    ("Hebrew", 0x590, 0x5FF), ("Arabic", 0x600, 0x77F), ("Devanagari", 0x900, 0x97F),
    ("Bengali", 0x980, 0x9FF),
    ("Tamil", 0xB80, 0xBFF), ("Telugu", 0xC00, 0xC7F), ("Thai", 0xE00, 0xE7F), ("Georgian", 0x10A0, 0x10FF),
    ("Ethiopic", 0x1200, 0x137F), ("Khmer", 0x1780, 0x17FF), ("Latin", 0x1E00, 0x1EFF),
    ("Greek", 0x1F00, 0x1FFF), ("Japanese", 0x3040, 0x30FF), ("Han", 0x3400, 0x9FFF),
    ("Hangul", 0xAC00, 0xD7AF),
    ("Han", 0x20000, 0x3134F),
)  # fmt: skip
_LETTERS = re.compile(r"[^\W\d_]")
_CODE_LINE = re.compile(
    r"^\s*(?:def |class |import |from \w+ import|#include|public |private |function |const |let |var "
    r"|return\b|if ?\(|for ?\(|while ?\(|SELECT |</?\w+[^>]*>$|[}\]);]+,?$)|[;{]\s*$"
    r"|\w\(.*\)\s*[:{]$|[=!]=| [-=]> ",
    re.MULTILINE,
)


class Leaning:
    """Counts what was scored and what of it was cut."""

    def __init__(self) -> None:
        self._all: Counter[tuple[str, str]] = Counter()
        self._cut: Counter[tuple[str, str]] = Counter()
        self._records = self._records_cut = 0

    def note(self, text: str, source: str, cut: bool) -> None:
        """Count a scored record by its text and the source it came from."""
        traits = [("source", source)]
        script = script_of(text)
        if script is not None:
            traits.append(("script", script))
        if is_code(text):
            traits.append(("code", ""))
        self._records += 1
        self._all.update(traits)
        if cut:
            self._records_cut += 1
            self._cut.update(traits)

    def warnings(self) -> list[str]:
        """Return what more than half of the cut records are, and by far not so many of all records."""
        found = []
        if self._records_cut < _LEAST:
            return []
        for trait, count in self._cut.most_common():
            share, usual = count / self._records_cut, self._all[trait] / self._records
            if share > 0.5 and usual < share / 1.5:
                found.append(
                    f"{count} of {self._records_cut} records that were cut {_said(*trait)},"
                    f" and {100 * usual:.0f} % of all: the model may not know what it judges;"
                    " cut with --by, or by a model that does"
                )
        return found


_SAID = {"source": "come from {}", "script": "are in {} script", "code": "look like code{}"}


def _said(kind: str, name: str) -> str:
    return _SAID[kind].format(name)


def script_of(text: str) -> str | None:
    """Return the script of most letters of the beginning; None where there are none, or unknown."""
    counts: Counter[str] = Counter()
    for letter in _LETTERS.findall(text[:_SAMPLE]):
        code = ord(letter)
        counts[next((name for name, first, last in _SCRIPTS if first <= code <= last), "")] += 1
    name = counts.most_common(1)[0][0] if counts else ""
    return name or None


def is_code(text: str) -> bool:
    """Say whether the beginning looks like a program: a third of its lines do, three of them at least."""
    sample = text[:_SAMPLE]
    lines = [line for line in sample.split("\n") if line.strip()]
    hits = sum(_CODE_LINE.search(line) is not None for line in lines)
    return hits >= 3 and 3 * hits >= len(lines)
