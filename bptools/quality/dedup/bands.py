"""Which kept record had a band first: a hash table for each band, 8 bytes an entry.

A slot holds the 32-bit check of a band and the id of a record. The check says the bucket of 16 slots where an
entry is at home, in order of checks, so that a table is nearly a sorted list with gaps: it grows by a part at
a time. Tables of different bands grow at different times, so that together they are never nearly empty.

A bucket is compared at once. What finds its bucket full is in one of the next three, which are compared at
once too; what finds them all full is in a dictionary. (Three buckets chosen by other bits of the check fill
more evenly, but are slower: they are not in the cache.)
"""

from __future__ import annotations

import mmap

import numpy as np
import numpy.typing as npt

Checks = npt.NDArray[np.uint32]
Ids = npt.NDArray[np.int64]

_WIDTH = 16
_SHIFT = 4
_NEXT = 3
_FULL = 0.78  # of the slots
_GROWTH = 1.4
_SMALLEST = 1024  # buckets
_SMALL = 2048
_MOVED = 4096  # buckets
_FEW = 6  # so many are put in place sooner one by one
_HALF = np.uint64(32)
_SUM = np.uint64(0x0101010101010101)  # adds the bytes of a product up, in the highest one
_TOP = np.uint64(56)


def _pages(count: int) -> Checks:
    """Return zeros in pages of their own, which the system has back as soon as they are given up.

    From numpy, large arrays that come and go leave holes in the heap: some 55 bytes for each record of a run.
    """
    return np.frombuffer(mmap.mmap(-1, 4 * count), np.uint32)


