"""JSON lines: the container that everything else is turned into, and the fast path of every command."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial

import orjson

from bptools.core.records import Record, Reject, loads
from bptools.core.sources.base import (
    BOM,
    Coerce,
    Reader,
    ReadOptions,
    RejectCallback,
    no_coercion,
    not_object,
)

_KEPT_OF_LONG_LINE = 64 << 10


class JsonlReader(Reader):
    """Reads one JSON object per line; tolerates a BOM, CRLF, blank lines and a missing last newline."""

    container = "jsonl"

    def __init__(
        self,
        stream: io.BufferedIOBase,
        options: ReadOptions,
        reject: RejectCallback,
        coerce: Coerce = no_coercion,
    ) -> None:
        super().__init__(options, reject, coerce)
        self._stream = stream

    def __iter__(self) -> Iterator[tuple[bytes | None, Record]]:
        limit = self.options.max_record_bytes
        parse = orjson.loads  # bound locally, and tried before anything else is looked at
        number = 0
        # readline with a limit costs 1 ms per 50,000 lines more than iterating, and bounds the memory
        for line in iter(partial(self._stream.readline, limit + 1), b""):
            number += 1
            self._line = number
            if (
                line[-2:] != b"}\n" or number == 1
            ):  # one comparison for almost every line: 60 ns less than three
                line = self._tidied(line, limit)
                if not line:
                    continue
            try:
                value = parse(line)
            except ValueError:
                if line.isspace():
                    self.blank += 1
                    continue
                try:
                    value = loads(line)
                except Reject as why:
                    self.reject(number, why, line)
                    continue
            if type(value) is dict:
                yield line, value
                continue
            record = self.coerce(value)
            if record is None:
                self.reject(number, not_object(value), line)
            else:
                yield None, record

    def _tidied(self, line: bytes, limit: int) -> bytes:
        """Return the line without BOM and CR, ending in one newline; nothing when no more is to be done."""
        if self._line == 1 and line.startswith(BOM):
            line = line[len(BOM) :]
            if not line:
                return line
        if line[-1] != 10 and len(line) > limit:
            self._too_long(line)
            return b""
        return line.rstrip(b"\r\n") + b"\n" if line[-1] != 10 or line[-2:] == b"\r\n" else line

    def _too_long(self, line: bytes) -> None:
        """Refuse a line over the limit; of its bytes only the beginning is kept."""
        total = len(line)
        kept = line[:_KEPT_OF_LONG_LINE]
        while line[-1] != 10:
            line = self._stream.readline(1 << 20)
            if not line:
                break
            total += len(line)
        limit = self.options.max_record_bytes
        self.reject(self._line, Reject("too-long", f"{total} bytes on one line, the limit is {limit}"), kept)
