"""The index of near-duplicates in little memory: which records share bands is found beforehand, on disk.

    index = GroupedIndex(0.7, 20)
    index.match(profile, twins)             # as NearIndex does, until
    index.spill()                           # the tables outgrow the memory there is
    groups = index.group(checks, memory)    # RowFiles, of all records still to be judged

The entries of the tables lie in a file then, band by band, and so do the checks of the records to come. A
part of a band at a time is sorted, and only bands that two or more records share get a number. Judging by
`match` needs these numbers, and the owner of each, 4 bytes, in place of the tables: of records that are like
no other, nothing stays. It costs no more than the tables do.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bptools.core.spill import TemporaryFile
from bptools.quality.dedup.bands import Checks, Ids
from bptools.quality.dedup.contents import GroupedProfile, RowFile
from bptools.quality.dedup.near import FREE, NO_BAND, NearIndex
from bptools.quality.dedup.profile import Profile
from bptools.quality.dedup.resolving import Flags

_BLOCK = 1 << 14  # records
_READ = 1 << 18  # entries read at once
_PER_ENTRY = 32  # bytes of memory for each check of a part that is sorted
_LEAST_PART = 1 << 16
_HALF = np.uint64(32)
_NOBODY = 0xFFFFFFFF

Entries = npt.NDArray[np.uint64]
"""Checks, in the upper half, and the ids of records that have them."""


class CheckFile:
    """The checks of records in the order of adding, on disk; band by band within a block of records."""

    def __init__(self) -> None:
        self._file = TemporaryFile()
        self._waiting: list[Checks] = []
        self._held = 0
        self._blocks: list[tuple[int, int]] = []  # where in the file, and how many records
        self.count = 0

    def add(self, checks: Checks) -> None:
        """Add records, (bands, records)."""
        self._waiting.append(checks)
        self._held += checks.shape[1]
        self.count += checks.shape[1]
        if self._held >= _BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            block = np.concatenate(self._waiting, axis=1)
            self._blocks.append((self._file.size, self._held))
            self._file.append(block.tobytes())
            self._waiting, self._held = [], 0

    def band(self, number: int) -> Iterator[Checks]:
        """Yield the checks of all records for one band, a block at a time."""
        self._flush()
        for offset, records in self._blocks:
            data = self._file.read(offset + 4 * number * records, 4 * records)
            yield np.frombuffer(data, np.uint32)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


class _EntryFile:
    """Entries of band tables, on disk."""

    def __init__(self, bands: int) -> None:
        self._file = TemporaryFile()
        self._parts: list[list[tuple[int, int]]] = [[] for _ in range(bands)]  # where, and how many

    def add(self, band: int, entries: Entries) -> None:
        """Add entries of a band."""
        self._parts[band].append((self._file.size, len(entries)))
        self._file.append(entries.tobytes())

    def count(self, band: int) -> int:
        """Return how many entries a band has."""
        return sum(count for _, count in self._parts[band])

    def band(self, number: int) -> Iterator[Entries]:
        """Yield the entries of a band, some at a time."""
        for offset, count in self._parts[number]:
            for first in range(0, count, _READ):
                data = self._file.read(offset + 8 * first, 8 * min(_READ, count - first))
                yield np.frombuffer(data, np.uint64)

    def close(self) -> None:
        self._file.close()


class GroupedIndex(NearIndex):
    """A NearIndex that can go over to the disk, and does when more than `most_bytes` are added.

    See the module.
    """

    def __init__(self, threshold: float, bands: int, most_bytes: int | None = None) -> None:
        super().__init__(threshold, bands)
        self._most_bytes = most_bytes
        self._entries: _EntryFile | None = None
        self._owners_of_groups: npt.NDArray[np.uint32] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        owners = self._owners_of_groups
        return super().nbytes + (owners.nbytes if owners is not None else 0)

    def close(self) -> None:
        """Give the space on disk back."""
        super().close()
        if self._entries is not None:
            self._entries.close()

    @property
    def spilled(self) -> bool:
        """Whether the tables are on disk, so that nothing can be judged before `group`."""
        return self._entries is not None

    def spill(self) -> None:
        """Write the tables to disk and give their memory back. Raises OutputError, ReadWriteError."""
        self._entries = _EntryFile(self._bands)
        self._tables.reverse()
        for band in range(self._bands):
            self._entries.add(band, self._tables.pop().entries())

    def _add(self, checks: Checks, some: Flags, first_id: int) -> None:
        if self._entries is None:
            super()._add(checks, some, first_id)
            if self._most_bytes is not None and self.nbytes > self._most_bytes:
                self.spill()
            return
        ids = (first_id + np.flatnonzero(some)).astype(np.uint64)
        for band, row in enumerate(checks):
            self._entries.add(band, row[some].astype(np.uint64) << _HALF | ids)

    def group(self, rows: RowFile, memory: int) -> RowFile:
        """Number the bands that several records share; return the numbers for each of `rows`, 0 for none.

        rows: the checks of the records to be judged. memory: bytes that may be used, if they are enough.
        """
        assert self._entries is not None
        by_band = TemporaryFile()
        checks = CheckFile()
        first_id = len(self)
        owners = [np.array([_NOBODY], np.uint32)]
        try:
            for first in range(0, len(rows), _BLOCK):
                checks.add(rows.read(np.arange(first, min(first + _BLOCK, len(rows)))).T)
            count = 1
            for band in range(self._bands):
                total = self._entries.count(band) + checks.count
                part = max(_LEAST_PART, (memory - 4 * checks.count) // _PER_ENTRY)
                numbers = np.zeros(checks.count, np.uint32)
                for low, high in _ranges(-(-total // part)):
                    found = _group(self._entries_within(band, checks, low, high), first_id, count, numbers)
                    owners.append(found)
                    count += len(found)
                by_band.append(numbers.tobytes())
            self._owners_of_groups = np.concatenate(owners)
            self._entries.close()
            return _by_row(by_band, self._bands, checks.count)
        finally:
            by_band.close()
            checks.close()

    def _entries_within(self, band: int, checks: CheckFile, low: int, high: int) -> Entries:
        """Return all entries of a band whose checks are within two bounds, both included."""
        assert self._entries is not None
        least, most = np.uint64(low << 32), np.uint64((high << 32) | 0xFFFFFFFF)
        parts = [entries[(entries >= least) & (entries <= most)] for entries in self._entries.band(band)]
        number = len(self)
        for block in checks.band(band):
            here = np.flatnonzero((block >= low) & (block <= high))
            parts.append(block[here].astype(np.uint64) << _HALF | (here + number).astype(np.uint64))
            number += len(block)
        return np.concatenate(parts) if parts else np.zeros(0, np.uint64)

    def _marks(self, profile: Profile) -> Checks:
        """Return the numbers of groups once there are any; 0 is none."""
        if self._owners_of_groups is None:
            return super()._marks(profile)
        assert isinstance(profile, GroupedProfile)
        return profile.groups

    def _owners(self, marks: Checks, some: Flags) -> Ids:
        if self._owners_of_groups is None:
            return super()._owners(marks, some)
        owners: Ids = self._owners_of_groups.take(marks).astype(np.int64)
        owners[owners == _NOBODY] = FREE
        owners[(marks == 0) | ~some] = NO_BAND
        return owners

    def _own(self, marks: Checks, which: Flags, ids: Ids) -> None:
        if self._owners_of_groups is None:
            super()._own(marks, which, ids)
            return
        for row, here in zip(marks, which):
            records = np.flatnonzero(here)[::-1]  # the first of several is written last
            self._owners_of_groups[row[records]] = ids[records]


def _ranges(parts: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last check of so many parts of all checks."""
    parts = max(1, parts)
    for part in range(parts):
        yield (part << 32) // parts, (((part + 1) << 32) // parts) - 1


