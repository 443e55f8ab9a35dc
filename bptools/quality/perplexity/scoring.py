"""What bp-ppl does: records in, the same records with scores out, cut where that was asked for.

Records are read some thousand ahead, scored in batches of like length, and go out in their order. For
percentiles all are read first and wait on disk; of each only 9 bytes stay in memory, 13 with --by.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING

from bptools.chat.view import Views, as_text, field_value
from bptools.core.records import Drop, Record, Reject
from bptools.core.window import Window
from bptools.core.window_spool import WindowSpool
from bptools.quality.perplexity.cutting import NONE, Cut
from bptools.quality.perplexity.score import FEW, FIELDS, Score
from bptools.quality.perplexity.scorer import Encoded, Scorer, prepared
from bptools.quality.perplexity.telling import Tally

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline
    from bptools.core.window import Verdict

_WINDOW_BYTES = 1 << 20
_MOST_RECORDS = 4096  # read ahead: enough for batches of like length
_MOST_BATCHES = 256  # of tokens read ahead
_SCORED, _FEW, _UNSCORABLE, _REFUSED = range(4)


@dataclass
class _Held:
    """A window on its way: what is to become of each record, and how many still wait for a score."""

    window: Window
    verdicts: list[Verdict]
    waiting: int = 0
    read: bool = False  # whether all its records were looked at
    values: list[float] = field(default_factory=list)  # what is cut by; nan without
    states: list[int] = field(default_factory=list)


@dataclass
class _Waiting:
    """A record that is read and not scored."""

    held: _Held
    number: int
    encoded: list[Encoded]  # one for each scorer


class Scoring:
    """One run over a stream. `load` returns the scorer, and after it that of --baseline if there is one."""

    def __init__(
        self, pipe: Pipeline, views: Views, load: Callable[[], list[Scorer]], batch_tokens: int, cut: Cut
    ) -> None:
        self.pipe = pipe
        self.views = views
        self.cut = cut
        self.tally = Tally(pipe, views, cut)
        self._load = load
        self._scorers: list[Scorer] = []
        self._most_tokens = batch_tokens * _MOST_BATCHES
        self._waiting: list[_Waiting] = []
        self._tokens = 0  # of those that wait
        self._queue: deque[_Held] = deque()
        self._work = _Work(pipe)
        pipe.work = self._work.said

    @property
    def scorers(self) -> list[Scorer]:
        """The one whose scores count, and that of --baseline, once there was a record."""
        return self._scorers

    def run(self) -> None:
        """Read, score and write."""
        try:
            if self.cut.needs_all:
                self._all_first()
            elif self.pipe.settings.line_buffered:
                self._one_by_one()
            else:
                for held in self._scored():
                    if not self._settle(held.window, held):
                        break
            self.tally.finish(self._scorers)
        finally:
            for scorer in self._scorers:
                scorer.close()

    def _one_by_one(self) -> None:
        """Do all that is to be done with a record before the next one is read."""
        pipe = self.pipe
        for raw, record in pipe:
            window = Window()
            window.add((raw,), (record,), pipe.intake.source.name, pipe.intake.line, 0)
            held = _Held(window, [None], values=[nan], states=[_REFUSED])
            self._prepare(held, 0)
            self._score()
            self._judge(held)
            why = held.verdicts[0]
            if why is None:
                pipe.write(window.raws[0])  # type: ignore[arg-type]  # a line, since it holds a score
            else:
                pipe.settle(why, window.raws[0], window.record(0))
            if pipe.counts.out == pipe.settings.limit:
                break

    def _all_first(self) -> None:
        """Score everything, find the percentiles, then settle everything."""
        values, states = array("d"), array("B")
        cut = self.cut
        with WindowSpool() as spool:
            for held in self._scored():
                values.extend(held.values)
                states.extend(held.states)
                for number in range(len(held.window)):
                    cut.note(_group(cut, held.window.record(number)))
                spool.add(held.window)
            cut.find(values, states)
            self._work.phase = None
            done = 0
            for window in spool:
                size = len(window)
                part = slice(done, done + size)
                held = _Held(window, [None] * size, values=list(values[part]), states=list(states[part]))
                done += size
                for number, state in enumerate(held.states):
                    if state in (_REFUSED, _UNSCORABLE):  # not kept: found again
                        self._refuse(held, number, self._why(held, number))
                if not self._settle(window, held):
                    break

    def _why(self, held: _Held, number: int) -> object:
        """Return why a record has no score, or why its line could not be written."""
        record = held.window.record(number)
        several = (prepared(scorer, self.views, record) for scorer in self._scorers)
        why = next((found for found in several if not isinstance(found, Encoded)), None)
        if held.states[number] == _REFUSED and not isinstance(why, (Reject, Drop)):
            try:
                held.window.add_bp(number, {})
            except Reject as unwritable:
                return unwritable
        return why

    # reading and scoring

    def _scored(self) -> Iterator[_Held]:
        """Yield windows in order, each when its records are scored and their lines hold the scores."""
        limit = self.pipe.settings.limit if not self.cut.needs_all else None
        for window in self.pipe.windows(_WINDOW_BYTES):
            size = len(window)
            held = _Held(window, [None] * size, values=[nan] * size, states=[_REFUSED] * size)
            self._queue.append(held)
            for number in range(size):
                self._prepare(held, number)
                most = _MOST_RECORDS
                if limit is not None:
                    most = min(most, max(1, limit - self.pipe.counts.out))
                if len(self._waiting) >= most or self._tokens >= self._most_tokens:
                    self._score()
                    yield from self._ready()
            held.read = True
            yield from self._ready()
        self._score(last=True)
        yield from self._ready()

    def _ready(self) -> Iterator[_Held]:
        while self._queue and self._queue[0].read and not self._queue[0].waiting:
            yield self._queue.popleft()

    def _prepare(self, held: _Held, number: int) -> None:
        """Encode a record, or note why nothing of it is scored."""
        record = held.window.record(number)
        if not self._scorers:
            self._scorers = self._load()
            self.cut.check(self._scorers)
        encoded: list[Encoded] = []
        for scorer in self._scorers:
            found = prepared(scorer, self.views, record)
            if not isinstance(found, Encoded):
                self._refuse(held, number, found)
                if isinstance(found, str):
                    self._write(held, number, [Score(0.0, 0, 0)] * len(self._scorers))
                return
            encoded.append(found)
        held.waiting += 1
        self._waiting.append(_Waiting(held, number, encoded))
        self._tokens += sum(row.length for each in encoded for row in each.rows)

    def _refuse(self, held: _Held, number: int, why: object) -> None:
        """Note why a record has no score: it is none, or nothing of it can be scored."""
        if isinstance(why, (Reject, Drop)):
            held.verdicts[number], held.states[number] = why, _REFUSED
            return
        held.states[number] = _UNSCORABLE
        if self.cut.cuts:
            explanation = why if isinstance(why, str) else f"its {self.cut.metric} is no finite number"
            held.verdicts[number] = Drop("unscorable", explanation=explanation)

    def _score(self, last: bool = False) -> None:
        """Score all records that wait; last: there are no others to come."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self._work.begin(self._tokens, last)
        self._tokens = 0
        several = [
            scorer.scores([item.encoded[index] for item in waiting], self._work.tick)
            for index, scorer in enumerate(self._scorers)
        ]
        for item, scores in zip(waiting, zip(*several)):
            self._write(item.held, item.number, list(scores))
            item.held.waiting -= 1
        self._work.end(len(waiting))

    def _write(self, held: _Held, number: int, scores: list[Score]) -> None:
        """Put a score into the line of its record."""
        score, baseline = scores[0], scores[1] if len(scores) > 1 else None
        added = score.as_json(baseline)
        gone = [name for name in FIELDS if name not in added]
        try:
            held.window.add_bp(number, added, gone)
        except Reject as why:
            held.verdicts[number], held.states[number] = why, _REFUSED
            return
        value = added.get(self.cut.metric)
        if value is None:
            if held.states[number] != _UNSCORABLE:
                self._refuse(held, number, None)
        else:
            held.states[number] = _FEW if score.tokens < FEW else _SCORED
            held.values[number] = value
        self.tally.note(score, added)

    # what becomes of a window

    def _settle(self, window: Window, held: _Held) -> bool:
        self._judge(held)
        return self.pipe.settle_window(window, held.verdicts)

    def _judge(self, held: _Held) -> None:
        """Find which of the records that have a score are cut."""
        window = held.window
        for number, state in enumerate(held.states):
            if state == _SCORED:
                group = _group(self.cut, window.record(number)) if self.cut.by is not None else NONE
                held.verdicts[number] = why = self.cut.judge(held.values[number], group)
                if self.cut.cuts:
                    self.tally.lean(window, number, why is not None)