class BandTable:
    """Checks and the ids that had them first. `phase`, from 0 to 1, says when it grows among others."""

    def __init__(self, phase: float = 0.0) -> None:
        self._count = 0
        self._allocate(round(_SMALLEST * _GROWTH**phase))

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._checks.nbytes + self._ids.nbytes + 100 * len(self._rest)

    def _allocate(self, buckets: int) -> None:
        self._buckets = buckets
        rows = buckets + _NEXT
        self._checks = _pages(rows * _WIDTH).reshape(rows, _WIDTH)
        self._ids = _pages(rows * _WIDTH).reshape(rows, _WIDTH)
        self._rest: dict[int, int] = {}
        shape, steps = (buckets, _WIDTH * (_NEXT + 1)), (4 * _WIDTH, 4)
        self._wide = np.ndarray(shape, np.uint32, self._checks.reshape(-1), 0, steps)

    def find(self, checks: Checks) -> tuple[Ids, Ids]:
        """Return the ids that have these checks, -1 for none, and slots for `insert`."""
        found = np.full(len(checks), -1, np.int64)
        bucket = self._home(checks)
        rows = self._checks.take(bucket, axis=0)
        hits = np.flatnonzero((rows == checks[:, None]).reshape(-1))
        here = hits >> _SHIFT
        numbers = self._ids.reshape(-1)
        found[here] = numbers[(bucket[here] << _SHIFT) + (hits & (_WIDTH - 1))]
        filled = (rows != 0).view(np.uint64)
        filled *= _SUM
        filled >>= _TOP
        slots = (filled[:, 0] + filled[:, 1]).view(np.int64)
        full = slots == _WIDTH
        slots += bucket << _SHIFT
        slots[full] = -1
        left = np.flatnonzero(full & (found < 0))
        if len(left):
            bucket = bucket[left]
            rows = self._wide[bucket]
            hits = np.flatnonzero((rows == checks[left][:, None]).reshape(-1))
            here = hits // rows.shape[1]
            found[left[here]] = numbers[(bucket[here] << _SHIFT) + hits % rows.shape[1]]
            if self._rest:
                for row in left[(rows[:, -1] != 0) & (found[left] < 0)].tolist():
                    found[row] = self._rest.get(int(checks[row]), -1)
        return found, slots

    def insert(self, checks: Checks, ids: Ids, slots: Ids) -> None:
        """Add entries whose checks are not there yet; of equal checks the first one.

        slots: what `find` said of these checks, with nothing added since.
        """
        if self._count + len(checks) > _FULL * _WIDTH * self._buckets:
            self._grow(self._count + len(checks))
            slots = self.find(checks)[1]
        self._place(checks, ids, slots)

    def entries(self) -> npt.NDArray[np.uint64]:
        """Return all entries, nearly in order: the check in the upper half, the id in the lower."""
        there = self._checks != 0
        pairs: npt.NDArray[np.uint64] = self._checks[there].astype(np.uint64)
        pairs <<= _HALF
        pairs |= self._ids[there]
        if self._rest:
            rest = [check << 32 | number for check, number in self._rest.items()]
            pairs = np.concatenate((pairs, np.array(rest, np.uint64)))
        return pairs

    def _home(self, checks: Checks) -> Ids:
        home: Ids = ((checks * np.uint64(self._buckets)) >> _HALF).view(np.int64)
        return home

    def _place(self, checks: Checks, ids: Ids, slots: Ids) -> None:
        some = np.flatnonzero(slots >= 0)
        if len(some) == len(slots):
            left = self._write(slots, checks, ids)
        else:
            lost = self._write(slots[some], checks[some], ids[some])
            left = np.sort(np.concatenate((np.flatnonzero(slots < 0), some[lost])))
        if not len(left):
            return
        checks, ids = checks[left], ids[left]
        home = self._home(checks)
        while len(home) > _FEW:  # several for one slot, or the bucket is full
            empty = self._wide[home] == 0
            column = empty.argmax(axis=1)
            room = empty[np.arange(len(home)), column]
            if not room.all():
                self._place_singly(checks[~room], ids[~room], home[~room])
                checks, ids, home, column = checks[room], ids[room], home[room], column[room]
            lost = self._write((home << _SHIFT) + column, checks, ids)
            checks, ids, home = checks[lost], ids[lost], home[lost]
        self._place_singly(checks, ids, home)

    def _place_singly(self, checks: Checks, ids: Ids, home: Ids) -> None:
        """Put entries into the first free slots from their buckets on; what finds none goes aside."""
        for check, number, first in zip(checks.tolist(), ids.tolist(), home.tolist()):
            row = self._wide[first].tolist()
            if check in row:
                continue
            if 0 in row:
                slot = (first << _SHIFT) + row.index(0)
                self._checks.reshape(-1)[slot] = check
                self._ids.reshape(-1)[slot] = number
                self._count += 1
            elif self._rest.setdefault(check, number) == number:
                self._count += 1

    def _write(self, slot: Ids, checks: Checks, ids: Ids) -> Ids:
        """Write entries into slots; return the numbers of those that another check kept out.

        Of several for one slot the first is to have it: written backwards, it is the last to be written.
        """
        slots = self._checks.reshape(-1)
        slots[slot[::-1]] = checks[::-1]
        self._ids.reshape(-1)[slot[::-1]] = ids[::-1]
        lost = np.flatnonzero(slots.take(slot) != checks)
        self._count += len(slot) - len(lost)  # counts a check twice that is there twice: a few in a thousand
        return lost

    def _grow(self, total: int) -> None:
        """Put all entries into a larger table, some buckets at a time."""
        checks, ids, rest = self._checks, self._ids, self._rest
        growth = _GROWTH if self._buckets > _SMALL else 2.0
        buckets = round(self._buckets * growth)
        while total > _FULL * _WIDTH * buckets:
            buckets = round(buckets * growth)
        self._allocate(buckets)
        self._count = 0
        for first in range(0, len(checks), _MOVED):
            part = checks[first : first + _MOVED]
            there = part != 0
            self._move(part[there], ids[first : first + _MOVED][there])
        self._move(
            np.fromiter(rest.keys(), np.uint32, len(rest)), np.fromiter(rest.values(), np.uint32, len(rest))
        )

    def _move(self, checks: Checks, ids: Checks) -> None:
        """Put entries in: sorted by check, so that a bucket is filled at once."""
        pairs = (checks.astype(np.uint64) << _HALF) | ids
        pairs.sort(kind="stable")  # nearly sorted
        checks, ids = (pairs >> _HALF).astype(np.uint32), pairs.astype(np.uint32)
        home = self._home(checks)
        firsts = np.flatnonzero(np.diff(home, prepend=-1))
        counts = np.diff(firsts, append=len(home))
        # those that came over from the part before are the first in their buckets
        filled = np.count_nonzero(self._checks.take(home[firsts], axis=0), axis=1)
        rank = np.arange(len(home)) + np.repeat(filled - firsts, counts)
        fits = rank < _WIDTH
        slot = home[fits] * _WIDTH + rank[fits]
        self._checks.reshape(-1)[slot] = checks[fits]
        self._ids.reshape(-1)[slot] = ids[fits]
        self._count += len(slot)
        over = checks[~fits]
        self._place(over, ids[~fits].astype(np.int64), np.full(len(over), -1))
