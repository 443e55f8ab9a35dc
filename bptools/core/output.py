"""Outputs: standard output with our own buffer, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bptools.core.errors import OutputError, ReaderGone, ReadWriteError
from bptools.core.streams import BUFFER_BYTES, reason_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LONGEST_NAME = 255  # bytes, on every file system that is common
_DESCRIPTOR = re.compile(r"/(?:dev|proc/([0-9]+)(?:/task/[0-9]+)?)/fd/([0-9]+)|/dev/std(out|err)")
_LINKS = 40  # of links that lead on to links, as the system follows them


class _RawFile(io.RawIOBase):
    """A writable descriptor that hashes on request, waits when it would block, and can be told to stop."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.name = name
        self.stopped = False  # after a failure: swallow what buffers still hold
        self.digest: Any = None
        self.bytes_written = 0

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self.fd)

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data)
        if self.stopped:
            return len(view)
        try:
            count = os.write(self.fd, view)
        except BlockingIOError:
            import select

            select.select([], [self.fd], [])
            return self.write(data)
        except BrokenPipeError:
            self.stopped = True
            raise ReaderGone(self.name) from None
        except OSError as error:
            self.stopped = True
            raise ReadWriteError(f"cannot write {self.name}: {reason_of(error)}") from None
        if self.digest is not None:
            self.digest.update(view[:count])
        self.bytes_written += count
        return count


class Output:
    """A byte output. `write` takes whole lines; `commit` or `abort` ends it."""

    def __init__(self, raw: _RawFile, line_buffered: bool = False) -> None:
        self._raw = raw
        self._buffer = io.BufferedWriter(raw, BUFFER_BYTES)
        self.write = self._write_line if line_buffered else self._buffer.write

    def _write_line(self, line: ReadableBuffer) -> int:
        count = self._buffer.write(line)
        self._buffer.flush()
        return count

    def hash_with(self, digest: Any) -> None:
        """Feed everything written from here on to a hashlib object."""
        self._raw.digest = digest

    @property
    def name(self) -> str:
        """What messages call it: a file in quotes."""
        return self._raw.name

    @property
    def bytes_written(self) -> int:
        """Bytes that have left the buffer."""
        return self._raw.bytes_written

    def flush(self) -> None:
        """Hand everything to the system. Raises ReaderGone, ReadWriteError."""
        self._buffer.flush()

    def check_reader(self) -> None:
        """Raise ReaderGone if this is a pipe that nobody reads any more, though all was written to it.

        A reader that lives waits for the end, which it has not been shown yet.
        """
        if self._raw.fd < 0 or not stat.S_ISFIFO(os.fstat(self._raw.fd).st_mode):
            return
        import select

        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._raw.fd, 0)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                raise ReaderGone(self._raw.name)

    def prepare(self) -> None:
        """Do all of `commit` that can fail for want of space or a name. Raises as it does."""
        self.flush()

    def commit(self) -> None:
        """Make the output final. Raises ReaderGone, ReadWriteError."""
        self.flush()

    def abort(self) -> None:
        """Leave neither target nor litter; for standard output: deliver what was written."""
        with contextlib.suppress(ReaderGone, ReadWriteError):
            self.flush()


