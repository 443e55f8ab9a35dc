"""Texts as word n-grams: 32-bit hashes.

The n-grams of a text are its runs of n words, whatever lies between them; a text of fewer words is one n-gram
of all its words, one without words has none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bptools.quality.dedup.words import Hashes, Offsets, Packed, hash_words

Shingles = npt.NDArray[np.uint32]

_HALF = np.uint64(32)


class Grams:
    """The n-grams of some texts as they follow each other, one for each word.

    hashes: uint32, as many as there are words; the last n-1 of a text repeat its first, so that every text
        that has words has at least one and reducing over all of them needs no gaps.
    offsets: where each text's begin, [0, ..., number of words].
    """

    __slots__ = ("hashes", "offsets")

    def __init__(self, hashes: Shingles, offsets: Offsets) -> None:
        self.hashes = hashes
        self.offsets = offsets


def grams(texts: Packed, n: int) -> Grams:
    """Return the word n-grams of texts."""
    words, offsets = hash_words(texts)
    return Grams(_grams(words, offsets, n), offsets)


def _grams(words: Hashes, offsets: Offsets, n: int) -> Shingles:
    """Return for each word the hash of the n-gram that it begins.

    A sum of products by odd constants, of which the upper half is taken: word hashes are mixed well, so
    two n-grams have one hash with a chance of about 2**-32.
    """
    if not len(words):
        return np.zeros(0, np.uint32)
    factors = _factors(n)
    sums = words * factors[0]
    for step in range(1, min(n, len(words))):
        sums[:-step] += words[step:] * factors[step]
    counts = np.diff(offsets)
    firsts = offsets[:-1]
    short = np.flatnonzero((counts > 0) & (counts < n))
    if len(short):
        sums[firsts[short]] = _short(words, firsts[short], counts[short], factors)
    hashes: Shingles = (sums >> _HALF).astype(np.uint32)
    some = np.flatnonzero(counts > 0)
    first, last = firsts[some], offsets[1:][some]
    for back in range(1, n):  # no n-gram of its own begins at the last n-1 words of a text
        place = last - back
        inside = place > first
        hashes[place[inside]] = hashes[first[inside]]
    return hashes


def _short(words: Hashes, firsts: Offsets, counts: Offsets, factors: Hashes) -> Hashes:
    """Return the sums of texts of fewer than n words."""
    sums = np.zeros(len(firsts), np.uint64)
    for step in range(int(counts.max())):
        there = np.flatnonzero(counts > step)
        sums[there] += words[firsts[there] + step] * factors[step]
    return sums


def _factors(n: int) -> Hashes:
    """Return n odd constants of 64 bits (splitmix64 from 0)."""
    state, made = 0, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & _ALL
        value = state
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _ALL
        made.append((value ^ (value >> 31)) | 1)
    return np.array(made, np.uint64)


_ALL = (1 << 64) - 1
