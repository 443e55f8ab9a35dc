"""A sample of a seekable JSONL file, spread over all of it, at a cost that does not depend on its size."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from bptools.core.sources.base import BOM, MAX_RECORD_BYTES

HEAD_LINES = 200
SPREAD_LINES = 800
WHOLE_BYTES = 4 << 20  # a file of this size is read whole: orjson takes 10 ms for it
LONGEST_SAMPLED = 1 << 20
BUDGET_BYTES = 8 << 20
_PIECE = 16 << 10
_PROBES = 16  # places whose lines say how many the budget allows
_GOLDEN = 0.6180339887498949  # its multiples, modulo 1, are even draws that keep step with no pattern


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

    The first 200 lines, then 800 spread over the rest, without repeats and in file order; fewer where lines
    are so long that 8 MiB would not hold them. A small file is read to its end, so that `records`, its lines
    that are not blank, is known; blank ones all come and do not count among the 1,000.

    The line that an offset meets would be a long one: short lines, broken ones above all, would hardly ever
    come. So an offset meets a group of neighbours, of which each is as likely to be taken. Weights make up
    for what is left: groups of many lines, and groups of few.
    """

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self.whole = True
        self.bytes_seen = 0
        self.records: int | None = None
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
        filled = [
            index for index, line in enumerate(lines) if (line if index else line.removeprefix(BOM)).strip()
        ]
        self.records = len(filled)
        rest = filled[HEAD_LINES:]
        self.whole = len(rest) <= SPREAD_LINES
        weights = dict.fromkeys(() if self.whole else rest, 0)
        for step in range(SPREAD_LINES if weights else 0):
            low, high = (edge * len(rest) // SPREAD_LINES for edge in (step, step + 1))
            weights[rest[low + int(step * _GOLDEN % 1 * (high - low))]] = high - low
        offset = 0
        for index, line in enumerate(lines):
            weight = weights.get(index, 1)
            if weight:
                self.bytes_seen += len(line)
                yield Place(offset, index + 1, weight), line
            offset += len(line)

    def _spread(self, start: int) -> Iterator[tuple[Place, bytes]]:
        """Sample what begins at `start`, fewer lines of it where they are long."""
        rest = self._size - start
        met = [
            self._length_at(start + (2 * probe + 1) * rest // (2 * _PROBES), start)
            for probe in range(_PROBES)
        ]
        steps = max(1, min(SPREAD_LINES, BUDGET_BYTES * _PROBES // max(1, sum(met))))
        stride = rest / steps
        block = max(1, min(_PIECE, int(stride)))
        done = start  # the end of the last group that was met
        for step in range(steps):
            wanted = int(start + (step + 0.5) * stride)
            if wanted < done:
                continue
            begins, end = self._group(wanted, start, block)
            low = begins[0] - (begins[0] - start) % block
            done = end - (end - start) % block if end < self._size else self._size
            begin = begins[int(step * _GOLDEN % 1 * len(begins))]
            weight = len(begins) * max(1.0, stride / max(1, done - low))
            line = self._line_at(begin, LONGEST_SAMPLED)
            if len(line) >= LONGEST_SAMPLED and not line.endswith(b"\n"):
                self.unseen += weight
                continue
            self.bytes_seen += len(line)
            yield Place(begin, None, weight), line

    def _group(self, offset: int, first: int, block: int) -> tuple[list[int], int]:
        """Return where the lines begin that begin in the block of an offset, and where the last of them ends.

        Blocks are counted from `first`. One in which no line begins is part of the last before in which one
        does, so that every line is of one group, and an offset meets a group by the blocks that it has.
        """
        low = offset - (offset - first) % block
        begins = self._begins(low, first, block)
        if not begins:
            begin = self._line_start(low, first)
            begins = self._begins(begin - (begin - first) % block, first, block) or [begin]
        return begins, self._line_end(max(begins[-1], offset))

    def _begins(self, low: int, first: int, block: int) -> list[int]:
        """Return where lines begin, of the bytes from `low` on that are one block."""
        size = min(block, self._size - low)
        begins = [low] if low == first else []
        after = max(low - 1, first)  # a line begins behind a line feed
        piece = os.pread(self._fd, low + size - 1 - after, after)
        found = piece.find(b"\n")
        while found >= 0:
            begins.append(after + found + 1)
            found = piece.find(b"\n", found + 1)
        return begins

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
        highest, size = offset + BUDGET_BYTES, _PIECE
        while offset < highest:
            piece = os.pread(self._fd, size, offset)
            newline = piece.find(b"\n")
            if newline >= 0:
                return offset + newline + 1
            if not piece:
                break
            offset += len(piece)
            size = 1 << 20
        return offset
