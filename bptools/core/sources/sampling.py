"""A sample of a seekable JSONL file, spread over all of it, at a cost that does not depend on its size."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from bptools.core.sources.base import MAX_RECORD_BYTES

HEAD_LINES = 200
SPREAD_LINES = 800
WHOLE_BYTES = 4 << 20  # a file of this size is read whole: orjson takes 10 ms for it
LONGEST_SAMPLED = 1 << 20
BUDGET_BYTES = 8 << 20
_PIECE = 16 << 10


class Place:
    """Where a sampled line is: its byte offset, and its number where the lines before it were read."""

    __slots__ = ("line", "offset")

    def __init__(self, offset: int, line: int | None) -> None:
        self.offset = offset
        self.line = line


class FileSample:
    """Iterate over (place, line) of a file descriptor; afterwards `whole` says whether that was all of it.

    The first 200 lines, then the lines at 800 evenly spaced offsets, without repeats and in file order.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self.whole = True
        self.bytes_seen = 0

    def __iter__(self) -> Iterator[tuple[Place, bytes]]:
        if self._size <= WHOLE_BYTES:
            yield from self._of_small()
            return
        offset, number = 0, 0
        while number < HEAD_LINES and offset < self._size:
            if number and self.bytes_seen > WHOLE_BYTES:
                break
            line = self._line_at(offset, MAX_RECORD_BYTES if number == 0 else BUDGET_BYTES)
            number += 1
            self.bytes_seen += len(line)
            yield Place(offset, number), line
            offset += len(line)
        self.whole = offset >= self._size
        if not self.whole:
            yield from self._spread(offset)

    def _of_small(self) -> Iterator[tuple[Place, bytes]]:
        """Sample a file that is read whole: all lines, or the first and as many of the rest by number."""
        lines = io.BytesIO(os.pread(self._fd, self._size, 0)).readlines()
        rest = len(lines) - HEAD_LINES
        self.whole = rest <= SPREAD_LINES
        wanted = {HEAD_LINES + step * rest // SPREAD_LINES for step in range(SPREAD_LINES)}
        offset = 0
        for index, line in enumerate(lines):
            if self.whole or index < HEAD_LINES or index in wanted:
                self.bytes_seen += len(line)
                yield Place(offset, index + 1), line
            offset += len(line)

    def _spread(self, start: int) -> Iterator[tuple[Place, bytes]]:
        stride = max(1, (self._size - start) // SPREAD_LINES)
        last = start
        for step in range(SPREAD_LINES):
            if self.bytes_seen > BUDGET_BYTES:
                return
            wanted = start + step * stride
            begin = wanted if step == 0 else self._next_line(max(wanted, last))
            if begin < 0 or begin >= self._size:
                return
            line = self._line_at(begin, LONGEST_SAMPLED)
            last = begin + len(line)
            if len(line) >= LONGEST_SAMPLED and not line.endswith(b"\n"):
                continue  # too long to sample; --full judges it
            self.bytes_seen += len(line)
            yield Place(begin, None), line

    def _line_at(self, offset: int, limit: int) -> bytes:
        """Return the line that starts at the offset, with its newline, cut at the limit."""
        piece = os.pread(self._fd, _PIECE, offset)
        end = piece.find(b"\n")
        if end >= 0:
            return piece[: end + 1]
        pieces = [piece]
        total = len(piece)
        size = _PIECE
        while piece and total < limit:
            size = min(size * 4, 4 << 20)
            piece = os.pread(self._fd, size, offset + total)
            end = piece.find(b"\n")
            if end >= 0:
                piece = piece[: end + 1]
                pieces.append(piece)
                break
            pieces.append(piece)
            total += len(piece)
        return b"".join(pieces)

    def _next_line(self, offset: int) -> int:
        """Return the offset of the first line that starts after `offset - 1`, or -1 when none is near."""
        position = offset - 1
        while position < self._size and position - offset < BUDGET_BYTES:
            piece = os.pread(self._fd, _PIECE if position == offset - 1 else 1 << 20, position)
            end = piece.find(b"\n")
            if end >= 0:
                return position + end + 1
            if not piece:
                break
            position += len(piece)
        return -1
