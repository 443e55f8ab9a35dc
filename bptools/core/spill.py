"""More lines than fit in memory: sorted by a key, or kept to be read again.

    with SortedSpill() as spill:
        for key, line in keyed:
            spill.add(key, line)
        for line in spill:
            output.write(line)

Lines stay in memory up to a budget; what is more goes to one temporary file without a name (TMPDIR says
where), so that not even kill -9 leaves litter. As much disk is needed as there are lines, plus 16 bytes
a line; beyond about a hundred times the budget a part of it, at most all, once more for a while.

CPU seconds per 100 MB of lines of 100 bytes / of 1 kB, one core of a shared server: sorting by random 64-bit
keys 1.6 / 0.25, a Spool written and read once 0.5 / 0.13; `sort` takes 0.75 / 0.13, `shuf` 0.2 / 0.1 with all
in memory. Sorting 1 GB with the default budget takes 4.3 s and 18 MB of memory (`sort -S 16M`: 3.9 s).
"""

from __future__ import annotations

import errno
import os
import struct
from array import array
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bptools.core.errors import OutputError, ReadWriteError
from bptools.core.streams import reason_of

if TYPE_CHECKING:
    from typing_extensions import Self

MEMORY_BYTES = 16 << 20
_BLOCK_BYTES = 64 << 10  # what a run is read by
_SORT_OVERHEAD = 150  # bytes that a line costs in memory beside its own: objects, lists, what a sort adds
_LINE_OVERHEAD = 50  # the same for a line that is only kept
_SPOOL_BATCH = 1 << 20  # once on disk, more is held for nothing
_HEADER = struct.Struct("<QQQ")  # lines, bytes of keys, bytes of lines


