"""Windows kept on disk, to be gone through again.

    spool = WindowSpool()
    for window in pipe.windows(1 << 20):
        spool.add(window)
    for window in spool:
        pipe.settle_window(window, verdicts_of(window))

Only one window is in memory at a time. As much disk is needed as there are lines, plus 8 bytes a line. On one
core of a shared server 100 MB of lines of 600 bytes take 0.06 s to keep, 0.04 s to get back, and 0.35 s more
where the windows hold records that have to be parsed again.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Iterator
from itertools import accumulate, pairwise
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bptools.core.records import Record, Reject, dumps, loads, reparse_exact
from bptools.core.spill import TemporaryFile
from bptools.core.window import Refused, Window

if TYPE_CHECKING:
    from typing_extensions import Self

_HEADER = struct.Struct("<QQQ")  # lines, bytes of what is said about them, bytes of lines
_RAW, _WRITTEN, _HELD = b"rwh"


class WindowSpool:
    """Windows in order, with all but what a Look saw in them. Raises ReadWriteError, OutputError."""

    def __init__(self) -> None:
        self._file = TemporaryFile()
        self._held: list[Record] = []  # records that JSON cannot hold; who reads such a thing at all?
        self.records = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, window: Window) -> None:
        """Append a window."""
        lines, kinds = self._lines(window)
        lines += [refused.raw for refused in window.refused]
        # a file name may hold any bytes: as escapes they pass
        about = json.dumps(
            {
                "pause": window.pause,
                "parsed": bool(window.records),
                "kinds": kinds.decode(),
                "runs": [window._first, window._source, window._line, window._blank],
                "refused": [
                    (refused.before, refused.source, refused.line, refused.why.reason, refused.why.detail)
                    for refused in window.refused
                ],
            }
        ).encode()
        lengths = array("Q", map(len, lines))
        data = b"".join(lines)
        self._file.append(_HEADER.pack(len(lines), len(about), len(data)) + lengths.tobytes() + about)
        self._file.append(data)
        self.records += len(window)

    def _lines(self, window: Window) -> tuple[list[bytes], bytes]:
        """Return each record as a line, and how each is kept; nothing where all are the lines read."""
        if window.lines_only:
            return list(window.raws), b""  # type: ignore[arg-type]
        lines = []
        kinds = bytearray()
        for raw, record in zip(window.raws, window.records):
            line = raw if raw is not None else _written(record)
            kinds.append(_HELD if line is None else _WRITTEN if raw is None else _RAW)
            if line is None:
                line = b"%d" % len(self._held)
                self._held.append(record)
            lines.append(line)
        return lines, bytes(kinds)

    def __iter__(self) -> Iterator[Window]:
        """Yield the windows as they were added, each made anew."""
        offset = 0
        while offset < self._file.size:
            count, about_bytes, data_bytes = _HEADER.unpack(self._file.read(offset, _HEADER.size))
            offset += _HEADER.size
            index = self._file.read(offset, 8 * count + about_bytes)
            offset += len(index)
            lengths = array("Q")
            lengths.frombytes(index[: 8 * count])
            data = self._file.read(offset, data_bytes)
            offset += data_bytes
            ends = list(accumulate(lengths, initial=0))
            lines = [data[begin:end] for begin, end in pairwise(ends)]
            yield self._window(lines, json.loads(index[8 * count :]))

    def _window(self, lines: list[bytes], about: dict[str, Any]) -> Window:
        window = Window()
        records = len(lines) - len(about["refused"])
        self._fill(window, lines[:records], about["kinds"].encode(), about["parsed"])
        window.pause = about["pause"]
        window._first, window._source, window._line, window._blank = about["runs"]
        window.refused = [
            Refused(before, source, line, Reject(reason, detail), raw)
            for (before, source, line, reason, detail), raw in zip(about["refused"], lines[records:])
        ]
        return window

    def _fill(self, window: Window, lines: list[bytes], kinds: bytes, parsed: bool) -> None:
        if not kinds:
            window.raws += lines
            window.records = list(map(loads, lines)) if parsed else []  # type: ignore[arg-type]
            return
        window.lines_only = False
        for line, kind in zip(lines, kinds):
            window.raws.append(line if kind == _RAW else None)
            if kind == _HELD:
                window.records.append(self._held[int(line)])
                continue
            record: Record = loads(line)  # type: ignore[assignment]
            # a line was read with its long integers rounded; what was written has those of the record
            window.records.append(reparse_exact(line, record) if kind == _WRITTEN else record)

    def close(self) -> None:
        """Forget all windows and give their space back."""
        self._file.close()
        self._held = []


def _written(record: Record) -> bytes | None:
    """Return a record as a line; None if JSON cannot hold it."""
    try:
        return dumps(record)
    except Reject:
        pass
    try:  # half a surrogate pair
        return json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (RecursionError, TypeError, ValueError):
        return None
