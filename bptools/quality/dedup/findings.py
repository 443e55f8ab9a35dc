"""What a run found, in figures: for --report, and for the line that warns of a suspicious cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bptools.core.window import Window
from bptools.quality.dedup.keys import Array
from bptools.quality.dedup.resolving import Verdicts

if TYPE_CHECKING:
    from bptools.quality.dedup.originals import Originals

_BINS = 50  # of the histogram from 0 to 1
_BELOW = 0.2  # what is shown below the threshold
_LARGEST = 10
_MANY = 255
_SUSPICIOUS = 0.01  # of the input in one cluster
_AT_LEAST = 10  # records


class Findings:
    """Counts copies: a byte for each record that is kept, and more for those with 255 copies and more."""

    def __init__(self, threshold: float | None) -> None:
        self._threshold = threshold  # None: exact copies only
        self._copies: Array = np.zeros(1024, np.uint8)  # of each kept record, by its id
        self._many: dict[int, int] = {}  # of those that have _MANY and more
        self._similar: Array = np.zeros(_BINS + 1, np.int64)
        self._sources: dict[str, list[int]] = {}  # in, exact, near
        self._read = 0

    def add(self, window: Window, rows: Array, found: Verdicts, settled: int) -> None:
        """Count the verdicts about `rows` of a window, as far as its records are settled."""
        self._read += settled
        count = int(np.searchsorted(rows, settled))
        rows, jaccard, owners = rows[:count], found.jaccard[:count], found.owner[:count]
        copies = owners >= 0
        owners = owners[copies]
        if len(owners):
            most = int(owners.max())
            if most >= len(self._copies):
                grown: Array = np.zeros(most + 1 + (most >> 3), np.uint8)
                grown[: len(self._copies)] = self._copies
                self._copies = grown
            self._count(*np.unique(owners, return_counts=True))
        exact = np.isnan(jaccard) & copies
        if self._threshold is not None:
            similar = jaccard[jaccard > 0]
            # a hair is added so that 0.7, which is a little less in binary, is in the bin from 0.7 on
            self._similar += np.bincount((similar * _BINS + 1e-9).astype(np.int64), minlength=_BINS + 1)
        for name, first, last in window.sources():
            if first >= settled:
                break
            last = min(last, settled)
            source = self._sources.setdefault(name, [0, 0, 0])
            here = slice(*np.searchsorted(rows, (first, last)).tolist())
            source[0] += last - first
            source[1] += int(np.count_nonzero(exact[here]))
            source[2] += int(np.count_nonzero(copies[here])) - int(np.count_nonzero(exact[here]))

    def _count(self, numbers: Array, added: Array) -> None:
        counts = self._copies[numbers] + added
        self._copies[numbers] = np.minimum(counts, _MANY)
        for row in np.flatnonzero(counts >= _MANY).tolist():
            number = int(numbers[row])
            self._many[number] = self._many.get(number, int(counts[row] - added[row])) + int(added[row])

    def copies(self) -> dict[int, int]:
        """Return how many copies each record has that has any, by its id."""
        numbers = np.flatnonzero(self._copies)
        return {**dict(zip(numbers.tolist(), self._copies[numbers].tolist())), **self._many}

    def as_json(self, originals: Originals, refused: Mapping[str, int]) -> dict[str, Any]:
        """Return the field `duplicates` of the report. `refused`: lines of sources that are no records."""
        for name, lines in refused.items():
            self._sources.setdefault(name, [0, 0, 0])[0] += lines
        exact = sum(source[1] for source in self._sources.values())
        near = sum(source[2] for source in self._sources.values())
        copies = self.copies()
        of = {"stream": 0, "against": 0, "index": 0}
        for number, count in copies.items():
            of[originals.origin(number)] += count
        largest = sorted(copies, key=lambda number: (-copies[number], number))[:_LARGEST]
        report: dict[str, Any] = {
            "exact": exact,
            "near": near,
            "of": of,
            "sources": {
                name: dict(zip(("in", "exact", "near"), counts)) for name, counts in self._sources.items()
            },
            "clusters": len(copies),
            "cluster_sizes": _by_size(np.array(list(copies.values()), np.int64) + 1),
            "largest": [_cluster(number, copies[number] + 1, originals) for number in largest],
        }
        if self._threshold is not None:
            first = max(0, round((self._threshold - _BELOW) * _BINS))
            bins = self._similar.tolist()
            report["jaccard"] = {
                f"{number / _BINS:.2f}": bins[number] for number in range(first, _BINS + 1) if bins[number]
            }
        return report

    def warning(self) -> str | None:
        """Return what is to be said of the largest cluster if it is suspiciously large."""
        largest = max(int(self._copies.max()), max(self._many.values(), default=0))
        if largest + 1 < _AT_LEAST or largest + 1 <= _SUSPICIOUS * self._read:
            return None
        share = 100 * (largest + 1) / self._read
        return (
            f"{largest + 1} of {self._read} records ({share:.1f} %) are a record and its copies: a template "
            "or a conversion that failed? --dropped FILE keeps them, --explain names them"
        )


def _cluster(number: int, records: int, originals: Originals) -> dict[str, Any]:
    shown: dict[str, Any] = {"key": originals.key(number), "records": records}
    place = originals.place(number)
    return {**shown, "place": place} if place else shown


def _by_size(sizes: Array) -> dict[str, int]:
    """Return how many clusters there are of 2 records, 3, 4, 5-8, 9-16 and so on."""
    found: dict[str, int] = {}
    low = high = 2
    while len(sizes) and low <= int(sizes.max()):
        count = int(np.count_nonzero((sizes >= low) & (sizes <= high)))
        if count:
            found[str(low) if low == high else f"{low}-{high}"] = count
        low, high = high + 1, high + 1 if high < 4 else 2 * high
    return found
