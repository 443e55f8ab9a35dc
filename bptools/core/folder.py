"""A folder of files made together: all in place with a manifest.json, or nothing changed.

    bp-filter --split train=.9,val=.1 --out-dir data/ records.jsonl   # train.jsonl, val.jsonl, manifest.json

manifest.json is written last and removed first, so where it is the files beside it are complete and belong
together; it lists each with its records, bytes and sha256. Files of an earlier run are replaced by the same
ones of this run. What would leave a mixture is refused: a file of an earlier run that this one does not
make, and a file in the way that no run of ours made. Other files are never touched.

A run holds a lock on the folder itself (flock; no lock file, gone with the process); a second one is refused
at once with exit status 75. File systems and platforms without it: each file is still whole, and the
manifest's hashes tell whether they belong together.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import orjson

from bptools.core.errors import Busy, DataError, OutputError, ReadWriteError, UsageError
from bptools.core.output import AtomicFile, write_file
from bptools.core.records import dumps_report
from bptools.core.streams import allow_descriptors, reason_of

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

MANIFEST = "manifest.json"
UNFINISHED = ".bptools-unfinished.json"  # there while files are put in place: which of them are ours
MOST_FILES = 500
_PART_BUFFER = 64 << 10  # of each file; 500 of them make 32 MB


class _Part(AtomicFile):
    """One file of the folder, counted and hashed."""

    def __init__(self, target: str) -> None:
        from hashlib import sha256

        super().__init__(target)
        self._buffer.detach()  # or it closes the file when it goes
        self._buffer = io.BufferedWriter(self._raw, _PART_BUFFER)
        self.write = self._buffer.write
        self.digest = sha256()
        self.hash_with(self.digest)
        self.records = 0

    def sync(self) -> None:
        """Bring everything to disk, so that what can fail has failed before a file is replaced."""
        self.flush()
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise ReadWriteError(f"cannot write '{self.target}': {reason_of(error)}") from None

    def entry(self) -> dict[str, Any]:
        """Return what the manifest says about it."""
        return {"records": self.records, "bytes": self.bytes_written, "sha256": self.digest.hexdigest()}


class OutputFolder:
    """Files of one folder that appear together at `commit`; without it, at the end of a `with`, not at all.

    The folder is made if need be, and removed again at `abort` if nothing came of it. Killed at any moment,
    the same run succeeds when it is started again. Raises OutputError, Busy.
    """

    def __init__(self, path: str, most_files: int = MOST_FILES) -> None:
        self.path = path
        self._most_files = most_files
        self._parts: dict[str, _Part] = {}
        self._folded: dict[str, str] = {}
        self._declared = False
        self._finished = False
        self._lock = -1
        self._made: list[str] = []
        try:
            self._make()
            self._earlier = self._names_in(MANIFEST) | self._names_in(UNFINISHED)
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    @property
    def earlier(self) -> list[str]:
        """The files that an earlier run has left, which this one may replace."""
        return sorted(self._earlier)

    def declare(self, names: Iterable[str]) -> None:
        """Say which files there will be, and no others; they are there after `commit` even if empty.

        Raises OutputError for what would be refused at `commit`, so that it is refused before the work, and
        UsageError for too many.
        """
        names = list(names)
        if len(names) > self._most_files:
            raise UsageError(f"{len(names)} files in '{self.path}' are too many; at most {self._most_files}")
        self._refuse(names)
        for name in names:
            self._open(name)
        self._declared = True

    def write(self, name: str, line: bytes) -> None:
        """Append a line to the file with this name (train.jsonl), which begins with the first one.

        Raises DataError for too many files, OutputError, ReadWriteError.
        """
        part = self._parts.get(name)
        if part is None:
            if self._declared:
                raise ValueError(f"{name} was not declared")
            part = self._open(name)
        part.write(line)
        part.records += 1

    def files(self) -> dict[str, dict[str, Any]]:
        """Return the records, bytes and sha256 of each file as written so far, ordered by name."""
        for part in self._parts.values():
            part.flush()
        return {name: self._parts[name].entry() for name in sorted(self._parts)}

    def commit(self, manifest: dict[str, Any] | None = None) -> None:
        """Put all files in place, and manifest.json: what is given, and under `files` what `files` returns.

        Raises OutputError, ReadWriteError; before the first file is replaced, unless a disk fails just then.
        A signal that arrives once it has begun to replace files waits until it is done.
        """
        self._refuse(self._parts)
        for part in self._parts.values():
            part.sync()
        whole = dumps_report({**(manifest or {}), "files": self.files()})
        ours = sorted(self._earlier | set(self._parts))
        with _undisturbed():
            write_file(self._at(UNFINISHED), dumps_report({"files": dict.fromkeys(ours)}))
            self._remove(MANIFEST)
            for part in self._parts.values():
                part.commit()
            self._clear_leftovers(ours)
            self._sync()
            write_file(self._at(MANIFEST), whole)
            self._finished = True
            self._remove(UNFINISHED)
            self._unlock()

    def abort(self) -> None:
        """Forget all files; after `commit` there is nothing to forget."""
        for part in self._parts.values():
            part.abort()
        self._parts = {}
        if not self._finished:
            for folder in reversed(self._made):
                with contextlib.suppress(OSError):  # not empty: somebody else's now
                    os.rmdir(folder)
        self._made = []
        self._unlock()

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _make(self) -> None:
        missing = []
        folder = os.path.abspath(self.path)
        while not os.path.lexists(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        try:
            for folder in reversed(missing):
                with contextlib.suppress(FileExistsError):  # made by another run just now
                    os.mkdir(folder)
                    self._made.append(folder)
            if not os.path.isdir(self.path):
                raise OutputError(f"cannot create folder '{self.path}': a file is in its place")
            self._take_lock()
        except OSError as error:
            raise OutputError(f"cannot create folder '{self.path}': {reason_of(error)}") from None

    def _take_lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another run is writing into '{self.path}'; try again when it is done") from None
        except OSError:
            return  # a file system without locks
        if not os.path.exists(self.path) or not os.path.samestat(os.fstat(self._lock), os.stat(self.path)):
            raise Busy(f"another run has just removed '{self.path}'; try again")

    def _unlock(self) -> None:
        if self._lock >= 0:
            import fcntl

            with contextlib.suppress(OSError):
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # a forked worker may live on with its copy
            os.close(self._lock)
            self._lock = -1

    def _names_in(self, manifest: str) -> set[str]:
        """Return the files that a manifest of ours lists."""
        try:
            with open(self._at(manifest), "rb") as file:
                content = orjson.loads(file.read())
            return set(content["files"])
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise OutputError(f"cannot read '{self._at(manifest)}': {reason_of(error)}") from None
        except (ValueError, KeyError, TypeError):
            raise OutputError(
                f"'{self._at(manifest)}' is not of bptools' making; remove it or name another folder"
            ) from None

    def _refuse(self, names: Iterable[str]) -> None:
        """Refuse to leave a mixture: what is there and not made now, or in the way and not ours."""
        present = {name for name in {*names, *self._earlier} if os.path.lexists(self._at(name))}
        stale = sorted(present - set(names))
        if stale:
            raise OutputError(
                f"'{self.path}' holds {_listed(stale)} of an earlier run, which this run does not make;"
                f" remove {'it' if len(stale) == 1 else 'them'} or name another folder"
            )
        foreign = sorted(present - self._earlier)
        if foreign:
            raise OutputError(
                f"'{self.path}' holds {_listed(foreign)}, which no manifest.json there lists as ours;"
                f" remove {'it' if len(foreign) == 1 else 'them'} or name another folder"
            )

    def _open(self, name: str) -> _Part:
        if not name or os.path.basename(name) != name or name in (MANIFEST, UNFINISHED, ".", ".."):
            raise ValueError(f"{name!r} cannot be a file of a folder")
        if len(self._parts) >= self._most_files:
            raise DataError(
                f"more than {self._most_files} files in '{self.path}', the next would be {name};"
                " choose a field with fewer values"
            )
        other = self._folded.setdefault(name.casefold(), name)
        if other != name and self._ignores_case():
            raise DataError(
                f"{other} and {name} are the same file in '{self.path}'; write the values in one case first"
            )
        if len(self._parts) % 100 == 0:
            allow_descriptors(len(self._parts) + 100)
        part = self._parts[name] = _Part(self._at(name))
        return part

    def _ignores_case(self) -> bool:
        probe = f".bptools-{os.getpid()}-{os.urandom(4).hex()}-case"
        try:
            os.close(os.open(self._at(probe), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise OutputError(f"cannot write into '{self.path}': {reason_of(error)}") from None
        try:
            return os.path.lexists(self._at(probe.upper()))
        finally:
            self._remove(probe)

    def _remove(self, name: str) -> None:
        try:
            os.unlink(self._at(name))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise OutputError(f"cannot remove '{self._at(name)}': {reason_of(error)}") from None

    def _clear_leftovers(self, names: list[str]) -> None:
        """Remove the temporary files that a run killed in `commit` left of these files."""
        if self._lock < 0:
            return  # they may be of a run that is alive
        ours = {*names, MANIFEST, UNFINISHED}
        for name in os.listdir(self.path):
            match = re.fullmatch(r"\.(.+)\.\d+-[0-9a-f]{8}\.tmp", name)  # as AtomicFile names them
            if match and match[1] in ours:
                self._remove(name)

    def _sync(self) -> None:
        """Have the renamed files on disk before the manifest that vouches for them."""
        if self._lock >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._lock)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back what would end the process; the last signal that came is raised at the end.

    Does nothing outside of the main thread.
    """
    came: list[int] = []
    former: dict[int, Any] = {}
    try:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (None, signal.SIG_IGN):
                former[number] = signal.signal(number, lambda number, _: came.append(number))
    except ValueError:  # not the main thread: its handlers do not run here either
        pass
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[-1])