class TemporaryFile:
    """An append-only file without a name. Raises OutputError, ReadWriteError."""

    def __init__(self) -> None:
        import tempfile

        folder = "TMPDIR"
        try:
            folder = tempfile.gettempdir()
            self._file: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        except OSError as error:
            raise OutputError(
                f"cannot create temporary file in '{folder}': {reason_of(error)}; TMPDIR names another place"
            ) from None
        self._folder = folder
        self._pread = getattr(os, "pread", None)  # Windows has none
        self.size = 0

    def append(self, data: bytes) -> None:
        """Write at the end."""
        view = memoryview(data)
        try:
            if self._pread is None:
                self._file.seek(self.size)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            place = "; TMPDIR names another place"
            fix = place if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
            raise ReadWriteError(
                f"cannot write temporary file in '{self._folder}': {reason_of(error)}{fix}"
            ) from None
        self.size += len(data)

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly `count` bytes from `offset`."""
        data = self._read_some(offset, count)
        if len(data) == count:
            return data
        pieces = [data]
        while data and (count := count - len(data)):  # a system call reads 2 GiB at most
            offset += len(data)
            data = self._read_some(offset, count)
            pieces.append(data)
        if not data:
            raise ReadWriteError(f"cannot read temporary file in '{self._folder}': it has become shorter")
        return b"".join(pieces)

    def _read_some(self, offset: int, count: int) -> bytes:
        try:
            if self._pread is not None:
                return self._pread(self._file.fileno(), count, offset)  # type: ignore[no-any-return]
            self._file.seek(offset)
            return self._file.read(count)  # type: ignore[no-any-return]
        except OSError as error:
            raise ReadWriteError(
                f"cannot read temporary file in '{self._folder}': {reason_of(error)}"
            ) from None

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


class _Run:
    """A part of a temporary file: blocks of lines with their keys (array code `kind`; no keys without)."""

    def __init__(self, file: TemporaryFile, kind: str = "") -> None:
        self.file = file
        self._kind = kind
        self._begin = self._end = file.size

    def write(self, keyed: Iterable[tuple[Any, bytes]]) -> None:
        """Append lines; a block is at most _BLOCK_BYTES, or one line."""
        keys: list[Any] = []
        lines: list[bytes] = []
        size = 0
        for key, line in keyed:
            size += len(line) + 16
            if size > _BLOCK_BYTES:
                self._write_block(keys, lines)
                keys, lines = [], []
                size = len(line) + 16
            keys.append(key)
            lines.append(line)
        self._write_block(keys, lines)

    def _write_block(self, keys: list[Any], lines: list[bytes]) -> None:
        if not lines:
            return
        key_bytes = array(self._kind, keys).tobytes() if self._kind else b""
        lengths = array("Q", map(len, lines)).tobytes()
        data_bytes = sum(map(len, lines))
        index = b"".join((_HEADER.pack(len(lines), len(key_bytes), data_bytes), key_bytes, lengths))
        if data_bytes > _BLOCK_BYTES:  # one huge line: no copy of it
            self.file.append(index)
            self.file.append(lines[0])
        else:
            self.file.append(index + b"".join(lines))
        self._end = self.file.size

    def lines(self) -> Iterator[bytes]:
        """Yield the lines."""
        for _, lengths, offset, size in self._blocks():
            yield from _cut(self.file.read(offset, size), lengths)

    def entries(self, number: int) -> Iterator[tuple[Any, int, bytes | tuple[int, int]]]:
        """Yield (key, `number`, line); for a line longer than a block its (offset, length) in the file.

        So that merging runs of huge lines holds one of them, not one of each run.
        """
        for keys, lengths, offset, size in self._blocks():
            if size > _BLOCK_BYTES:
                yield keys[0], number, (offset, size)
            else:
                for key, line in zip(keys, _cut(self.file.read(offset, size), lengths)):
                    yield key, number, line

    def _blocks(self) -> Iterator[tuple[array[Any], array[int], int, int]]:
        offset = self._begin
        while offset < self._end:
            count, key_bytes, data_bytes = _HEADER.unpack(self.file.read(offset, _HEADER.size))
            offset += _HEADER.size
            index = self.file.read(offset, key_bytes + 8 * count)
            keys: array[Any] = array(self._kind or "Q")
            keys.frombytes(index[:key_bytes])
            lengths = array("Q")
            lengths.frombytes(index[key_bytes:])
            offset += len(index)
            yield keys, lengths, offset, data_bytes
            offset += data_bytes

    def read(self, offset: int, size: int) -> bytes:
        """Return the line that `entries` gave a place for."""
        return self.file.read(offset, size)


def _cut(data: bytes, lengths: Iterable[int]) -> Iterator[bytes]:
    begin = 0
    for length in lengths:
        end = begin + length
        yield data[begin:end]
        begin = end


class _Lines:
    """What both kinds have: a length, and an end."""

    _count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Forget all lines and give their space back."""
        self._count = 0


