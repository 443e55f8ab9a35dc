"""Records in, records with an answer out: a window at a time, in the order of the input.

A window is a fixed number of records, whatever pauses the input makes: what is batched together, and with it
the last bits of a sum in bfloat16, is the same in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from types import TracebackType
from typing import Any

from bptools.chat.view import Views
from bptools.core.errors import BpError, DataError, Exit
from bptools.core.pipeline import Pipeline, Place
from bptools.core.records import Drop, Record, Reject, dumps
from bptools.models.contenders import Contenders
from bptools.models.matching import Check, How, match
from bptools.models.prompts import Asked, Asking
from bptools.models.sampling import sampling_for

_BATCHES_IN_WINDOW = 8  # enough to sort by length, little enough to wait for


@dataclass(frozen=True)
class Wanted:
    """What is asked for: the options of bp-generate that say how to answer."""

    max_new_tokens: int = 512
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int = 0
    samples: int = 1
    stop: tuple[str, ...] = ()
    batch_size: int = 8
    system: str | None = None
    raw: bool = False
    score: How | None = None
    check: Check | None = None


class NotMet(BpError):
    """--check was asked, and the answer is no."""

    exit_code = Exit.NO


@dataclass
class _Item:
    """A record that was read: what is asked of the model, or why nothing can be."""

    line: bytes | None
    record: Record
    place: Place
    number: int  # among the records of the input, those of --skip and --slice counted, for chance
    first: bool = True  # of the records that one line became
    asked: Asked | None = None
    why: Drop | Reject | None = None
    encoded: list[list[int]] = field(default_factory=list)  # the prompt's tokens, one for each contender
    answers: list[list[str]] = field(default_factory=list)  # of each contender, `samples` of them


def run(pipe: Pipeline, views: Views, contenders: Contenders, wanted: Wanted) -> None:
    """Answer every record of the stream; the outcome of --score goes to messages, report and --check."""
    Answering(pipe, views, contenders, wanted).run()


class Answering:
    """One run over a stream."""

    def __init__(self, pipe: Pipeline, views: Views, contenders: Contenders, wanted: Wanted) -> None:
        self.pipe = pipe
        self.views = views
        self.contenders = contenders
        self.wanted = wanted
        self.asking = Asking(wanted.system, wanted.raw)
        self.tally: dict[str, tuple[int, int]] = {}  # {label: (answers that match, answers compared)}

    def run(self) -> None:
        """Read, answer and write, window by window. Models are loaded when the first record is there."""
        pipe, limit = self.pipe, self.pipe.settings.limit
        if self.wanted.score is not None:
            pipe.resources.push(self._conclude)
            pipe.report_fields["match"] = self.tally
        size = 1 if pipe.settings.line_buffered else self.wanted.batch_size * _BATCHES_IN_WINDOW
        items = self._items()
        while limit is None or pipe.counts.written < limit:
            window = list(islice(items, size if limit is None else min(size, limit - pipe.counts.written)))
            if not window:
                break
            self._answer([item for item in window if item.why is None])
            for item in window:
                self._settle(item)
        self._say_matches()

    def _items(self) -> Iterator[_Item]:
        pipe = self.pipe
        for number, (raw, record) in enumerate(pipe, pipe.intake.start):
            place = (pipe.intake.source.name, pipe.intake.line)
            self.contenders.load()
            try:
                shape, several = self.views.made_exactly(raw, record)
            except (Reject, Drop) as why:
                yield _Item(raw, record, place, number, why=why)
                continue
            for index, made in enumerate(several):
                item = _Item(raw, made, place, number, first=index == 0)
                self._prepare(item, shape)
                yield item

    def _prepare(self, item: _Item, shape: str) -> None:
        """Render and encode the prompt for each contender, or note why that cannot be."""
        try:
            item.asked = asked = self.asking(shape, item.record)
            for contender in self.contenders:
                generator = contender.generator
                try:
                    ids = generator.encode(asked.prompt, tools=asked.tools, raw=self.wanted.raw)
                except DataError as error:
                    raise Drop("template", explanation=str(error)) from None
                if generator.context and len(ids) >= generator.context:
                    raise Drop("too-long", len(ids), generator.context)
                item.encoded.append(ids)
            dumps(asked.with_answer(""))  # what cannot be written, as half a surrogate pair, is not answered
        except (Reject, Drop) as why:
            item.why = why

    def _answer(self, items: list[_Item]) -> None:
        wanted = self.wanted
        if not items:
            return
        for position, contender in enumerate(self.contenders):
            contender.select()
            generator = contender.generator
            answers = generator.complete_encoded(
                [item.encoded[position] for item in items],
                sampling_for(generator.model, wanted.temperature, wanted.top_p, wanted.top_k),
                max_new_tokens=wanted.max_new_tokens,
                seed=wanted.seed,
                samples=wanted.samples,
                stop=wanted.stop,
                raw=wanted.raw,
                batch_size=wanted.batch_size,
                numbers=[item.number for item in items],
            )
            for item, given in zip(items, answers):
                item.answers.append(given)

    def _settle(self, item: _Item) -> None:
        pipe = self.pipe
        try:
            line = dumps(self._finished(item)) if item.why is None else b""
        except Reject as why:
            item.why = why
        if item.why is not None:
            pipe.settle(item.why, item.line, item.record, place=item.place)
            return
        pipe.write_line(line)
        if item.first:
            pipe.counts.out += 1
        else:
            pipe.counts.split += 1

    def _finished(self, item: _Item) -> Record:
        """Return the record with its answer, the outcome of --score, and of several answers all."""
        assert item.asked is not None
        wanted = self.wanted
        verdicts = self._verdicts(item)
        added: dict[str, Any] = {}
        if verdicts is not None:
            added["match"] = verdicts[0][0]
        if len(item.answers) > 1 or wanted.samples > 1 or wanted.raw:
            added["completions"] = self._completions(item, verdicts)
        record = item.asked.with_answer(item.answers[0][0])
        if not added:
            return record
        old = record.get("bp")
        return {**record, "bp": {**old, **added} if type(old) is dict else added}

    def _verdicts(self, item: _Item) -> list[list[bool | None]] | None:
        """Return whether each answer matches the reference, and count those; None without --score."""
        how = self.wanted.score
        if how is None or item.asked is None:
            return None
        reference = item.asked.reference
        verdicts = [
            [None if reference is None else match(how, text, reference) for text in given]
            for given in item.answers
        ]
        for contender, found in zip(self.contenders, verdicts):
            matched, compared = self.tally.get(contender.label, (0, 0))
            known = [verdict for verdict in found if verdict is not None]
            self.tally[contender.label] = (matched + sum(known), compared + len(known))
        return verdicts

    def _completions(self, item: _Item, verdicts: list[list[bool | None]] | None) -> list[Record]:
        completions: list[Record] = []
        for position, contender in enumerate(self.contenders):
            for sample, text in enumerate(item.answers[position]):
                entry: Record = {"model": contender.label, "text": text}
                if verdicts is not None:
                    entry["match"] = verdicts[position][sample]
                completions.append(entry)
        return completions

    def _say_matches(self) -> None:
        for label, (matched, compared) in self.tally.items():
            self.pipe.messages.info(f"{label}: match {matched}/{compared}{_percent(matched, compared)}")

    def _conclude(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Fail where --check is not met, once everything is written and said."""
        check = self.wanted.check
        if error is not None or check is None or not self.pipe.counts.written:
            return False
        matched, compared = next(iter(self.tally.values()), (0, 0))  # none where all were dropped
        if not compared:
            raise DataError("no record has an answer to compare with, so --check has no answer either")
        if not check.met(matched / compared):
            raise NotMet(f"match is {matched / compared:.4g}, not {check}")
        return False


def _percent(matched: int, compared: int) -> str:
    return f" ({100 * matched / compared:.1f} %)" if compared else ""
