"""A run of bp-dedup: windows of records in, verdicts out, with processes at work on the windows ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bptools.core.records import Drop, Reject
from bptools.core.window import Window
from bptools.quality.dedup.content import Content, Seen
from bptools.quality.dedup.crew import Crew, Job
from bptools.quality.dedup.findings import Findings
from bptools.quality.dedup.keys import Array
from bptools.quality.dedup.known import Known
from bptools.quality.dedup.originals import Originals
from bptools.quality.dedup.profile import Profile
from bptools.quality.dedup.resolving import Verdicts

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline

NEAR_BYTES = 1 << 20  # of a window: what numpy costs for each is shared by some 2,000 records
EXACT_BYTES = 1 << 20  # 0.15 to 0.3 us a record less than with 256 KiB; 2 MiB were slower again


class Ahead:
    """A window on its way: what was seen of it, and the profile that is made of it."""

    __slots__ = ("job", "keys", "profiled", "rows", "seen", "window")

    def __init__(self, window: Window, seen: Seen, rows: Array) -> None:
        self.window = window
        self.seen = seen
        self.rows = rows  # that have a content
        keys = seen.keys
        self.keys = keys if len(rows) == len(keys) else keys[rows]
        self.profiled: Array | None = None  # which of these rows are profiled
        self.job: Job | None = None

    def ask(self, known: Known) -> Job:
        """Ask for the profile of what is no copy of a record that is known by now."""
        self.profiled = np.flatnonzero(known.keys.find(self.keys) < 0)
        every = self.seen.texts
        self.job = Job([every[row] for row in self.rows[self.profiled].tolist()])
        return self.job

    @property
    def profile(self) -> Profile | None:
        """The profile, when it is made."""
        return None if self.job is None else self.job.profile


def windows_of(pipe: Pipeline, content: Content, near: bool, thrifty: bool = False) -> Iterator[Window]:
    """Return the windows of a run, looked at; `thrifty` ones save 10 to 20 MB for some per cent more time."""
    return pipe.windows(NEAR_BYTES >> thrifty if near else EXACT_BYTES, content)


def look_ahead(
    pipe: Pipeline, windows: Iterable[Window], content: Content, known: Known, crew: Crew | None
) -> Iterator[Ahead]:
    """Yield windows, with profiles if a crew makes them; `crew.ahead` of them may wait meanwhile.

    None waits while there is nothing to read. A writer that keeps up leaves the pipe empty for a moment now
    and then: whether it still is, is asked again.
    """
    looked_at = _looked_at(windows, content)
    if crew is None:
        yield from looked_at
        return
    waiting: deque[Ahead] = deque()
    jobs: deque[Job] = deque()

    def first() -> Ahead:
        crew.finish(jobs.popleft(), jobs)
        crew.hand_out(jobs)
        return waiting.popleft()

    for ahead in looked_at:
        waiting.append(ahead)
        jobs.append(ahead.ask(known))
        pause = ahead.window.pause
        if not (pause and pipe.intake.may_wait()):
            crew.hand_out(jobs)
        while waiting and (len(waiting) > crew.ahead or (pause and pipe.intake.may_wait())):
            yield first()
    while waiting:
        yield first()


def _looked_at(windows: Iterable[Window], content: Content) -> Iterator[Ahead]:
    for window in windows:
        seen: Seen | None = window.seen
        if seen is None:  # a window from disk, or one of refused lines alone
            seen = content.look(window.raws, [window.record(row) for row in range(len(window))])
        rows = np.arange(len(window))
        if seen.absent:
            rows = np.delete(rows, seen.absent)
        yield Ahead(window, seen, rows)


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
