"""JSON lines: the container that everything else is turned into, and the fast path of every command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import orjson

from bptools.core.records import Record, Reject, loads
from bptools.core.sources.base import BOM, StreamReader, not_object

_BATCH_BYTES = 24 << 10
_KEPT_OF_LONG_LINE = 64 << 10
_OBJECTS_ONLY = {dict}


class JsonlReader(StreamReader):
    """Reads one JSON object per line; tolerates a BOM, CRLF, blank lines and a missing last newline.

    The lines that lie in the buffer are taken and parsed some 24 KiB at a time, by calls that loop in C and
    records that fit the cache: for lines of 180 bytes 0.1 us a line less than one by one, for lines of 2 kB
    the same. Batches of 64 KiB and more lose that again. Where anything is unusual it goes line by line.
    """

    container = "jsonl"
    _lines = 0  # read so far, the batch at hand included
    _first = 1  # the line that the batch at hand starts on

    def __iter__(self) -> Iterator[tuple[bytes | None, Record]]:
        for raws, records in self.batches():
            first = self._lines - len(records) + 1
            for number, item in enumerate(zip(raws, records), first):
                self._line = number
                yield item

    def locate(self, index: int) -> None:
        """Make `line` that of the record at `index` of the batch."""
        self._line = self._first + index

    def batches(self) -> Iterator[tuple[Sequence[bytes | None], Sequence[Record]]]:
        """Yield (raws, records), as many at a time as have arrived; none for what is refused or blank.

        There are no records of lines that `take` has taken.
        """
        limit = self.options.max_record_bytes
        stream = self._stream
        parse, take = orjson.loads, self.take
        while head := stream.peek():
            end = head.rfind(b"\n") + 1
            if end < 2 or len(head) > limit or not self._lines:
                more = head.count(b"\n", 0, end) > 1
                lines = [stream.readline(limit + 1)]
                usual = self._lines > 0 and lines[0][-1:] == b"\n" and lines[0][-2:] != b"\r\n"
                if take is not None and usual and take(lines):
                    self._count(lines, more)
                    yield lines, []
                else:
                    yield from self._one_by_one(lines, limit, more)
                continue
            usual = b"\r" not in head
            lines = stream.readlines(end - 1)  # ends with the line that exceeds it: it never waits for more
            if take is not None and usual and take(lines):
                self._count(lines, False)
                yield lines, []
                continue
            step = max(1, _BATCH_BYTES * len(lines) // end) if usual else len(lines)
            for start in range(0, len(lines), step):
                batch = lines[start : start + step]
                more = start + step < len(lines)
                try:
                    records = list(map(parse, batch)) if usual else []
                except ValueError:
                    records = []
                if not records or {*map(type, records)} != _OBJECTS_ONLY:
                    yield from self._one_by_one(batch, limit, more)
                    continue
                self._count(batch, more)
                yield batch, records

    def _count(self, batch: list[bytes], more: bool) -> None:
        self._first = self._lines + 1
        self._lines += len(batch)
        self._line = self._lines
        self.at_hand = more

    def _one_by_one(
        self, lines: list[bytes], limit: int, more: bool
    ) -> Iterator[tuple[list[bytes | None], list[Record]]]:
        last = self._lines + len(lines)
        for line in lines:
            self._lines += 1
            self._line = self._first = self._lines
            self.at_hand = more or self._lines < last
            if self._lines == 1 and line.startswith(BOM):
                line = line[len(BOM) :]
                if not line:
                    continue
                if line[-1] != 10:  # the limit is that of the line without it
                    line += self._stream.readline(len(BOM))
            if line[-1] != 10 and len(line) > limit:
                self._too_long(line)
                yield [], []
                continue
            line = line.rstrip(b"\r\n") + b"\n"
            try:
                value = loads(line)
            except Reject as why:
                if line.isspace():
                    self.blank += 1
                else:
                    self.reject(self._line, why, line)
                yield [], []
                continue
            if type(value) is dict:
                yield [line], [value]
                continue
            record = self.coerce(value)
            if record is None:
                self.reject(self._line, not_object(value), line)
                yield [], []
            else:
                yield [None], [record]

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
