"""MinHash signatures as datasketch 2 computes them (its scheme affine32), for many texts at once.

    MinHash(num_perm=120, seed=1, scheme="affine32", hashfunc=lambda value: value)

updated with the `exported` shingles of a text has the hash values that `Permutations(120, 1)` computes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bptools.quality.dedup.shingles import Grams, Shingles

Signatures = npt.NDArray[np.uint32]

PERMUTATIONS = 120
_AT_ONCE = 8
_LEAST_RECALL = 0.9


def bands_for(threshold: float, permutations: int = PERMUTATIONS) -> tuple[int, int]:
    """Return (bands, rows) for a Jaccard threshold: the most rows that still find it 9 times in 10.

    Two texts of similarity s share a band with a chance of 1 - (1 - s**rows)**bands; at 0.7 it is 20 x 6,
    which finds 92 % of the pairs that are just similar enough, 98 % at 0.75 and all from 0.85 on. Every
    candidate is compared, so that too many of them cost time alone.
    """
    best = (permutations, 1)
    for rows in range(1, permutations + 1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _LEAST_RECALL:
            best = (bands, rows)
    return best


class Permutations:
    """A family of functions h -> a * h + b mod 2**32 with odd a, drawn as datasketch draws them."""

    def __init__(self, count: int = PERMUTATIONS, seed: int = 1) -> None:
        draw = _mersenne_twister(seed)
        self.a = np.array([(draw(32) & 0x7FFFFFFF) * 2 + 1 for _ in range(count)], np.uint32)
        self.b = np.array([draw(32) for _ in range(count)], np.uint32)

    def signatures(self, grams: Grams) -> Signatures:
        """Return the minima, (permutations, texts); a text without words has the largest value everywhere.

        Several permutations at a time over all texts: 0.3 ns for a shingle and permutation on a server
        with AVX-512, where one text at a time takes 1.1 ns and one permutation at a time 0.5 ns.
        """
        counts = np.diff(grams.offsets)
        some = counts > 0
        firsts = grams.offsets[:-1][some]
        made = np.full((len(self.a), len(counts)), 0xFFFFFFFF, np.uint32)
        if not len(firsts):
            return made
        minima: Signatures = np.empty((len(self.a), len(firsts)), np.uint32)
        block = np.empty((_AT_ONCE, len(grams.hashes)), np.uint32)
        a, b = self.a[:, None], self.b[:, None]
        for first in range(0, len(self.a), _AT_ONCE):
            these = slice(first, min(first + _AT_ONCE, len(self.a)))
            values = block[: these.stop - first]
            np.multiply(grams.hashes, a[these], out=values)
            values += b[these]
            np.minimum.reduceat(values, firsts, axis=1, out=minima[these])
        if len(firsts) == len(counts):
            return minima
        made[:, some] = minima
        return made


def _mersenne_twister(seed: int) -> Callable[[int], int]:
    """Return getrandbits of the generator that numpy.random.RandomState(seed) is, 22 ms sooner."""
    from random import Random

    state = [seed]
    for number in range(1, 624):
        last = state[-1]
        state.append((1812433253 * (last ^ (last >> 30)) + number) & 0xFFFFFFFF)
    generator = Random()
    generator.setstate((3, (*state, 624), None))
    return generator.getrandbits


def band_checks(signatures: Signatures, bands: int, rows: int) -> Signatures:
    """Return a hash of each band of each text, (bands, texts), never 0."""
    parts = signatures[: bands * rows].reshape(bands, rows, -1)
    mixed = parts[:, 0].astype(np.uint64)
    for row in range(1, rows):
        mixed *= _PRIME
        mixed += parts[:, row]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _PRIME
    checks: Signatures = (mixed >> np.uint64(32)).astype(np.uint32)
    np.maximum(checks, 1, out=checks)
    return checks


_PRIME = np.uint64(0xFF51AFD7ED558CCD)


def exported(shingles: Shingles) -> Shingles:
    """Return the hashes that datasketch is to be given for shingles: it mixes them, ours are mixed."""
    values: Shingles = shingles.copy()
    values ^= values >> np.uint32(16)
    values *= np.uint32(pow(0xC2B2AE35, -1, 1 << 32))
    values ^= values >> np.uint32(13)
    values ^= values >> np.uint32(26)
    values *= np.uint32(pow(0x85EBCA6B, -1, 1 << 32))
    values ^= values >> np.uint32(16)
    return values
