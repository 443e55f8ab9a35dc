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
_PROBES = 16  # places whose lines say how many the budget allows


class Place:
    """Where a sampled line is: its byte offset, and its number where the lines before it were read.

    `weight` is the number of lines of the file that it stands for, one over the chance it had to be taken.
    """

    __slots__ = ("line", "offset", "weight")

    def __init__(self, offset: int, line: int | None, weight: float = 1.0) -> None:
        self.offset = offset
        self.line = line
        self.weight = weight


class FileSample:
    """Iterate over (place, line) of a file descriptor; afterwards `whole` says whether that was all of it.

    The first 200 lines, then the lines that 800 evenly spaced offsets lie in, without repeats and in file
    order; fewer than 800 where lines are so long that 8 MiB would not hold them. A long line is met more
    often than a short one. Weights make up for it, whatever the order of the file, since the line that an
    offset meets is itself the one that is taken.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self.whole = True
        self.bytes_seen = 0
        self.unseen = 0.0  # lines of the file that those too long to be sampled stand for

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
                sparse = not self.whole and index >= HEAD_LINES
                yield Place(offset, index + 1, rest / SPREAD_LINES if sparse else 1.0), line
            offset += len(line)

    def _spread(self, start: int) -> Iterator[tuple[Place, bytes]]:
        """Sample what begins at `start`, fewer lines of it where they are long."""
        rest = self._size - start
        met = [
            self._length_at(start + (2 * probe + 1) * rest // (2 * _PROBES), start)
            for probe in range(_PROBES)
        ]
        steps = max(1, min(SPREAD_LINES, BUDGET_BYTES * _PROBES // sum(met)))
        stride = rest / steps
        done = start  # the end of the last line that was met
        for step in range(steps):
            wanted = int(start + (step + 0.5) * stride)
            if wanted < done:
                continue
            begin = self._line_start(wanted, done)
            line = self._line_at(begin, LONGEST_SAMPLED)
            if len(line) >= LONGEST_SAMPLED and not line.endswith(b"\n"):
                self.unseen += stride / (self._line_end(begin + len(line)) - begin)
                continue
            done = begin + len(line)
            self.bytes_seen += len(line)
            yield Place(begin, None, max(1.0, stride / len(line))), line

    def _length_at(self, offset: int, lowest: int) -> int:
        """Return how long the line around an offset is, up to what would be read of it."""
        begin = self._line_start(offset, lowest)
        return len(self._line_at(begin, LONGEST_SAMPLED))

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

    def _line_start(self, offset: int, lowest: int) -> int:
        """Return where the line starts that the byte at `offset` belongs to, or a place in it far before.

        A line starts at `lowest`, and that is not behind `offset`.
        """
        end, size = offset, _PIECE
        lowest = max(lowest, offset - BUDGET_BYTES)
        while end > lowest:
            begin = max(lowest, end - size)
            newline = os.pread(self._fd, end - begin, begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            end, size = begin, 1 << 20
        return lowest

    def _line_end(self, offset: int) -> int:
        """Return where the line ends that the byte at `offset` belongs to, or a place in it far behind."""
        highest = offset + BUDGET_BYTES
        while offset < highest:
            piece = os.pread(self._fd, 1 << 20, offset)
            newline = piece.find(b"\n")
            if newline >= 0:
                return offset + newline + 1
            if not piece:
                break
            offset += len(piece)
        return offset
