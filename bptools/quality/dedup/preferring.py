"""Which one of several duplicates stays: what `--prefer` says, in two passes.

All records are read first; then they are judged in the order of preference, and go out in the order of the
input. A record takes 28 to 36 bytes of memory for that, beside what its content takes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bptools.chat.view import field_value
from bptools.core.errors import UsageError
from bptools.quality.dedup.content import Seen
from bptools.quality.dedup.keys import Array
from bptools.quality.dedup.limited import Room, go_over
from bptools.quality.dedup.recorded import (
    NOBODY,
    OBJECTED,
    RecordedKnown,
    Recording,
    objections,
    with_content,
)
from bptools.quality.dedup.resolving import Verdicts

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline
    from bptools.core.window import Window
    from bptools.quality.dedup.running import Ahead, Run

_AT_ONCE = 2048  # records judged at once
_LARGEST = 1.7976931348623157e308
_EXACT = 1 << 53  # integers up to it are floats, too


class Preference:
    """An order of records: last, longest, or best:FIELD.

    last: the later the better. longest: by the characters of the compared text. best: by the number at a
    dotted path, the highest first, those without one last; integers beyond 64 bits are compared as floats.
    Of equal ones the first.
    """

    def __init__(self, text: str) -> None:
        """Parse what --prefer is given. Raises UsageError."""
        self.which, colon, self.field = text.partition(":")
        best = self.which == "best"
        if self.which not in ("last", "longest", "best") or bool(self.field) != best or bool(colon) != best:
            raise UsageError(f"--prefer '{text}' is none of first, last, longest, best:FIELD")
        self._count = 0
        self.found: bool | None = None  # whether any record had a number in the field
        self._values = array("d")
        self._rests = array("h")  # of integers: what they are more than the float

    @property
    def by_text(self) -> bool:
        """Whether texts are needed."""
        return self.which == "longest"

    def note(self, window: Window, seen: Seen) -> None:
        """Note the records of a window."""
        self._count += len(window)
        if self.which == "longest":
            self._values.extend(map(float, map(len, seen.texts)))
        elif self.which == "best":
            for number in range(len(window)):
                self._note_value(field_value(window.record(number), self.field))

    def _note_value(self, value: Any) -> None:
        rest = 0
        if type(value) is int:
            near = float(value) if abs(value) < 1 << 1000 else _LARGEST if value > 0 else -_LARGEST
            if not -_EXACT <= value <= _EXACT and abs(value) < 1 << 64:
                rest = value - int(near)
            value = near
        if self.found is None:
            self.found = False
        if type(value) is float:
            self.found = True
        else:
            value = -np.inf
        self._values.append(value)
        self._rests.append(rest)

    def order(self) -> Array:
        """Return the numbers of all records, the most preferred first; what was noted is forgotten."""
        if self.which == "last":
            return np.arange(self._count - 1, -1, -1, dtype=np.uint32)
        values = -np.frombuffer(self._values, np.float64)
        rests = -np.frombuffer(self._rests, np.int16)
        self._values, self._rests = array("d"), array("h")
        order = np.lexsort((rests, values)) if rests.any() else np.argsort(values, kind="stable")
        return order.astype(np.uint32)


class Judged:
    """Verdicts about all records, by their numbers."""

    def __init__(self, count: int) -> None:
        self._owner = np.full(count, NOBODY, np.uint32)
        self._jaccard = np.full(count, np.nan)

    def note(self, rows: Array, found: Verdicts) -> None:
        """Note verdicts about some records."""
        self._owner[rows] = found.owner
        self._jaccard[rows] = found.jaccard

    def verdicts(self, rows: Array) -> Verdicts:
        """Return the verdicts about some records."""
        owner = self._owner[rows].astype(np.int64)
        owner[owner == NOBODY] = -1
        return Verdicts(owner, self._jaccard[rows])


def settle_preferred(
    pipe: Pipeline, run: Run, known: RecordedKnown, ahead: Iterable[Ahead], preference: Preference, room: Room
) -> None:
    """Read all windows, judge their records by preference, and settle them in order."""
    with Recording(known) as recording:
        for each in ahead:
            recording.add(each)
            preference.note(each.window, each.seen)
        known.end()
        if known.contents is not None and room.is_short(known, len(known.contents)):
            go_over(known, room)
        judged = _judge(known, recording.numbers(), preference.order())
        if run.originals.noting:
            for window, numbers, rows, found in _with_verdicts(recording, judged):
                kept = rows[found.owner < 0]
                run.originals.add_later(window, kept.tolist(), known.ids(numbers[kept]).tolist())
        for window, numbers, rows, found in _with_verdicts(recording, judged):
            why = objections(run.content, window, numbers)
            if not pipe.settle_window(window, run.verdicts(window, why, rows, found)):
                return


def _judge(known: RecordedKnown, numbers: Array, order: Array) -> Judged:
    """Judge records by the numbers of their contents, in order."""
    judged = Judged(len(numbers))
    order = order[numbers[order] < OBJECTED]
    for first in range(0, len(order), _AT_ONCE):
        rows = order[first : first + _AT_ONCE]
        judged.note(rows, known.judge_recorded(numbers[rows]))
    return judged


def _with_verdicts(recording: Recording, judged: Judged) -> Iterator[tuple[Window, Array, Array, Verdicts]]:
    """Yield windows, the numbers of their records, which have a content, and what was found of these."""
    done = 0
    for window, numbers in recording:
        rows = with_content(numbers)
        yield window, numbers, rows, judged.verdicts(done + rows)
        done += len(window)
