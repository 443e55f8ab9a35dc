"""The shingles of kept records, on disk, and how similar sets of them are.

Only the shingles of candidates are ever read again, a few at a time, so they need no memory: 4 bytes each go
to a temporary file, 8 bytes a record stay. Those of earlier runs stay in their files and are read there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from bptools.core.errors import ReadWriteError
from bptools.core.hashing import xxh3_64
from bptools.core.spill import TemporaryFile
from bptools.core.streams import allow_descriptors, reason_of
from bptools.quality.dedup.shingles import Shingles
from bptools.quality.dedup.words import Offsets

_BLOCK = 1 << 16  # shingles compared at once
_COPIED = 1 << 18  # shingles read at once for a copy
_HALF = np.uint64(32)

Ragged = tuple[Shingles, Offsets]
"""The shingles of many texts behind each other, and where each text's begin: [0, ..., number of shingles]."""


class ShingleFile:
    """Sets by id, written once and read at random. Raises ReadWriteError, OutputError."""

    def __init__(self) -> None:
        self._file = TemporaryFile()
        self._ends: Offsets = np.zeros(1024, np.int64)  # in shingles, from the first of the first file
        self._count = 0
        self._earlier: list[_EarlierFile] = []
        self._firsts: Offsets = np.zeros(1, np.int64)  # where each earlier file begins, and then our own
        self._checked = 0  # ids below are those of earlier files
        self._sums: Shingles = np.zeros(0, np.uint32)  # of these

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return int(self._ends.nbytes + self._sums.nbytes)

    def attach(self, path: str, ends: Offsets, sums: Shingles | None = None) -> None:
        """Add the sets of an earlier run, which stay in its file; before any set is appended.

        ends: where in the file each set ends, in shingles. sums: `checksum` of each, compared when it is
        read; of all files or of none.
        """
        if self._file.size or self._checked != self._count:
            raise ValueError("sets of earlier runs come first")
        if (sums is None) != (not len(self._sums)) and self._count:
            raise ValueError("sums of some files only")
        if len(self._earlier) % 100 == 0:
            allow_descriptors(len(self._earlier) + 100)
        total = int(ends[-1]) if len(ends) else 0
        file = _EarlierFile(path, 4 * total)
        self._earlier.append(file)
        first = int(self._firsts[-1])
        self._note(first + ends)
        self._checked = self._count
        self._firsts = np.append(self._firsts, first + total)
        if sums is not None:
            if len(self._sums) < self._count:
                self._sums = _grown(self._sums, self._count)
            self._sums[self._count - len(sums) : self._count] = sums

    def append(self, sets: Ragged) -> None:
        """Add sets; their ids go on from the last one."""
        hashes, offsets = sets
        self._note(self._firsts[-1] + self._file.size // 4 + offsets[1:])
        self._file.append(hashes.astype("<u4", copy=False).tobytes())

    def _note(self, ends: Offsets) -> None:
        count = self._count + len(ends)
        if count > len(self._ends):
            self._ends = _grown(self._ends, count)
        self._ends[self._count : count] = ends
        self._count = count

    def read(self, ids: Offsets) -> Ragged:
        """Return the sets with these ids, in this order."""
        ends = self._ends[ids]
        starts = np.where(ids > 0, self._ends[ids - 1], 0)
        if self._earlier:
            pieces = self._read_several(ids, starts, ends)
        else:
            read = self._file.read
            pieces = [
                read(4 * first, 4 * (last - first)) if last > first else b""
                for first, last in zip(starts.tolist(), ends.tolist())
            ]
        offsets: Offsets = np.zeros(len(ids) + 1, np.int64)
        np.cumsum(ends - starts, out=offsets[1:])
        return np.frombuffer(b"".join(pieces), np.dtype("<u4")), offsets

    def _read_several(self, ids: Offsets, starts: Offsets, ends: Offsets) -> list[bytes]:
        which = np.searchsorted(self._firsts, starts, side="right") - 1
        places = 4 * (starts - self._firsts[which])
        files = [*self._earlier, self._file]
        pieces = [
            files[number].read(place, size) if size else b""
            for number, place, size in zip(which.tolist(), places.tolist(), (4 * (ends - starts)).tolist())
        ]
        if len(self._sums):
            rows = np.flatnonzero((ids < self._checked) & (ends > starts))
            for row, wanted in zip(rows.tolist(), self._sums[ids[rows]].tolist()):
                if checksum(pieces[row]) != wanted:
                    raise self._earlier[which[row]].damaged()
        return pieces

    def counts(self, first_id: int, end_id: int) -> Offsets:
        """Return how many shingles these sets have."""
        before = self._ends[first_id - 1] if first_id else 0
        return np.diff(self._ends[first_id:end_id], prepend=before)

    def ends_from(self, first_id: int) -> Offsets:
        """Return where the sets from an id on end, in shingles from the first of them."""
        return self._ends[first_id : self._count] - (self._ends[first_id - 1] if first_id else 0)

    def copy_from(self, first_id: int) -> Iterator[bytes]:
        """Yield the appended sets from an id on, as they lie in a file, many whole ones at a time."""
        if first_id < self._checked:
            raise ValueError("sets of earlier runs are in their files")
        while first_id < self._count:
            begin = int(self._ends[first_id - 1]) if first_id else 0
            last = int(np.searchsorted(self._ends[: self._count], begin + _COPIED, side="right"))
            first_id = max(last, first_id + 1)
            size = int(self._ends[first_id - 1]) - begin
            yield self._file.read(4 * (begin - int(self._firsts[-1])), 4 * size)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()
        for file in self._earlier:
            file.close()


class _EarlierFile:
    """A file of sets that an earlier run has written. Raises ReadWriteError."""

    def __init__(self, path: str, size: int) -> None:
        self._path = path
        self._pread = getattr(os, "pread", None)  # Windows has none
        try:
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            if os.fstat(self._fd).st_size < size:
                os.close(self._fd)
                raise ReadWriteError(f"cannot read '{path}': it has become shorter")
        except OSError as error:
            raise ReadWriteError(f"cannot read '{path}': {reason_of(error)}") from None

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`."""
        data = self._read_some(offset, count)
        while len(data) < count:
            more = self._read_some(offset + len(data), count - len(data))
            if not more:
                raise ReadWriteError(f"cannot read '{self._path}': it has become shorter")
            data += more
        return data

    def _read_some(self, offset: int, count: int) -> bytes:
        try:
            if self._pread is not None:
                return self._pread(self._fd, count, offset)  # type: ignore[no-any-return]
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.read(self._fd, count)
        except OSError as error:
            raise ReadWriteError(f"cannot read '{self._path}': {reason_of(error)}") from None

    def damaged(self) -> ReadWriteError:
        """Return what to raise for a set that is not the one that was written."""
        return ReadWriteError(f"cannot read '{self._path}': it is damaged; restore it from a copy")

    def close(self) -> None:
        """Close it; more than once is no error."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def checksum(data: bytes) -> int:
    """Return 32 bits that tell a set, as it lies in a file, from a damaged one."""
    return xxh3_64(data, 0) & 0xFFFFFFFF


def _grown(array: npt.NDArray[Any], least: int) -> npt.NDArray[Any]:
    """Return a longer copy, filled up with zeros."""
    grown = np.zeros(max(len(array) * 5 // 4, least), array.dtype)
    grown[: len(array)] = array
    return grown


def take(sets: Ragged, which: Offsets) -> Ragged:
    """Return some sets, in the order of `which`."""
    hashes, offsets = sets
    counts = (offsets[1:] - offsets[:-1])[which]
    taken: Offsets = np.zeros(len(which) + 1, np.int64)
    np.cumsum(counts, out=taken[1:])
    places = np.arange(taken[-1]) + np.repeat(offsets[:-1][which] - taken[:-1], counts)
    return hashes.take(places), taken


def distinct(grams: Ragged) -> Ragged:
    """Return the sorted distinct shingles of texts; they are given in any order, with repetitions."""
    hashes, offsets = grams
    counts = np.diff(offsets)
    tagged = np.repeat(np.arange(len(counts), dtype=np.uint64) << _HALF, counts)
    tagged |= hashes
    tagged.sort(kind="stable")  # its merges find the texts in order: 22 ns a shingle, quicksort 34
    borders: Offsets = np.zeros(len(offsets), np.int64)
    if len(tagged):
        fresh = np.ones(len(tagged), bool)
        np.not_equal(tagged[1:], tagged[:-1], out=fresh[1:])
        tagged = tagged[fresh]
        owners = (tagged >> _HALF).view(np.int64)
        np.cumsum(np.bincount(owners, minlength=len(counts)), out=borders[1:])
    return tagged.astype(np.uint32), borders


def similarities(left: Ragged, right: Ragged) -> npt.NDArray[np.float64]:
    """Return the Jaccard similarity of each set on the left with the one beside it on the right.

    Two empty sets have 0.
    """
    counts = np.diff(left[1]) + np.diff(right[1])
    found = np.zeros(len(counts))
    first = 0
    while first < len(counts):
        last = first + max(1, int(np.searchsorted(np.cumsum(counts[first:]), _BLOCK)))
        found[first:last] = _similarities(_part(left, first, last), _part(right, first, last))
        first = last
    return found


def _part(sets: Ragged, first: int, last: int) -> Ragged:
    hashes, offsets = sets
    return hashes[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first]


def _similarities(left: Ragged, right: Ragged) -> npt.NDArray[np.float64]:
    """Count equal neighbours of both sides put in order of (pair, hash).

    The two sides are sorted already, so that a stable sort is one merge: 2 to 6 ns a shingle, where
    quicksort takes 45 and a hash join 5 to 9.
    """
    pairs = len(left[1]) - 1
    number = np.arange(pairs, dtype=np.uint64) << _HALF
    counts = [np.diff(side[1]) for side in (left, right)]
    tagged = np.concatenate([np.repeat(number, count) for count in counts])
    tagged[: len(left[0])] |= left[0]
    tagged[len(left[0]) :] |= right[0]
    tagged.sort(kind="stable")
    both = tagged[1:][tagged[1:] == tagged[:-1]]
    shared = np.bincount((both >> _HALF).view(np.int64), minlength=pairs)
    return shared / np.maximum(counts[0] + counts[1] - shared, 1)
