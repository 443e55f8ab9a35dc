"""What records are compared with: keys of contents for exact copies, bands and shingles for near ones."""

from __future__ import annotations

import numpy as np

from bptools.quality.dedup.keys import Array, KeyTable
from bptools.quality.dedup.near import NearIndex
from bptools.quality.dedup.profile import Profile
from bptools.quality.dedup.resolving import Verdicts


class Known:
    """The records that are kept, numbered from 0 in order. `near` is None for exact copies only."""

    def __init__(self, near: NearIndex | None) -> None:
        self.keys = KeyTable()
        self.near = near

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.keys.nbytes + (self.near.nbytes if self.near is not None else 0)

    def hex(self, number: int) -> str:
        """Return the key of a record as 32 hexadecimal digits."""
        return self.keys.hex(number)

    def keys_from(self, first: int) -> Array:
        """Return the keys of the records from an id on."""
        return self.keys.copy_of_keys(first)

    def close(self) -> None:
        """Give the space on disk back."""
        if self.near is not None:
            self.near.close()

    def judge(self, keys: Array, profile: Profile | None, profiled: Array | None) -> Verdicts:
        """Judge records in order and add those that are kept.

        keys: of all of them, (n, 2) uint64. profiled: the numbers of those that `profile` is about, at least
        all whose keys are new; None without near-duplicates.
        """
        if profile is None or profiled is None or self.near is None:
            ids, fresh = self.keys.admit(keys)
            verdicts = Verdicts(ids, np.full(len(keys), np.nan))
            ids[fresh] = -1
            verdicts.jaccard[fresh] = 0.0
            return verdicts
        ids, first = self.keys.place(keys)
        verdicts = Verdicts(ids, np.full(len(keys), np.nan))
        new = np.flatnonzero(ids < 0)
        if not len(new):
            return verdicts
        if len(new) != len(profile):
            profile = profile.take(np.searchsorted(profiled, new))
        twins = first[new]
        if (twins == new).all():
            twins = np.full(len(new), -1, np.int64)
        found = self.near.match(profile, twins)
        self.keys.keep(new[found.owner < 0])
        ids[new] = found.owner
        verdicts.jaccard[new] = found.jaccard
        return verdicts
