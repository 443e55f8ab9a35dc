"""Words of many texts at once, as hashes.

A word is a maximal run of alphanumeric characters (`str.isalnum`) of the lower-cased text; a character of the
Chinese and Japanese scripts and of Thai is a word of its own. Everything else lies between words.

Texts are joined, encoded and looked at as bytes: one `bytes.translate` lower-cases and blanks, the edges of
runs are words, and a word is hashed eight bytes at a time for all words together. That costs some 40 ns a
word on one core of a server (10 M words of chats, every twelfth with characters beyond ASCII).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bptools.quality.dedup.spelling import spell

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]

_M1 = np.uint64(0x9E3779B97F4A7C15)
_M2 = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_COPIED = 1 << 20  # up to here `take` may copy eight bytes for each: it is 1.5x faster than indexing
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)


def _ascii_table() -> bytes:
    table = bytearray(range(256))  # bytes of longer characters stay as they are
    for code in range(128):
        table[code] = ord(chr(code).lower()) if chr(code).isalnum() else 0
    return bytes(table)


_ASCII = _ascii_table()


class Packed(NamedTuple):
    """Texts as they can go to another process: UTF-8, a line feed between them, and where each ends.

    A text ends behind the line feed that follows it, the last one where that would be.
    """

    data: bytes
    ends: Offsets

    def part(self, first: int, last: int) -> Packed:
        """Return the texts from `first` up to `last`."""
        start = int(self.ends[first - 1]) if first else 0
        return Packed(self.data[start : int(self.ends[last - 1]) - 1], self.ends[first:last] - start)


def packed(texts: list[str]) -> Packed:
    """Pack texts; half a surrogate pair passes."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)) + 1)
    return Packed(b"\n".join(encoded), ends)


def hash_words(texts: Packed) -> tuple[Hashes, Offsets]:
    """Return 64-bit hashes of all words in order, and where each text's begin: [0, ..., number of words].

    Equal words have equal hashes on every platform, whatever texts they stand in.
    """
    joined = texts.data.translate(_ASCII)
    ends = texts.ends
    codes = np.frombuffer(joined, np.uint8)
    higher = np.flatnonzero(codes >= 0x80)
    borders = None
    if len(higher):
        codes = codes.copy()
        hard, borders = spell(codes, higher)
        if len(hard):  # rare: lower case of other length, or that depends on what is around
            return hash_words(_lowered(texts, np.unique(np.searchsorted(ends, hard, side="right"))))
        joined = codes.tobytes()
    starts, stops = _runs(codes, borders)
    offsets = np.zeros(len(ends) + 1, np.int64)
    offsets[1:] = np.searchsorted(starts, ends)
    return _hashes(joined, starts, stops - starts), offsets


def _lowered(texts: Packed, which: Offsets) -> Packed:
    """Return texts of which some are in lower case."""
    split = [texts.part(row, row + 1).data.decode("utf-8", "surrogatepass") for row in range(len(texts.ends))]
    for row in which.tolist():
        split[row] = split[row].lower()
    return packed(split)


def _runs(codes: npt.NDArray[np.uint8], borders: npt.NDArray[np.bool_] | None) -> tuple[Offsets, Offsets]:
    """Return where words begin and end; `borders`: also before which bytes one ends and another begins."""
    inside = np.zeros(len(codes) + 2, bool)
    np.not_equal(codes, 0, out=inside[1:-1])
    before, after = inside[:-1], inside[1:]
    if borders is None:
        edges = np.flatnonzero(before != after)
        return np.ascontiguousarray(edges[::2]), edges[1::2]
    return np.flatnonzero(after & (~before | borders)), np.flatnonzero(before & (~after | borders))


def _hashes(joined: bytes, starts: Offsets, lengths: Offsets) -> Hashes:
    """Return a hash for each word: eight bytes go in at a time, the first eight of all words together."""
    padded = joined + bytes(16)
    eight: Hashes = np.ndarray((len(joined) + 1,), np.dtype("<u8"), padded, strides=(1,))
    hashes = eight.take(starts) if len(joined) < _COPIED else eight[starts]
    hashes &= _MASKS.take(np.minimum(lengths, 8))
    _mix(hashes)
    longer = np.flatnonzero(lengths > 8)
    done = 8
    while len(longer):
        left = lengths[longer] - done
        more = eight[starts[longer] + done]
        more &= _MASKS.take(np.minimum(left, 8))
        more += hashes[longer] * _M1
        _mix(more)
        hashes[longer] = more
        longer = longer[left > 8]
        done += 8
    return hashes


def _mix(hashes: Hashes) -> None:
    hashes *= _M1
    hashes ^= hashes >> _HALF
    hashes *= _M2
    hashes ^= hashes >> _HALF
