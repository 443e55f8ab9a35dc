"""JSON inside strings: cells of CSV and Parquet tables, tool arguments, function calls."""

from __future__ import annotations

import json
import re

import orjson

from bptools.core.records import Reject, decode_value

_LONG_INTEGER = re.compile(r"[0-9]{19}")  # orjson would read it as a float


def parse(text: str) -> object:
    """Return the JSON value that a string holds, or None when it holds none (or null).

    Only objects, lists and strings in quotes are looked at: a bare number or word is text. A list of
    dictionaries as Python prints it is read too, for that is what pandas writes into a CSV file.
    """
    stripped = text.strip()
    if not stripped or stripped[0] not in '[{"':
        return None
    try:
        if _LONG_INTEGER.search(stripped):
            return decode_value(stripped)
        return orjson.loads(stripped)
    except Reject:
        return None
    except ValueError:
        return _parse_python(stripped) if stripped.startswith(("[{'", "{'", "[['", "['")) else None


def _parse_python(text: str) -> object:
    import ast

    if len(text) > 1 << 20:  # the parser needs about 100 times the size
        return None
    try:
        value = ast.literal_eval(text)
        orjson.dumps(value)  # sets, bytes, complex numbers and infinity are no JSON
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return json.loads(json.dumps(value)) if isinstance(value, (list, dict)) else None


def dump(value: object) -> str:
    """Return a JSON value as compact text. Raises Reject: bad-type (what cannot be written)."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (ValueError, TypeError, RecursionError) as error:
            raise Reject("bad-type", f"a value that is no JSON: {str(error).lower()}") from None
