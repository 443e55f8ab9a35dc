"""One line <-> one record: parsing, writing, and why a line is refused.

orjson does the work; stdlib json takes the lines that orjson cannot represent exactly (integers over
64 bits, nesting beyond its limits, lone surrogates), so that no value changes on its way through.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

Record = dict[str, Any]  # a JSON object


class Reject(Exception):
    """A line that is no record, or a record that no known shape fits: a reason code and a detail."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Drop(Exception):
    """A record removed on purpose: the reason, the value that was judged and the limit it broke.

    `others` are further reasons of the same kind, each (reason, value, limit). `added` are further fields
    for `bp`; what is None is taken away there. `explanation` is for a person, in place of value and limit.
    """

    def __init__(
        self,
        reason: str,
        value: object = None,
        limit: object = None,
        others: Sequence[tuple[str, object, object]] = (),
        added: Mapping[str, object] = MappingProxyType({}),
        explanation: str | None = None,
    ) -> None:
        super().__init__(reason, value, limit)
        self.reason = reason
        self.value = value
        self.limit = limit
        self.others = others
        self.added = added
        self.explanation = explanation

    def notes(self) -> list[Record]:
        """Return what goes into `bp.drop`."""
        reasons = [(self.reason, self.value, self.limit), *self.others]
        return [{"reason": reason, "value": value, "limit": limit} for reason, value, limit in reasons]

    def explained(self) -> list[str]:
        """Return each reason for a person: `max-tokens: 5120, limit 4096`."""
        explained = [
            note["reason"]
            + (f": {_shown(note['value'])}" if note["value"] is not None else "")
            + (f", limit {_shown(note['limit'])}" if note["limit"] is not None else "")
            for note in self.notes()
        ]
        if self.explanation is not None:
            explained[0] = f"{self.reason}: {self.explanation}"
        return explained


def _shown(value: object) -> object:
    return f"{value:.4g}" if type(value) is float else value


class NonFinite(Exception):
    """NaN, an infinity, or a number too large for a float, met while decoding."""


def _refuse_constant(name: str) -> float:
    raise NonFinite(name)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise NonFinite(text)
    return value


def strict_decoder() -> json.JSONDecoder:
    """Return a stdlib decoder that refuses NaN, Infinity and numbers too large for a float."""
    return json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


_decoder = strict_decoder()


def loads(line: bytes) -> object:
    """Parse one JSON value.

    Raises Reject: invalid-utf8, invalid-json, non-finite (NaN, Infinity, 1e400), too-deep.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _loads_slowly(line, error)


def _loads_slowly(line: bytes, error: orjson.JSONDecodeError) -> object:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as bad:
        raise Reject("invalid-utf8", f"byte {bad.start + 1} is not UTF-8") from None
    try:
        return decode_value(text.strip(" \t\r\n"))
    except ValueError:
        raise Reject("invalid-json", f"{error.msg.split(': line')[0]} at byte {error.pos + 1}") from None


def decode_value(text: str) -> object:
    """Parse one JSON value with the stdlib. Raises ValueError, or Reject: non-finite, too-deep, too-long."""
    try:
        return _decoder.decode(text)
    except NonFinite as value:
        raise Reject("non-finite", f"{value} is no finite number; write null or leave it out") from None
    except RecursionError:
        raise Reject("too-deep", "nested deeper than the parser can follow") from None
    except ValueError as error:
        if "integer string conversion" in str(error):  # sys.set_int_max_str_digits
            raise Reject("non-finite", "an integer of more than 4300 digits") from None
        raise


def dumps(record: Record) -> bytes:
    """Write a record as one line of UTF-8 ending in a newline, every number as it was read.

    Raises Reject: bad-unicode (a lone surrogate), too-deep.
    """
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # orjson.JSONEncodeError is a TypeError
        return _dumps_slowly(record)


def _dumps_slowly(record: Record) -> bytes:
    try:
        text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        raise Reject("bad-unicode", "a lone surrogate cannot be written as UTF-8") from None
    except RecursionError:
        raise Reject("too-deep", "nested deeper than JSON can be written") from None
    except ValueError as error:
        raise Reject("non-finite", str(error).lower()) from None


def dumps_report(report: Record) -> bytes:
    """Write a report about records as one line; a lone surrogate becomes the six characters \\ud800."""
    try:
        return dumps(report)
    except Reject:
        text = json.dumps(report, ensure_ascii=False, separators=(",", ":"))
        return re.sub("[\ud800-\udfff]", lambda found: f"\\\\u{ord(found[0]):x}", text).encode() + b"\n"


_LONG_INTEGER = re.compile(rb"[0-9]{19}")


def reparse_exact(raw: bytes, record: Record) -> Record:
    """Return the record with integers over 64 bits as they stand in the line.

    orjson reads them as floats. Call it before a record with nested or numeric fields is rewritten;
    the search costs less than a parse, and only a hit parses again.
    """
    if _LONG_INTEGER.search(raw) is None:
        return record
    try:
        exact = decode_value(raw.decode("utf-8").strip(" \t\r\n"))
    except ValueError:
        return record
    return exact if type(exact) is dict else record


def is_large(value: object) -> bool:
    """Say whether a value holds a float that may be an integer over 64 bits, which orjson rounds."""
    if type(value) is float:
        return abs(value) >= _LARGE
    try:
        if type(value) is list:
            return any(is_large(item) for item in value if type(item) is not str)
        if type(value) is dict:
            return any(is_large(item) for item in value.values() if type(item) is not str)
    except RecursionError:
        return True
    return False


_LARGE = 2.0**63


def splice_bp(raw: bytes, record: Record, added: Record, gone: Collection[str] = ()) -> bytes:
    """Return the line with `added` merged under its `bp` key and `gone` taken from it, else as it was.

    `raw` ends in one newline and holds `record`. Raises Reject as `dumps` does.
    """
    if "bp" in record:
        exact = reparse_exact(raw, record)
        old = exact["bp"]
        if type(old) is not dict:  # not ours: kept apart
            old = {} if old is None else {"kept": {"bp": old}}
        left = {name: value for name, value in old.items() if name not in gone}
        return dumps({**exact, "bp": {**left, **added}})
    end = raw.rindex(b"}")
    comma = b"," if record else b""
    return raw[:end] + comma + b'"bp":' + dumps(added)[:-1] + b"}\n"


def mark_dropped(raw: bytes, record: Record, why: Drop) -> bytes:
    """Return the line with the reasons in `bp.drop`, after those that an earlier command left there.

    Raises Reject as `dumps` does.
    """
    old = record.get("bp")
    earlier = old.get("drop", []) if type(old) is dict else []
    earlier = earlier if type(earlier) is list else [earlier]
    notes = why.notes()
    added = {name: value for name, value in why.added.items() if value is not None}
    gone = why.added.keys() - added.keys()
    try:
        return splice_bp(raw, record, {"drop": earlier + notes, **added}, gone)
    except Reject:  # half a surrogate pair in a value; what the record holds itself stays as it is
        notes = [{**note, "value": None} for note in notes]
        added = {name: _whole(value) for name, value in added.items()}
        return splice_bp(raw, record, {"drop": earlier + notes, **added}, gone)


def _whole(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if type(value) is str else value
