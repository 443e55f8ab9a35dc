"""Text whose newlines were written as backslash-n on their way through a CSV file or a shell."""

from __future__ import annotations

import functools
import re

_SINGLE = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


@functools.cache
def _escapes() -> re.Pattern[str]:
    return re.compile(r'\\(?:([ntr"\\])|u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?)')


def _value(match: re.Match[str]) -> str:
    single, unit, low = match.groups()
    if single:
        return _SINGLE[single]
    high = int(unit, 16)
    if low and 0xD800 <= high < 0xDC00:
        return chr(0x10000 + ((high - 0xD800) << 10) + (int(low, 16) - 0xDC00))
    if 0xD800 <= high < 0xE000:
        return match.group()  # a lone surrogate is no character: leave it as it is written
    return chr(high) + (f"\\u{low}" if low else "")


def unescape(text: str) -> str:
    """Resolve \\n \\t \\r \\" \\\\ and \\uXXXX once; any other backslash stays as it is."""
    return _escapes().sub(_value, text) if "\\" in text else text


def was_escaped(text: str) -> bool:
    """Tell whether a text holds its newlines as backslash-n and no real ones (but for the ends)."""
    return "\\n" in text and "\n" not in text.strip()
