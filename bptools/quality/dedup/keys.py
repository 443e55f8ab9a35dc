"""The keys of the records that were kept, in the order of keeping: a table of 22 to 28 bytes a key.

    table = KeyTable()
    ids, new = table.admit(keys)      # keys: an array of n x 2 uint64

A key lies in an array at the number that is its id. Beside it is an index: buckets of 16 slots of 32 bits,
each the id and, in the bits that ids do not need yet, a part of the key's hash. So one look into a bucket
settles nearly every search, and what it finds is compared in full. The index is at most 75 % full and is made
anew twice as large, from the keys, after the old one was given back: no moment needs both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_SLOTS = 16  # of a bucket: a cache line
_FULLEST = 0.75
_FIRST_BITS = 6  # of the number of buckets
_AT_ONCE = 1 << 15  # keys put into a new index in one go
_MIX = np.uint64(0x9E3779B97F4A7C15)


def keys_of(digests: Sequence[bytes]) -> Array:
    """Return digests of 16 bytes as the array of (n, 2) numbers that KeyTable takes."""
    keys: Array = np.frombuffer(b"".join(digests), np.uint64)
    return keys.reshape(-1, 2)


class KeyTable:
    """Numbers keys of 128 bits from 0 as they are added, and finds them again."""

    def __init__(self) -> None:
        self._count = 0
        self._keys: Array = np.zeros((_AT_ONCE >> 3, 2), np.uint64)
        self._placed: tuple[Array, Array, Array, Array] | None = None  # what `keep` needs of a `place`
        self._make_index(_FIRST_BITS)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._keys.nbytes + self._slots.nbytes + self._used.nbytes

    def digest(self, number: int) -> bytes:
        """Return the key of an id as its 16 bytes."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        digest: bytes = self._keys[number].tobytes()
        return digest

    def hex(self, number: int) -> str:
        """Return the key of an id as 32 hexadecimal digits."""
        return self.digest(number).hex()

    def copy_of_keys(self, first: int = 0, end: int | None = None) -> Array:
        """Return a copy of the keys with these ids; the array itself moves when it grows."""
        copy: Array = self._keys[first : self._count if end is None else min(end, self._count)].copy()
        return copy

    def place(self, keys: Array) -> tuple[Array, Array]:
        """Return the ids of keys, -1 for new ones, and for each new one where it comes first in `keys`.

        Of keys that have an id, the second array gives their own places.
        """
        ids = self._look_up(keys)
        first = np.arange(len(keys))
        if len(self._repeated):
            new = np.flatnonzero(self._are_repeated & (ids < 0))
            first[new] = new[_firsts(keys[new])]
        return ids, first

    def keep(self, places: Array | None) -> int:
        """Add those that stand at these places of the keys last given to `place`; return the id of the first.

        They have to be new ones that come first. None: all of them.
        """
        assert self._placed is not None
        keys, bucket, tag, used = self._placed
        if places is not None:
            keys, bucket, tag, used = keys[places], bucket[places], tag[places], used[places]
        number = self._count
        if self._append(keys):
            self._insert(bucket, tag, used, number)
        return number

    def admit(self, keys: Array) -> tuple[Array, Array]:
        """Add what is new among keys, in order; return all their ids, and which were new."""
        ids, first = self.place(keys)
        new: Array = ids < 0
        if not len(self._repeated) and new.all():
            number = self.keep(None)
            return first + number, new
        leads = new & (first == np.arange(len(keys)))
        places = leads.nonzero()[0]
        number = self.keep(places)
        ids[places] = np.arange(number, self._count)
        copies = (new & ~leads).nonzero()[0]
        ids[copies] = ids[first[copies]]
        return ids, leads

    def _look_up(self, keys: Array) -> Array:
        """Return the ids of keys, -1 for new ones, and remember what `keep` needs."""
        mixed = _mixed(keys)
        ids, bucket, tag, used = self._search(keys, mixed)
        self._placed = (keys, bucket, tag, used)
        ordered = np.sort(mixed)
        self._repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(self._repeated):
            # only these few are put in order: 80 ns a record less where a tenth are copies
            place = np.searchsorted(self._repeated[:-1], mixed)
            self._are_repeated = self._repeated[place] == mixed
        return ids

    def find(self, keys: Array) -> Array:
        """Return the ids of keys, -1 where a key is not in the table."""
        return self._search(keys, _mixed(keys))[0]

    def add(self, keys: Array) -> int:
        """Add keys that are not in the table, each of them once; return the id of the first."""
        number = self._count
        if self._append(keys):
            bucket, tag = self._home(_mixed(keys))
            self._insert(bucket, tag, self._used.take(bucket), number)
        return number

    def _search(self, keys: Array, mixed: Array) -> tuple[Array, Array, Array, Array]:
        """Return the ids of keys, -1 for new ones; of these the bucket with room, the tag, and its fill."""
        bucket, tag = self._home(mixed)
        ids: Array = np.full(len(keys), -1, np.int64)
        self._compare(keys, bucket, tag, ids, None)
        used: Array = self._used.take(bucket)
        left = ((used == _SLOTS) & (ids < 0)).nonzero()[0]
        while len(left):
            bucket[left] = further = self._next(bucket[left])
            there: Array = self._used.take(further)
            used[left] = there
            self._compare(keys, further, tag[left], ids, left)
            left = left[(there == _SLOTS) & (ids[left] < 0)]
        return ids, bucket, tag, used

    def _compare(self, keys: Array, bucket: Array, tag: Array, ids: Array, asked: Array | None) -> None:
        """Note the ids of keys that are in these buckets; `asked` are the places of the keys, None: all."""
        rows: Array = self._slots.take(bucket, axis=0)
        similar = ((rows ^ tag[:, None]) <= self._id_mask).reshape(-1).nonzero()[0]
        if not len(similar):
            return
        candidates = (rows.reshape(-1)[similar] & self._id_mask).astype(np.int64) - 1
        places = similar // _SLOTS if asked is None else asked[similar // _SLOTS]
        held, wanted = self._keys[candidates], keys[places]
        # an empty slot looks like one of tag 0, and its candidate like the last row
        same = (held[:, 0] == wanted[:, 0]) & (held[:, 1] == wanted[:, 1]) & (candidates >= 0)
        ids[places[same]] = candidates[same]

    def _append(self, keys: Array) -> bool:
        """Add to the array of keys; True: the index is still to be told."""
        self._placed = None
        start, count = self._count, self._count + len(keys)
        if count > len(self._keys):
            # in place where the system moves pages in place of bytes
            self._keys.resize((max(count, len(self._keys) + (len(self._keys) >> 5)), 2), refcheck=False)
        self._keys[start:count] = keys
        self._count = count
        if count <= _FULLEST * self._slots.size:
            return True
        bits = self._bits
        while count > _FULLEST * (_SLOTS << bits):
            bits += 1
        self._make_index(bits)
        for start in range(0, count, _AT_ONCE):
            bucket, tag = self._home(_mixed(self._keys[start : min(count, start + _AT_ONCE)]))
            self._insert(bucket, tag, self._used.take(bucket), start)
        return False

    def _make_index(self, bits: int) -> None:
        self._bits = bits
        self._mask = (1 << bits) - 1
        self._id_mask = np.uint32((_SLOTS << bits) - 1)
        self._slots: Array = np.zeros((0, _SLOTS), np.uint32)  # memory is given back before more is taken
        self._slots = np.zeros((1 << bits, _SLOTS), np.uint32)
        self._used: Array = np.zeros(1 << bits, np.uint8)

    def _insert(self, bucket: Array, tag: Array, used: Array, number: int) -> None:
        """Give keys their slots; `bucket` is where the search for room begins, `used` how full that is."""
        value = tag | np.arange(number + 1, number + 1 + len(tag), dtype=np.uint32)
        slots = self._slots.reshape(-1)
        while len(value):
            full = (used == _SLOTS).nonzero()[0]
            while len(full):
                bucket[full] = further = self._next(bucket[full])
                there: Array = self._used.take(further)
                used[full] = there
                full = full[there == _SLOTS]
            slot = bucket * _SLOTS + used
            slots[slot] = value
            got = slots.take(slot) == value  # where several came for one slot, one of them has it
            if got.all():
                self._used[bucket] = used + 1
                return
            self._used[bucket[got]] = used[got] + 1
            lost = (~got).nonzero()[0]
            bucket, value = bucket[lost], value[lost]
            used = self._used.take(bucket)

    def _home(self, mixed: Array) -> tuple[Array, Array]:
        """Return the bucket of each key, and the part of its hash that is kept, above the bits of an id."""
        bucket = (mixed >> np.uint64(64 - self._bits)).astype(np.int64)
        return bucket, mixed.astype(np.uint32) & ~self._id_mask

    def _next(self, bucket: Array) -> Array:
        following: Array = (bucket + 1) & self._mask
        return following


def _mixed(keys: Array) -> Array:
    """Return 64 bits of hash: keys are hashes themselves, so that little is needed."""
    mixed: Array = keys[:, 1] * _MIX
    mixed ^= keys[:, 0]
    return mixed


def _firsts(keys: Array) -> Array:
    """Return for each key the place where it comes first."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # which is stable: of equal keys the first leads
    ordered = keys[order]
    leads: Array = np.ones(len(keys), bool)
    leads[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(leads)
    first: Array = np.empty(len(keys), np.int64)
    first[order] = np.repeat(order[starts], np.diff(np.append(starts, len(keys))))
    return first
