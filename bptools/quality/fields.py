"""Conditions on the fields of a record: a number within bounds, a value that is wanted.

A field is named by its path (`bp.ppl`, `meta.lang`); a field whose own name holds the dots goes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from bptools.chat.view import field_value
from bptools.core.errors import UsageError
from bptools.core.records import Record, decode_value, is_large, reparse_exact
from bptools.quality.finding import Finding

Judgement = Callable[["bytes | None", Record], "Finding | None"]


def exact_value(raw: bytes | None, record: Record, path: str, default: Any = None) -> Any:
    """Return the value at a path as the line has it, integers beyond 64 bits included, or the default."""
    value = field_value(record, path, default)
    if raw is not None and type(value) in (float, list, dict) and is_large(value):
        return field_value(reparse_exact(raw, record), path)
    return value


class Range:
    """A number between two bounds, both included; either may be open: `bp.ppl=10:500`, `score=0.5:`."""

    def __init__(self, text: str) -> None:
        """Parse FIELD=LO:HI. Raises UsageError."""
        self.field, equals, bounds = text.rpartition("=")
        low, colon, high = bounds.partition(":")
        try:
            self.low = _number(low) if low.strip() else None
            self.high = _number(high) if high.strip() else None
        except ValueError:
            colon = ""
        if not equals or not self.field or not colon:
            raise UsageError(f"--range '{text}' is not FIELD=LO:HI with numbers, e.g. bp.ppl=10:500")
        if self.low is None and self.high is None:
            raise UsageError(f"--range '{text}' has no bound")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise UsageError(f"--range '{text}': {low} is more than {high}")
        if not self.field.strip():
            raise UsageError(f"--range '{text}' names no field")
        self.reason = f"range:{self.field}"
        self.limit = bounds
        self.field_found: bool | None = None  # whether any record had a number there; None: no one was asked
        self.broken: Judgement = self._broken_at_first
        """Returns why a record is out of range; a field that is not there or no number is."""

    def value(self, raw: bytes | None, record: Record) -> int | float | None:
        """Return the number, exact also beyond 64 bits; None where there is no number."""
        value = exact_value(raw, record, self.field)
        return value if type(value) is int or type(value) is float else None

    def _broken_at_first(self, raw: bytes | None, record: Record) -> Finding | None:
        """Note whether the field is there, until it is."""
        self.field_found = self.value(raw, record) is not None
        if self.field_found:
            self.broken = self._broken
        return self._broken(raw, record)

    def _broken(self, raw: bytes | None, record: Record) -> Finding | None:
        value = self.value(raw, record)
        if value is None:
            return Finding(self.reason, field_value(record, self.field), self.limit)
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            return Finding(self.reason, value, self.limit)
        return None


class Where:
    """A field that has a value, or with `!=` has not; several for one field: any of them, or none of them.

    VALUE is compared with a string as it stands, with a number, true, false and null by its JSON value; null
    is also a field that is not there. An array has the value when one of its items has.
    """

    def __init__(self, field: str, values: Sequence[str], negated: bool = False) -> None:
        self.field = field
        self.negated = negated
        self.reason = f"where:{field}"
        self.limit = f"{'!=' if negated else '='}{'|'.join(values)}"
        self._texts = frozenset(values)
        self._scalars = [value for value in map(_scalar, values) if value is not _NONE]
        self.field_found: bool | None = None  # whether any record had the field; None: no one was asked
        absence = None in self._scalars  # which is asked for, then: it is no slip of the pen
        self.broken: Judgement = self._broken if absence else self._broken_at_first
        """Returns why a record is not wanted."""

    def _broken_at_first(self, raw: bytes | None, record: Record) -> Finding | None:
        """Note whether the field is there, until it is."""
        self.field_found = field_value(record, self.field) is not None
        if self.field_found:
            self.broken = self._broken
        return self._broken(raw, record)

    def _broken(self, raw: bytes | None, record: Record) -> Finding | None:
        value = exact_value(raw, record, self.field)
        if self._has(value) is not self.negated:
            return None
        return Finding(self.reason, value, self.limit)

    def _has(self, value: Any) -> bool:
        if type(value) is str:
            return value in self._texts
        if type(value) is list:
            return any(self._has(item) for item in value if type(item) is not list)
        for wanted in self._scalars:
            if type(value) is bool or type(wanted) is bool or value is None or wanted is None:
                if value is wanted:
                    return True
            elif type(value) is not dict and value == wanted:
                return True
        return False


_NONE = object()


def _scalar(text: str) -> Any:
    try:
        value = decode_value(text)
    except Exception:
        return _NONE
    return _NONE if type(value) in (str, list, dict) else value


def parse_where(conditions: Sequence[str]) -> list[Where]:
    """Return one Where for each field and sense of FIELD=VALUE and FIELD!=VALUE. Raises UsageError."""
    wanted: dict[tuple[str, bool], list[str]] = {}
    for text in conditions:
        field, equals, value = text.partition("=")
        negated = field.endswith("!")
        field = field[:-1] if negated else field
        if not equals or not field.strip():
            raise UsageError(f"--where '{text}' is not FIELD=VALUE or FIELD!=VALUE")
        wanted.setdefault((field, negated), []).append(value)
    return [Where(field, values, negated) for (field, negated), values in wanted.items()]


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if math.isnan(value):
            raise ValueError(text) from None
        return value
