"""CSV and TSV: a header row, then one record per row; quoting, embedded newlines and all.

Cells stay strings, `nan` and `NaN` too; an empty cell is absent. A row is read strictly first, so that a
stray quote cannot swallow the rows behind it.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections import deque
from collections.abc import Iterator

from bptools.core.records import Record, Reject
from bptools.core.sources.base import StreamReader
from bptools.core.sources.sniff import COLUMNS

_HELD = 64 << 20  # characters of an unclosed quote that are held to be read again as rows
_KEPT_OF_LONG = 64 << 10


class _RowEnds(Exception):
    """A row cannot go on: a line is too long, or a quote takes in too many."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class TableReader(StreamReader):
    """Reads rows as records, named by the header.

    Names that come twice get _2, _3; empty ones are column_N. A row with more cells than names is a
    reject (unless the rest is empty); with fewer, the others are absent. Of a row whose quote never
    closes, the first line is the reject and the others are read as rows of their own.
    """

    container = "csv"
    _delimiter = ","

    def _begin(self) -> None:
        self._text = io.TextIOWrapper(self._stream, "utf-8", "surrogateescape", newline="")
        self._again: deque[tuple[int, str]] = deque()  # numbered lines to be read once more
        self._held: list[tuple[int, str]] = []  # numbered lines of the current row
        self._number = 0
        csv.field_size_limit(max(csv.field_size_limit(), min(self.options.max_record_bytes, (1 << 31) - 1)))

    def __iter__(self) -> Iterator[tuple[None, Record]]:
        names: list[str] = []
        for row in self._rows(names):
            if not names:
                names.extend(self._header(row))
                continue
            if len(row) > len(names) and any(row[len(names) :]):
                self._refuse("bad-columns", f"{len(row)} cells, the header has {len(names)}")
                continue
            record: Record = {name: cell for name, cell in zip(names, row) if cell}
            if record:
                yield None, record
            else:
                self.blank += 1

    def _rows(self, names: list[str]) -> Iterator[list[str]]:
        """Yield rows of cells; `_held` and `_line` are those of the row. Blank rows are counted."""
        reader = None
        held = self._held
        while True:
            held.clear()
            if reader is None:
                lines = self._lines()
                if not names:
                    self._choose_delimiter()
                reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            try:
                row = next(reader)
            except StopIteration:
                return
            except (csv.Error, _RowEnds) as error:
                reader = None
                recovered = self._recover(error, len(names))
                if recovered is None:
                    continue
                row = recovered
            self._line = held[0][0]
            if not self._is_clean():
                if names:
                    self._refuse("invalid-utf8", "the row is not UTF-8")
                    continue
                self._refuse("invalid-utf8", "the header is not UTF-8; its bad bytes were replaced")
                row = [cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for cell in row]
            if any(row):
                yield row
            else:
                self.blank += 1

    def _lines(self) -> Iterator[str]:
        """Yield physical lines, noting those of the current row."""
        limit = self.options.max_record_bytes
        size = 0
        while True:
            if self._again:
                number, line = self._again.popleft()
            else:
                line = self._text.readline(limit + 1)
                if not line:
                    return
                self._number += 1
                number = self._number
                if number == 1:
                    line = line.removeprefix("\ufeff")
            if not self._held:
                size = 0
            self._held.append((number, line))
            size += len(line)
            if len(line) > limit:
                raise _RowEnds("too-long", f"a line of more than {limit} bytes")
            if size > limit or size > _HELD:
                raise _RowEnds("invalid-csv", f"a quote is not closed within {min(limit, _HELD)} characters")
            yield line

    def _recover(self, error: Exception, width: int) -> list[str] | None:
        """Return the row that a broken one can still be read as; else report it and return None."""
        held = self._held
        self._line = held[0][0] if held else self._number
        if isinstance(error, _RowEnds) and error.reason == "too-long" and len(held) == 1:
            while held[-1][1][-1:] not in ("\n", "\r"):
                rest = self._text.readline(1 << 20)
                if not rest:
                    break
                held[-1] = (held[-1][0], held[-1][1][:_KEPT_OF_LONG] + rest[-1:])
            self._refuse(error.reason, error.detail, keep=_KEPT_OF_LONG)
            return None
        self._again.extendleft(reversed(held[1:]))
        alone = len(held) == 1
        del held[1:]
        row = self._read_alone(alone)
        if row is not None and len(row) == width:
            return row
        detail = _why(error)
        self._refuse("invalid-csv", detail)
        return None

    def _read_alone(self, alone: bool) -> list[str] | None:
        """Read the first held line by itself: leniently, in TSV also with quotes as plain characters."""
        line = self._held[0][1] if self._held else ""
        if alone and (plain := _with_inner_quotes(line.rstrip("\r\n"), self._delimiter)) is not None:
            return plain
        for quotes_count, wanted in ((True, alone), (False, self.container == "tsv")):
            if not wanted:
                continue
            try:
                if quotes_count:
                    row = next(csv.reader([line], delimiter=self._delimiter), None)
                else:
                    row = next(csv.reader([line], delimiter=self._delimiter, quoting=csv.QUOTE_NONE), None)
            except csv.Error:
                continue
            if row is not None and not (row and row[-1].endswith("\n")):  # that would be an unclosed quote
                return row
        return None

    def _choose_delimiter(self) -> None:
        """Take the delimiter that gives known names, or most names, in the first line that is not blank."""
        if self.container == "tsv":
            return
        with contextlib.suppress(_RowEnds):  # it comes again when the row is read
            for line in self._lines():
                if line.strip(" \t\r\n,;|"):
                    break
        self._again.extendleft(reversed(self._held))
        self._held.clear()
        if not self._again:
            return
        header = self._again[-1][1].rstrip("\r\n")[:_KEPT_OF_LONG]
        best = (0, 1)
        for delimiter in ",;\t|":
            try:
                cells = next(csv.reader([header], delimiter=delimiter), [])
            except csv.Error:
                continue
            score = (sum(cell.strip().lower() in COLUMNS for cell in cells), len(cells))
            if score > best and len(cells) > 1:
                best = score
                self._delimiter = delimiter

    def _header(self, row: list[str]) -> list[str]:
        names: list[str] = []
        taken = set(row)
        for index, cell in enumerate(row):
            name = cell or f"column_{index + 1}"
            if name in names:
                suffix = 2
                while f"{name}_{suffix}" in taken:
                    suffix += 1
                name = f"{name}_{suffix}"
            taken.add(name)
            names.append(name)
        return names

    def _is_clean(self) -> bool:
        for _, line in self._held:
            if not line.isascii():
                try:
                    line.encode("utf-8")
                except UnicodeEncodeError:
                    return False
        return True

    def _refuse(self, reason: str, detail: str, keep: int | None = None) -> None:
        raw = "".join(line for _, line in self._held).encode("utf-8", "surrogateescape")
        self.reject(self._line, Reject(reason, detail), raw[:keep])


