"""The index of `bp-dedup --index PATH`: what earlier runs kept, for this one to be compared with.

    with IndexStore(path, {"exact": "content", "on": "all"}, wait=60.0) as store:
        until = store.position(digest.sha256)  # None: these lines are new
        for segment in store.segments(until):
            table.add(segment.keys())
        first = len(table)
        ...
        if until is None:
            store.commit(digest.sha256, digest.head, records=1000, keys=table.copy_of_keys(first))

PATH is a folder. A run holds the lock of `.lock` in it from beginning to end. Other files are left alone.

index.json: one line of JSON. `kind` is "bp-dedup index", `format` 1, `settings` the options that all runs
have to share, `batches` the inputs in the order of their runs; `xxh3_128` is the hash of all the rest as JSON
without white space, names in order. It is replaced as a whole, last, when a run ends well: what it does not
name does not count, and files of a killed run are deleted by the next one. Of each batch it says:

    sha256         of the lines of the records that came in
    head_sha256    of the first `head_bytes` of these lines, 65536 or all there are
    records, kept  how many came in, how many of them stayed
    version        of bptools
    file, bytes    the name and the size of its file, NNNNNN-SHA256.batch
    sections       of the file, one after the other: name, bytes, xxh3_128 (of all but `sets`)

All numbers in a file are little-endian. Where n is the number of records in it, its sections are:

    sets      shingles of 32 bits in the order of words, one record after the other (only with --minhash)
    keys      n x 16 bytes: the hash of what exact copies share
    idents    n x 16 bytes: the hash of the whole content, where that is another
    counts    n x 4 bytes: shingles in each set
    sums      n x 4 bytes: the lower half of XXH3-64 of each set
    checks    n x (4 bytes for each band): hashes of the bands of its signature

A size or a hash that is wrong ends a run with status 74. A set is hashed when it is read.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from bptools import __version__
from bptools.core.errors import BpError, OutputError, ReadWriteError, UsageError
from bptools.core.hashing import canonical_json
from bptools.core.locks import Lock, take_lock
from bptools.core.output import AtomicFile, write_file
from bptools.core.streams import reason_of
from bptools.quality.dedup.bands import Checks, Ids
from bptools.quality.dedup.keys import Array
from bptools.quality.dedup.segment import BatchFile, Segment, new_digest

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = 1
HEAD_BYTES = 64 << 10
INDEX = "index.json"
LOCK = ".lock"
_KIND = "bp-dedup index"
_OUR_BATCH = re.compile(r"\d{6}-[0-9a-f]{16}\.batch")
_OUR_TEMPORARY = re.compile(r"\.(index\.json|\d{6}-[0-9a-f]{16}\.batch)\.\d+-[0-9a-f]{8}\.tmp")
_NO_OPTIONS = {"bands", "permutations"}  # which follow from others


class BatchDigest:
    """The sha256 of the lines of a run's records, by which the run is known again, and their beginning."""

    def __init__(self) -> None:
        from hashlib import sha256

        self._digest = sha256()
        self.head = b""

    def update(self, lines: bytes) -> None:
        """Go on with these lines."""
        self._digest.update(lines)
        if len(self.head) < HEAD_BYTES:
            self.head += lines[: HEAD_BYTES - len(self.head)]

    @property
    def sha256(self) -> str:
        """The hash of all lines so far."""
        return self._digest.hexdigest()


