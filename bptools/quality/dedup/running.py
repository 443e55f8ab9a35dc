"""A run of bp-dedup: windows of records in, verdicts out, with cores at work on the windows ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bptools.core.records import Drop, Reject
from bptools.core.window import Window
from bptools.quality.dedup.content import Content, Seen
from bptools.quality.dedup.findings import Findings
from bptools.quality.dedup.keys import Array
from bptools.quality.dedup.known import Known
from bptools.quality.dedup.originals import Originals
from bptools.quality.dedup.profile import Profile, Profiler
from bptools.quality.dedup.resolving import Verdicts

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from bptools.core.pipeline import Pipeline

NEAR_BYTES = 1 << 20  # of a window: what numpy costs for each is shared by some 2,000 records
EXACT_BYTES = 256 << 10


class Ahead:
    """A window on its way: what was seen of it, and the profile that a thread makes of it."""

    __slots__ = ("_future", "_profile", "keys", "profiled", "rows", "seen", "window")

    def __init__(self, window: Window, seen: Seen, rows: Array) -> None:
        self.window = window
        self.seen = seen
        self.rows = rows  # that have a content
        keys = seen.keys
        self.keys = keys if len(rows) == len(keys) else keys[rows]
        self.profiled: Array | None = None  # which of these rows are profiled
        self._profile: Profile | None = None
        self._future: Future[Profile] | None = None

    def start(self, profiler: Profiler, known: Known, threads: ThreadPoolExecutor | None) -> None:
        """Profile what is no copy of a record that is known by now."""
        self.profiled = np.flatnonzero(known.keys.find(self.keys) < 0)
        every = self.seen.texts
        texts = [every[row] for row in self.rows[self.profiled].tolist()]
        if threads is None:
            self._profile = profiler.profile(texts)
        else:
            self._future = threads.submit(profiler.profile, texts)

    @property
    def profile(self) -> Profile | None:
        """The profile, waited for."""
        return self._profile if self._future is None else self._future.result()


def windows_of(pipe: Pipeline, content: Content, near: bool, thrifty: bool = False) -> Iterator[Window]:
    """Return the windows of a run, looked at; `thrifty` ones save 10 to 20 MB for some per cent more time."""
    return pipe.windows(NEAR_BYTES >> thrifty if near else EXACT_BYTES, content)


def look_ahead(
    windows: Iterable[Window], content: Content, profiler: Profiler | None, known: Known, jobs: int
) -> Iterator[Ahead]:
    """Yield windows with their profiles; up to `jobs` of them are worked on at a time."""
    threads: ThreadPoolExecutor | None = None
    if profiler is not None and jobs > 1:
        from concurrent.futures import ThreadPoolExecutor as _Threads

        threads = _Threads(jobs)
    waiting: deque[Ahead] = deque()
    try:
        for window in windows:
            seen: Seen | None = window.seen
            if seen is None:  # a window from disk, or one of refused lines alone
                seen = content.look(window.raws, [window.record(row) for row in range(len(window))])
            rows = np.arange(len(window))
            if seen.absent:
                rows = np.delete(rows, seen.absent)
            ahead = Ahead(window, seen, rows)
            if profiler is not None:
                ahead.start(profiler, known, threads)
            waiting.append(ahead)
            while waiting and (window.pause or threads is None or len(waiting) > jobs):
                yield waiting.popleft()
        yield from waiting
    finally:
        if threads is not None:
            threads.shutdown(cancel_futures=True)


class Run:
    """Decides about one window after the other."""

    def __init__(
        self, pipe: Pipeline, content: Content, known: Known, originals: Originals, findings: Findings
    ) -> None:
        self._pipe = pipe
        self.content = content
        self.known = known
        self.originals = originals
        self.findings = findings

    def decide(self, ahead: Ahead) -> list[Drop | Reject | None]:
        """Return what becomes of the records of a window."""
        found = self.known.judge(ahead.keys, ahead.profile, ahead.profiled)
        # before the drops: what stays may be what another is a copy of
        self.originals.add(ahead.window, ahead.rows[found.owner < 0].tolist())
        return self.verdicts(ahead.window, ahead.seen.objections, ahead.rows, found)

    def verdicts(
        self, window: Window, objections: dict[int, Drop | Reject], rows: Array, found: Verdicts
    ) -> list[Drop | Reject | None]:
        """Return what becomes of the records of a window; `found` is about some `rows` of it."""
        verdicts: list[Drop | Reject | None] = [None] * len(window)
        for row, why in objections.items():
            verdicts[row] = why
        gone = np.flatnonzero(found.owner >= 0)
        for row, owner, jaccard in zip(
            rows[gone].tolist(), found.owner[gone].tolist(), found.jaccard[gone].tolist()
        ):
            verdicts[row] = self.originals.drop(owner, jaccard)
        self.findings.add(window, rows, found, self._settled(verdicts))
        return verdicts

    def _settled(self, verdicts: list[Drop | Reject | None]) -> int:
        """Return how many records of a window are settled before --limit is reached."""
        settings = self._pipe.settings
        if settings.limit is not None:
            left = settings.limit - self._pipe.counts.out
            for row, why in enumerate(verdicts, 1):
                left -= why is None or (settings.tag and isinstance(why, Drop))
                if not left:
                    return row
        return len(verdicts)


def stream(pipe: Pipeline, run: Run, ahead: Iterator[Ahead]) -> None:
    """Settle every window as soon as it is decided."""
    for each in ahead:
        if not pipe.settle_window(each.window, run.decide(each)):
            return
