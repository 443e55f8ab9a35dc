"""Parquet: row groups read in small batches, rows as plain records.

Arrow gives every struct all keys of its column; those it invented (None) are left out again.
"""

from __future__ import annotations

import base64
import datetime
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from bptools.core.errors import MissingExtra
from bptools.core.records import Record, Reject
from bptools.core.sources.base import StreamReader

_BATCH_BYTES = 512 << 10  # uncompressed, by the row group's own statistics
_BATCH_ROWS = 1024
_BUFFER_BYTES = 1 << 18  # per column


class ParquetReader(StreamReader):
    """Reads the rows of a Parquet file; `line` is the record's number. Null and NaN cells are absent.

    A stream that cannot be sought (a pipe, an archive) is copied to an unnamed temporary file first.
    """

    container = "parquet"

    def __iter__(self) -> Iterator[tuple[None, Record]]:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise MissingExtra("pyarrow", "hf") from None
        # pyarrow's errors are ValueError and OSError, its own and the system's
        with _seekable(self._stream) as file:
            try:
                table = pyarrow.parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            except (ValueError, OSError, pyarrow.ArrowException) as error:
                self._corrupt(error)
                self._read(1)
                return
            for index in range(table.num_row_groups):
                start = self._line
                group = table.metadata.row_group(index)
                fitting = _BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
                rows = max(1, min(_BATCH_ROWS, fitting))
                try:
                    batches = table.iter_batches(rows, row_groups=[index], use_threads=False)
                    while (batch := next(batches, None)) is not None:
                        yield from self._rows(batch)
                except (ValueError, OSError, pyarrow.ArrowException) as error:
                    self._corrupt(error)
                else:
                    read = self._line - start
                    if read != group.num_rows:  # damage that Arrow takes for the end of a column
                        self._corrupt(ValueError(f"{read} rows where the file says {group.num_rows}"))
                self._line = start + group.num_rows
                self._read((index + 1) / table.num_row_groups)
            self._read(1)

    def _read(self, share: float) -> None:
        """Have the file know how much of it was read: that went by another descriptor."""
        raw: Any = self._stream.raw
        if _is_file(raw):
            raw.read_elsewhere(share)

    def _rows(self, batch: Any) -> Iterator[tuple[None, Record]]:
        names = _distinct(batch.schema.names)
        cleaners = [_cleaner(field.type) for field in batch.schema]
        columns: list[Any] = []
        for column, clean in zip(batch.columns, cleaners):
            try:
                cells = column.to_pylist()
            except UnicodeDecodeError:
                cells = [_cell(column[index]) for index in range(len(column))]
            if clean is not None:
                cells = [None if cell is None else clean(cell) for cell in cells]
            columns.append(cells)
        for cells in zip(*columns):
            self._line += 1
            record = {name: cell for name, cell in zip(names, cells) if cell is not None}
            bad = next((cell for cell in record.values() if type(cell) is _NotText), None)
            if bad is not None:
                self.reject(self._line, Reject("invalid-utf8", "a cell is not UTF-8"), bad.raw)
            else:
                yield None, record
        if not columns:
            self._line += batch.num_rows
            self.blank += batch.num_rows

    def _corrupt(self, error: Exception) -> None:
        detail = " ".join(str(error).split()).lower() or type(error).__name__
        self.reject(self._line + 1, Reject("corrupt-parquet", detail), b"")


class _NotText:
    """Stands for a string cell whose bytes are no UTF-8."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return _NotText(bytes(error.object))


def _seekable(stream: io.BufferedReader[Any]) -> Any:
    """Return a file that can be sought: the stream's own, or a copy that vanishes when it is closed."""
    raw: Any = stream.raw
    if _is_file(raw):
        file = os.fdopen(os.dup(raw.fileno()), "rb")
        file.seek(0)
        return file
    if stream.seekable():
        return stream
    copy = tempfile.TemporaryFile(prefix="bptools-")  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(stream, copy, 1 << 20)
    copy.seek(0)
    return copy


def _is_file(raw: Any) -> bool:
    """Say whether this is a regular file, behind a stream that only goes forward."""
    return getattr(raw, "size", None) is not None


def _distinct(names: list[str]) -> list[str]:
    """Return the names, those that come again with _2, _3 behind them."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def _cleaner(kind: Any) -> Callable[[Any], Any] | None:
    """Return what makes the Python values of an Arrow type JSON values; None where they are already."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _cleaner(kind.value_type)
    for is_plain in (types.is_string, types.is_large_string, types.is_integer, types.is_boolean):
        if is_plain(kind):
            return None
    if types.is_map(kind):
        return lambda cell: plain(_as_object(cell))
    return plain


def _as_object(pairs: list[tuple[Any, Any]]) -> Any:
    if all(type(key) is str for key, _ in pairs):
        return dict(pairs)
    return pairs


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it, None-valued keys of objects left out, None for NaN and infinities.

    Dates and times become ISO strings, decimals and others strings, bytes text or {"bytes": base64}.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if kind is float:
        return value if value - value == 0 else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return {"bytes": base64.b64encode(data).decode("ascii")}
    if isinstance(value, (datetime.date, datetime.time)):  # a datetime is a date
        return value.isoformat()
    if kind is _NotText:
        return value
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    return str(value)
