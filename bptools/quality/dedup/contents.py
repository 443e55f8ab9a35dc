"""Contents that wait on disk to be judged: their shingles, and a row of numbers for each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bptools.core.spill import TemporaryFile
from bptools.quality.dedup.bands import Checks, Ids
from bptools.quality.dedup.minhash import Signatures
from bptools.quality.dedup.profile import Profile
from bptools.quality.dedup.sets import Ragged, ShingleFile, take

_DENSE = 4  # times as much is read in one go rather than row by row

Rows = npt.NDArray[np.uint32]


class RowFile:
    """Rows of `width` numbers of 32 bits, on disk, written once and read at random.

    Raises OutputError, ReadWriteError.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._file = TemporaryFile()

    def __len__(self) -> int:
        return self._file.size // (4 * self._width)

    def add(self, columns: Rows) -> None:
        """Add rows, given as (width, rows)."""
        self._file.append(np.ascontiguousarray(columns.T).tobytes())

    def read(self, numbers: Ids) -> Rows:
        """Return the rows with these numbers, in this order."""
        size = 4 * self._width
        if not len(numbers):
            return np.zeros((0, self._width), np.uint32)
        first, last = int(numbers.min()), int(numbers.max())
        if last - first < _DENSE * len(numbers):
            data = self._file.read(size * first, size * (last + 1 - first))
            return np.frombuffer(data, np.uint32).reshape(-1, self._width)[numbers - first]
        read = self._file.read
        data = b"".join([read(size * number, size) for number in numbers.tolist()])
        return np.frombuffer(data, np.uint32).reshape(-1, self._width)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


class GroupedProfile(Profile):
    """A profile with the numbers of groups for the bands of texts, (bands, texts), 0 for none."""

    __slots__ = ("groups",)

    def __init__(self, sets: Ragged, checks: Checks, signatures: Signatures | None, groups: Checks) -> None:
        super().__init__(sets, checks, signatures)
        self.groups = groups

    def take(self, which: Ids) -> GroupedProfile:
        """Return the profiles of some of the texts."""
        signatures = self.signatures[:, which] if self.signatures is not None else None
        return GroupedProfile(
            take(self.sets, which), self.checks[:, which], signatures, self.groups[:, which]
        )


class Contents:
    """Contents in the order of adding, numbered from 0."""

    def __init__(self, bands: int) -> None:
        self.sets = ShingleFile()
        self.checks = RowFile(bands)
        self.groups: RowFile | None = None  # with them a GroupedProfile is made
        self._signatures: RowFile | None = None

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.sets.nbytes

    def add(self, profile: Profile, which: Ids) -> None:
        """Add some of the contents of a profile."""
        self.sets.append(take(profile.sets, which))
        self.checks.add(profile.checks[:, which])
        if profile.signatures is not None:
            if self._signatures is None:
                self._signatures = RowFile(len(profile.signatures))
            self._signatures.add(profile.signatures[:, which])

    def profile(self, numbers: Ids) -> Profile:
        """Return what is known of contents, each named once."""
        sets, checks = self.sets.read(numbers), _columns(self.checks, numbers)
        signatures = _columns(self._signatures, numbers) if self._signatures is not None else None
        if self.groups is None:
            return Profile(sets, checks, signatures)
        return GroupedProfile(sets, checks, signatures, _columns(self.groups, numbers))

    def close(self) -> None:
        """Give the space back."""
        for file in (self.sets, self.checks, self.groups, self._signatures):
            if file is not None:
                file.close()


def _columns(file: RowFile, numbers: Ids) -> Rows:
    columns: Rows = np.ascontiguousarray(file.read(numbers).T)
    return columns
