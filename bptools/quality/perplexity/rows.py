"""Tokens of a record -> the rows a model reads at once, and rows of like length -> batches.

rows = cut(selected.ids, selected.scored, window=2048, stride=1536)
for batch in batches([row.length for row in rows], 4096): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

PADDING = 1.05  # tokens of a batch, padding included, by those without, at most


class Row:
    """What is read at once: `ids` [length + 1] int32, `targets` int64: which of them are scored."""

    __slots__ = ("ids", "targets")

    def __init__(self, ids: Any, targets: Any) -> None:
        self.ids = ids
        self.targets = targets

    @property
    def length(self) -> int:
        """Tokens that the model reads: the last one is only predicted."""
        return len(self.ids) - 1

    def key(self) -> bytes:
        """Return 16 bytes that say what is asked: the tokens, and which of them count."""
        import xxhash

        digest = xxhash.xxh3_128(len(self.ids).to_bytes(8, "little"))
        digest.update(self.ids.astype("<i4").tobytes())
        digest.update(self.targets.astype("<i8").tobytes())
        return digest.digest()


def cut(ids: Sequence[int], scored: Sequence[bool], window: int, stride: int) -> list[Row]:
    """Return the rows of one text: each at most `window` tokens long, each scored token in exactly one.

    The first row scores its first `window` tokens, every later one the next `stride`, with those before as
    context. What lies behind the last scored token of a row is left out: in a causal model it changes
    nothing. Rows without a scored token are left out.
    """
    tokens, chosen = np.asarray(ids, np.int32), np.flatnonzero(np.asarray(scored, bool))
    rows: list[Row] = []
    done, until = 0, window + 1  # of the tokens: `window` are read, the one behind them can be predicted
    while done < len(tokens):
        until = min(until, len(tokens))
        first, last = np.searchsorted(chosen, (done, until))
        targets = chosen[first:last]
        if len(targets):
            start = max(0, done - (window - stride) - 1) if done else 0  # the last one may be shorter
            rows.append(Row(tokens[start : targets[-1] + 1], targets - start))
        done, until = until, until + stride
    return rows


def batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield the numbers of rows that are read together, the longest first.

    A batch has at most `most` tokens, or one row, and padding up to PADDING.
    """
    batch: list[int] = []
    width = used = 0
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    for number in order.tolist():
        length = lengths[number]
        padded = width * (len(batch) + 1)
        if batch and (padded > most or padded > PADDING * (used + length)):
            yield batch
            batch, used = [], 0
        if not batch:
            width = length
        batch.append(number)
        used += length
    if batch:
        yield batch
