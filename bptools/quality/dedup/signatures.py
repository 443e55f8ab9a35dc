"""Signatures for other programs: what `--signatures` writes, a line for each record that is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bptools.core.records import dumps
from bptools.quality.dedup.contents import RowFile
from bptools.quality.dedup.minhash import PERMUTATIONS

if TYPE_CHECKING:
    from bptools.core.output import Output
    from bptools.quality.dedup.near import NearIndex
    from bptools.quality.dedup.originals import Originals
    from bptools.quality.dedup.profile import Profile
    from bptools.quality.dedup.resolving import Flags

_AT_ONCE = 1024  # records


class SignatureWriter:
    """Notes the signatures of what is kept, on disk, and writes them when all is known."""

    def __init__(self, output: Output, seed: int) -> None:
        self._output = output
        self._seed = seed
        self._rows = RowFile(PERMUTATIONS)

    def keep(self, profile: Profile, kept: Flags) -> None:
        """Note what is kept."""
        assert profile.signatures is not None
        self._rows.add(profile.signatures[:, kept])

    def write(self, near: NearIndex, originals: Originals, first: int) -> None:
        """Write all that was kept from an id on and has words. Raises ReadWriteError, ReaderGone."""
        shared = {"num_perm": PERMUTATIONS, "seed": self._seed, "scheme": "affine32"}
        for start in range(0, len(self._rows), _AT_ONCE):
            numbers = np.arange(start, min(start + _AT_ONCE, len(self._rows)))
            counts = near.sets.counts(first + start, first + start + len(numbers))
            for number, count, row in zip(numbers.tolist(), counts.tolist(), self._rows.read(numbers)):
                if count:
                    key = originals.key(first + number)
                    self._output.write(dumps({"key": key, **shared, "hashvalues": row.tolist()}))

    def close(self) -> None:
        """Give the space on disk back."""
        self._rows.close()
