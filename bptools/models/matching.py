"""Whether an answer is what the reference says, and whether enough of them are.

match("contains", "It is Paris.", "paris")      # True
Check.parse("match>=.7").met(0.68)              # False
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from bptools.core.errors import UsageError

How = Literal["exact", "contains", "json", "regex"]
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_CHECK = re.compile(r"\s*match\s*(>=|<=|==|>|<)\s*([0-9]*\.?[0-9]+)\s*(%?)\s*")
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


def match(how: How, answer: str, reference: str) -> bool | None:
    """Say whether an answer matches; None where the reference cannot be used (no JSON, no regular
    expression).

    exact: the same text, whatever the white space. contains: the reference stands in it, in letters of either
    case. json: both are the same JSON value; of the answer the first value counts, also in a code fence.
    regex: the reference is found in it as a regular expression.
    """
    if how == "exact":
        return answer.split() == reference.split()
    if how == "contains":
        return _folded(reference) in _folded(answer)
    if how == "regex":
        try:
            return re.search(reference.strip(), answer) is not None
        except (re.error, OverflowError, RecursionError):  # x{99999999999} overflows
            return None
    wanted = first_json(reference)
    if wanted is None:
        return None
    found = first_json(answer)
    return found is not None and _same(found[0], wanted[0])


def first_json(text: str) -> tuple[Any] | None:
    """Return the first JSON value of a text in a tuple, None if there is none.

    The whole text, else a code fence, else the first object or array that can be read.
    """
    fence = _FENCE.search(text)
    for candidate in (text, fence[1] if fence else None):
        if candidate is not None:
            try:
                return (json.loads(candidate),)
            except (ValueError, RecursionError):
                pass
    decoder = json.JSONDecoder()
    for begin in re.finditer(r"[{\[]", text):
        try:
            return (decoder.raw_decode(text, begin.start())[0],)
        except (ValueError, RecursionError):
            continue
    return None


def _same(one: Any, other: Any) -> bool:
    """Compare values: 1 and 1.0 are the same number, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


@dataclass(frozen=True)
class Check:
    """A condition on the share of answers that match: `match>=.7`, `match>70%`."""

    comparison: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Check:
        """Read a condition. Raises UsageError."""
        found = _CHECK.fullmatch(text)
        limit = float(found[2]) / (100 if found[3] else 1) if found else 2.0
        if found is None or limit > 1:
            raise UsageError(f"--check '{text}' is not match>=SHARE, as in 'match>=.7'")
        return cls(found[1], limit)

    def met(self, share: float) -> bool:
        """Say whether a share of 0 to 1 is what was asked for."""
        return _COMPARISONS[self.comparison](share, self.limit)

    def __str__(self) -> str:
        return f"match{self.comparison}{self.limit:g}"
