"""Gopher's repetition rules (Rae et al. 2021, arXiv 2112.11446, table A1): paragraphs, lines, n-grams.

Runs of five and more words are compared word by word; datatrove compares them joined without blanks, so that
`1 11` and `11 1` are the same to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, compress, pairwise
from operator import ne

from bptools.quality.rules.page import Page, repeated_parts
from bptools.quality.rules.table import DUPLICATE_NGRAMS, TOP_NGRAMS

_blank_lines = re.compile(r"\n{2,}")
_newlines = re.compile(r"\n+")

_BY_SIZE = tuple((n, f"top_{n}_gram_char_frac", True) for n in TOP_NGRAMS) + tuple(
    (n, f"dup_{n}_gram_char_frac", False) for n in DUPLICATE_NGRAMS
)


def repetition_values(
    page: Page, chosen: Mapping[str, float], parameters: Mapping[str, int]
) -> Iterator[tuple[str, float]]:
    """Yield (rule, value) for the chosen rules, in datatrove's order; ("empty", 0) for white space alone."""
    text = page.text
    if not text or text.isspace():
        yield "empty", 0
        return
    yield from _of_lines(text, chosen)
    sizes = [(n, name, top) for n, name, top in _BY_SIZE if name in chosen]
    if sizes:
        words = page.words
        runs = _Runs(words)
        for n, name, top in sizes:
            runs.grow(n)
            if top:
                least = parameters["min_top_occurrences"]
                yield name, (runs.top_characters(least) / len(text) if len(words) >= n else 0)
            else:
                yield name, runs.repeated_characters() / len(text)


def _of_lines(text: str, chosen: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    parted = "\n\n" in text
    if "dup_para_frac" in chosen or "dup_para_char_frac" in chosen:
        paragraphs = _blank_lines.split(text.strip()) if parted else [text]
        count, characters = repeated_parts(paragraphs)
        if "dup_para_frac" in chosen:
            yield "dup_para_frac", count / len(paragraphs)
        if "dup_para_char_frac" in chosen:
            yield "dup_para_char_frac", characters / len(text)
    if "dup_line_frac" in chosen or "dup_line_char_frac" in chosen:
        lines = _newlines.split(text) if parted else text.split("\n")
        count, characters = repeated_parts(lines)
        if "dup_line_frac" in chosen:
            yield "dup_line_frac", count / len(lines)
        if "dup_line_char_frac" in chosen:
            yield "dup_line_char_frac", characters / len(text)


class _Runs:
    """The runs of n words of a text that occur more than once, for n rising from 2.

    A run of n + 1 words can only be repeated where two runs of n that follow each other are. So the whole
    text is looked at for n = 2 alone, and that in C: 81 of the 137 us that n = 2 to 10 take for a web page of
    475 words, where a pass for each n takes 1,530 us (with 68 words 19 us and 205 us).
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.n = 2
        self._ends: list[int] | None = None
        self.first_at: dict[int, int] = {}  # by position, rising: where the run that begins there came first
        first: dict[tuple[str, str], int] = {}
        positions = range(len(words) - 1)
        earlier = list(map(first.setdefault, pairwise(words), positions))
        if len(first) < len(earlier):
            again = list(compress(positions, map(ne, earlier, positions)))
            firsts = {earlier[at] for at in again}
            self.first_at = {at: earlier[at] for at in sorted(firsts.union(again))}

    def grow(self, n: int) -> None:
        """Go on to runs of n words; n never falls."""
        while self.n < n:
            self.n += 1
            if self.first_at:
                self.first_at = self._longer()

    def _longer(self) -> dict[int, int]:
        shorter = self.first_at
        first: dict[tuple[int, int], int] = {}
        earlier: dict[int, int] = {}
        repeated: set[int] = set()
        for at, start in shorter.items():
            following = shorter.get(at + 1)
            if following is not None:
                came = earlier[at] = first.setdefault((start, following), at)
                if came != at:
                    repeated.add(came)
        return {at: came for at, came in earlier.items() if came in repeated}

    def top_characters(self, least: int) -> int:
        """Return the characters (and blanks) of the most frequent run, times its occurrences.

        Of runs equally frequent it is the one that comes first: the first of all if none is repeated. 0 where
        it occurs less than `least` times.
        """
        top, most = 0, 1
        if self.first_at:
            counts: dict[int, int] = {}
            for start in self.first_at.values():
                counts[start] = counts.get(start, 0) + 1
            top = max(counts, key=counts.__getitem__)
            most = counts[top]
        if most < least:
            return 0
        return (sum(map(len, self.words[top : top + self.n])) + self.n - 1) * most

    def repeated_characters(self) -> int:
        """Return the characters in runs that came before; after such a run it goes on behind it."""
        if not self.first_at:
            return 0
        if self._ends is None:
            self._ends = list(accumulate(map(len, self.words), initial=0))
        seen: set[int] = set()
        total = clear = 0
        for at, start in self.first_at.items():
            if at < clear:
                continue
            if start in seen:
                clear = at + self.n
                total += self._ends[clear] - self._ends[at]
            else:
                seen.add(start)
        return total