def _group(entries: Entries, first_id: int, count: int, numbers: Checks) -> npt.NDArray[np.uint32]:
    """Number the checks that several entries have, from `count` on; note it for the ids from `first_id` on.

    Return who owns each: the first of them, if that is an earlier record.
    """
    entries.sort()
    first = np.ones(len(entries) + 1, bool)  # of those with one check; another one would follow at the end
    np.greater(entries[1:] ^ entries[:-1], _LOWER, out=first[1:-1])
    grouped = ~(first[:-1] & first[1:])
    leads = first[:-1][grouped]
    ids = entries[grouped].astype(np.uint32)
    group = np.cumsum(leads, dtype=np.uint32)
    group += np.uint32(count - 1)
    later = ids >= first_id
    numbers[ids[later] - np.uint32(first_id)] = group[later]
    owners: Checks = ids[leads]
    owners[owners >= first_id] = _NOBODY
    return owners


_LOWER = np.uint64(0xFFFFFFFF)


def _by_row(by_band: TemporaryFile, bands: int, count: int) -> RowFile:
    """Return the rows of a file of columns."""
    rows = RowFile(bands)
    for first in range(0, count, _BLOCK):
        size = min(_BLOCK, count - first)
        columns = [by_band.read(4 * (band * count + first), 4 * size) for band in range(bands)]
        rows.add(np.frombuffer(b"".join(columns), np.uint32).reshape(bands, size))
    return rows
