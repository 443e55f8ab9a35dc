"""All conditions of one run, asked of one record after the other.

    sieve = Sieve(structure=Structure(min_turns=2), length=Length(max_tokens=4096))
    sieve.judge(None, {"messages": [{"role": "user", "content": "Hi"}]})     # Drop("min-turns", 1, 2)

The order is that of cost: marks and fields, turns, length, expressions, language, quality rules. The first
that objects names the record's reason; `thorough` goes on and collects all of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bptools.chat.view import Views
from bptools.core.errors import UsageError
from bptools.core.records import Drop, Record, Reject
from bptools.quality.fields import Range, Where
from bptools.quality.finding import Finding
from bptools.quality.length import Length
from bptools.quality.structure import Structure

if TYPE_CHECKING:
    from bptools.core.pipeline import Judge
    from bptools.quality.language import Language
    from bptools.quality.rules import RuleSet


class Sieve:
    """Judges records. `judge` takes the line (or None) and the record, and returns Drop, Reject or None."""

    def __init__(
        self,
        views: Views | None = None,
        structure: Structure | None = None,
        length: Length | None = None,
        ranges: Sequence[Range] = (),
        wheres: Sequence[Where] = (),
        keep_match: Sequence[str] = (),
        drop_match: Sequence[str] = (),
        language: Language | None = None,
        rules: RuleSet | None = None,
        drop_marked: bool = False,
        thorough: bool = False,
    ) -> None:
        self.views = views or Views()
        self.structure = structure or Structure()
        self.length = length or Length()
        self.ranges = ranges
        self.language = language
        self.rules = rules
        self.thorough = thorough
        self._wheres = wheres
        self._conditions: list[Marked | Where | Range] = [
            *([Marked()] if drop_marked else []),
            *wheres,
            *ranges,
        ]
        self._of_turns = bool(self.structure)
        self._broken_turns = self.structure.quick(
            self.views, lambda found: found, lambda record: self.structure.broken(record, self.views)
        )
        self._keep = [_expression("--keep-match", text) for text in keep_match]
        self._drop = [_expression("--drop-match", text) for text in drop_match]
        self._of_length = bool(self.length)
        self._of_text = bool(self._of_length or self._keep or self._drop or language or rules)
        self._only_length = not (self._keep or self._drop or language or rules)

    def judge(self, raw: bytes | None, record: Record) -> Drop | Reject | None:
        """Return why a record does not pass, None when it does."""
        if self.thorough:
            return self._judge_thoroughly(raw, record)
        try:
            for condition in self._conditions:
                found = condition.broken(raw, record)
                if found is not None:
                    return Drop(*found)
            if self._of_turns:
                broken = self._broken_turns(raw, record)
                if broken:
                    return Drop(*broken[0])
            if not self._of_text:
                return None
            plain = self.views.plain_text(record)
            text = self.views.other_text(record) if plain is None else plain
            if self._of_length:
                size = math.inf if plain is None or raw is None else len(raw)
                broken = self.length.broken(text, size)
                if broken:
                    return Drop(*broken[0])
            if self._only_length:
                return None
            first = next(self._findings_of_text(text), None)
            return Drop(*first) if first is not None else None
        except (Reject, Drop) as why:  # no known shape, or a comparison that nobody won
            return why

    def fastest(self) -> Judge:
        """Return a function that does what `judge` does, at half the cost where only turns are looked at."""
        if self.thorough or self._conditions or self._of_text or not self._of_turns:
            return self.judge
        return self.structure.quick(self.views, _first_of, lambda record: self.judge(None, record))

    def absent(self) -> list[tuple[str, str]]:
        """Return (option, field) of those that no record had, if any record was asked for it."""
        asked = [("--on", self.views.on, self.views.field_found)]
        asked += [("--where", where.field, where.field_found) for where in self._wheres]
        asked += [("--range", bounds.field, bounds.field_found) for bounds in self.ranges]
        return list(dict.fromkeys((option, field) for option, field, found in asked if found is False))

    def _judge_thoroughly(self, raw: bytes | None, record: Record) -> Drop | Reject | None:
        findings: list[Finding] = []
        try:
            for finding in self._findings(raw, record):
                findings.append(finding)  # noqa: PERF402
        except (Reject, Drop) as why:
            if not findings:  # else judging would not have come so far
                return why
        return Drop(*findings[0], others=findings[1:]) if findings else None

    def _findings(self, raw: bytes | None, record: Record) -> Iterator[Finding]:
        for condition in self._conditions:
            found = condition.broken(raw, record)
            if found is not None:
                yield found
        if self._of_turns:
            yield from self._broken_turns(raw, record)
        if self._of_text:
            text = self.views.text(record)
            yield from self.length.broken(text)
            yield from self._findings_of_text(text)

    def _findings_of_text(self, text: str) -> Iterator[Finding]:
        if self._keep and not any(expression.search(text) for expression in self._keep):
            yield Finding("keep-match", None, "|".join(expression.pattern for expression in self._keep))
        for expression in self._drop:
            match = expression.search(text)
            if match is not None:
                yield Finding("drop-match", match.group()[:200], expression.pattern)
        if self.language is not None:
            found = self.language.judge(text)
            if found is not None:
                yield found
        if self.rules is not None:
            if self.thorough:
                yield from self.rules.all(text)
            else:
                found = self.rules.first(text)
                if found is not None:
                    yield found


def _first_of(findings: list[Finding]) -> Drop | Reject | None:
    return Drop(*findings[0]) if findings else None


class Marked:
    """What an earlier --tag left in `bp.drop`: the first reason there."""

    def broken(self, raw: bytes | None, record: Record) -> Finding | None:
        """Return the reason, None for a record that is not marked."""
        marks = record.get("bp")
        notes = marks.get("drop") if type(marks) is dict else None
        for note in notes if type(notes) is list else ():
            if type(note) is dict and type(note.get("reason")) is str:
                return Finding(note["reason"], note.get("value"), note.get("limit"))
        return None


def _expression(option: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"{option} '{text}' is no regular expression: {error}") from None