class SortedSpill(_Lines):
    """Lines sorted by (key, order of adding), any number of them, in about `memory_bytes`.

    All keys of one spill are of one kind: integers from 0 to 2**64-1, or finite floats (0.0 and -0.0 are
    equal). It can be iterated more than once. An external merge sort: runs of `memory_bytes` are sorted and
    written, then merged as many at a time as `memory_bytes` has buffers for.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._width = max(16, memory_bytes // (2 * _BLOCK_BYTES))  # runs merged at once
        self._kind = ""
        self._keys: list[Any] = []
        self._lines: list[bytes] = []
        self._held = 0
        self._count = 0
        self._runs: list[_Run] = []
        self._files: list[TemporaryFile] = []

    def add(self, key: int | float, line: bytes) -> None:
        """Add a line. Raises ReadWriteError, OutputError; ValueError, at once or later, for a wrong key."""
        self._keys.append(key)
        self._lines.append(line)
        self._count += 1
        self._held += len(line) + _SORT_OVERHEAD
        if self._held > self._memory_bytes:
            self._spill()

    def __iter__(self) -> Iterator[bytes]:
        if not self._runs:
            self._check(self._keys)
            for _, line in self._sorted():
                yield line
            return
        self._spill()
        self._reduce()
        for _, line in self._merged(self._runs):
            yield line

    def close(self) -> None:
        """Forget all lines and give their space back."""
        for file in self._files:
            file.close()
        self._files, self._runs, self._keys, self._lines = [], [], [], []
        self._held = self._count = 0

    def _sorted(self) -> Iterator[tuple[Any, bytes]]:
        """Yield what is held in memory, in order."""
        keys, lines = self._keys, self._lines
        for index in sorted(range(len(keys)), key=keys.__getitem__):
            yield keys[index], lines[index]

    def _check(self, keys: list[Any]) -> None:
        if not keys:
            return
        if not self._kind:
            self._kind = "d" if type(keys[0]) is float else "Q"
        if self._kind == "Q":
            if set(map(type, keys)) <= {int} and min(keys) >= 0 and max(keys) < 1 << 64:
                return
            raise ValueError("a key is no integer from 0 to 2**64-1")
        from math import isfinite

        if set(map(type, keys)) != {float} or not all(map(isfinite, keys)):
            raise ValueError("a key is no finite float")

    def _new_file(self) -> TemporaryFile:
        file = TemporaryFile()
        self._files.append(file)
        return file

    def _spill(self) -> None:
        """Write what is held in memory as a run."""
        if not self._lines:
            return
        self._check(self._keys)
        run = _Run(self._files[-1] if self._files else self._new_file(), self._kind)
        run.write(self._sorted())
        self._runs.append(run)
        self._keys, self._lines, self._held = [], [], 0

    def _merged(self, runs: list[_Run]) -> Iterator[tuple[Any, bytes]]:
        """Yield the lines of some runs in order; of equal keys, those of the earlier run first."""
        from heapq import heapify, heappop, heapreplace

        readers = [run.entries(number) for number, run in enumerate(runs)]
        heap = [next(reader) for reader in readers]
        heapify(heap)
        while heap:
            key, number, line = heap[0]
            yield key, line if type(line) is bytes else runs[number].read(*line)
            try:
                heapreplace(heap, next(readers[number]))
            except StopIteration:
                heappop(heap)

    def _reduce(self) -> None:
        """Merge runs into longer ones until those left can be merged at once.

        Only neighbours, for the order of equal keys, and no more than needed.
        """
        width = self._width
        while len(self._runs) > width:
            file = self._new_file()
            longer: list[_Run] = []
            done = 0
            while (excess := len(longer) + len(self._runs) - done - width) > 0 and done < len(self._runs):
                group = self._runs[done : done + min(width, excess + 1)]
                run = _Run(file, self._kind)
                run.write(self._merged(group))
                longer.append(run)
                done += len(group)
            self._runs = longer + self._runs[done:]
            self._release()

    def _release(self) -> None:
        """Close the files that no run is in."""
        used = [run.file for run in self._runs]
        for file in self._files:
            if file not in used:
                file.close()
        self._files = [file for file in self._files if file in used]


class Spool(_Lines):
    """A list of lines that only grows, in order, read as often as wanted, in about `memory_bytes`."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._lines: list[bytes] = []
        self._held = 0
        self._count = 0
        self._run: _Run | None = None

    def append(self, line: bytes) -> None:
        """Add a line at the end. Raises ReadWriteError, OutputError."""
        self._lines.append(line)
        self._count += 1
        self._held += len(line) + _LINE_OVERHEAD
        if self._held > self._memory_bytes:
            if self._run is None:
                self._run = _Run(TemporaryFile())
            self._run.write((None, line) for line in self._lines)
            self._lines = []
            self._held = 0
            self._memory_bytes = min(self._memory_bytes, _SPOOL_BATCH)

    def __iter__(self) -> Iterator[bytes]:
        if self._run is not None:
            yield from self._run.lines()
        yield from self._lines

    def close(self) -> None:
        """Forget all lines and give their space back."""
        if self._run is not None:
            self._run.file.close()
        self._run = None
        self._lines = []
        self._held = self._count = 0
