"""One data command at work: records from the sources, lines to the output, everything accounted for.

    with Pipeline("bp-x", settings) as pipe:
        for raw, record in pipe:
            pipe.write(raw)

Leaving the block commits the outputs, prints the summary and raises DataError when too much was rejected;
an exception leaves neither target nor litter.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from bptools import __version__
from bptools.core.errors import BpError, DataError, UsageError
from bptools.core.messages import Messages
from bptools.core.output import AtomicFile, Output, open_output
from bptools.core.records import Drop, Record, Reject, dumps, splice_bp
from bptools.core.rejects import RejectLog, Tolerance
from bptools.core.report import Counts
from bptools.core.sources.base import Coerce, Reader, ReadOptions, RejectCallback, Source, no_coercion
from bptools.core.sources.opening import make_reader
from bptools.core.streams import Input, open_input

if TYPE_CHECKING:
    from bptools.core.progress import Progress


Transformation = Callable[[Record], "Record | list[Record]"]
Exactly = Callable[[bytes, Record, "Record | list[Record]"], "Record | list[Record]"]


class PipelineSettings:
    """The shared options of a data command, as plain values."""

    __slots__ = (
        "dropped", "explain", "field_map", "input_format", "limit", "line_buffered", "log_json",
        "max_rejects", "output", "progress", "quiet", "rejects", "report", "resolved", "skip",
        "slice", "sources", "split_on", "strict", "tag", "text_field", "verbose",
    )  # fmt: skip

    def __init__(self, **values: Any) -> None:
        self.sources: list[str] = []
        self.output = "-"
        self.input_format: str | None = None
        self.split_on = "file"
        self.text_field: str | None = None
        self.field_map: dict[str, str] = {}
        self.skip = 0
        self.slice: str | None = None
        self.limit: int | None = None
        self.rejects: str | None = None
        self.max_rejects = "0"
        self.strict = False
        self.dropped: str | None = None
        self.tag = False
        self.explain = False
        self.report: str | None = None
        self.line_buffered = False
        self.quiet = False
        self.verbose = False
        self.log_json = False
        self.progress = True
        self.resolved: dict[str, Any] = {}  # every option with its origin, for the manifest
        for name, value in values.items():
            setattr(self, name, value)


class Pipeline:
    """Sources in, records out. See the module's example; `reject` and `drop` speak of the record at hand."""

    def __init__(self, command: str, settings: PipelineSettings) -> None:
        self.command = command
        self.settings = settings
        self.counts = Counts()
        self.coerce: Coerce = no_coercion
        self.messages = Messages(command, settings.quiet, settings.verbose, settings.log_json)
        self._outputs: list[Output] = []
        self.start, self.stop = _bounds(settings.skip, settings.slice)
        _refuse_collisions(settings)
        self._rejects = RejectLog(
            self.messages,
            self.counts,
            Tolerance(settings.max_rejects),
            self._open(settings.rejects),
            settings.strict,
        )
        self._dropped = self._open(settings.dropped)
        self._report = self._open(settings.report)
        self._output = open_output(settings.output, settings.line_buffered)
        self._outputs.append(self._output)
        self._hashes: list[tuple[str, Any, Input]] = []
        self._wants_hashes = isinstance(self._output, AtomicFile) or bool(os.environ.get("BP_LEDGER"))
        self._output_hash = self._new_hash()
        if self._output_hash is not None:
            self._output.hash_with(self._output_hash)
        self.write_line = self._output.write
        self.reader: Reader | None = None
        self.input: Input | None = None
        self.source = Source("<stdin>", None, "stdin")
        self.refuse: RejectCallback = self._refuse_line  # what readers call for a line that is no record
        self._progress: Progress | None = None

    def _open(self, name: str | None) -> Output | None:
        if name is None:
            return None
        output = open_output(name)
        self._outputs.append(output)
        return output

    def _new_hash(self) -> Any:
        if not self._wants_hashes:
            return None
        import hashlib

        return hashlib.sha256()

    # reading

    def __iter__(self) -> Iterator[tuple[bytes | None, Record]]:
        """Yield (raw, record); `raw` is the line as it came, or None where the container is not JSONL."""
        counts = self.counts
        for item in self._records():
            counts.read += 1
            yield item

    def _records(self) -> Iterator[tuple[bytes | None, Record]]:
        """Yield (raw, record) without counting, which what a slice leaves out must not be."""
        records = self._all_records()
        if self.start or self.stop is not None:
            return islice(records, self.start, self.stop)
        return records

    def _all_records(self) -> Iterator[tuple[bytes | None, Record]]:
        for reader in self.readers():
            yield from reader

    def readers(self) -> Iterator[Reader]:
        """Yield an opened reader for each source in turn; `source` and `input` are the current one's."""
        for source in self._expand():
            self.source = source
            reader = self._open_source(source)
            try:
                yield reader
            finally:
                self.counts.blank += reader.blank
                if self.input is not None:
                    if self.input.raw.damage is not None:
                        self.refuse(reader.line, self.input.raw.damage, b"")
                    self.input.close()
                    self.input = None

    def _expand(self) -> list[Source]:
        operands = self.settings.sources
        if not operands or operands == ["-"]:  # the daily case needs no path logic
            if os.isatty(0):
                self.messages.info("reading standard input (Ctrl-D to end)")
            return [self.source]
        from bptools.core.sources.expand import expand

        expansion = expand(operands)
        for name in expansion.passed_over:
            self.messages.detail(f"passed over '{name}': no data file")
        return list(expansion.sources)

    def _open_source(self, source: Source) -> Reader:
        options = ReadOptions(self.settings.input_format, self.settings.split_on)
        if source.kind == "hub":
            from bptools.core.sources.hub import HubReader

            self.reader = HubReader(source.name, options, self._refused, self.coerce)
        else:
            digest = self._new_hash()
            self.input = open_input(source, digest)
            if digest is not None:
                self._hashes.append((source.name, digest, self.input))
            self._refuse_own_output(source)
            self.reader = make_reader(self.input, source, options, self._refused, self.coerce)
        return self.reader

    def _refuse_own_output(self, source: Source) -> None:
        """Refuse to read the file that standard output is appended to: it would never end."""
        if self.settings.output != "-" or self.input is None:
            return
        try:
            ours, theirs = os.fstat(1), os.fstat(self.input.file.fileno())
        except OSError:
            return
        if stat.S_ISREG(ours.st_mode) and os.path.samestat(ours, theirs):
            raise UsageError(f"'{source.name}' is also the output; -o writes a file that is being read")

    # what becomes of a record

    def transform(self, change: Transformation, exactly: Exactly | None = None) -> None:
        """Send every record through `change` and write what it returns.

        `change` returns the very record it was given when nothing had to change (its bytes go out as they
        came), a new one, or a list of new ones; it raises Reject or Drop. `exactly` is given a changed record
        with the line it came from, to make it again where the line holds integers that orjson rounds.
        """
        write = self.write_line
        counts = self.counts
        limit = self.settings.limit or -1
        for raw, record in self._records():
            counts.read += 1
            try:
                result = change(record)
                if result is not record and exactly is not None and raw is not None:
                    result = exactly(raw, record, result)
                if result is record:
                    write(dumps(record) if raw is None else raw)
                elif type(result) is dict:
                    write(dumps(result))
                else:
                    self._write_several(result)  # type: ignore[arg-type]
                counts.out += 1
            except Reject as why:
                self.reject(why, raw, record)
            except Drop as why:
                self.drop(why, raw, record)
            if counts.out == limit:
                break

    def _write_several(self, records: list[Record]) -> None:
        lines = [dumps(record) for record in records]  # all or none of them
        for line in lines:
            self.write_line(line)
        self.counts.split += len(lines) - 1

    def write(self, line: bytes) -> None:
        """Pass one line on. Raises ReaderGone, ReadWriteError."""
        self.write_line(line)
        self.counts.out += 1

    def judge_quietly(self) -> None:
        """Count and keep rejects without a message for each, and tolerate any number of them."""
        self._rejects.judge_quietly()

    def reject(self, why: Reject, raw: bytes | None, record: Record) -> None:
        """Refuse the record at hand. Raises DataError under --strict."""
        reader = self.reader
        self._rejects.add(self.source.name, reader.line if reader else 0, why, raw or _best_effort(record))

    def note_reject(self, why: Reject, line: int | None, raw: bytes) -> None:
        """Count, keep and report a reject found by other means than reading."""
        self._rejects.add(self.source.name, line or 0, why, raw)

    def _refused(self, line: int, why: Reject, raw: bytes) -> None:
        self.refuse(line, why, raw)

    def _refuse_line(self, line: int, why: Reject, raw: bytes) -> None:
        self.counts.read += 1
        self.note_reject(why, line, raw)

    def drop(self, why: Drop, raw: bytes | None, record: Record) -> None:
        """Drop the record at hand with a reason, or under --tag pass it on with the reason in `bp.drop`."""
        settings = self.settings
        note = {"reason": why.reason, "value": why.value, "limit": why.limit}
        marked: bytes | None = None
        if settings.tag or self._dropped is not None:
            try:
                marked = splice_bp(raw if raw is not None else dumps(record), record, {"drop": [note]})
            except Reject as unwritable:
                self.reject(unwritable, raw, record)
                return
        if settings.explain:
            verb = "tagged" if settings.tag else "dropped"
            line = self.reader.line if self.reader else 0
            self.messages.info(f"{self.source.name}:{line}: {verb}: {why.reason}")
        if settings.tag and marked is not None:
            self.counts.drops[why.reason] = self.counts.drops.get(why.reason, 0) + 1
            self.write_line(marked)
            self.counts.out += 1
            return
        self.counts.drop(why.reason)
        if self._dropped is not None and marked is not None:
            self._dropped.write(marked)

    # ending

    def __enter__(self) -> Pipeline:
        if self.settings.progress and not self.settings.quiet and os.isatty(2):
            from bptools.core.progress import start_progress

            self._progress = start_progress(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> Literal[False]:
        if self._progress is not None:
            self._progress.stop()
        if error is not None and not isinstance(error, DataError):
            for output in self._outputs:
                output.abort()
            return False
        failure: BpError | None = error if isinstance(error, DataError) else None
        failure = self._rejects.finish() or failure
        self._commit(failure)
        self.messages.info(self.counts.summary())
        if failure is not None and failure is not error:
            raise failure
        return False

    def _commit(self, failure: BpError | None) -> None:
        """Finish every output; the main one last, and only when the run may stand."""
        try:
            if failure is None:
                self._output.flush()  # a full disk shows here, before anything is put in its place
            if self._report is not None:
                self._report.write(dumps(self.counts.as_json(self.command, __version__)))
            for output in self._outputs:
                if output is not self._output:
                    output.commit()
            if failure is None:
                self._output.commit()
                if self._output_hash is not None:
                    from bptools.core.manifest import record_run

                    record_run(self)
        finally:
            for output in self._outputs:
                output.abort()

    @property
    def output_is_file(self) -> bool:
        """Whether the output is a file with a manifest beside it."""
        return isinstance(self._output, AtomicFile)

    @property
    def output_bytes(self) -> int:
        """Bytes written to the main output."""
        return self._output.bytes_written

    def hashes(self) -> tuple[list[dict[str, Any]], str]:
        """Return [{name, bytes, sha256, complete}] of the inputs and the sha256 of the output."""
        inputs = [
            {
                "name": name,
                "bytes": opened.file.bytes_read,
                "sha256": digest.hexdigest(),
                "complete": opened.file.size is None or opened.file.bytes_read == opened.file.size,
            }
            for name, digest, opened in self._hashes
        ]
        return inputs, self._output_hash.hexdigest() if self._output_hash is not None else ""


def _refuse_collisions(settings: PipelineSettings) -> None:
    """Refuse two outputs in one file, and a side output over a source. Raises UsageError."""
    outputs = {
        "--output": settings.output if settings.output != "-" else None,
        "--rejects": settings.rejects,
        "--dropped": settings.dropped,
        "--report": settings.report,
    }
    taken: dict[str, str] = {}
    for option, name in outputs.items():
        if name is None or (os.path.exists(name) and not os.path.isfile(name)):
            continue  # devices and pipes can be shared
        path = os.path.realpath(name)
        if path in taken:
            raise UsageError(f"{taken[path]} and {option} are both '{name}'")
        taken[path] = option
    for source in settings.sources:
        option = taken.get(os.path.realpath(source), "--output")
        if option != "--output":
            raise UsageError(f"{option} would replace the source '{source}'")


def _best_effort(record: Record) -> bytes:
    try:
        return dumps(record)
    except Reject:
        return repr(record).encode("utf-8", "backslashreplace")


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