class IndexStore:
    """An index that is opened, and locked until `close`.

    settings: what all runs have to share, by the names of the options; `bands` among them where there are
    near-duplicates. wait: seconds to wait for another run. Raises Busy, UsageError, OutputError,
    ReadWriteError.
    """

    def __init__(self, path: str, settings: Mapping[str, object], wait: float = 0.0) -> None:
        self.path = path
        self.settings = dict(settings)
        self.batches: list[dict[str, Any]] = []
        self._lock: Lock | None = None
        self._make_folder()
        self._lock = take_lock(self._at(LOCK), wait, f"the index '{path}'")
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other runs in; more than once is no error."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    # which batches there are

    def head_matches(self, head: bytes, ended: bool) -> bool:
        """Say whether a batch may be the one that begins with these bytes of its lines.

        head: the first HEAD_BYTES or more; fewer only if they are all, and the input has ended.
        """
        from hashlib import sha256

        head = head[:HEAD_BYTES]
        if len(head) < HEAD_BYTES and not ended:
            raise ValueError("the head is not whole")
        found = sha256(head).hexdigest()
        return any(
            batch["head_bytes"] == len(head) and batch["head_sha256"] == found for batch in self.batches
        )

    def position(self, sha256: str) -> int | None:
        """Return the number of the batch with these lines, from 0, or None."""
        for number, batch in enumerate(self.batches):
            if batch["sha256"] == sha256:
                return number
        return None

    def segments(self, until: int | None = None) -> list[Segment]:
        """Return what there is of all batches, or of those before a number."""
        return [
            Segment(self._at(name), batch, self._bands, partial(self._fault, name))
            for batch in self.batches[:until]
            for name in [batch["file"]]
        ]

    @property
    def _bands(self) -> int:
        bands = self.settings.get("bands")
        return bands if type(bands) is int else 0

    # a new batch

    def commit(
        self,
        sha256: str,
        head: bytes,
        records: int,
        keys: Array,
        *,
        kept: int | None = None,
        idents: bytes = b"",
        checks: Iterable[Checks] = (),
        sets: Iterable[bytes] = (),
        ends: Ids | None = None,
    ) -> None:
        """Add a batch: all of it, or the index is as it was.

        keys, idents, ends and checks are of the same records in the same order. kept: how many records were
        kept, if not all of them have a key. checks, sets: a part after the other, as CheckFile and
        ShingleFile give them. ends: as ShingleFile.ends_from. Raises ReadWriteError, OutputError.
        """
        if self._lock is None or self.position(sha256) is not None:
            raise ValueError("not open, or committed already")
        import hashlib

        name = f"{len(self.batches):06}-{sha256[:16]}.batch"
        head = head[:HEAD_BYTES]
        output = AtomicFile(self._at(name))
        try:
            file = BatchFile(output)
            if ends is not None:
                sums = file.write_sets(sets, ends)
            file.write("keys", [np.ascontiguousarray(keys).tobytes()])
            if idents:
                file.write("idents", [idents])
            if ends is not None:
                file.write("counts", [np.diff(ends, prepend=0).astype("<u4").tobytes()])
                file.write("sums", [sums.tobytes()])
                file.write("checks", (part.T.astype("<u4").tobytes() for part in checks))
            self._check_sizes(file, len(keys))
            output.commit()
        except BaseException:
            output.abort()
            raise
        self._sync()
        batch = {
            "sha256": sha256,
            "head_sha256": hashlib.sha256(head).hexdigest(),
            "head_bytes": len(head),
            "records": records,
            "kept": len(keys) if kept is None else kept,
            "version": __version__,
            "file": name,
            "bytes": output.bytes_written,
            "sections": file.sections,
        }
        try:
            self._write_index([*self.batches, batch])
        except BpError:  # not for a signal, which may come when index.json is in its place
            with contextlib.suppress(OSError):
                os.unlink(self._at(name))
            raise
        self.batches.append(batch)

    def _check_sizes(self, file: BatchFile, count: int) -> None:
        width = {"keys": 16, "idents": 16, "counts": 4, "checks": 4 * self._bands}
        for section in file.sections:
            if section["bytes"] != width.get(section["name"], 0) * count and section["name"] in width:
                raise ValueError(f"{section['name']} are not those of {count} records")

    def _write_index(self, batches: list[dict[str, Any]]) -> None:
        content = {"kind": _KIND, "format": FORMAT, "settings": self.settings, "batches": batches}
        line = json.dumps({**content, "xxh3_128": _hash_of(content)}, separators=(",", ":"))
        write_file(self._at(INDEX), line.encode() + b"\n")
        self._sync()

    def _sync(self) -> None:
        """Have the names of the files on disk, too."""
        with contextlib.suppress(OSError):
            fd = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    # opening

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _fault(self, name: str, what: str) -> ReadWriteError:
        return ReadWriteError(
            f"index '{self.path}' is damaged: {name} {what}; restore it from a copy or name another one"
        )

    def _make_folder(self) -> None:
        """Make the folder, or see that nobody else's files are in it; a lock file there would be rude."""
        try:
            if os.path.lexists(self.path) and not os.path.isdir(self.path):
                raise OutputError(f"cannot create index '{self.path}': a file is in its place")
            os.makedirs(self.path, exist_ok=True)
            names = os.listdir(self.path)
        except OSError as error:
            raise OutputError(f"cannot create index '{self.path}': {reason_of(error)}") from None
        if INDEX in names:
            self._content()
            return
        foreign = sorted(name for name in names if name[0] != "." and not self._is_ours(name))
        if foreign:
            raise OutputError(
                f"'{self.path}' is no index: it holds '{foreign[0]}' and no {INDEX};"
                " name another folder or a new one"
            )

    @staticmethod
    def _is_ours(name: str) -> bool:
        return bool(_OUR_BATCH.fullmatch(name) or _OUR_TEMPORARY.fullmatch(name))

    def _open(self) -> None:
        try:
            names = os.listdir(self.path)
            if INDEX in names:
                self._read_index()
            elif any(map(_OUR_BATCH.fullmatch, names)):
                raise self._fault(INDEX, "is missing")
            else:
                self._write_index([])
            named = {batch["file"] for batch in self.batches}
            for name in names:
                if self._is_ours(name) and name not in named:  # of a run that was killed
                    os.unlink(self._at(name))
        except OSError as error:
            raise OutputError(f"cannot open index '{self.path}': {reason_of(error)}") from None

    def _content(self) -> dict[str, Any]:
        """Return what index.json holds, if it is one of ours."""
        try:
            with open(self._at(INDEX), "rb") as file:
                content = json.loads(file.read())
        except OSError as error:
            raise ReadWriteError(f"cannot read '{self._at(INDEX)}': {reason_of(error)}") from None
        except (ValueError, RecursionError):
            raise self._fault(INDEX, "is not what was written") from None
        if type(content) is not dict or content.get("kind") != _KIND:
            raise OutputError(f"'{self.path}' is no index of bp-dedup, by its {INDEX}; name another folder")
        if content.get("format") != FORMAT:
            raise UsageError(
                f"index '{self.path}' has format {content.get('format')}, this version of bptools reads"
                f" {FORMAT}; name another one, or take the version that made it"
            )
        return content

    def _read_index(self) -> None:
        content = self._content()
        if content.pop("xxh3_128", None) != _hash_of(content):
            raise self._fault(INDEX, "is not what was written")
        if not content["batches"]:  # nothing was made with these settings yet
            if content["settings"] != self.settings:
                self._write_index([])
            return
        self._compare_settings(content["settings"])
        for batch in content["batches"]:
            self._check_size(batch["file"], batch["bytes"])
        self.batches = content["batches"]

    def _compare_settings(self, theirs: Mapping[str, object]) -> None:
        for name in dict.fromkeys([*self.settings, *theirs]):
            ours, made_with = self.settings.get(name), theirs.get(name)
            if canonical_json(ours) != canonical_json(made_with):
                raise UsageError(
                    f"index '{self.path}' was made with {_shown(name, made_with)}, not"
                    f" {_shown(name, ours)}; choose the same, or name another --index"
                )

    def _check_size(self, name: str, wanted: int) -> None:
        try:
            size = os.stat(self._at(name)).st_size
        except FileNotFoundError:
            raise self._fault(name, "is missing") from None
        if size != wanted:
            raise self._fault(name, f"has {size} bytes, not {wanted}")


def _shown(name: str, value: object) -> str:
    name = name.replace("_", "-") if name in _NO_OPTIONS else "--" + name.replace("_", "-")
    if type(value) is bool:
        return name if value else f"no {name}"
    return f"{name} {value}" if value is not None else f"no {name}"


def _hash_of(content: Mapping[str, Any]) -> str:
    digest = new_digest()
    digest.update(canonical_json(content))
    return digest.hexdigest()
