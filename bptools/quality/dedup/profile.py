"""What near-duplicate search has to know of a text: its shingles and a hash of each band of its signature."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bptools.quality.dedup.bands import Checks, Ids
from bptools.quality.dedup.minhash import (
    PERMUTATIONS,
    Permutations,
    Signatures,
    band_checks,
    bands_for,
)
from bptools.quality.dedup.sets import Ragged, take
from bptools.quality.dedup.shingles import grams
from bptools.quality.dedup.words import Packed, packed

_AT_ONCE = 96 << 10  # bytes: what a profile makes of them fits the cache


class Profile:
    """What is known of some texts.

    sets: their shingles, in the order of words, with repetitions. checks: of their bands, (bands, texts).
    signatures: (permutations, texts), if wanted.
    """

    __slots__ = ("checks", "sets", "signatures")

    def __init__(self, sets: Ragged, checks: Checks, signatures: Signatures | None) -> None:
        self.sets = sets
        self.checks = checks
        self.signatures = signatures

    def __len__(self) -> int:
        return len(self.sets[1]) - 1

    def take(self, which: Ids) -> Profile:
        """Return the profiles of some of the texts."""
        signatures = self.signatures[:, which] if self.signatures is not None else None
        return Profile(take(self.sets, which), self.checks[:, which], signatures)


class Profiler:
    """Makes profiles. `options` are what another one like it is made with, in another process."""

    def __init__(self, threshold: float, ngram: int = 5, seed: int = 1, signatures: bool = False) -> None:
        self.options = (threshold, ngram, seed, signatures)
        self.threshold = threshold
        self.ngram = ngram
        self.bands, self.rows = bands_for(threshold)
        self._permutations = Permutations(PERMUTATIONS, seed)
        self._signatures = signatures

    def profile(self, texts: list[str]) -> Profile:
        """Return the profile of texts; one without words has an empty set."""
        return self.profile_packed(packed(texts))

    def profile_packed(self, texts: Packed) -> Profile:
        """Return the profile of packed texts."""
        parts = [self._part(part) for part in _parts(texts)]
        if len(parts) == 1:
            return parts[0]
        offsets = np.concatenate([np.diff(part.sets[1]) for part in parts])
        return Profile(
            (np.concatenate([part.sets[0] for part in parts]), _from_counts(offsets)),
            np.concatenate([part.checks for part in parts], axis=1),
            np.concatenate([part.signatures for part in parts], axis=1) if self._signatures else None,
        )

    def _part(self, texts: Packed) -> Profile:
        made = grams(texts, self.ngram)
        signatures = self._permutations.signatures(made)
        checks = band_checks(signatures, self.bands, self.rows)
        return Profile((made.hashes, made.offsets), checks, signatures if self._signatures else None)


def _parts(texts: Packed) -> Iterator[Packed]:
    """Yield texts some at a time, at least one."""
    count = len(texts.ends)
    if not count:
        yield texts
    first = start = 0
    while first < count:
        last = min(count, int(np.searchsorted(texts.ends, start + _AT_ONCE, side="right")) + 1)
        yield texts.part(first, last)
        first, start = last, int(texts.ends[last - 1])


def _from_counts(counts: Ids) -> Ids:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
