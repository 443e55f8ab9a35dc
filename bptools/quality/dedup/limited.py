"""A run within a given amount of memory: what `--max-memory` says.

Records are settled as they come in while the tables of bands have room. When they have not, the rest of the
input is read to its end and only then judged, by a GroupedIndex: the same bytes go out, later. What stays in
memory is 26 bytes for the key of every content, 24 for each content of that rest, and up to 4 for every band
that several contents share.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from bptools.core.errors import BpError, UsageError
from bptools.core.sizes import parse_size, shown_size
from bptools.quality.dedup.grouped import GroupedIndex
from bptools.quality.dedup.recorded import RecordedKnown, Recording, objections, with_content

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline
    from bptools.quality.dedup.known import Known
    from bptools.quality.dedup.running import Ahead, Run

_PROGRAM = 80 << 20  # Python, numpy and the work on windows: measured with records of 100 to 100,000 bytes
_JOB = 10 << 20  # each further window that is worked on: 8 MB were measured
_WORKER = 36 << 20  # the process that is at work on it: 31 to 36 MB were measured
_LEAST = 16 << 20  # for what is known
_GROWING = 1.2  # one table of bands at a time is there twice
_PER_BAND = 14  # bytes of memory for an entry of a table, at most
_LEAST_SORTED = 4 << 20


class Room:
    """How much memory there is for what is known."""

    def __init__(self, size: str | None, jobs: int = 1) -> None:
        """Parse what --max-memory is given; None is as much as is wanted. Raises UsageError."""
        self._bytes: int | None = None
        self._size = 0
        if size is None:
            return
        others = _WORKER * (jobs - 1)
        taken = _PROGRAM + _JOB * (jobs - 1) + others
        given = parse_size("--max-memory", size)
        self._size = given - others  # for this process
        self._bytes = given - taken
        if self._bytes < _LEAST:
            least = shown_size(taken + _LEAST)
            with_jobs = f" with --jobs {jobs}" if jobs > 1 else ""
            raise UsageError(f"--max-memory {size} is too little; the least{with_jobs} is {least}")

    @property
    def for_bands(self) -> int | None:
        """Bytes for the bands of what is known before the stream begins; None: no limit."""
        return int(self._bytes / _GROWING) if self._bytes is not None else None

    def is_short(self, known: Known, entries: int = 0) -> bool:
        """Say whether the bands of so many further contents may not fit."""
        if self._bytes is None or known.near is None:
            return False
        held = known.nbytes
        more = entries * _PER_BAND * known.near.bands
        return _GROWING * held + more > self._bytes or _peak() + held // 10 + more > self._size

    def for_sorting(self, known: Known) -> int:
        """Return how many bytes may be used beside what is known."""
        return max(_LEAST_SORTED, (self._bytes or 0) - known.nbytes)


def _peak() -> int:
    """Return the most bytes of memory that this process had so far, 0 where the system does not say.

    What getrusage says may be that of the process that started this one.
    """
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def go_over(known: RecordedKnown, room: Room) -> None:
    """Have the bands of all contents grouped: what is judged from here on needs no tables."""
    near, contents = known.near, known.contents
    assert isinstance(near, GroupedIndex) and contents is not None
    if not near.spilled:
        near.spill()
    contents.groups = near.group(contents.checks, room.for_sorting(known))


def settle_within(pipe: Pipeline, run: Run, known: RecordedKnown, ahead: Iterator[Ahead], room: Room) -> None:
    """Settle every window as soon as it is decided until there is no room; then read all the others first."""
    near = known.near
    assert isinstance(near, GroupedIndex)
    for each in ahead:
        if near.spilled or room.is_short(known):
            _settle_recorded(pipe, run, known, chain((each,), ahead), room)
            return
        if not pipe.settle_window(each.window, run.decide(each)):
            return


def _settle_recorded(
    pipe: Pipeline, run: Run, known: RecordedKnown, ahead: Iterator[Ahead], room: Room
) -> None:
    near = known.near
    assert isinstance(near, GroupedIndex)
    if not near.spilled:
        near.spill()
    failure: BpError | None = None
    with Recording(known) as recording:
        try:
            for each in ahead:
                recording.add(each)
        except BpError as error:  # what was read before it goes out first
            failure = error
        known.end()
        go_over(known, room)
        for window, numbers in recording:
            rows = with_content(numbers)
            found = known.judge_recorded(numbers[rows])
            run.originals.add(window, rows[found.owner < 0].tolist())
            why = objections(run.content, window, numbers)
            if not pipe.settle_window(window, run.verdicts(window, why, rows, found)):
                return
    if failure is not None:
        raise failure