def _group(cut: Cut, record: Record) -> str:
    return as_text(field_value(record, cut.by)) if cut.by is not None else NONE


class _Work:
    """How far the scoring is, for the line of progress."""

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe
        self.phase: str | None = "loading the model"
        self._started = 0.0
        self._busy = 0  # tokens done
        self._records = 0  # whose rounds have ended
        self._from = self._until = 0.0  # of the input: what was read before this round, and with it
        self._round = self._done = 0

    def begin(self, tokens: int, last: bool) -> None:
        """A round of so many tokens begins."""
        if not self._started:
            self._started = time.monotonic()
        self.phase = None
        opened = self._pipe.intake.input
        size = opened.file.size if opened is not None else None
        if last:
            self._from = self._from or self._busy / max(1, self._busy + tokens)
            self._until = 1.0
        elif opened is not None and size:
            self._until = opened.file.bytes_read / size
        self._round, self._done = tokens, 0

    def tick(self, tokens: int) -> None:
        """Some of them are done."""
        self._done += tokens
        self._busy += tokens

    def end(self, records: int) -> None:
        """All of them are, of so many records."""
        self._records += records
        self._from, self._round = self._until, 0

    def said(self) -> tuple[float | None, str]:
        """Return (the share of the input that is scored, what is done or how fast)."""
        if self.phase is not None or not self._busy:
            return None, self.phase or ""
        share = self._from
        if self._round:
            share += (self._until - self._from) * min(1.0, self._done / self._round)
        speed = self._busy / max(1e-9, time.monotonic() - self._started)
        return share or None, f"{self._records:,} scored, {speed:,.0f} tokens/s"
