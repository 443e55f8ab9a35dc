"""What a character is to the splitting of English text: a table that fills itself as characters come up.

The classes are those of spaCy's blank English tokenizer: its alphabets, symbols as of Unicode 11.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right

PREFIX = 1  # cut off where a word begins
SUFFIX = 2  # cut off where a word ends
ICON = 4  # a symbol or emoji: cut out anywhere
ALPHA = 8
LOWER = 16  # also every letter of a script without case
UPPER = 32  # the same
DIGIT = 64  # ASCII
QUOTE = 128
STOPPED = 256  # a full stop after it ends a sentence, not an abbreviation

_QUOTES = frozenset(
    "'\"`,\u201c\u201d\u2018\u2019\u201a\u201e\u00b4\u00bb\u00ab\u300c\u300d\u300e\u300f\uff08\uff09\u3014\u3015"
    "\u3010\u3011\u300a\u300b\u3008\u3009\u2329\u232a\u27e6\u27e7"
)
_PUNCTUATION = frozenset(
    "\u2026,:;!?()[]{}<>_#*&\u00bf\u00a1\u00b7\u061f\u060c\u061b\u066a\u06d4\u0964\u3001\u3002\uff01\uff0c\uff1a"
    "\uff1b\uff1f\uff5e"
)
_DASHES = frozenset("\u2013\u2014")
CURRENCIES = frozenset("$\u00a3\u00a5\u0e3f\ufdfc" + "".join(map(chr, range(0x20A0, 0x20C0))))
_LEADING = _QUOTES | _PUNCTUATION | _DASHES | CURRENCIES | frozenset("\u00a7%=")
_TRAILING = _QUOTES | _PUNCTUATION | _DASHES
_ENDING = (
    _QUOTES | _PUNCTUATION | frozenset("%\u00b2-+|")
)  # before a full stop, with digits and small letters

# First and last code points, flat and rising.
_CASED = (
    0x41, 0x5A, 0x61, 0x7A, 0xC0, 0xD6, 0xD8, 0xF6, 0xF8, 0x1BF, 0x1C4, 0x2AF, 0x386, 0x386, 0x388, 0x38A,
    0x38C, 0x38C, 0x38E, 0x38F, 0x391, 0x3A9, 0x3AC, 0x3AF, 0x3B1, 0x3C9, 0x3CC, 0x3CE, 0x400, 0x401, 0x403,
    0x40A, 0x40C, 0x40D, 0x410, 0x451, 0x453, 0x45A, 0x45C, 0x45D, 0x490, 0x491, 0x496, 0x497, 0x4A2, 0x4A3,
    0x4AE, 0x4AF, 0x4BA, 0x4BB, 0x4D8, 0x4D9, 0x4E8, 0x4E9, 0x1D00, 0x1D25, 0x1D6B, 0x1D77, 0x1D79, 0x1D9A,
    0x1E00, 0x1EFF, 0x2C60, 0x2C7B, 0x2C7E, 0x2C7F, 0xA722, 0xA76F, 0xA771, 0xA787, 0xA78B, 0xA78E, 0xA790,
    0xA7B9, 0xA7FA, 0xA7FA, 0xAB30, 0xAB5A, 0xAB60, 0xAB64, 0xFF21, 0xFF3A, 0xFF41, 0xFF5A,
)  # fmt: skip
_UNCASED = (
    0x591, 0x5F4, 0x620, 0x64A, 0x66E, 0x6D5, 0x6E5, 0x6FF, 0x750, 0x77F, 0x8A0, 0x8BD, 0x900, 0x9FF, 0xB80,
    0xCFF, 0xD80, 0xDFF, 0x1100, 0x137F, 0x2E80, 0x2FDF, 0x2FF0, 0x30FF, 0x31C0, 0x31EF, 0x3200, 0x4DBF,
    0x4E00, 0x9FFF, 0xAC00, 0xD7AF, 0xF900, 0xFAFF, 0xFB1D, 0xFBB1, 0xFBD3, 0xFD3D, 0xFD50, 0xFDC7, 0xFDF0,
    0xFDFB, 0xFE30, 0xFE4F, 0xFE70, 0xFEFC, 0x1EE00, 0x1EEBB, 0x1F200, 0x1F2FF, 0x20000, 0x2A6DF, 0x2A700,
    0x2EBEF, 0x2F800, 0x2FA1F,
)  # fmt: skip
# Symbols that came with Unicode 12 or later: no icons to that tokenizer.
_NEWER = (
    0x166D, 0x166D, 0x2B97, 0x2B97, 0x2BC9, 0x2BC9, 0x2BFF, 0x2BFF, 0x2E50, 0x2E51, 0x32FF, 0x32FF, 0xFD40,
    0xFD4F, 0xFDCF, 0xFDCF, 0xFDFE, 0xFDFF, 0x1019C, 0x1019C, 0x11FD5, 0x11FF1, 0x1CC00, 0x1CFC3, 0x1D1E9,
    0x1D1EA, 0x1E14F, 0x1E14F, 0x1ED2E, 0x1ED2E, 0x1F10D, 0x1F10F, 0x1F16C, 0x1F16F, 0x1F1AD, 0x1F1AD,
    0x1F6D5, 0x1F6DF, 0x1F6ED, 0x1F6EF, 0x1F6FA, 0x1F6FF, 0x1F774, 0x1F77F, 0x1F7D9, 0x1F7FF, 0x1F8B0,
    0x1F8FF, 0x1F90C, 0x1F90F, 0x1F93F, 0x1F93F, 0x1F971, 0x1F972, 0x1F977, 0x1F979, 0x1F97B, 0x1F97B,
    0x1F9A3, 0x1F9AF, 0x1F9BA, 0x1F9BF, 0x1F9C3, 0x1F9CF, 0x1FA00, 0x1FA5F, 0x1FA6E, 0x1FFFF,
)  # fmt: skip


def _within(ranges: tuple[int, ...], code: int) -> bool:
    at = bisect_right(ranges, code)
    return at % 2 == 1 or (at > 0 and ranges[at - 1] == code)


def _classify(char: str) -> int:
    code = ord(char)
    found = 0
    if char in "0123456789":
        found |= DIGIT | STOPPED
    elif _within(_UNCASED, code):
        found |= ALPHA | LOWER | UPPER | STOPPED
    elif _within(_CASED, code):
        found |= ALPHA
        if char.islower() or char == "\u0294":  # a glottal stop, a small letter there
            found |= LOWER | STOPPED
        elif char.isupper():
            found |= UPPER
    if char in _LEADING:
        found |= PREFIX
    if char in _TRAILING:
        found |= SUFFIX
    if char in _QUOTES:
        found |= QUOTE
    if char in _ENDING:
        found |= STOPPED
    if unicodedata.category(char) == "So" and not _within(_NEWER, code):
        found |= ICON | PREFIX | SUFFIX
    return found


class _Classes(dict[str, int]):
    def __missing__(self, char: str) -> int:
        found = self[char] = _classify(char)
        return found


CLASSES: dict[str, int] = _Classes({"": 0})  # no character is of no class
