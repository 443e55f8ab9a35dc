"""The figures behind the bounds of a run, taken of every record, for --stats and --report.

Unlike judging, which stops at the first reason and counts nothing that bytes decide, this measures all.
"""

from __future__ import annotations

from typing import Any

from bptools.core.records import Drop, Record, Reject
from bptools.quality.distribution import Distribution
from bptools.quality.sieve import Sieve


class Measures:
    """Distributions of what a sieve bounds; with `everything` also of tokens, characters and turns."""

    def __init__(self, sieve: Sieve, everything: bool = False) -> None:
        self._sieve = sieve
        length, structure = sieve.length, sieve.structure
        wanted = {
            "tokens": length.min_tokens is not None or length.max_tokens is not None,
            "chars": length.min_chars is not None or length.max_chars is not None,
            "turns": structure.min_turns is not None or structure.max_turns is not None,
        }
        self._of = {name: Distribution(name) for name, asked in wanted.items() if asked or everything}
        self._ranges = {bounds.reason: bounds for bounds in sieve.ranges}  # a field with two ranges once
        self._of_text = bool(self._of.keys() & {"tokens", "chars"} or sieve.rules or sieve.language)

    def add(self, raw: bytes | None, record: Record) -> None:
        """Measure one record; one that fits no shape has no figures."""
        sieve = self._sieve
        for name, bounds in self._ranges.items():
            self._add(name, bounds.value(raw, record))
        try:
            if "turns" in self._of:
                self._add("turns", len(sieve.views.turns(record)))
            text = sieve.views.text(record) if self._of_text else ""
        except (Reject, Drop):
            return
        if "chars" in self._of:
            self._add("chars", len(text))
        if "tokens" in self._of:
            self._add("tokens", sieve.length.count(text))
        if sieve.language is not None:
            self._add("language-score", sieve.language.score(text))
        if sieve.rules is not None:
            for rule, value in sieve.rules.measure(text).items():
                self._add(rule, value)

    def _add(self, name: str, value: float | None) -> None:
        found = self._of.get(name)
        if found is None:
            found = self._of[name] = Distribution(name)
        found.add(value)

    def as_json(self) -> dict[str, Any]:
        """Return {figure: its distribution}."""
        return {name: found.as_json() for name, found in self._of.items()}

    def lines(self) -> list[str]:
        """Return the histograms as text, a blank line between them."""
        lines: list[str] = []
        for found in self._of.values():
            lines += ["", *found.lines()] if lines else found.lines()
        return lines
