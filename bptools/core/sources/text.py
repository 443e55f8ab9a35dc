"""Plain text: one record {"text": ...} per line, paragraph or file, its white space as it is."""

from __future__ import annotations

from collections.abc import Iterator

from bptools.core.records import Record, Reject
from bptools.core.sources.base import BOM, StreamReader

_KEPT_OF_LONG = 64 << 10
_CHUNK = 1 << 20


class TextReader(StreamReader):
    """Reads text cut as `options.split_on` says.

    `line`: without its line end. `paragraph`: lines up to a blank one, without the last line end;
    line ends inside stay. `file`: everything but a BOM. Units of nothing but white space are no records.
    """

    container = "text"
    _number = 0  # of the lines read so far

    def __iter__(self) -> Iterator[tuple[None, Record]]:
        units = {"line": self._by_line, "paragraph": self._by_paragraph, "file": self._whole}
        for unit in units[self.options.split_on]():
            try:
                text = unit.decode("utf-8")
            except UnicodeDecodeError as bad:
                why = Reject("invalid-utf8", f"byte {bad.start + 1} is not UTF-8")
                self.reject(self._line, why, unit)
                continue
            yield None, {"text": text}

    def _lines(self) -> Iterator[bytes]:
        """Yield lines with their ends; one over the limit comes in pieces, the first just over it."""
        limit = self.options.max_record_bytes + 2  # the line end does not count
        first = True
        while line := self._stream.readline(limit if first or limit < _CHUNK else _CHUNK):
            if self._number == 0:
                line = line.removeprefix(BOM)
            if first:
                self._number += 1
            first = line.endswith(b"\n")
            yield line

    def _by_line(self) -> Iterator[bytes]:
        limit = self.options.max_record_bytes
        long = b""
        total = 0
        for line in self._lines():
            if not long:
                self._line = self._number
                unit = line.removesuffix(b"\n").removesuffix(b"\r")
                if len(unit) > limit:
                    long, total = line[:_KEPT_OF_LONG], 0
                elif not unit or unit.isspace():
                    self.blank += 1
                else:
                    yield unit
            if long:
                total += len(line)
                if line.endswith(b"\n"):
                    self._too_long(total, long)
                    long = b""
        if long:
            self._too_long(total, long)

    def _by_paragraph(self) -> Iterator[bytes]:
        limit = self.options.max_record_bytes
        parts: list[bytes] = []
        total = 0
        at_start = True
        for line in self._lines():
            if at_start and (line.isspace() or not line):
                self.blank += 1
                if parts:
                    yield from self._paragraph(parts, total)
                parts, total = [], 0
            else:
                if not parts:
                    self._line = self._number
                total += len(line)
                if total <= limit + 2:
                    parts.append(line)
                elif not parts or len(parts) > 1 or len(parts[0]) < _KEPT_OF_LONG:
                    parts = [b"".join([*parts, line])[:_KEPT_OF_LONG]]
            at_start = line.endswith(b"\n")
        if parts:
            yield from self._paragraph(parts, total)

    def _paragraph(self, parts: list[bytes], total: int) -> Iterator[bytes]:
        unit = b"".join(parts)
        if total <= self.options.max_record_bytes + 2:
            unit = unit.removesuffix(b"\n").removesuffix(b"\r")
            total = len(unit)
        if total > self.options.max_record_bytes:
            self._too_long(total, unit[:_KEPT_OF_LONG])
        else:
            yield unit

    def _whole(self) -> Iterator[bytes]:
        limit = self.options.max_record_bytes
        self._line = 1
        unit = self._stream.read(limit + len(BOM) + 1).removeprefix(BOM)
        if len(unit) > limit:
            total = len(unit)
            unit = unit[:_KEPT_OF_LONG]
            while more := self._stream.read(_CHUNK):
                total += len(more)
            self._too_long(total, unit)
        elif unit and not unit.isspace():
            yield unit

    def _too_long(self, total: int, kept: bytes) -> None:
        limit = self.options.max_record_bytes
        detail = f"{total} bytes of text, the limit is {limit}; split it by line or paragraph"
        self.reject(self._line, Reject("too-long", detail), kept)
