"""One data command at work: records from the sources, lines to the output, everything accounted for.

    with Pipeline("bp-x", settings) as pipe:
        for raw, record in pipe:
            pipe.write(raw)

Leaving the block commits the outputs, prints the summary and raises DataError when too much was rejected;
an exception leaves neither target nor litter.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bptools import __version__
from bptools.core.errors import BpError, DataError
from bptools.core.intake import Intake, Item
from bptools.core.marking import marked_line
from bptools.core.messages import Messages
from bptools.core.outputs import Outputs
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.records import Drop, Record, Reject, dumps, dumps_report, loads
from bptools.core.rejects import RejectLog, Tolerance
from bptools.core.report import Counts

if TYPE_CHECKING:
    from bptools.core.folder import OutputFolder
    from bptools.core.progress import Progress
    from bptools.core.window import Looker, Verdict, Window, Windows


Transformation = Callable[[Record], "Record | list[Record]"]
Exactly = Callable[[bytes, Record, "Record | list[Record]"], "Record | list[Record]"]
Judge = Callable[["bytes | None", Record], "Drop | Reject | None"]
Keep = Callable[[bytes, Record], None]
Place = tuple[str, int]
"""The name of a source and a line in it."""


class Enough(Exception):
    """Raised by a Keep that has taken what --limit asks for: the reading ends."""


class Pipeline:
    """Sources in, records out. See the module's example; `reject` and `drop` speak of the record at hand."""

    def __init__(self, command: str, settings: PipelineSettings) -> None:
        self.command = command
        self.settings = settings
        self.counts = Counts()
        self.messages = Messages(command, settings.quiet, settings.verbose, settings.log_json)
        if settings.tag and settings.dropped is not None and settings.limit is None:
            # with --limit a step that holds records back drops what is beyond it, also under --tag
            self.messages.warn("--dropped stays empty under --tag, which passes on what would be dropped")
        self.intake = Intake(settings, self.counts, self.messages, self._refuse_line, hashing=False)
        self._outputs = Outputs(settings)
        self.intake.hashing = self._outputs.hash is not None
        self._rejects = RejectLog(
            self.messages,
            self.counts,
            Tolerance(settings.max_rejects),
            self._outputs.rejects,
            settings.strict,
        )
        self._dropped = self._outputs.dropped
        self.open_also = self._outputs.open_also
        self.write_line = self._outputs.main.write
        self.folder: OutputFolder | None = None
        self.report_fields: dict[str, Any] = {}  # what a command adds to --report
        self.when_done: Callable[[], None] | None = None  # called when all outputs are in their places
        self.resources = contextlib.ExitStack()  # closed when all is over
        self.work: Callable[[], tuple[float | None, str]] | None = None  # (share done, words) for the bar
        self.refused: dict[str, int] = {}  # lines that are no records, by source
        self._progress: Progress | None = None
        self._windows: Windows | None = None

    def write_into(self, folder: OutputFolder) -> None:
        """Finish a folder of files in place of the output, with this run in its manifest. Call it first.

        Raises UsageError where a file of an earlier run in it is a source of this one.
        """
        self.folder = folder
        for name in folder.earlier:
            self._outputs.refuse({"--out-dir": os.path.join(folder.path, name)})
        self.intake.hashing = True

    def __iter__(self) -> Iterator[Item]:
        """Yield (raw, record), counted as read; `raw` is the line as it came, None where it is not JSONL."""
        counts = self.counts
        for item in self.intake:
            counts.read += 1
            yield item

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
        for raws, records in self.intake.batches():
            index = -1
            try:
                for index, record in enumerate(records):
                    try:
                        result = change(record)
                        raw = raws[index]
                        if result is not record and exactly is not None and raw is not None:
                            result = exactly(raw, record, result)
                        if result is record:
                            write(dumps(record) if raw is None else raw)
                        elif type(result) is dict:
                            write(dumps(result))
                        else:
                            self._write_several(result)  # type: ignore[arg-type]
                        counts.out += 1
                    except (Reject, Drop) as why:
                        self.intake.locate(index)
                        self.settle(why, raws[index], record)
                    if counts.out == limit:
                        return
            finally:
                counts.read += index + 1

    def sift(self, judge: Judge, keep: Keep | None = None, keep_marked: Keep | None = None) -> None:
        """Pass on the records of which `judge(raw, record)` returns None; what it returns is why not.

        What stays is given to `keep(line, record)`, which counts it in `counts.out` or not, and what --tag
        marks to `keep_marked`; without them it is written as it came: a batch in which nothing is objected to
        by one call, 0.2 us a record less than one by one.
        """
        with contextlib.suppress(Enough):
            self._sift(judge, keep, keep_marked)

    def _sift(self, judge: Judge, keep: Keep | None, keep_marked: Keep | None) -> None:
        counts = self.counts
        limit = self.settings.limit if keep is None else None
        for raws, records in self.intake.batches():
            verdicts: Iterable[Drop | Reject | None] = map(judge, raws, records)
            if keep is None and limit is None and not self.settings.strict and raws[0] is not None:
                verdicts = list(verdicts)
                if not any(verdicts):
                    counts.read += len(records)
                    self.write_line(b"".join(raws))  # type: ignore[arg-type]
                    counts.out += len(records)
                    continue
            for index, why in enumerate(verdicts):  # what comes after an early end is not judged
                counts.read += 1
                raw, record = raws[index], records[index]
                self.intake.locate(index)
                if why is not None:
                    self.settle(why, raw, record, keep_marked)
                else:
                    self._pass_on(raw, record, keep)
                if counts.out == limit:
                    return

    def windows(self, max_bytes: int, looker: Looker | None = None) -> Iterator[Window]:
        """Yield the records some `max_bytes` of lines at a time, fewer where the input pauses.

        Give each window to `settle_window` in its order, also one that holds no record.
        """
        from bptools.core.window import Windows

        self._windows = Windows(self, looker)
        return self._windows.gather(max_bytes)

    def settle_window(self, window: Window, verdicts: Sequence[Verdict]) -> bool:
        """Pass on the records whose verdict is None; the others' say why not. The outcome is that of `sift`.

        False: --limit is reached, and nothing more goes out.
        """
        assert self._windows is not None
        return self._windows.settle(window, verdicts)

    def _pass_on(self, raw: bytes | None, record: Record, keep: Keep | None) -> None:
        try:
            line = dumps(record) if raw is None else raw
            if keep is not None:
                keep(line, record)
                return
        except Reject as why:
            self.reject(why, raw, record)
            return
        self.write(line)

    def _write_several(self, records: list[Record]) -> None:
        lines = [dumps(record) for record in records]  # all or none of them
        for line in lines:
            self.write_line(line)
        self.counts.split += len(lines) - 1

    def write(self, line: bytes) -> None:
        """Pass one line on. Raises ReaderGone, ReadWriteError."""
        self.write_line(line)
        self.counts.out += 1

    def warn_of_unused(self, options: Iterable[str], needed: str) -> None:
        """Say of options that they have no effect.

        Only of those on the command line: files and variables are for many runs.
        """
        for name in options:
            entry = self.settings.resolved.get(name.removeprefix("--"))
            if entry is not None and entry["origin"] == "command line":
                self.messages.warn(f"{name} has no effect without {needed}")

    def judge_quietly(self) -> None:
        """Count and keep rejects without a message for each, and tolerate any number of them."""
        self._rejects.judge_quietly()

    def settle(
        self,
        why: Reject | Drop,
        raw: bytes | None,
        record: Record,
        keep: Keep | None = None,
        place: Place | None = None,
    ) -> None:
        """Reject or drop a record, the one at hand if `place` does not say where it was read."""
        if isinstance(why, Reject):
            self.reject(why, raw, record, place)
            return
        try:
            self.drop(why, raw, record, keep, f"{place[0]}:{place[1]}" if place is not None else None)
        except Reject as unwritable:
            self.reject(unwritable, raw, record, place)

    def reject(self, why: Reject, raw: bytes | None, record: Record, place: Place | None = None) -> None:
        """Refuse a record, the one at hand if there is no `place`. Raises DataError under --strict."""
        name, line = place or (self.intake.source.name, self.intake.line)
        self._rejects.add(name, line, why, raw or _best_effort(record))

    def note_reject(
        self, why: Reject, place: tuple[str, int | None], raw: bytes, offset: int | None = None
    ) -> None:
        """Count, keep and report a reject found by other means than reading; without a line, its offset."""
        self.refused[place[0]] = self.refused.get(place[0], 0) + 1
        self._rejects.add(*place, why, raw, offset)

    def _refuse_line(self, line: int, why: Reject, raw: bytes) -> None:
        self.counts.read += 1
        self.note_reject(why, (self.intake.source.name, line), raw)

    def drop(
        self,
        why: Drop,
        raw: bytes | None,
        record: Record,
        keep: Keep | None = None,
        place: str | None = None,
        final: bool = False,
    ) -> None:
        """Drop a record with its reasons, or under --tag pass it on with them in `bp.drop`.

        place: where it was read, if it is not the record at hand. final: also under --tag it does not go on.
        Raises Reject as `dumps` does.
        """
        settings = self.settings
        marked: bytes | None = None
        if settings.tag or self._dropped is not None:
            marked = marked_line(raw if raw is not None else dumps(record), record, why)
        if settings.explain:
            verb = "tagged" if settings.tag and not final else "dropped"
            self.messages.info(f"{place or self.intake.place}: {verb}: {'; '.join(why.explained())}")
        if settings.tag and marked is not None and not final:
            self.counts.drops[why.reason] = self.counts.drops.get(why.reason, 0) + 1
            if keep is None:
                self.write(marked)
            else:
                keep(marked, loads(marked))  # type: ignore[arg-type]
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
        with self.resources:
            return self._end(error)

    def _end(self, error: BaseException | None) -> Literal[False]:
        if error is not None and not isinstance(error, DataError):
            self._outputs.abort()
            if self.folder is not None:
                self.folder.abort()
            return False
        failure: BpError | None = error if isinstance(error, DataError) else None
        failure = failure or self._rejects.finish()
        self._commit(failure)
        if self._progress is not None:  # its line makes room for the last one
            self._progress.stop()
        if failure is not None:  # said here, so that the counts are what comes last
            self.messages.error(str(failure))
            failure.said = True
        self.messages.info(self.counts.summary())
        if failure is not None and failure is not error:
            raise failure
        return False

    def _commit(self, failure: BpError | None) -> None:
        """Finish every output; the main one last, and only when the run may stand."""
        outputs, stands = self._outputs, failure is None
        try:
            if outputs.report is not None:
                report = {**self.counts.as_json(self.command, __version__), **self.report_fields}
                outputs.report.write(dumps(report))
            outputs.commit(stands, self._manifest)
            if stands:
                if self.folder is not None:
                    from bptools.core.manifest import manifest_of

                    self.folder.commit(manifest_of(self))
                    files = self.folder.files().items()
                    shown = ", ".join(f"{entry['records']} {name}" for name, entry in files)
                    self.messages.info(f"{self.folder.path}: {shown or 'no file'}")
                if outputs.hash is not None:
                    from bptools.core.manifest import record_run

                    record_run(self)
                if self.when_done is not None:
                    outputs.main.check_reader()
                    self.when_done()
        finally:
            outputs.abort()
            if self.folder is not None:
                self.folder.abort()

    def _manifest(self) -> bytes:
        from bptools.core.manifest import manifest_of

        return dumps_report(manifest_of(self))

    @property
    def output_is_file(self) -> bool:
        """Whether the output is a file with a manifest beside it."""
        return self._outputs.is_file

    @property
    def output_bytes(self) -> int:
        """Bytes written to the main output."""
        return self._outputs.main.bytes_written

    @property
    def output_sha256(self) -> str:
        """The hash of what was written to the main output, where a manifest wants it."""
        return "" if self._outputs.hash is None else str(self._outputs.hash.hexdigest())


def _best_effort(record: Record) -> bytes:
    try:
        return dumps(record)
    except Reject:
        return repr(record).encode("utf-8", "backslashreplace")
