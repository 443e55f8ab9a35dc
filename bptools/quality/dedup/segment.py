"""One file of an index: what a run has kept, in sections. `store` says what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from bptools.core.errors import ReadWriteError
from bptools.core.output import AtomicFile
from bptools.core.streams import reason_of
from bptools.quality.dedup.bands import Checks, Ids
from bptools.quality.dedup.keys import Array
from bptools.quality.dedup.sets import checksum
from bptools.quality.dedup.shingles import Shingles

_BLOCK = 1 << 15  # records whose checks are read at once


class Segment:
    """What the index holds of one batch.

    fault: makes the ReadWriteError for what is wrong with the file. It is raised, by `checks` at its end.
    """

    def __init__(
        self, path: str, batch: Mapping[str, Any], bands: int, fault: Callable[[str], ReadWriteError]
    ) -> None:
        self.path = path
        self._fault = fault
        self._bands = bands
        self._places: dict[str, tuple[int, int, str | None]] = {}
        offset = 0
        for section in batch["sections"]:
            self._places[section["name"]] = offset, section["bytes"], section["xxh3_128"]
            offset += section["bytes"]
        self.count: int = self._places["keys"][1] // 16

    def keys(self) -> Array:
        """Return the keys, as KeyTable takes them."""
        keys: Array = np.frombuffer(self._whole("keys"), np.uint64).reshape(-1, 2)
        return keys

    def idents(self) -> bytes:
        """Return the hashes of the whole contents, 16 bytes each; empty where the keys are these."""
        return self._whole("idents")

    def ends(self) -> Ids:
        """Return where each set ends in the file at `path`, in shingles."""
        return np.cumsum(np.frombuffer(self._whole("counts"), "<u4"), dtype=np.int64)

    def sums(self) -> Shingles:
        """Return the checksums of the sets."""
        return np.frombuffer(self._whole("sums"), "<u4")

    def checks(self) -> Iterator[Checks]:
        """Yield the checks of some records after the other, (bands, records)."""
        for data in self._read("checks", 4 * self._bands * _BLOCK):
            yield np.ascontiguousarray(np.frombuffer(data, "<u4").reshape(-1, self._bands).T)

    def _whole(self, name: str) -> bytes:
        return b"".join(self._read(name, self._places[name][1])) if name in self._places else b""

    def _read(self, name: str, at_once: int) -> Iterator[bytes]:
        offset, left, wanted = self._places.get(name, (0, 0, None))
        if not left:
            return
        digest = new_digest()
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(offset)
                while left:
                    data = _read_all(file, min(left, at_once))
                    digest.update(data)
                    left -= len(data)
                    if len(data) < min(left + len(data), at_once):
                        break
                    yield data
        except OSError as error:
            raise ReadWriteError(f"cannot read '{self.path}': {reason_of(error)}") from None
        if left or digest.hexdigest() != wanted:
            raise self._fault("is not what was written")


def checks_of(segments: Iterable[Segment]) -> Iterator[Checks]:
    """Yield the checks of all segments in order, (bands, records), many records at a time.

    However small the segments are: tables take 500 of 2,000 records one by one in 5.5 s, so in 4.0 s.
    """
    waiting: list[Checks] = []
    held = 0
    for segment in segments:
        for checks in segment.checks():
            waiting.append(checks)
            held += checks.shape[1]
            if held >= _BLOCK:
                yield np.concatenate(waiting, axis=1)
                waiting, held = [], 0
    if waiting:
        yield np.concatenate(waiting, axis=1)


class BatchFile:
    """A file of sections as it is written."""

    def __init__(self, output: AtomicFile) -> None:
        self._output = output
        self.sections: list[dict[str, Any]] = []

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Write a section."""
        digest = new_digest()
        size = 0
        for part in parts:
            self._output.write(part)
            digest.update(part)
            size += len(part)
        self.sections.append({"name": name, "bytes": size, "xxh3_128": digest.hexdigest()})

    def write_sets(self, parts: Iterable[bytes], ends: Ids) -> Shingles:
        """Write sets, and return the sum of each."""
        sums: Shingles = np.zeros(len(ends), "<u4")
        borders = 4 * ends
        done = begin = size = 0  # sets, bytes of them, bytes that were written
        rest = b""
        for part in parts:
            self._output.write(part)
            size += len(part)
            rest = rest + part if rest else part
            last = int(np.searchsorted(borders, size, side="right"))
            first = begin
            made = []
            for end in borders[done:last].tolist():
                made.append(checksum(rest[begin - first : end - first]))
                begin = end
            sums[done:last] = made
            rest = rest[begin - first :]
            done = last
        empty = borders[done:] == begin
        if rest or not empty.all():
            raise ValueError("the sets are not those that end there")
        sums[done:] = checksum(b"")
        self.sections.append({"name": "sets", "bytes": size, "xxh3_128": None})
        return sums


class Digest(Protocol):
    """A hash that is fed piece by piece."""

    def update(self, data: bytes, /) -> None:
        """Go on with these bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far."""


def new_digest() -> Digest:
    """Return an empty XXH3-128."""
    import xxhash

    made: Digest = xxhash.xxh3_128()
    return made


def _read_all(file: Any, count: int) -> bytes:
    """Return `count` bytes, or fewer at the end of the file."""
    data: bytes = file.read(count)
    while data and len(data) < count:
        more = file.read(count - len(data))
        if not more:
            break
        data += more
    return data
