"""Byte streams at the edge: fd 0 and files in, decompressed by magic bytes.

The buffers are our own (256 KiB): 1.5x faster than sys.stdin.buffer, and immune to PYTHONUNBUFFERED=1,
which turns every record into a system call.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bptools.core.errors import InputError, ReadWriteError, Unavailable, pip_install
from bptools.core.records import Reject
from bptools.core.sources.base import Source

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 256 << 10
READ_BYTES = 64 << 10  # a pipe's worth; larger ones fall out of the cache before they are parsed
_SPARE_DESCRIPTORS = 64
_LOOKED_AHEAD = 1 << 20  # bytes of a line that are read while others wait for its end
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class RawStream(io.RawIOBase):
    """A raw readable stream that can be looked at before it is read, however small its pieces arrive."""

    def __init__(self) -> None:
        self._damage: Reject | None = None
        self._head = b""

    @property
    def damage(self) -> Reject | None:
        """Why the stream ended early, or None."""
        return self._damage

    def forget_damage(self) -> None:
        """Take the damage as reported."""
        self._damage = None

    def _read_some(self, count: int) -> bytes:
        raise io.UnsupportedOperation

    def look(self, count: int, enough: Callable[[bytes], bool] | None = None) -> bytes:
        """Return the first bytes without consuming them: `count`, or fewer at the end or once `enough`.

        Call it before anything is read through a buffer.
        """
        while len(self._head) < count and not (enough is not None and self._head and enough(self._head)):
            more = self._read_some(BUFFER_BYTES)
            if not more:
                break
            self._head += more
        return self._head[:count]

    def line_at_hand(self) -> bool:
        """Return whether a line, or the rest of one, can surely be read without waiting for its end."""
        return b"\n" in self._head

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes, those that were looked at first."""
        view = memoryview(buffer)
        if self._head:
            data, self._head = self._head[: len(view)], self._head[len(view) :]
        else:
            data = self._read_some(len(view))
        view[: len(data)] = data
        return len(data)


