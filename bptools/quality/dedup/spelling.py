"""Characters beyond ASCII in joined UTF-8: lower-cased, blanked or set apart, all of them at once.

What is known of a character (what kind it is, its lower case) is found out by Python's own tables when it is
first met, so that no table of Unicode is made here.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

_BETWEEN, _PART, _WORD, _HARD = 1, 2, 3, 4  # kinds; 0 is not known yet

# Scripts without spaces between words: ranges of code points, first and last.
_SINGLE = (
    (0x0E00, 0x0E7F),  # Thai
    (0x2E80, 0x2FDF),  # CJK and Kangxi radicals
    (0x3005, 0x3007),  # iteration mark, zero
    (0x3021, 0x3029),
    (0x3031, 0x312F),  # kana, Bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width kana
    (0x1AFF0, 0x1B16F),  # kana extensions
    (0x20000, 0x3FFFF),
)


def spell(codes: Bytes, higher: Places) -> tuple[Places, npt.NDArray[np.bool_] | None]:
    """Lower-case characters in place, and put zeros for those that are no part of a word.

    higher: where bytes of 0x80 and more are. Returns (hard, borders): where characters are whose lower case
    has another length or depends on its neighbours (nothing else is to be relied on then), and before which
    bytes a word ends or begins because a character is a word of its own, one more than there are bytes, or
    None where there is no such character.
    """
    lead = higher[codes[higher] >= 0xC0]
    first = codes[lead].astype(np.uint32)
    length = 2 + (first >= 0xE0) + (first >= 0xF0)
    points = _decoded(codes, lead, first, length)
    kinds, lower = _known(points)
    hard = lead[kinds == _HARD]
    if len(hard):
        return hard, None
    _write(codes, lead, length, np.where(kinds == _BETWEEN, 0, lower), np.flatnonzero(lower != points))
    blank = kinds == _BETWEEN
    for step in range(4):
        codes[lead[blank & (length > step)] + step] = 0
    single = kinds == _WORD
    if not single.any():
        return hard, None
    borders = np.zeros(len(codes) + 1, bool)
    borders[lead[single]] = True
    borders[lead[single] + length[single]] = True
    return hard, borders


def _decoded(
    codes: Bytes, lead: Places, first: npt.NDArray[np.uint32], length: Places
) -> npt.NDArray[np.uint32]:
    points: npt.NDArray[np.uint32] = first & (np.uint32(0xFF) >> (length + 1).astype(np.uint32))
    for step in range(1, 4):
        more = np.flatnonzero(length > step)
        points[more] = (points[more] << np.uint32(6)) | (codes[lead[more] + step] & 0x3F)
    return points


def _write(codes: Bytes, lead: Places, length: Places, points: npt.NDArray[np.uint32], which: Places) -> None:
    """Encode some of the characters anew, each in as many bytes as before."""
    if not len(which):
        return
    lead, length, left = lead[which], length[which], points[which]
    for step in range(3, 0, -1):
        here = np.flatnonzero(length > step)
        codes[lead[here] + step] = (left[here] & 0x3F) | 0x80
        left[here] >>= np.uint32(6)
    codes[lead] = left | np.array([0, 0, 0xC0, 0xE0, 0xF0], np.uint32)[length]


def _known(points: npt.NDArray[np.uint32]) -> tuple[Bytes, npt.NDArray[np.uint32]]:
    """Return the kinds of characters, and their lower case."""
    kinds, lower = _tables()
    found = kinds.take(points)
    if not found.all():
        for code in set(points[found == 0].tolist()):
            kinds[code], lower[code] = _look(code)
        found = kinds.take(points)
    return found, lower.take(points)


@functools.lru_cache(maxsize=1)
def _tables() -> tuple[Bytes, npt.NDArray[np.uint32]]:
    """Return what is known by now; pages of memory that are never looked at are never made."""
    return np.zeros(0x110000, np.uint8), np.zeros(0x110000, np.uint32)


def _look(code: int) -> tuple[int, int]:
    """Return the kind of a character and its lower case."""
    character = chr(code)
    if 0xD800 <= code < 0xE000:
        return _BETWEEN, code
    lower = character.lower()
    if character == "\u03a3" or len(lower.encode()) != len(character.encode()) or len(lower) != 1:
        return _HARD, code
    if any(first <= code <= last for first, last in _SINGLE):
        # a letter, a mark or a digit: of these scripts each is a word
        return _WORD if unicodedata.category(character)[0] in "LMN" else _BETWEEN, code
    return _PART if lower.isalnum() else _BETWEEN, ord(lower)
