"""A run with an index: which of its batches count, and what this run adds to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bptools.core.records import dumps
from bptools.core.window import Window
from bptools.core.window_spool import WindowSpool
from bptools.quality.dedup.bands import Checks
from bptools.quality.dedup.contents import RowFile
from bptools.quality.dedup.known import Known
from bptools.quality.dedup.originals import Originals
from bptools.quality.dedup.store import HEAD_BYTES, BatchDigest, IndexStore

if TYPE_CHECKING:
    from bptools.quality.dedup.profile import Profile
    from bptools.quality.dedup.resolving import Flags

_AT_ONCE = 1 << 14  # records


class Indexed:
    """Takes the windows of a stream and gives them back, with what counts of the index known by then."""

    def __init__(self, store: IndexStore, known: Known, originals: Originals) -> None:
        self._store = store
        self._known = known
        self._originals = originals
        self._digest = BatchDigest()
        self._spool = WindowSpool()
        self._records = 0
        self.keyless = 0  # records that are kept though they have no key
        self._until: int | None = None
        self._first = 0  # ids below are of earlier runs
        self.checks: RowFile | None = None  # of the records that are kept, with near-duplicates
        if known.near is not None:
            self.checks = RowFile(known.near.bands)

    def load(self, until: int | None) -> None:
        """Have the records of all batches known, or of those before one."""
        self._until = until
        segments = self._store.segments(until)
        known = self._known
        for segment in segments:
            keys = segment.keys()
            known.keys.add(keys)
            self._originals.add_earlier(segment.idents(), len(keys))
        if known.near is not None:
            known.near.attach(segments)

    def begin(self) -> None:
        """All that is known from here on is of this run."""
        self._first = len(self._known)

    def open(self, windows: Iterator[Window]) -> Iterator[Window]:
        """Load what counts of the index, and return the windows of a stream.

        Whether it was here before is clear after its first 64 KiB if they are new; if they are those of an
        earlier one, all of it is read first.
        """
        held: list[Window] = []
        ended = True
        for window in windows:
            self._note(window)
            held.append(window)
            if len(self._digest.head) >= HEAD_BYTES:
                ended = False
                break
        if not self._store.head_matches(self._digest.head, ended):
            self.load(None)
            return self._streamed(held, windows)
        for window in held:
            self._spool.add(window)
        held.clear()
        for window in windows:
            self._note(window)
            self._spool.add(window)
        self.load(self._store.position(self._digest.sha256))
        return iter(self._spool)

    def _streamed(self, held: list[Window], windows: Iterator[Window]) -> Iterator[Window]:
        while held:
            yield held.pop(0)
        for window in windows:
            self._note(window)
            yield window

    def _note(self, window: Window) -> None:
        self._records += len(window)
        for number, raw in enumerate(window.raws):
            self._digest.update(dumps(window.record(number)) if raw is None else raw)

    def keep(self, profile: Profile, kept: Flags) -> None:
        """Note the checks of what is kept."""
        assert self.checks is not None
        self.checks.add(profile.checks[:, kept])

    def commit(self) -> None:
        """Add what is kept if the input was not there before. Raises ReadWriteError, OutputError."""
        if self._until is not None:
            return
        known, first = self._known, self._first
        near = known.near
        self._store.commit(
            self._digest.sha256,
            self._digest.head,
            self._records,
            known.keys_from(first),
            kept=len(known) - first + self.keyless,
            idents=self._originals.idents_from(first),
            checks=self._checks(),
            sets=near.sets.copy_from(first) if near is not None else (),
            ends=near.sets.ends_from(first) if near is not None else None,
        )

    def close(self) -> None:
        """Give the space on disk back, and let other runs in."""
        self._spool.close()
        if self.checks is not None:
            self.checks.close()
        self._store.close()

    def _checks(self) -> Iterator[Checks]:
        if self.checks is not None:
            for start in range(0, len(self.checks), _AT_ONCE):
                rows = np.arange(start, min(start + _AT_ONCE, len(self.checks)))
                yield np.ascontiguousarray(self.checks.read(rows).T)