class CountingFile(RawStream):
    """A readable file descriptor that knows how much was read, and hashes it when asked to."""

    def __init__(self, fd: int, close: bool, name: str = "standard input") -> None:
        super().__init__()
        self._fd = fd
        self._name = name
        self._close = close
        self._ended = False  # looking ahead met the end: a terminal says so only once
        status = os.fstat(fd)
        self.bytes_read = 0
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.digest: Any = None  # a hashlib object, when a manifest wants the hash of what was read

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    def line_at_hand(self) -> bool:
        """Return whether a line can be read without waiting; what has arrived of one is read to see.

        The end of a pipe is no line. What cannot be asked (a pipe on Windows) has none at hand.
        """
        if self.size is not None or b"\n" in self._head:
            return True
        while len(self._head) < _LOOKED_AHEAD and not self._ended and _has_arrived(self._fd):
            try:
                data = self._read_some(READ_BYTES)
            except ReadWriteError:  # who reads on will meet it again
                return False
            self._ended = not data
            self._head += data
            if b"\n" in data:
                return True
        return False

    def _read_some(self, count: int) -> bytes:
        if self._ended:
            self._ended = False
            return b""
        try:
            data = os.read(self._fd, count)
        except OSError as error:
            raise ReadWriteError(f"cannot read {self._name}: {reason_of(error)}") from None
        self.bytes_read += len(data)
        if self.digest is not None:
            self.digest.update(data)
        return data

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read straight into the buffer where nothing has to see the bytes on the way."""
        if self._head or self._ended or self.digest is not None or not hasattr(os, "readv"):
            return super().readinto(buffer)
        try:
            count = os.readv(self._fd, [buffer])
        except OSError as error:
            raise ReadWriteError(f"cannot read {self._name}: {reason_of(error)}") from None
        self.bytes_read += count
        return count

    def read_elsewhere(self, share: float) -> None:
        """Count as read, and hash if that is wanted, a share of a file that another reads by seeking."""
        until = round((self.size or 0) * share)
        if self.digest is None:
            self.bytes_read = max(self.bytes_read, until)
        while self.bytes_read < until and hasattr(os, "pread"):
            try:
                data = os.pread(self._fd, min(READ_BYTES, until - self.bytes_read), self.bytes_read)
            except OSError as error:
                raise ReadWriteError(f"cannot read {self._name}: {reason_of(error)}") from None
            if not data:
                return  # it was cut meanwhile
            self.bytes_read += len(data)
            self.digest.update(data)

    def close(self) -> None:
        """Close it, and what it reads from."""
        if self._close and not self.closed:
            os.close(self._fd)
        super().close()


class Decompressed(RawStream):
    """A decompressor's output. Damaged data ends the stream after all that still decoded; `damage` says.

    An exception here would make the buffer above lose the line it was putting together.
    """

    def __init__(self, file: Any, name: str, below: io.BufferedReader[Any], inner: RawStream) -> None:
        super().__init__()
        self._file = file
        self._name = name
        self._below = below
        self._inner = inner

    @property
    def damage(self) -> Reject | None:
        """Why the stream ended early, here or in a layer below."""
        return self._damage or self._inner.damage

    def forget_damage(self) -> None:
        """Take the damage as reported."""
        self._damage = None
        self._inner.forget_damage()

    def _read_some(self, count: int) -> bytes:
        if self._damage is not None:
            return b""
        try:
            return self._file.read1(count)  # type: ignore[no-any-return]
        except EOFError:
            self._damage = Reject(f"truncated-{self._name}", f"the {self._name} data ends early")
        except Exception as error:  # zlib.error, BadGzipFile, ZstdError: the modules share no base class
            if isinstance(error, OSError) and error.errno is not None:
                raise
            # gzip ends its message in the bytes it found, as Python writes them
            detail = str(error).partition(" (b")[0].lower() or type(error).__name__
            self._damage = Reject(f"corrupt-{self._name}", f"the {self._name} data is corrupt: {detail}")
        return b""

    def close(self) -> None:
        """Close it, and what it reads from."""
        if not self.closed:
            self._below.close()
        super().close()


class Input:
    """An opened source: the decompressed stream, and the file below it for progress and hashes."""

    __slots__ = ("compression", "file", "raw", "stream")

    def __init__(self, raw: RawStream, file: CountingFile, compression: str | None) -> None:
        self.raw = raw  # look at its head before reading the stream
        self.stream = io.BufferedReader(raw, READ_BYTES)
        self.file = file
        self.compression = compression  # None, "gzip", "zstd" or both joined by "+"

    def close(self) -> None:
        """Close it, and what it reads from."""
        self.stream.close()


def open_input(source: Source, digest: Any = None) -> Input:
    """Open a file or standard input for reading bytes, decompressed by its magic bytes.

    Raises InputError for what cannot be opened. A damaged archive ends early with `raw.damage` set.
    """
    if source.path is None:
        file = CountingFile(0, close=False)
    else:
        try:
            fd = os.open(source.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            file = CountingFile(fd, close=True, name=f"'{source.name}'")
        except OSError as error:
            raise InputError(f"cannot open '{source.name}': {reason_not_read(error)}") from None
        if stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
            file.close()
            raise InputError(f"cannot read '{source.name}': is a directory")
    file.digest = digest
    raw, compression = decompressed(file)
    return Input(raw, file, compression)


def decompressed(raw: RawStream) -> tuple[RawStream, str | None]:
    """Return the stream with gzip and zstd taken off by magic bytes, up to three layers, and their names."""
    compression: list[str] = []
    while len(compression) < 3:
        head = raw.look(4)
        if head[:2] == GZIP_MAGIC:
            compression.append("gzip")
            raw = _gunzip(raw)
        elif head == ZSTD_MAGIC:
            compression.append("zstd")
            raw = _unzstd(raw)
        else:
            break
    return raw, "+".join(compression) or None


def reason_of(error: OSError) -> str:
    """Return the system's reason, lower-case, without errno and path."""
    return (error.strerror or str(error)).lower()


def reason_not_read(error: OSError) -> str:
    """Return the reason as `reason_of`, shorter for what is not there."""
    return "no such file" if isinstance(error, FileNotFoundError) else reason_of(error)


def _gunzip(raw: RawStream) -> RawStream:
    import gzip

    below: io.BufferedReader[Any] = io.BufferedReader(raw, BUFFER_BYTES)
    return Decompressed(gzip.GzipFile(fileobj=below), "gzip", below, raw)


def _unzstd(raw: RawStream) -> RawStream:
    try:
        from compression import zstd  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            from backports import zstd  # type: ignore[no-redef, import-not-found, unused-ignore]
        except ImportError:
            raise Unavailable(f"backports.zstd is not installed; {pip_install()} backports.zstd") from None
    below: io.BufferedReader[Any] = io.BufferedReader(raw, BUFFER_BYTES)
    return Decompressed(zstd.ZstdFile(below), "zstd", below, raw)


def _has_arrived(fd: int) -> bool:
    import select

    try:
        return bool(select.select([fd], [], [], 0)[0])
    except ValueError:  # a number beyond what select takes
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(0))
    except OSError:
        return False


def allow_descriptors(count: int) -> None:
    """Let this many files be open besides those that are, as far as the system lets us."""
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        here = len(os.listdir("/dev/fd"))
    except OSError:
        here = 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + here + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def read_small_file(path: str) -> str:
    """Return a text file's content. Raises InputError."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise InputError(f"cannot open '{path}': {reason_not_read(error)}") from None
    except UnicodeDecodeError:
        raise InputError(f"cannot read '{path}': not UTF-8") from None
