"""Records that are judged after all were read: their windows on disk, and a number for the content of each.

    recording = Recording(known)            # known: RecordedKnown
    for each in ahead:
        recording.add(each)
    known.end()
    for window, numbers in recording:
        rows = with_content(numbers)
        found = known.judge_recorded(numbers[rows])

Records of one content have one number, so that each content is profiled once. Judging is that of Known, for
records in any order: an exact copy of a kept record is a duplicate of it, whatever else is compared with all
that are kept by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from bptools.core.records import Drop, Reject
from bptools.core.spill import TemporaryFile
from bptools.core.window import Window
from bptools.core.window_spool import WindowSpool
from bptools.quality.dedup.bands import Ids
from bptools.quality.dedup.content import Content
from bptools.quality.dedup.contents import Contents
from bptools.quality.dedup.keys import Array
from bptools.quality.dedup.known import Known
from bptools.quality.dedup.near import NearIndex
from bptools.quality.dedup.profile import Profile
from bptools.quality.dedup.resolving import Verdicts
from bptools.quality.dedup.running import Ahead

if TYPE_CHECKING:
    from typing_extensions import Self

ABSENT = 0xFFFFFFFF  # in place of a number: a record without a content
OBJECTED = 0xFFFFFFFE  # a record that cannot be read
NOBODY = 0xFFFFFFFF


class RecordedKnown(Known):
    """Known as usual until `begin`; from there on contents are only numbered, to be judged after `end`.

    The numbers are those of `keys`, where all contents are now and not only those of kept records. Beside
    their keys they take 8 bytes each, and 8 more with near-duplicates.
    """

    def __init__(self, near: NearIndex | None) -> None:
        super().__init__(near)
        self.contents: Contents | None = None  # those from `_first` on, with near-duplicates
        self._first: int | None = None  # numbers below it are ids; None: not begun
        self._kept = 0
        self._ids: Array = np.zeros(0, np.uint32)  # by number, from `_first` on
        self._numbers: Array = np.zeros(0, np.uint32)  # by id, from `_first` on

    def __len__(self) -> int:
        return len(self.keys) if self._first is None else self._kept

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        contents = self.contents.nbytes if self.contents is not None else 0
        return super().nbytes + contents + self._ids.nbytes + self._numbers.nbytes

    def close(self) -> None:
        """Give the space on disk back."""
        super().close()
        if self.contents is not None:
            self.contents.close()

    def hex(self, number: int) -> str:
        """Return the key of a kept record as 32 hexadecimal digits."""
        return self.keys.hex(self._number(number))

    def _number(self, number: int) -> int:
        first = self._first
        return number if first is None or number < first else int(self._numbers[number - first])

    def keys_from(self, first: int) -> Array:
        """Return the keys of the kept records from an id on."""
        if self._first is None:
            return super().keys_from(first)
        assert first <= self._first
        decided = self.keys.copy_of_keys(first, self._first)
        later = self._numbers[: self._kept - self._first] - np.uint32(self._first)
        keys: Array = np.concatenate((decided, self.keys.copy_of_keys(self._first)[later]))
        return keys

    def begin(self) -> None:
        """Judge nothing from here on; once is enough."""
        if self._first is not None:
            return
        self._first = self._kept = len(self.keys)
        if self.near is not None:
            self.contents = Contents(self.near.bands)

    def place(self, keys: Array, profile: Profile | None, profiled: Array | None) -> Array:
        """Return the numbers of the contents of records. The parameters are those of `judge`."""
        ids, first = self.keys.place(keys)
        new = np.flatnonzero(ids < 0)
        if len(new):
            leads = new[first[new] == new]
            ids[leads] = self.keys.add(keys[leads]) + np.arange(len(leads))
            ids[new] = ids[first[new]]
            if self.contents is not None:
                assert profile is not None and profiled is not None
                self.contents.add(profile, np.searchsorted(profiled, leads))
        return ids.astype(np.uint32)

    def end(self) -> None:
        """Have all contents: they can be judged now."""
        self.begin()
        assert self._first is not None
        later = len(self.keys) - self._first
        self._ids = np.full(later, NOBODY, np.uint32)
        self._numbers = np.zeros(later, np.uint32)

    def ids(self, numbers: Array) -> Ids:
        """Return the ids of the kept records with these contents, -1 where there is none."""
        assert self._first is not None
        ids: Ids = numbers.astype(np.int64)
        later = np.flatnonzero(ids >= self._first)
        ids[later] = self._ids[ids[later] - self._first]
        ids[ids == NOBODY] = -1
        return ids

    def judge_recorded(self, numbers: Array) -> Verdicts:
        """Judge records in order, by the numbers of their contents, and add those that are kept."""
        assert self._first is not None
        ids = self.ids(numbers)
        verdicts = Verdicts(ids, np.full(len(ids), np.nan))
        new = np.flatnonzero(ids < 0)
        if not len(new):
            return verdicts
        contents, firsts, which = np.unique(numbers[new], return_index=True, return_inverse=True)
        if self.contents is None or self.near is None:
            leads = new[np.sort(firsts)]
            self._keep(numbers[leads])
            copies = np.delete(new, firsts)
            ids[copies] = self.ids(numbers[copies])
            verdicts.jaccard[leads] = 0.0
            return verdicts
        if len(contents) == len(new):
            profile = self.contents.profile(numbers[new].astype(np.int64) - self._first)
            twins: Ids = np.full(len(new), -1, np.int64)
        else:
            profile = self.contents.profile(contents.astype(np.int64) - self._first).take(which)
            twins = which
        found = self.near.match(profile, twins)
        self._keep(numbers[new[found.owner < 0]])
        ids[new] = found.owner
        verdicts.jaccard[new] = found.jaccard
        return verdicts

    def _keep(self, numbers: Array) -> None:
        """Give contents the next ids."""
        assert self._first is not None
        kept = np.arange(self._kept, self._kept + len(numbers))
        self._ids[numbers - np.uint32(self._first)] = kept
        self._numbers[kept - self._first] = numbers
        self._kept += len(numbers)


class Recording:
    """Windows on disk, with the numbers of their contents. Raises OutputError, ReadWriteError."""

    def __init__(self, known: RecordedKnown) -> None:
        self._known = known
        self._windows = WindowSpool()
        self._numbers = TemporaryFile()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._windows.close()
        self._numbers.close()

    def add(self, ahead: Ahead) -> None:
        """Add a window and what was seen of it."""
        window = ahead.window
        if not len(window) and not window.refused:
            return
        self._known.begin()
        numbers = np.full(len(window), ABSENT, np.uint32)
        numbers[list(ahead.seen.objections)] = OBJECTED
        numbers[ahead.rows] = self._known.place(ahead.keys, ahead.profile, ahead.profiled)
        self._windows.add(window)
        self._numbers.append(numbers.tobytes())

    def numbers(self) -> Array:
        """Return the numbers of all records."""
        return np.frombuffer(self._numbers.read(0, self._numbers.size), np.uint32)

    def __iter__(self) -> Iterator[tuple[Window, Array]]:
        """Yield the windows in order, each with the numbers of its records."""
        offset = 0
        for window in self._windows:
            size = 4 * len(window)
            yield window, np.frombuffer(self._numbers.read(offset, size), np.uint32)
            offset += size


def with_content(numbers: Array) -> Ids:
    """Return which records have a content."""
    return np.flatnonzero(numbers < OBJECTED)


def objections(content: Content, window: Window, numbers: Array) -> dict[int, Drop | Reject]:
    """Return why some records of a window cannot be read, once more."""
    found: dict[int, Any] = {}
    for row in np.flatnonzero(numbers == OBJECTED).tolist():
        seen = content.look((window.raws[row],), (window.record(row),))
        found[row] = seen.objections[0]
    return found
