"""From records that passed to the set that is wanted: sampled, redacted, ordered, split.

Lines go through four steps in this order; each may hold them back until the last one has come. What a step
holds back waits in temporary files beyond 16 MiB of memory, so that no set is too large.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from bptools.chat.view import Views, field_value
from bptools.core.pipeline import Enough
from bptools.core.records import Drop, Record, Reject, dumps, loads, reparse_exact
from bptools.core.spill import SortedSpill
from bptools.quality.fields import exact_value
from bptools.quality.sample import Reservoir, Share, parse_sample, shuffle_keys

if TYPE_CHECKING:
    from bptools.core.folder import OutputFolder
    from bptools.core.pipeline import Pipeline
    from bptools.quality.redact import Redactor

Sink = Callable[[bytes, Record], None]


class Shaping:
    """The steps after judging. Give `keep` to `Pipeline.sift`, then call `finish`."""

    def __init__(self, pipe: Pipeline, views: Views, seed: int) -> None:
        self._pipe = pipe
        self._views = views
        self._seed = seed
        self._limit = pipe.settings.limit
        self._keys: Any = None
        self._redactor: Redactor | None = None
        self._sample: Share | Reservoir | None = None
        self._sample_text = ""
        self._offered = 0  # to the sample, those that are only held for their place included
        self._marked: set[int] = set()  # which of these --tag marked
        self._places: list[str] = []
        self._sorter: SortedSpill | None = None
        self._sort_key: Callable[[bytes, Record], int | float] = lambda line, record: 0
        self._sink: Sink = self._write
        self._chunks = 0
        self._ordered_by = ""
        self._number_found: bool | None = (
            None  # whether any record had a number there; None: no one was asked
        )
        self._split_by: str | None = None
        self._side: Callable[[bytes, Record], str] | None = None
        self._group_by: str | None = None
        self._group_found: bool | None = None  # whether any record had that field; None: no one was asked
        self._folder: OutputFolder | None = None

    # what is wanted

    def redact(self, redactor: Redactor) -> None:
        """Replace personal data and secrets."""
        self._redactor = redactor

    def sample(self, text: str) -> None:
        """Keep N records or P% of them. Raises UsageError."""
        wanted = parse_sample(text)
        settings = self._pipe.settings
        if isinstance(wanted, float):
            self._sample = Share(wanted, self._seed)
        else:
            everything = settings.tag or settings.explain or settings.dropped is not None
            self._sample = Reservoir(wanted, self._seed, keep_losers=everything)
        self._sample_text = text

    def shuffle(self) -> None:
        """Put the records in an order of chance."""
        keys = shuffle_keys(self._seed)
        self._sort_by(lambda line, record: next(keys))

    def order(self, by: str, backwards: bool) -> None:
        """Order by difficulty, tokens or a number in a field, ascending; records without one go last."""
        sign = -1 if backwards else 1
        if by == "difficulty":
            from bptools.quality.difficulty import difficulty

            self._sort_by(self._by_text(difficulty, sign))
        elif by == "tokens":
            from bptools.chat.tokens import approximate_tokens

            self._sort_by(self._by_text(approximate_tokens, sign))
        else:
            self._ordered_by = by

            def by_number(line: bytes, record: Record) -> float:
                return _number(field_value(record, by), sign)

            def at_first(line: bytes, record: Record) -> float:
                self._number_found = type(field_value(record, by)) in (int, float)
                if self._number_found:
                    self._sort_key = by_number  # from here on nobody asks
                return by_number(line, record)

            self._sort_by(at_first)

    def _sort_by(self, key: Callable[[bytes, Record], int | float]) -> None:
        self._sorter = SortedSpill()
        self._sort_key = key

    def into(
        self, path: str, split: str | None, group_by: str | None, split_by: str | None, chunks: int | None
    ) -> None:
        """Write files of a folder: the sides of a split, one for each value of a field, or equal chunks.

        Raises UsageError, OutputError.
        """
        from bptools.core.folder import OutputFolder

        parts = None
        if split is not None:
            from bptools.quality.split import parse_split

            parts = parse_split(split)
        self._folder = OutputFolder(path)
        self._pipe.write_into(self._folder)
        if parts is not None:
            self._folder.declare(f"{name}.jsonl" for name, _ in parts)
            self._group_by = group_by
            self._side = self._side_of(parts, group_by)
        elif split_by is not None:
            self._split_by = split_by
            self._sink = self._to_value(split_by)
        elif chunks is not None:
            from bptools.quality.difficulty import chunk_name

            self._folder.declare(chunk_name(number, chunks) for number in range(1, chunks + 1))
            self._chunks = chunks

    def _side_of(
        self, parts: list[tuple[str, float]], group_by: str | None
    ) -> Callable[[bytes, Record], str]:
        from bptools.quality.split import Sides, group_key

        sides = Sides(parts, self._seed)
        field = group_by or "bp.dup_of"  # a copy goes where its original goes

        def side(line: bytes, record: Record) -> str:
            value = exact_value(line, record, field)
            self._group_found = bool(self._group_found) or value is not None
            return sides.side(self._key(line, record) if value is None else group_key(value))

        return side

    def _to_value(self, field: str) -> Sink:
        from bptools.quality.split import MISSING, file_name

        def put(line: bytes, record: Record) -> None:
            self._put(f"{file_name(exact_value(line, record, field, MISSING))}.jsonl", line)

        return put

    # the steps

    def keep(self, line: bytes, record: Record) -> None:
        """Take a record that passed. Raises Reject where it cannot be written anew."""
        if self._sample is None:
            self._redacted(line, record)
            return
        key = self._key(line, record)
        if isinstance(self._sample, Share):
            if self._sample.takes(key):
                self._redacted(line, record)
            else:
                self._lose(None, line, record)
            return
        self._note_place()
        self._sample.offer(key, line)

    def keep_marked(self, line: bytes, record: Record) -> None:
        """Take a record that --tag marked: it is out of the sample, as if it had been dropped."""
        if isinstance(self._sample, Reservoir):
            self._marked.add(self._offered)
            self._note_place()
            self._sample.hold(line)
        else:
            self._redacted(line, record)

    def _note_place(self) -> None:
        self._offered += 1
        if self._pipe.settings.explain:
            self._places.append(self._pipe.intake.place)

    def _redacted(self, line: bytes, record: Record) -> None:
        # by what it was before: the marks of its copies hold the key of that
        side = self._side(line, record) if self._side is not None else None
        if self._redactor is not None:
            cleaned = self._redactor.record(record, line)
            if self._pipe.settings.tag:
                cleaned = self._without_found(cleaned)
            if cleaned is not record:
                line, record = dumps(cleaned), cleaned
        if self._sorter is not None:
            held = line if side is None else b"%b\n%b" % (side.encode(), line)
            self._sorter.add(self._sort_key(line, record), held)
        elif side is not None:
            self._put(f"{side}.jsonl", line)
        else:
            self._sink(line, record)

    def _without_found(self, record: Record) -> Record:
        """Return a record whose marks do not quote what is redacted."""
        assert self._redactor is not None
        marks = record.get("bp")
        if type(marks) is not dict or "drop" not in marks:
            return record
        found = {"drop": marks["drop"]}
        cleaned = self._redactor.record(found, None)
        return record if cleaned is found else {**record, "bp": {**marks, **cleaned}}

    def finish(self) -> None:
        """Pass on what was held back; what --limit leaves of it is dropped."""
        if isinstance(self._sample, Reservoir):
            self._finish_sample(self._sample)
        if self._sorter is not None:
            self._finish_order(self._sorter)
        if self._redactor is not None:
            notes = self._pipe.counts.notes
            notes.update({f"redacted-{kind}": count for kind, count in self._redactor.counts.items()})

    def absent(self) -> list[tuple[str, str]]:
        """Return (option, field) of those that no record had. Call it after `finish`."""
        from bptools.quality.split import MISSING, file_name

        absent = [("--order", self._ordered_by)] if self._number_found is False else []
        files = [*self._folder.files()] if self._folder is not None else []
        if self._split_by is not None and files == [f"{file_name(MISSING)}.jsonl"]:
            absent.append(("--split-by", self._split_by))
        if self._group_by is not None and self._group_found is False:
            absent.append(("--group-by", self._group_by))
        return absent

    def _finish_sample(self, sample: Reservoir) -> None:
        places = iter(self._places)
        passed = 0
        for line, chosen in sample:
            marked = passed in self._marked
            place = next(places, None)
            passed += 1
            if chosen or marked:
                self._pass_on(self._redacted, line, place)
            elif self._pipe.settings.tag:
                self._pass_on(functools.partial(self._lose, place), line, place)
            else:
                self._lose(place, line, loads(line))  # type: ignore[arg-type]
        for _ in range(self._offered - passed):  # the losers that were not stored
            self._pipe.counts.drop("sample")

    def _lose(self, place: str | None, line: bytes, record: Record) -> None:
        why = Drop("sample", None, self._sample_text)
        self._pipe.drop(why, line, record, self._redacted, place)

    def _finish_order(self, sorter: SortedSpill) -> None:
        if not self._chunks:
            for line in sorter:
                sink = self._sink
                if self._side is not None:
                    side, _, line = line.partition(b"\n")
                    sink = functools.partial(self._put_line, f"{side.decode()}.jsonl")
                self._pass_on(sink, line, None)
            return
        from bptools.quality.difficulty import chunk_name, chunks

        total = len(sorter) if self._limit is None else min(len(sorter), self._limit)
        lines = iter(sorter)
        for number, size in enumerate(chunks(total, self._chunks), 1):
            put = functools.partial(self._put_line, chunk_name(number, self._chunks))
            for line in islice(lines, size):
                self._pass_on(put, line, None)
        for line in lines:
            self._pass_on(put, line, None)  # beyond the limit: dropped

    def _pass_on(self, step: Sink, line: bytes, place: str | None) -> None:
        """Take the step, or drop the line when --limit is reached."""
        record: Record = loads(line)  # type: ignore[assignment]
        if self._limit is None or self._pipe.counts.out < self._limit:
            try:
                step(line, record)
            except Enough:
                pass
            except Reject as why:
                self._pipe.reject(why, line, record)
        else:
            why_not = Drop("limit", None, self._limit)
            self._pipe.drop(why_not, line, record, place=place or "held back", final=True)

    def _put_line(self, name: str, line: bytes, record: Record) -> None:
        self._put(name, line)

    def _put(self, name: str, line: bytes) -> None:
        assert self._folder is not None
        self._folder.write(name, line)
        self._count()

    def _write(self, line: bytes, record: Record) -> None:
        self._pipe.write_line(line)
        self._count()

    def _count(self) -> None:
        counts = self._pipe.counts
        counts.out += 1
        if counts.out == self._limit:
            raise Enough

    def _key(self, line: bytes, record: Record) -> int:
        """Return the content key; of a record that fits no shape a key of all its fields but `bp`."""
        if self._keys is None:
            from bptools.chat.identity import ContentKeys

            self._keys = ContentKeys(self._views)
        try:
            key: int = self._keys.key(line, record)
        except (Reject, Drop):
            from bptools.quality.split import group_key

            exact = reparse_exact(line, record)
            key = group_key({name: value for name, value in exact.items() if name != "bp"})
        return key

    def _by_text(self, measure: Callable[[str], float], sign: int) -> Callable[[bytes, Record], float]:
        def key(line: bytes, record: Record) -> float:
            try:
                return sign * float(measure(self._views.text(record)))
            except (Reject, Drop):  # it fits no shape: last
                return _LARGEST

        return key


_LARGEST = 1.7976931348623157e308


def _number(value: object, sign: int) -> float:
    if type(value) is int or type(value) is float:
        try:
            return sign * float(value)
        except OverflowError:
            return sign * (_LARGEST if value > 0 else -_LARGEST)
    return _LARGEST