class TabReader(TableReader):
    """The same with tabs between cells."""

    container = "tsv"
    _delimiter = "\t"


def _with_inner_quotes(line: str, delimiter: str) -> list[str] | None:
    """Read a row in which quotes inside a quoted cell were not doubled: `"a "b" c",d`.

    A quote closes a cell where the delimiter or the end follows. None if one never closes.
    """
    cells: list[str] = []
    start = 0
    while True:
        if line.startswith('"', start):
            end = line.find('"' + delimiter, start + 1)
            while end >= 0 and _is_doubled(line, start, end):
                end = line.find('"' + delimiter, end + 1)
            if end < 0:
                end = len(line) - 1
                if end <= start or line[end] != '"' or _is_doubled(line, start, end):
                    return None
            cell = line[start + 1 : end].replace('""', '"')
            end += 1
        else:
            end = line.find(delimiter, start)
            end = len(line) if end < 0 else end
            cell = line[start:end]
        cells.append(cell)
        if end >= len(line):
            return cells
        start = end + 1


def _is_doubled(line: str, opening: int, end: int) -> bool:
    """Say whether the quote at `end` is the second half of a doubled one inside the cell."""
    inside = line[opening + 1 : end + 1]
    return (len(inside) - len(inside.rstrip('"'))) % 2 == 0


def _why(error: Exception) -> str:
    text = str(error)
    if isinstance(error, _RowEnds):
        return "a quote is never closed" if error.reason == "too-long" else error.detail
    if "unexpected end of data" in text:
        return "a quote is never closed"
    if "expected after" in text:
        return "text behind a closing quote, or a quote that is not closed"
    return text.lower()
