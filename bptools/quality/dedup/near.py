"""Near-duplicates as records stream by: each is compared with the kept ones before it, and nothing chains.

A band of a signature belongs to the kept record that had it first. The owners of a record's bands are its
candidates, at most as many as there are bands; each is verified by the true Jaccard similarity of the sets of
shingles. What is as similar as the threshold to one of them is a duplicate of the most similar one, the
earliest of several. Many records are looked at together, with the very outcome of one after the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bptools.quality.dedup.bands import BandTable, Checks, Ids
from bptools.quality.dedup.profile import Profile
from bptools.quality.dedup.resolving import Flags, Verdicts, compare, resolve
from bptools.quality.dedup.segment import Segment, checks_of
from bptools.quality.dedup.sets import ShingleFile, take

FREE, NO_BAND = -1, -2


class NearIndex:
    """The kept records, by band. Ids go on from 0 in the order of adding."""

    def __init__(self, threshold: float, bands: int) -> None:
        self.threshold = threshold
        self._bands = bands
        self.sets = ShingleFile()
        self._tables = [BandTable(band / bands) for band in range(bands)]
        self._slots: list[Ids] = []  # what the tables said of the records at hand
        self.when_kept: list[Callable[[Profile, Flags], None]] = []  # told of all that `match` keeps

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def bands(self) -> int:
        """How many bands there are."""
        return self._bands

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.sets.nbytes + sum(table.nbytes for table in self._tables)

    def match(self, profile: Profile, twins: Ids) -> Verdicts:
        """Judge records in order and add those that are kept.

        twins: for each record a number that it shares with its exact copies among these; -1 for none.
        """
        marks = self._marks(profile)
        owners = self._owners(marks, np.diff(profile.sets[1]) > 0)
        free = owners == FREE
        verdicts = compare(profile.sets, self.sets, owners, self.threshold)
        resolve(verdicts, profile.sets, marks, free, twins, len(self), self.threshold)
        kept = verdicts.owner < 0
        self._own(marks, free & kept, len(self) + np.cumsum(kept) - 1)
        self.sets.append(profile.sets if kept.all() else take(profile.sets, np.flatnonzero(kept)))
        for tell in self.when_kept:
            tell(profile, kept)
        return verdicts

    def add(self, profile: Profile) -> None:
        """Add records without judging them."""
        self._add(profile.checks, np.diff(profile.sets[1]) > 0, len(self))
        self.sets.append(profile.sets)

    def attach(self, segments: list[Segment]) -> None:
        """Add the records of earlier runs, before any others; their sets stay in the files of the runs."""
        for segment in segments:
            self.sets.attach(segment.path, segment.ends(), segment.sums())
        first = 0
        for checks in checks_of(segments):
            last = first + checks.shape[1]
            self._add(checks, self.sets.counts(first, last) > 0, first)
            first = last

    def _add(self, checks: Checks, some: Flags, first_id: int) -> None:
        free = self._owners(checks, some) == FREE
        self._own(checks, free, first_id + np.arange(checks.shape[1]))

    def _marks(self, profile: Profile) -> Checks:
        """Return what bands are told apart by, (bands, records)."""
        return profile.checks

    def _owners(self, marks: Checks, some: Flags) -> Ids:
        """Return the ids that own bands, (bands, records); FREE: nobody does, NO_BAND: there is no band."""
        owners = np.empty(marks.shape, np.int64)
        self._slots = []
        for table, row, found in zip(self._tables, marks, owners):
            found[:], slots = table.find(row)
            self._slots.append(slots)
        owners[:, ~some] = NO_BAND
        return owners

    def _own(self, marks: Checks, which: Flags, ids: Ids) -> None:
        """Give bands that `_owners` found free to records, each to the first of several."""
        for table, row, here, slots in zip(self._tables, marks, which, self._slots):
            records = np.flatnonzero(here)
            table.insert(row[records], ids[records], slots[records])

    def close(self) -> None:
        """Give the space on disk back."""
        self.sets.close()
