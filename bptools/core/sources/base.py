"""What a source is, and what every reader of one promises."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bptools.core.records import Record, Reject

BOM = b"\xef\xbb\xbf"
MAX_RECORD_BYTES = 256 << 20

RejectCallback = Callable[[int, Reject, bytes], None]
"""(line, why, the refused bytes): how a reader reports a bad record and goes on."""

Coerce = Callable[[object], "Record | None"]
"""A JSON value that is no object -> the record it stands for, or None."""

Take = Callable[[list[bytes]], bool]
"""Takes some lines before they are parsed; False: it took none of them, they have to be parsed."""


def no_coercion(value: object) -> Record | None:
    """Accept objects only."""
    return None


def not_object(value: object) -> Reject:
    """Return the reject of a JSON value that is no record, naming its type."""
    kinds = {list: "array", str: "string", bool: "boolean", int: "number", float: "number"}
    return Reject("not-object", f"{kinds.get(type(value), 'null')} where an object should be")


class Source:
    """One operand of a command line: a file, standard input, or a data set on the hub."""

    __slots__ = ("kind", "name", "path")

    def __init__(self, name: str, path: str | None, kind: str = "file") -> None:
        self.name = name  # as it is shown in messages
        self.path = path  # None for stdin and hub
        self.kind = kind  # "file", "stdin" or "hub"

    def __repr__(self) -> str:
        return f"Source({self.name!r}, {self.kind})"


class ReadOptions:
    """How sources are read, the same for all commands."""

    __slots__ = ("input_format", "max_record_bytes", "otherwise", "split_on")

    def __init__(
        self,
        input_format: str | None = None,
        split_on: str = "file",
        max_record_bytes: int = MAX_RECORD_BYTES,
        otherwise: str = "jsonl",
    ) -> None:
        self.input_format = input_format  # None: by content, then suffix
        self.split_on = split_on  # text files: "line", "paragraph" or "file" is one record
        self.max_record_bytes = max_record_bytes  # longer records are rejects: too-long
        self.otherwise = otherwise  # the container of what shows none by content or suffix


class Reader:
    """Iterates over the records of one source as (raw, record).

    `raw` is the line's bytes ending in exactly one newline for JSONL, None for other containers.
    Bad records go to `reject` and reading goes on; nothing is lost without a trace.
    """

    container = ""
    at_hand = False  # whether the next line lies in memory already

    def __init__(self, options: ReadOptions, reject: RejectCallback, coerce: Coerce = no_coercion) -> None:
        self.options = options
        self.reject = reject
        self.coerce = coerce
        self.take: Take | None = None  # whoever wants lines before they are parsed, if the reader can do that
        self._line = 0
        self.blank = 0

    @property
    def line(self) -> int:
        """The line where the current record starts, 1 before the first (Parquet, hub: its number)."""
        return self._line or 1

    def __iter__(self) -> Iterator[tuple[bytes | None, Record]]:
        raise TypeError(f"{type(self).__name__} does not read anything")

    def batches(self) -> Iterator[tuple[Sequence[bytes | None], Sequence[Record]]]:
        """Yield what iterating yields, as (raws, records) of as many as are at hand; by default one.

        Those of one batch stand on consecutive lines. There MAY be empty ones.
        """
        for raw, record in self:
            yield (raw,), (record,)

    def locate(self, index: int) -> None:
        """Make `line` that of the record at `index` of the batch."""


class StreamReader(Reader):
    """A reader of the bytes of one stream."""

    def __init__(
        self,
        stream: io.BufferedReader[Any],
        options: ReadOptions,
        reject: RejectCallback,
        coerce: Coerce = no_coercion,
    ) -> None:
        super().__init__(options, reject, coerce)
        self._stream = stream
        self._begin()

    def _begin(self) -> None:
        """Set what a reader remembers from record to record."""