class AtomicFile(Output):
    """A file that replaces its target at commit: sibling temporary, fsync, rename.

    On Linux the temporary has no name until then (O_TMPFILE), so that not even kill -9 leaves litter.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        path = os.path.realpath(target)  # a link keeps pointing at what is replaced behind it
        self._path = path
        self._temporary: str | None = None
        self._prepared = False
        folder = os.path.dirname(path)
        if os.path.isdir(path):
            raise OutputError(f"cannot create '{target}': is a directory")
        try:
            if len(os.fsencode(os.path.basename(path))) > _LONGEST_NAME:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            self._fd = self._open_unnamed(folder)
            if self._fd < 0:
                self._temporary = self._sibling()
                self._fd = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise OutputError(f"cannot create '{target}': {reason_of(error)}") from None
        super().__init__(_RawFile(self._fd, f"'{target}'"))

    def _open_unnamed(self, folder: str) -> int:
        flag = getattr(os, "O_TMPFILE", 0)
        if not flag or not os.path.exists("/proc/self/fd"):
            return -1
        try:
            return os.open(folder, os.O_WRONLY | flag, 0o666)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                return -1  # a file system without it
            raise

    def _give_name(self, path: str) -> None:
        """Link the unnamed file into its folder; naming a folder makes Python call linkat."""
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            source = f"/proc/self/fd/{self._fd}"
            os.link(
                source, os.path.basename(path), src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True
            )
        finally:
            os.close(folder)

    def _sibling(self) -> str:
        name = os.fsdecode(os.fsencode(os.path.basename(self._path))[:200])  # a name has at most 255 bytes
        return os.path.join(os.path.dirname(self._path), f".{name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")

    def prepare(self) -> None:
        """Have the file on the disk, whole, under another name. Raises ReadWriteError, OutputError."""
        if self._prepared:
            return
        self.flush()
        with self._told():
            os.fsync(self._fd)
            if self._temporary is None:
                self._temporary = self._sibling()
                self._give_name(self._temporary)
        self._prepared = True

    def commit(self) -> None:
        """Put the file in its place, whole. Raises ReadWriteError, OutputError."""
        self.prepare()
        assert self._temporary is not None
        with self._told():
            with contextlib.suppress(FileNotFoundError):
                os.chmod(self._temporary, stat.S_IMODE(os.stat(self._path).st_mode))
            os.replace(self._temporary, self._path)
        self._temporary = None
        self._close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.abort()
            if error.errno in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
                raise ReadWriteError(f"cannot write '{self.target}': {reason_of(error)}") from None
            raise OutputError(f"cannot create '{self.target}': {reason_of(error)}") from None

    def abort(self) -> None:
        """Forget the file."""
        self._close()
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            self._temporary = None

    def _close(self) -> None:
        self._raw.stopped = True
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = self._raw.fd = -1  # a number that another file may get


def descriptor_of(name: str) -> int | None:
    """Return the number of the open descriptor behind a name: /dev/stdout, /dev/fd/3, a link to one."""
    if not name:
        return None
    for _ in range(_LINKS):
        folder, base = os.path.split(name)
        name = os.path.join(os.path.realpath(folder), base)
        found = _DESCRIPTOR.fullmatch(name)
        if found is not None and found[1] in (None, str(os.getpid())):
            return int(found[2]) if found[2] else 1 if found[3] == "out" else 2
        if not os.path.islink(name):
            break
        name = os.path.join(os.path.dirname(name), os.readlink(name))
    return None


def open_output(name: str, line_buffered: bool = False) -> Output:
    """Open `-` (standard output), a descriptor, device or pipe, or a file that appears whole at commit.

    Raises OutputError when it cannot be created.
    """
    if name == "-":
        raw = _RawFile(1, "<stdout>")
        return Output(raw, line_buffered or raw.isatty())
    descriptor = descriptor_of(name)
    if descriptor is not None:  # whatever it is: a file behind it is gone on with, not replaced
        try:
            return Output(_RawFile(os.dup(descriptor), f"'{name}'"), line_buffered)
        except (OSError, OverflowError):
            raise OutputError(f"cannot open '{name}': it is not open") from None
    try:
        special = not stat.S_ISREG(os.stat(name).st_mode) and not os.path.isdir(name)
    except OSError:
        special = False
    if special:  # /dev/null, a named pipe: nothing to rename
        try:
            return Output(_RawFile(os.open(name, os.O_WRONLY), f"'{name}'"), line_buffered)
        except OSError as error:
            raise OutputError(f"cannot open '{name}': {reason_of(error)}") from None
    return AtomicFile(name)


def write_file(name: str, data: bytes) -> None:
    """Write a small file whole or not at all."""
    output = open_output(name)
    try:
        output.write(data)
        output.commit()
    except BaseException:
        output.abort()
        raise
