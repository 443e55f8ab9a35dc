"""Reference models over token ids: a unigram and an interpolated Kneser-Ney trigram, both summing to one.

Counts are sorted arrays of packed keys, so that tens of millions of tokens fit into memory. Every text begins
with two start marks, which are never predicted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class _Order(NamedTuple):
    """Counts of one order: n-gram keys with counts, and what is known of each context."""

    keys: Array
    counts: Array
    contexts: Array
    totals: Array
    kinds: Array
    discount: float


def _order(keys: Array, counts: Array, base: int) -> _Order:
    contexts, starts, kinds = np.unique(keys // base, return_index=True, return_counts=True)
    totals = np.add.reduceat(counts, starts)
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    discount = once / (once + 2 * twice) if once else 0.5
    return _Order(keys, counts, contexts, totals, kinds, min(max(discount, 0.1), 0.95))


def _look_up(keys: Array, values: Array, wanted: Array) -> Array:
    """Return the value of each wanted key, 0 for a key that is not there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


class Trigram:
    """An interpolated Kneser-Ney trigram model with one discount per order."""

    def __init__(self, texts: Iterable[Sequence[int]], size: int) -> None:
        self.size = size
        self.base = base = size + 1  # the last id is the start mark
        joined = [np.concatenate([[size, size], np.asarray(ids, dtype=np.int64)]) for ids in texts]
        all_ids = np.concatenate(joined)
        keys = (all_ids[:-2] * base + all_ids[1:-1]) * base + all_ids[2:]
        keys = keys[(all_ids[2:] != size)]
        three, counts = np.unique(keys, return_counts=True)
        two, before = np.unique(three % (base * base), return_counts=True)
        one, left = np.unique(two % base, return_counts=True)
        self.three, self.two = _order(three, counts, base), _order(two, before, base)
        self._one = self._lowest(one, left)
        self._tokens = np.bincount(all_ids[all_ids != size], minlength=size) + 1.0
        self._tokens /= self._tokens.sum()

    def _lowest(self, keys: Array, counts: Array) -> Array:
        once, twice = int((counts == 1).sum()), int((counts == 2).sum())
        discount = once / (once + 2 * twice) if once else 0.5
        found = np.zeros(self.size)
        found[keys] = counts - discount
        mixed: Array = (found + discount * len(keys) / self.size) / counts.sum()
        return mixed

    def _mix(self, order: _Order, keys: Array, lower: Array) -> Array:
        contexts = keys // self.base
        total = _look_up(order.contexts, order.totals, contexts)
        kinds = _look_up(order.contexts, order.kinds, contexts)
        kept = np.maximum(_look_up(order.keys, order.counts, keys) - order.discount, 0.0)
        known = np.maximum(total, 1)
        mixed: Array = np.where(total > 0, (kept + order.discount * kinds * lower) / known, lower)
        return mixed

    def probabilities(self, first: Array, second: Array, third: Array) -> Array:
        """Return p(third | first, second), element by element."""
        lower = self._mix(self.two, second * self.base + third, self._one[third])
        return self._mix(self.three, (first * self.base + second) * self.base + third, lower)

    def bits(self, ids: Sequence[int]) -> float:
        """Return the length of a text under the trigram, in bits."""
        marked = np.concatenate([[self.size, self.size], np.asarray(ids, dtype=np.int64)])
        return float(-np.log2(self.probabilities(marked[:-2], marked[1:-1], marked[2:])).sum())

    def unigram_bits(self, ids: Sequence[int]) -> float:
        """Return the length of a text under the unigram (counts plus one), in bits."""
        return float(-np.log2(self._tokens[np.asarray(ids, dtype=np.int64)]).sum())
