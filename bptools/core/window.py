"""Records gathered for work on many at once: some lines of input, as many as have arrived.

    for window in pipe.windows(1 << 20):
        pipe.settle_window(window, [None if is_new(record) else Drop("old") for record in window.records])

What comes out does not depend on how the input is cut: lines that are no records wait in the window for
their turn, and what a limit leaves over was never there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bptools.core.records import Drop, Record, Reject, dumps, loads, splice_bp

if TYPE_CHECKING:
    from bptools.core.intake import Batch
    from bptools.core.pipeline import Pipeline

Verdict = Drop | Reject | None
_RECORD_BYTES = 1 << 10  # what a record counts that is no line
_AFTER_REFUSED = 1 << 62
_DROPS_ONLY = {Drop}


class Looker(Protocol):
    """Sees records as they are read, while they are in the caches; what it sees of a window is in `seen`."""

    def fresh(self) -> Any:
        """Return what is seen of no records."""

    def take(self, lines: list[bytes], seen: Any) -> bool:
        """Add lines that are not parsed yet; False: one of them is no record, and none was added."""

    def look(self, raws: Sequence[bytes | None], records: Sequence[Record], seen: Any) -> Any:
        """Add records."""


class Refused(NamedTuple):
    """A line that is no record, and the number of the record that it comes before."""

    before: int
    source: str
    line: int
    why: Reject
    raw: bytes


class Window:
    """Records and their lines (None where the container is not JSONL). It MAY hold none.

    Of lines that a Looker has seen there are no `records`: ask for a `record`.
    """

    __slots__ = (
        "_blank", "_first", "_line", "_source", "lines_only", "pause", "raws", "records", "refused", "seen",
    )  # fmt: skip

    def __init__(self) -> None:
        self.raws: list[bytes | None] = []
        self.records: list[Record] = []
        self.seen: Any = None  # what a Looker saw
        self.pause = False  # reading on may wait: what can go out should, before the next is asked for
        self.lines_only = True  # no raw is None
        self.refused: list[Refused] = []
        # runs of records on consecutive lines: number of the first, source, line, blank lines before it
        self._first: list[int] = []
        self._source: list[str] = []
        self._line: list[int] = []
        self._blank: list[int] = []

    def __len__(self) -> int:
        return len(self.raws)

    def record(self, number: int) -> Record:
        """Return one record."""
        return self.records[number] if self.records else loads(self.raws[number])  # type: ignore[arg-type, return-value]

    def add(
        self, raws: Sequence[bytes | None], records: Sequence[Record], source: str, line: int, blank: int
    ) -> None:
        """Add records that stand on consecutive lines; all or none of `raws` are None."""
        self._note(source, line, blank)
        if self.lines_only and raws and raws[0] is None:
            self.records = list(map(self.record, range(len(self.raws))))
            self.lines_only = False
        self.raws += raws
        self.records += records

    def add_lines(self, raws: Sequence[bytes], source: str, line: int, blank: int) -> None:
        """Add consecutive lines that a Looker has seen, without the records.

        Records that outlive the caches cost as much as parsing them again does.
        """
        if not self.lines_only:
            self.add(raws, list(map(loads, raws)), source, line, blank)  # type: ignore[arg-type]
            return
        self._note(source, line, blank)
        self.raws += raws

    def add_bp(self, number: int, added: Record, gone: Collection[str] = ()) -> None:
        """Merge fields into the `bp` of a record, and take others out. Raises Reject as `dumps` does."""
        raw, record = self.raws[number], self.record(number)
        line = splice_bp(dumps(record) if raw is None else raw, record, added, gone)
        self.raws[number] = line
        if self.records:
            self.records[number] = loads(line)  # type: ignore[call-overload]

    def _note(self, source: str, line: int, blank: int) -> None:
        """Note where the next record stands, unless it goes without saying."""
        first = len(self.raws)
        if self._first and line - self._line[-1] == first - self._first[-1] and source == self._source[-1]:
            return
        self._first.append(first)
        self._source.append(source)
        self._line.append(line)
        self._blank.append(blank)

    def at(self, number: int) -> tuple[str, int]:
        """Return the source and the line of a record."""
        run = self._run(number)
        return self._source[run], self._line[run] + number - self._first[run]

    def place(self, number: int) -> str:
        """Return FILE:LINE of a record."""
        source, line = self.at(number)
        return f"{source}:{line}"

    def blank(self, number: int) -> int:
        """Return how many blank lines there were up to a record."""
        return self._blank[self._run(number)]

    def _run(self, number: int) -> int:
        return bisect_right(self._first, number) - 1

    def sources(self) -> list[tuple[str, int, int]]:
        """Return (source, first record, the one after the last) for each run of records of one source."""
        runs: list[tuple[str, int, int]] = []
        for source, first, end in zip(self._source, self._first, [*self._first[1:], len(self)]):
            if runs and runs[-1][0] == source:
                runs[-1] = (source, runs[-1][1], end)
            else:
                runs.append((source, first, end))
        return runs


class Windows:
    """Gathers the records of a pipeline and settles what becomes of them."""

    def __init__(self, pipe: Pipeline, looker: Looker | None) -> None:
        self._pipe = pipe
        self._looker = looker
        self._intake = pipe.intake
        if looker is not None:
            self._intake.take = self._take
        settings = pipe.settings
        detailed = settings.tag or settings.explain or settings.dropped is not None
        self._plain = not detailed and settings.limit is None
        self._refuse = self._intake.refuse
        self._intake.refuse = self._refused
        self._window = Window()  # that is being gathered
        self._unsettled = 0
        self._refused_bytes = 0  # of the lines refused in it
        self._ended = False
        self._closed = False  # nothing more is read
        self._failure: Exception | None = None  # what ended the reading
        self._blank: int | None = None  # blank lines before the limit, when it is reached

    def gather(self, max_bytes: int) -> Iterator[Window]:
        """Yield windows of some `max_bytes`, at least one record, or what has arrived before a pause."""
        steps = self._intake.steps()
        try:
            while not self._ended and self._blank is None:
                window = self._fill(steps, max_bytes)
                if window.raws or window.refused or (window.pause and self._unsettled):
                    self._unsettled += 1
                    yield window
            if self._failure is not None and self._blank is None:
                raise self._failure
        finally:
            steps.close()
            self._closed = True
            self._count_blank()

    def _count_blank(self) -> None:
        """Take back the blank lines that were read ahead of a limit, once all are counted that were read."""
        if self._closed and self._blank is not None and self._intake.schedule is None:
            self._intake.counts.blank = self._blank

    def _take(self, lines: list[bytes]) -> bool:
        """Hand lines to the looker before they are parsed."""
        return self._looker.take(lines, self._window.seen)  # type: ignore[union-attr]

    def _fill(self, steps: Iterator[Batch], max_bytes: int) -> Window:
        window = self._window = Window()
        if self._looker is not None:
            window.seen = self._looker.fresh()
        size = self._refused_bytes = 0
        while size + self._refused_bytes < max_bytes or not (window.raws or window.refused):
            try:
                raws, records = next(steps)
            except StopIteration:
                self._ended = True
                break
            except Exception as error:  # what was read before it goes out first
                self._failure = error
                self._ended = True
                break
            if raws:
                size += self._add(window, raws, records)
            if (window.raws or self._unsettled) and self._intake.may_wait():
                window.pause = True
                return window
        window.pause = self._ended
        return window

    def _add(self, window: Window, raws: Sequence[bytes | None], records: Sequence[Record]) -> int:
        """Add what was read to a window; return its size in bytes."""
        place = self._intake.whereabouts()
        if records and self._looker is not None:
            self._looker.look(raws, records, window.seen)
        if raws[0] is None:
            window.add(raws, records, *place)
            return _RECORD_BYTES * len(raws)
        lines: Sequence[bytes] = raws  # type: ignore[assignment]
        if self._looker is None:
            window.add(raws, records, *place)
        else:
            window.add_lines(lines, *place)
        return sum(map(len, lines))

    def _refused(self, line: int, why: Reject, raw: bytes) -> None:
        window = self._window
        if self._unsettled == 0 and not window.raws:
            self._refuse(line, why, raw)
            return
        window.refused.append(Refused(len(window), self._intake.source.name, line, why, raw))
        self._refused_bytes += len(raw)

    def settle(self, window: Window, verdicts: Sequence[Verdict]) -> bool:
        """Do what `Pipeline.settle_window` says."""
        if self._blank is not None:
            return False
        self._unsettled -= 1
        pipe = self._pipe
        counts, limit = pipe.counts, pipe.settings.limit
        if self._plain and window.lines_only and not window.refused:
            objections = [why for why in verdicts if why is not None]
            if {*map(type, objections)} <= _DROPS_ONLY:
                self._settle_plainly(window, verdicts, objections)  # type: ignore[arg-type]
                return True
        steps: list[tuple[int, int, Refused | None]] = [
            (index, _AFTER_REFUSED, None) for index, why in enumerate(verdicts) if why is not None
        ]
        if window.refused:
            steps += [(line.before, number, line) for number, line in enumerate(window.refused)]
            steps.sort(key=itemgetter(0, 1))
        done = 0
        for index, _, line in steps:
            if not self._pass_on(window, done, index):
                return False
            done = index
            counts.read += 1
            if line is not None:
                pipe.note_reject(line.why, (line.source, line.line), line.raw)
                continue
            done += 1
            why: Drop | Reject = verdicts[index]  # type: ignore[assignment]
            pipe.settle(why, window.raws[index], window.record(index), None, window.at(index))
            if counts.out == limit:
                return self._end(window, index)
        return self._pass_on(window, done, len(window))

    def _settle_plainly(self, window: Window, verdicts: Sequence[Verdict], drops: list[Drop]) -> None:
        """Settle lines where nobody wants to see what is dropped: its records are not needed."""
        counts = self._pipe.counts
        raws = window.raws
        if drops:
            raws = [raw for raw, why in zip(raws, verdicts) if why is None]
            for why in drops:
                counts.drop(why.reason)
        counts.read += len(window)
        self._pipe.write_line(b"".join(raws))  # type: ignore[arg-type]
        counts.out += len(raws)

    def _pass_on(self, window: Window, first: int, last: int) -> bool:
        """Write a run of records as they came, one write for all of them; False: the limit is reached."""
        if first == last:
            return True
        pipe = self._pipe
        counts, limit = pipe.counts, pipe.settings.limit
        if not window.lines_only:
            return self._pass_on_singly(window, first, last)
        if limit is not None:
            last = min(last, first + limit - counts.out)
        raws = window.raws if last - first == len(window.raws) else window.raws[first:last]
        counts.read += last - first
        pipe.write_line(b"".join(raws))  # type: ignore[arg-type]
        counts.out += last - first
        return self._end(window, last - 1) if counts.out == limit else True

    def _pass_on_singly(self, window: Window, first: int, last: int) -> bool:
        pipe = self._pipe
        counts = pipe.counts
        for index in range(first, last):
            counts.read += 1
            raw, record = window.raws[index], window.record(index)
            try:
                pipe.write(dumps(record) if raw is None else raw)
            except Reject as why:
                pipe.reject(why, raw, record, window.at(index))
            if counts.out == pipe.settings.limit:
                return self._end(window, index)
        return True

    def _end(self, window: Window, index: int) -> bool:
        self._blank = window.blank(index)
        self._count_blank()
        return False
