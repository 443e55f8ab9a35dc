"""What a data command reads: its sources, in turn or mixed, as batches of records."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

from bptools.core.errors import UsageError
from bptools.core.hashing import new_sha256
from bptools.core.messages import Messages
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.records import Record, Reject
from bptools.core.report import Counts
from bptools.core.sources.base import Coerce, Reader, ReadOptions, RejectCallback, Source, Take, no_coercion
from bptools.core.sources.opening import make_reader
from bptools.core.streams import Input, allow_descriptors, open_input

Item = tuple["bytes | None", Record]
Batch = tuple[Sequence["bytes | None"], Sequence[Record]]
Schedule = Callable[[Sequence[Iterator[Item]]], Iterator[Item]]


class Intake:
    """Opens and reads the sources; `source`, `input` and `reader` are those of the record at hand."""

    def __init__(
        self,
        settings: PipelineSettings,
        counts: Counts,
        messages: Messages,
        refuse: RejectCallback,
        hashing: bool,
    ) -> None:
        self.settings = settings
        self.counts = counts
        self.messages = messages
        self.refuse = refuse  # what readers call for a line that is no record
        self.coerce: Coerce = no_coercion
        self.take: Take | None = None  # gets lines before they are parsed, where a reader can do that
        self.schedule: Schedule | None = None  # takes from several sources at once; None: one after the other
        self.start, self.stop = _bounds(settings.skip, settings.slice)
        self.source = Source("<stdin>", None, "stdin")
        self.input: Input | None = None
        self.reader: Reader | None = None
        self.hashing = hashing  # whether `hashes` will be asked for
        self._entries: list[Callable[[], dict[str, Any]]] = []  # of what was read, for the manifest
        self._skipped = 0  # records of the batch at hand that a slice took off its head
        self._following: Source | None = None  # the source after the one at hand
        self._exhausted = False  # the source at hand holds nothing more
        self._mixing_waits = False  # one of the mixed sources may have to be waited for

    def __iter__(self) -> Iterator[Item]:
        """Yield (raw, record); `raw` is the line as it came, or None where the container is not JSONL."""
        items = self._mixed(self.schedule) if self.schedule is not None else self._in_turn()
        if self.start or self.stop is not None:
            return islice(items, self.start, self.stop)
        return items

    def batches(self) -> Iterator[Batch]:
        """Yield (raws, records) of as many records as are at hand; `locate` says which one is spoken of."""
        return (batch for batch in self.steps() if batch[1])

    def steps(self) -> Generator[Batch, None, None]:
        """Yield what `batches` does, and an empty one wherever `may_wait` is worth asking again.

        Of lines that `take` has taken there are no records.
        """
        if self.schedule is not None:
            for raw, record in self:
                yield (raw,), (record,)
            return
        batches = self._steps()
        if not self.start and self.stop is None:
            yield from batches
            return
        position = 0
        while self.stop is None or position < self.stop:
            batch = next(batches, None)
            if batch is None:
                return
            raws, records = batch
            first = max(0, self.start - position)
            last = len(records) if self.stop is None else min(len(records), self.stop - position)
            position += len(records)
            if first < last or not records:
                self._skipped = first
                yield raws[first:last], records[first:last]
                self._skipped = 0

    def _steps(self) -> Iterator[Batch]:
        for reader in self.readers():
            if not self.start and self.stop is None:
                reader.take = self.take
            yield from reader.batches()
            self._exhausted = True
            yield (), ()
            self._exhausted = False

    def may_wait(self) -> bool:
        """Return whether reading on may have to wait for what others have yet to write.

        A file or the hub is never waited for. False is certain for JSON lines; a reader of another container
        may wait for the rest of a record.
        """
        if self.schedule is not None:
            return self._mixing_waits
        if self._exhausted:
            return self._following is not None and _is_slow(self._following)
        if self.input is None or self.input.file.size is not None:
            return False
        return not (self.reader is not None and self.reader.at_hand) and not self.input.raw.line_at_hand()

    def whereabouts(self) -> tuple[str, int, int]:
        """Return where the batch at hand starts: its source, the line, and how many blank lines came before.

        These are known where the sources are read in turn.
        """
        self.locate(0)
        reader = self.reader
        if reader is None:
            return self.source.name, 0, 0
        return self.source.name, reader.line, self.counts.blank + (0 if self.input is None else reader.blank)

    def locate(self, index: int) -> None:
        """Make `line` that of the record at `index` of the batch."""
        if self.reader is not None and self.schedule is None:
            self.reader.locate(index + self._skipped)

    @property
    def line(self) -> int:
        """The line of the record at hand, from 1."""
        return self.reader.line if self.reader is not None else 0

    @property
    def place(self) -> str:
        """FILE:LINE of the record at hand."""
        return f"{self.source.name}:{self.line}"

    def readers(self) -> Iterator[Reader]:
        """Yield an opened reader for each source in turn."""
        named = self.sources()
        for source, following in zip(named, [*named[1:], None]):
            self._following = following
            self._open(source)
            assert self.reader is not None
            ended = False
            try:
                yield self.reader
                ended = True
            finally:
                self._close(ended)

    def _in_turn(self) -> Iterator[Item]:
        for reader in self.readers():
            yield from reader

    def _mixed(self, schedule: Schedule) -> Iterator[Item]:
        """Yield from all sources as the schedule says, each opened when it is first asked."""
        named = self.sources()
        allow_descriptors(len(named))
        self._mixing_waits = any(map(_is_slow, named))
        sources = [self._one(source) for source in named]
        try:
            yield from schedule(sources)
        finally:
            for source in sources:
                source.close()

    def _one(self, source: Source) -> Generator[Item, None, None]:
        self._open(source)
        reader, opened = self.reader, self.input
        assert reader is not None
        records = iter(reader)
        ended = False
        try:
            while True:
                self.source, self.reader, self.input = source, reader, opened  # others were at work since
                item = next(records, None)
                if item is None:
                    ended = True
                    return
                yield item
        finally:
            self.source, self.reader, self.input = source, reader, opened
            self._close(ended)

    def _close(self, ended: bool) -> None:
        """Count what the source held besides records, and close it; `ended`: it was read to its end."""
        if self.reader is not None:
            self.counts.blank += self.reader.blank
        if self.input is not None:
            if ended and self.input.raw.damage is not None:
                self.refuse(self.line, self.input.raw.damage, b"")
            self.input.close()
            self.input = None

    def sources(self) -> list[Source]:
        """Return the sources that the operands name."""
        operands = self.settings.sources
        if not operands or operands == ["-"]:  # the daily case needs no path logic
            if os.isatty(0):
                self.messages.info("reading standard input (Ctrl-D to end)")
            return [Source("<stdin>", None, "stdin")]
        from bptools.core.sources.expand import expand

        expansion = expand(operands)
        for name in expansion.passed_over:
            self.messages.detail(f"passed over '{name}': no data file")
        return list(expansion.sources)

    def _open(self, source: Source) -> None:
        self.source = source
        options = ReadOptions(
            self.settings.input_format, self.settings.split_on, otherwise=self.settings.otherwise
        )
        if source.kind == "hub":
            from bptools.core.sources.hub import HubReader

            self.input = None
            hub = HubReader(source.name, options, self._refused, self.coerce)
            self._entries.append(hub.entry)
            self.reader = hub
            return
        digest = new_sha256() if self.hashing else None
        self.input = open_input(source, digest)
        if digest is not None:
            self._entries.append(partial(_entry, source.name, digest, self.input))
        self.reader = make_reader(self.input, source, options, self._refused, self.coerce)

    def _refused(self, line: int, why: Reject, raw: bytes) -> None:
        self.refuse(line, why, raw)  # which may have changed since the reader was made

    def hashes(self) -> list[dict[str, Any]]:
        """Return [{name, bytes, sha256, complete}] of what was read, before decompression.

        Of a data set of the hub it is {name, revision, complete}.
        """
        return [entry() for entry in self._entries]


def _entry(name: str, digest: Any, opened: Input) -> dict[str, Any]:
    file = opened.file
    return {
        "name": name,
        "bytes": file.bytes_read,
        "sha256": digest.hexdigest(),
        "complete": file.size is None or file.bytes_read == file.size,
    }


def _is_slow(source: Source) -> bool:
    """Say whether a source that is yet to be opened may have to be waited for: a pipe, a terminal."""
    if source.kind == "hub":
        return False
    try:
        return not stat.S_ISREG((os.fstat(0) if source.path is None else os.stat(source.path)).st_mode)
    except OSError:
        return True


def _bounds(skip: int, slice_text: str | None) -> tuple[int, int | None]:
    """Return (start, stop) of --skip and --slice, which count input records from 0. Raises UsageError."""
    if slice_text is None:
        return skip, None
    if skip:
        raise UsageError("--skip and --slice exclude each other")
    first, colon, last = slice_text.partition(":")
    try:
        start = int(first) if first else 0
        stop = int(last) if last else None
    except ValueError:
        colon = ""
        start, stop = 0, None
    if not colon or start < 0 or (stop is not None and stop < start):
        raise UsageError(f"--slice '{slice_text}' is not A:B with 0 <= A <= B")
    return start, stop
