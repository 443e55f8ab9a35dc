"""How a figure is distributed over records, in constant memory: percentiles and a histogram as text.

    tokens = Distribution("tokens")
    tokens.add(212)
    print("\\n".join(tokens.lines()))

Values are counted one by one until there are 4,096 different ones, then in steps of 1 %, but for whole
numbers below 1,000: so a percentile is right to within 1 % of its value. Memory: at most about 1 MB.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_BAR = 40
_WIDTH = math.log(1.01)
_EXACT = 1000
_MOST_VALUES = 4096
_LARGEST = 1e300
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


class Distribution:
    """Counts of one figure."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.missing = 0  # records that have no such figure
        self.low = math.inf
        self.high = -math.inf
        self.total = 0.0
        self._counts: dict[float, int] = {}
        self._place: Callable[[float], float] = float

    def add(self, value: float | None) -> None:
        """Count one record; None: it has no such figure."""
        if value is None:
            self.missing += 1
            return
        value = float(min(max(value, -_LARGEST), _LARGEST))  # an integer can be too large for a float
        self.count += 1
        self.total += value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value
        place = self._place(value)
        self._counts[place] = self._counts.get(place, 0) + 1
        if len(self._counts) > _MOST_VALUES and self._place is not _step:
            self._place = _step
            counts, self._counts = self._counts, {}
            for place, count in counts.items():
                self._counts[_step(place)] = self._counts.get(_step(place), 0) + count

    def percentile(self, percent: float) -> float:
        """Return the value that `percent` of the records do not exceed (nearest rank, within 1 %)."""
        rank = max(1, math.ceil(self.count * percent / 100))
        for place in sorted(self._counts):
            rank -= self._counts[place]
            if rank <= 0:
                return min(max(place, self.low), self.high)
        return self.high

    def as_json(self) -> dict[str, object]:
        """Return the figures for a report: count, missing, min, max, mean, percentiles, histogram."""
        if not self.count:
            return {"count": 0, "missing": self.missing}
        return {
            "count": self.count,
            "missing": self.missing,
            "min": self.low,
            "max": self.high,
            "mean": _rounded(self.total / self.count),
            "percentiles": {str(percent): _rounded(self.percentile(percent)) for percent in PERCENTILES},
            "histogram": [
                {"from": _rounded(low), "to": _rounded(high), "count": count}
                for low, high, count in self.histogram()
            ],
            "text": self.lines(),
        }

    def histogram(self, most: int = 12) -> list[tuple[float, float, int]]:
        """Return [(from, to, count)], `to` exclusive but in the last: at most about `most` rows.

        Rows are equally wide where the middle 98 % lie close together; they double where the largest of these
        is more than 20 times the smallest.
        """
        edges = self._edges(most)
        rows = [0] * (len(edges) - 1)
        row = 0
        for place in sorted(self._counts):
            while row < len(rows) - 1 and place >= edges[row + 1]:
                row += 1
            rows[row] += self._counts[place]
        made = [(edges[index], edges[index + 1], count) for index, count in enumerate(rows)]
        while made and not made[0][2]:
            del made[0]
        while made and not made[-1][2]:
            del made[-1]
        return made

    def _edges(self, most: int) -> list[float]:
        low, high = self.percentile(1), self.percentile(99)
        whole = all(place == int(place) for place in self._counts)
        if low >= 0 and high > 20 * max(low, 1e-9) and high > 2:
            edges = [0.0, 1.0]
            while edges[-1] <= high:
                edges.append(edges[-1] * 2)
            edges = edges[:1] + edges[-most:] if len(edges) > most + 1 else edges
        else:
            step = _nice((high - low) / most or max(abs(high), 1.0) / most, whole)
            first = math.floor(low / step) * step
            edges = [first + step * index for index in range(math.floor((high - first) / step) + 2)]
        if self.low < edges[0]:
            edges.insert(0, self.low)
        if self.high >= edges[-1]:
            edges.append(self.high)
        return edges

    def lines(self) -> list[str]:
        """Return the histogram as text, a head line first."""
        if not self.count:
            return [f"{self.name}: no record has it"]
        shown = ", ".join(f"p{percent} {_short(self.percentile(percent))}" for percent in (5, 25, 50, 75, 95))
        head = f"{self.name}: {self.count} records, min {_short(self.low)}, {shown}, max {_short(self.high)}"
        if self.missing:
            head += f"; {self.missing} without"
        rows = self.histogram()
        most = max(count for _, _, count in rows)
        labels = [f"{_short(low)} - {_short(high)}" for low, high, _ in rows]
        width = max(map(len, labels))
        digits = len(str(most))
        bars = ["#" * max(1 if count else 0, round(_BAR * count / most)) for _, _, count in rows]
        return [
            head,
            *(
                f"  {label:>{width}}  {row[2]:>{digits}}  {bar}".rstrip()
                for label, row, bar in zip(labels, rows, bars)
            ),
        ]


def _step(value: float) -> float:
    """Return the representative of the step that a value falls into."""
    if -_EXACT < value < _EXACT and value == int(value):
        return int(value)
    if value == 0 or math.isinf(value):
        return value
    size = math.exp(round(math.log(abs(value)) / _WIDTH) * _WIDTH)
    return size if value > 0 else -size


def _nice(step: float, whole: bool) -> float:
    """Return the next of 1, 2, 5, 10, ... that is at least the step."""
    power: float = 10.0 ** math.floor(math.log10(step))
    for factor in (1, 2, 5, 10):
        if factor * power >= step * 0.999:
            step = factor * power
            break
    return max(1.0, step) if whole else step


def _rounded(value: float) -> float:
    if math.isinf(value):
        return value
    return int(value) if value == int(value) else float(f"{value:.4g}")


def _short(value: float) -> str:
    if abs(value) < 1e6 and value == int(value):
        return str(int(value))
    return f"{value:.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
