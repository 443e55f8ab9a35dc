"""JSON that is not one value per line: an array of records, or one value after another.

Elements are decoded one by one from a window that slides over the file, so a 10 GB array needs no more
memory than a small one. Commas are read tolerantly (missing, doubled, trailing); a broken element is a
reject and reading goes on behind it.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any

from bptools.core.records import NonFinite, Record, Reject, loads, reparse_exact, strict_decoder
from bptools.core.sources.base import StreamReader, not_object
from bptools.core.sources.resync import NEEDS_MORE, Skipper, opening_pattern, plausible_end

WINDOW = 1 << 18  # bytes; larger ones fall out of the cache, smaller ones decode more elements twice
_NEAR_END = 16  # an error this close to the window's end may be a cut token: -Infinity, a pair of \uXXXX
_JUNK = 4 << 20  # characters of junk in one reject; how far to look for the end of a broken value
_OVERLAP = 1 << 10  # characters of junk looked at again with what follows, for an opening cut in two
_TRIAL = 1 << 9  # characters tried first at a place where a value may start
_GAP = 1 << 16  # characters of space in front of a value that are kept to see its indentation
_KEPT_OF_LONG = 64 << 10  # bytes of a value over the limit that its reject holds

_space = re.compile(r"[ \t\r\n,]*").match
_CLOSING = re.compile(r"[ \t\r\n,]*\][ \t\r\n]*\Z")


class JsonReader(StreamReader):
    """Reads JSON values one after another, laid out in any way, separated by space or commas.

    `line` is the line of the file where the current value starts.
    """

    container = "json"
    window = WINDOW

    def _begin(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._scan: Any = strict_decoder().scan_once  # type: ignore[attr-defined]
        self._text = ""  # the window; bytes that are no UTF-8 stand in it as surrogates
        self._unclean = False  # there are such bytes
        self._gap = 0  # where the space in front of the current value starts
        self._at = 0  # where the current value starts
        self._newlines = 0  # in the file, before text[_counted]
        self._counted = 0
        self._eof = False
        self._in_array = False
        self._cut_off = False  # the file ends inside a value, and that was reported
        self._effort = 0  # characters looked at for going on after broken values
        self._effort_allowed = 4 * _JUNK

    @property
    def line(self) -> int:
        """The 1-based line where the current value starts, counted when asked for."""
        if self._at > self._counted:
            self._newlines += self._text.count("\n", self._counted, self._at)
            self._counted = self._at
        return self._newlines + 1

    def __iter__(self) -> Iterator[tuple[None, Record]]:
        while not self._text and not self._eof:
            self._grow()
        if self._text.startswith("\ufeff"):
            self._gap = 1
        self._open()
        yield from self._values()
        if self._in_array and not self._cut_off:
            self._refuse("truncated", "the file ends before the array is closed", b"")

    def _open(self) -> None:
        """Read what comes before the first value."""

    def _values(self) -> Iterator[tuple[None, Record]]:
        scan = self._scan
        limit = self.options.max_record_bytes
        quarter = limit >> 2  # a character has up to four bytes
        separator = ""  # what was between the last two values; mostly it comes again, and slices beat regexes
        width = 0
        value: object = None
        while True:
            text = self._text
            gap = self._gap
            sure = len(text) if self._eof else len(text) - _NEAR_END
            unclean = self._unclean
            failure: BaseException | None
            while True:
                start = gap + width
                if text[gap:start] != separator or text[start : start + 1] != "{":
                    start = _space(text, gap).end()  # type: ignore[union-attr]
                    separator = text[gap:start]
                    width = start - gap
                try:
                    value, end = scan(text, start)
                except (StopIteration, ValueError, NonFinite, RecursionError) as error:
                    failure = error
                    break
                if end > sure and type(value) is not dict:
                    failure = None  # a number may go on in the next window
                    break
                self._at = start
                if (unclean or end - start > quarter) and self._refused(text[start:end]):
                    gap = end
                    continue
                if type(value) is dict:
                    yield None, value
                else:
                    record = self._coerced(value, text, start, end)
                    if record is not None:
                        yield None, record
                gap = end
            self._gap = gap
            self._at = start
            if start >= len(text):
                if self._eof:
                    return
                self._grow()
            elif self._in_array and text[start] == "]":
                self._gap = start + 1
                if not self._next_array():
                    return
            elif not self._eof and _may_be_cut(failure, len(text)):
                if _bytes_exceed(text, start, limit):
                    self._pass_over_long()
                else:
                    self._grow()
            else:
                yield from self._pass_over(failure, value)
                if self._gap > 2 * self.window:
                    self._trim()

    def _grow(self) -> None:
        """Drop what is done and read more: as much again as is still undecided, at least a window."""
        self._trim()
        rest = self._text
        data = self._stream.read(max(self.window, len(rest)))
        self._eof = not data
        try:
            more = self._decoder.decode(data, self._eof)
            self._unclean = self._unclean and not _is_clean(rest)
        except UnicodeDecodeError:
            self._decoder.errors = "surrogateescape"
            more = self._decoder.decode(data, self._eof)
            self._decoder.errors = "strict"
            self._unclean = True
        self._effort_allowed += 4 * len(more)
        self._text = rest + more

    def _trim(self) -> None:
        """Drop the text that is done."""
        keep = self._gap if self._at - self._gap <= _GAP else self._at
        if keep > self._counted:
            self._newlines += self._text.count("\n", self._counted, keep)
            self._counted = keep
        self._counted -= keep
        self._at = max(self._at - keep, 0)
        self._gap = max(self._gap - keep, 0)
        self._text = self._text[keep:]

    def _refuse(self, reason: str, detail: str, raw: bytes) -> None:
        self.reject(self.line, Reject(reason, detail), raw)

    def _refused(self, piece: str) -> bool:
        """Report a decoded value that is no UTF-8 or over the limit."""
        raw = piece.encode("utf-8", "surrogateescape")
        limit = self.options.max_record_bytes
        if len(raw) > limit:
            self._refuse("too-long", _too_long(len(raw), limit), raw[:_KEPT_OF_LONG])
            return True
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as bad:
            self._refuse("invalid-utf8", f"byte {bad.start + 1} is not UTF-8", raw)
            return True
        return False

    def _coerced(self, value: object, text: str, start: int, end: int) -> Record | None:
        """Return the record that a value which is no object stands for, or report it."""
        record = self.coerce(value)
        if record is None:
            raw = text[start:end].encode("utf-8", "surrogateescape")
            self.reject(self.line, not_object(value), raw)
        return record

    def _pass_over(self, failure: BaseException | None, before: object) -> Iterator[tuple[None, Record]]:
        """Report the broken value at `_at` and go to what comes next. `before` is the value before it."""
        skipper = Skipper()
        end = NEEDS_MORE
        while end == NEEDS_MORE and self._effort < self._effort_allowed:
            end = skipper.feed(self._text, self._at)
            if end == NEEDS_MORE:
                if self._eof or len(self._text) - self._at > _JUNK:
                    break
                self._grow()
        self._effort += (end if end >= 0 else len(self._text)) - self._at
        if end >= 0 and end + _NEAR_END > len(self._text) and not self._eof:
            end += self._at_after_growth()
        if end >= 0 and plausible_end(self._text, end):
            yield from self._judged(end)
            self._gap = end
            return
        found = self._next_opening(before)
        if found >= 0:
            yield from self._judged(found)
            self._gap = found
            return
        closing = None
        if self._in_array and not _may_be_cut(failure, len(self._text)):
            closing = _CLOSING.search(self._text, self._at)
        if closing is not None:
            yield from self._judged(closing.start())
            self._in_array = False
        else:
            raw = self._raw(len(self._text))
            self._refuse("truncated", "the file ends inside a value", raw)
            self._cut_off = True
        self._gap = self._at = len(self._text)

    def _at_after_growth(self) -> int:
        """Read more and return by how much positions moved."""
        before = self._at
        self._grow()
        return self._at - before

    def _raw(self, end: int) -> bytes:
        return self._text[self._at : end].rstrip(" \t\r\n,").encode("utf-8", "surrogateescape")

    def _judged(self, end: int) -> Iterator[tuple[None, Record]]:
        """Report the text from `_at` to `end`; yield it if only its nesting was too much for stdlib json."""
        raw = self._raw(end)
        limit = self.options.max_record_bytes
        try:
            if len(raw) > limit:
                raise Reject("too-long", _too_long(len(raw), limit))
            value = loads(raw)
            if type(value) is dict:
                value = reparse_exact(raw, value)
        except Reject as why:
            self.reject(self.line, why, raw if len(raw) <= limit else raw[:_KEPT_OF_LONG])
            return
        record = value if type(value) is dict else self._coerced(value, self._text, self._at, end)
        if record is not None:
            yield None, record

    def _next_opening(self, before: object) -> int:
        """Return where the next value that looks like the one at `_at` starts and decodes, or -1."""
        pattern = opening_pattern(self._text, self._gap, self._at, before)
        behind = 1  # how far behind _at to search
        while True:
            match = pattern.search(self._text, self._at + behind)
            if match is not None:
                found = match.start(1)
                seen = self._decodes_up_to(found)
                if seen < 0:
                    return found
                self._effort += _TRIAL + seen - found
                tired = self._effort > self._effort_allowed
                behind = (max(seen, found + _TRIAL) if tired else found + 1) - self._at
                continue
            if self._eof:
                return -1
            pending = len(self._text) - self._at
            behind = max(behind, pending - _OVERLAP)
            if pending > _JUNK:
                self._refuse("invalid-json", "no value starts here", self._raw(self._at + behind))
                self._gap = self._at = self._at + behind
                behind = 0
            self._grow()

    def _decodes_up_to(self, start: int) -> int:
        """Return -1 if a value starts here (or may, as far as can be seen), else where it breaks.

        A little is tried first: JSONDecodeError counts all newlines of its text.
        """
        text = self._text
        for stop in (start + _TRIAL, len(text)):
            piece = text[start:stop]
            try:
                self._scan(piece, 0)
            except (StopIteration, ValueError, NonFinite, RecursionError) as error:
                if isinstance(error, NonFinite):
                    return -1
                if _may_be_cut(error, len(piece)) and not (self._eof and stop >= len(text)):
                    continue
                position = _position(error)
                return len(text) if position is None else start + position
            return -1
        return -1

    def _pass_over_long(self) -> None:
        """Report the value at `_at`, known to be over the limit, and read on behind it in bounded memory."""
        line = self.line
        skipper = Skipper()
        kept = b""
        total = 0
        while True:
            end = skipper.feed(self._text, self._at)
            upto = end if end >= 0 else len(self._text)
            if end == NEEDS_MORE and not self._eof:
                upto -= 1  # a backslash must meet what it escapes
            part = self._text[self._at : upto].encode("utf-8", "surrogateescape")
            total += len(part)
            kept += part[: _KEPT_OF_LONG - len(kept)]
            skipper.forget(upto - self._at)
            self._gap = self._at = upto
            if upto == end or self._eof:
                break
            if end != NEEDS_MORE:  # brackets that do not match: what follows is judged on its own
                break
            self._grow()
        detail = _too_long(total, self.options.max_record_bytes)
        self.reject(line, Reject("too-long", detail), kept)

    def _next_array(self) -> bool:
        """Go behind a closing bracket: into another array that follows, or to the end of the file."""
        while True:
            self._at = _space(self._text, self._gap).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or self._eof:
                break
            self._grow()
        if self._text.startswith("[", self._at):
            self._gap = self._at = self._at + 1
            return True
        self._in_array = False
        while self._at < len(self._text):
            self._refuse("trailing-data", "text behind the end of the array", self._raw(len(self._text)))
            self._gap = self._at = len(self._text)
            while self._at == len(self._text) and not self._eof:
                self._grow()
        return False


class ArrayReader(JsonReader):
    """Reads the elements of a JSON array, or of several one after another; reads bare values all the same."""

    container = "json-array"

    def _open(self) -> None:
        while True:
            self._at = _space(self._text, self._gap).end()  # type: ignore[union-attr]
            if self._at < len(self._text) or self._eof:
                break
            self._grow()
        if self._text.startswith("[", self._at):
            self._in_array = True
            self._gap = self._at = self._at + 1


def _position(error: BaseException) -> int | None:
    """Return where in the text a scanner gave up, if it says."""
    if isinstance(error, json.JSONDecodeError):
        return error.pos
    return error.value if isinstance(error, StopIteration) else None


def _may_be_cut(error: BaseException | None, length: int) -> bool:
    """Say whether more text could turn the error into a value. None stands for a number at the very end."""
    if error is None:
        return True
    if isinstance(error, json.JSONDecodeError) and error.msg.startswith("Unterminated string"):
        return True
    position = _position(error)
    return position is not None and position >= length - _NEAR_END


def _bytes_exceed(text: str, start: int, limit: int) -> bool:
    """Say whether text[start:] has more than `limit` bytes; encodes it only where that is needed."""
    count = len(text) - start
    return count > limit or (
        count * 4 > limit and len(text[start:].encode("utf-8", "surrogateescape")) > limit
    )


def _is_clean(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _too_long(count: int, limit: int) -> str:
    return f"a value of {count} bytes, the limit is {limit}"
