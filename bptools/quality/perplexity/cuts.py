"""Where the cut is: between two values, the same for all records or for each group by itself.

    limits = percentiles(values, groups, Keep.parse("5:95"))      # {group: Limits(low, high)}
    limits[0].broken(912.4)                                       # 812.1, the bound that is broken

Percentiles are exact: of n values floor(n LO / 100) of the lowest and floor(n (100 - HI) / 100) of the
highest lie outside. In numpy's words, the upper one is percentile(values, HI, method="inverted_cdf"), the
lower one the same of the values turned round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bptools.core.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Two values, both included; None is open. records: how many these were taken from."""

    low: float | None
    high: float | None
    records: int = 0

    def broken(self, value: float) -> float | None:
        """Return the bound that a value breaks, or None."""
        if self.low is not None and value < self.low:
            return self.low
        if self.high is not None and value > self.high:
            return self.high
        return None

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Parse LO:HI of --bounds. Raises UsageError."""
        low, high = _two(text, "--bounds", "two values, e.g. 10:500 or :4")
        if low is None and high is None:
            raise UsageError(f"--bounds '{text}' has no bound")
        if low is not None and high is not None and low > high:
            raise UsageError(f"--bounds '{text}': {low} is more than {high}")
        return cls(low, high)


@dataclass(frozen=True)
class Keep:
    """The percentiles that are kept, as they were written: 0.1 is a tenth of one percent, exactly."""

    low: Fraction
    high: Fraction

    @classmethod
    def parse(cls, text: str) -> Keep:
        """Parse LO:HI of --keep. Raises UsageError."""
        meant = "two percentiles, e.g. 5:95"
        _two(text, "--keep", meant)
        low, _, high = text.partition(":")
        try:
            found = cls(Fraction(low.strip() or "0"), Fraction(high.strip() or "100"))
        except (ValueError, ZeroDivisionError):
            raise UsageError(f"--keep '{text}' is not {meant}") from None
        if not 0 <= found.low < found.high <= 100:
            raise UsageError(f"--keep '{text}': percentiles go up from 0 to 100")
        return found

    def limits(self, values: Any) -> Limits:
        """Return the lowest and the highest that are kept of n > 0 values (numpy; it is reordered)."""
        count = len(values)
        first = math.floor(count * self.low / 100)
        last = count - 1 - math.floor(count * (100 - self.high) / 100)
        values.partition(sorted({first, last}))
        return Limits(float(values[first]), float(values[last]), count)


def percentiles(values: Any, groups: Any | None, keep: Keep) -> dict[int, Limits]:
    """Return the limits of each group: of values [n] float64 (nan: no part of it) and groups [n] or None."""
    import numpy as np

    chosen = ~np.isnan(values)
    if groups is None:
        return {0: keep.limits(values[chosen])} if chosen.any() else {}
    values, groups = values[chosen], groups[chosen]
    order = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[order], return_index=True)
    parts = np.split(values[order], starts[1:])
    return {int(name): keep.limits(part) for name, part in zip(names, parts)}


def _two(text: str, option: str, meant: str) -> tuple[float | None, float | None]:
    low, colon, high = text.partition(":")
    try:
        found: Sequence[float | None] = [float(part) if part.strip() else None for part in (low, high)]
    except ValueError:
        colon = ""
    if not colon or any(value is not None and math.isnan(value) for value in found):
        raise UsageError(f"{option} '{text}' is not LO:HI, {meant}")
    return found[0], found[1]
