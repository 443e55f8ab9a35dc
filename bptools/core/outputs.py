"""The outputs of one run: opened before it begins, and put in their places together when it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from bptools.core.collisions import Collisions
from bptools.core.hashing import new_sha256
from bptools.core.output import AtomicFile, Output, open_output
from bptools.core.pipeline_settings import PipelineSettings


class Outputs:
    """What --output, --rejects, --dropped and --report name, and what a command opens beside that.

    Raises UsageError where one is in the way of something that is read or written, OutputError for what
    cannot be created, and leaves no litter then.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self._all: list[Output] = []
        ledger = bool(os.environ.get("BP_LEDGER"))
        if ledger:
            from bptools.core.manifest import open_ledger

            open_ledger()
        self._collisions = Collisions(settings)
        try:
            self.rejects, self.dropped, self.report = (
                None if name is None else self._open(name)
                for name in (settings.rejects, settings.dropped, settings.report)
            )
            self.main = self._open(settings.output, settings.line_buffered)
            self._last = [self.main]
            if self.is_file:  # opened now, so that what is wrong with its place or name shows now
                self._last.append(self._open(f"{settings.output}.manifest.json"))
        except BaseException:
            self.abort()
            raise
        self.hash: Any = new_sha256() if self.is_file or ledger else None  # of the main one
        if self.hash is not None:
            self.main.hash_with(self.hash)

    def _open(self, name: str, line_buffered: bool = False) -> Output:
        output = open_output(name, line_buffered)
        self._all.append(output)
        return output

    @property
    def is_file(self) -> bool:
        """Whether the main output is a file with a manifest beside it."""
        return isinstance(self.main, AtomicFile)

    def refuse(self, outputs: Mapping[str, str | None]) -> None:
        """Raise UsageError for files, {option: file}, that are in the way."""
        self._collisions.add(outputs)

    def open_also(self, option: str, name: str) -> Output:
        """Open an output that an option names; it ends like the others. Raises OutputError, UsageError."""
        self.refuse({option: name})
        return self._open(name)

    def commit(self, stands: bool, manifest: Callable[[], bytes]) -> None:
        """Put all in their places; the main one last, and only when the run stands.

        `manifest` is asked for what lies beside a file. Both are on the disk, whole, before either of them
        gets its name: a full disk or a name that is too long shows before anything is replaced.
        """
        if stands:
            self.main.prepare()
            for beside in self._last[1:]:
                beside.write(manifest())
                beside.prepare()
        for output in self._all:
            if output not in self._last:
                output.commit()
        for output in self._last if stands else ():
            output.commit()

    def abort(self) -> None:
        """Leave neither targets nor litter of what is not in its place."""
        for output in self._all:
            output.abort()
