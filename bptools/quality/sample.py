"""Samples that stay the same: which records are taken is decided by their content and a seed.

    bp-filter --sample 1000 data.jsonl | bp-chatml ...

A record with a small hash is in the sample, so 5 % is a part of 10 %, 100 records a part of 1,000, and
neither order nor further records change the fate of one (in a sample of N: unless they have smaller hashes).
Copies of one record have one fate in a share; a second sample with the same seed takes the same records:
give it another seed.
"""

from __future__ import annotations

import itertools
import math
import re
from array import array
from collections.abc import Iterator

from bptools.core.errors import UsageError
from bptools.core.hashing import xxh3_64
from bptools.core.spill import MEMORY_BYTES, Spool

_MASK = (1 << 64) - 1
_COUNT = re.compile(r"\d{1,18}", re.ASCII)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d*)?|\.\d+)\s*%", re.ASCII)


def derive_seed(seed: int, purpose: str) -> int:
    """Return 64 bits of seed for one purpose, so that a sample says nothing about the split after it."""
    return xxh3_64(purpose.encode(), seed & _MASK)


def hash_key(key: int, seed: int) -> int:
    """Return 64 bits from a content key of 128 bits and a seed of 64: XXH3 of its bytes, little end first."""
    return xxh3_64(key.to_bytes(16, "little"), seed)


def unit(key: int, seed: int) -> float:
    """Return a number in [0, 1) from a content key of 128 bits and a seed, evenly spread."""
    return (hash_key(key, seed & _MASK) >> 11) * 2.0**-53


def border(share: float) -> int:
    """Return the hash below which `unit` is below a share: hash_key(key, seed) < border(s) iff unit < s."""
    return math.ceil(share * 2.0**53) << 11


def parse_sample(text: str) -> int | float:
    """Read `1000`: a count (int, from 1), or `5%`, `0.5%`: a share (float, above 0 and up to 1).

    Raises UsageError.
    """
    text = text.strip()
    if _COUNT.fullmatch(text) and int(text) >= 1:
        return int(text)
    percent = _PERCENT.fullmatch(text)
    if percent and 0 < float(percent[1]) <= 100:
        return float(percent[1]) / 100
    raise UsageError(
        f"--sample {text!r} is neither a count from 1 nor a share above 0 % and up to 100 %;"
        " write 1000, 5% or 0.5%"
    )


class Share:
    """A share of all records, each taken or left by its own hash: of n records about n x fraction.

    The number taken varies by about the square root of n x fraction x (1 - fraction).
    """

    def __init__(self, fraction: float, seed: int) -> None:
        self._border = border(fraction)
        self._seed = seed & _MASK

    def takes(self, key: int) -> bool:
        """Say whether the record with this content key (128 bits) is in the sample."""
        return hash_key(key, self._seed) < self._border


class Reservoir:
    """A sample of exactly `count` lines (all if there are fewer): those with the smallest hashes.

    Of equal hashes (copies of one record) the earlier. Iterating gives (line, chosen) in the order of
    offering; without `keep_losers` only the chosen, and of n lines only about count x (1 + ln(n / count))
    are ever stored. Beside the stored lines (a Spool: in memory first, then on disk) a record of the sample
    costs 56 bytes of memory, 125 when it is read. Known as bottom-k sampling (Cohen and Kaplan 2007).
    """

    def __init__(
        self, count: int, seed: int, keep_losers: bool = False, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        from heapq import heappush, heapreplace

        self._push, self._replace = heappush, heapreplace
        self._count = count
        self._seed = seed & _MASK
        self._keep_losers = keep_losers
        self._heap: list[int] = []  # of those chosen so far, ~(hash << 64 | place): the largest hash on top
        self._limit = 1 << 64  # hashes from here on lose
        self._spool = Spool(memory_bytes)

    def offer(self, key: int, line: bytes) -> None:
        """Take part with a line and its content key (128 bits). Raises as `Spool.append`."""
        value = hash_key(key, self._seed)
        if value < self._limit:
            entry = ~(value << 64 | len(self._spool))
            if len(self._heap) < self._count:
                self._push(self._heap, entry)
            else:
                self._replace(self._heap, entry)
            if len(self._heap) == self._count:
                self._limit = ~self._heap[0] >> 64
        elif not self._keep_losers:
            return
        self._spool.append(line)

    def hold(self, line: bytes) -> None:
        """Keep a line in its place among the losers, without its taking part. Raises as `Spool.append`."""
        self._spool.append(line)

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[tuple[bytes, bool]]:
        places = array("Q", sorted([~entry & _MASK for entry in self._heap]))
        following = iter(places)
        place = next(following, -1)
        for index, line in enumerate(self._spool):
            if index == place:
                yield line, True
                place = next(following, -1)
                if place < 0 and not self._keep_losers:
                    return
            elif self._keep_losers:
                yield line, False

    def close(self) -> None:
        """Forget all lines."""
        self._spool.close()
        self._heap = []


def shuffle_keys(seed: int) -> Iterator[int]:
    """Yield numbers of 64 bits without end; lines sorted by them are shuffled, alike on every platform.

    XXH3 of a counter, so that the order hangs on the seed and the places of the lines alone.
    """
    derived = derive_seed(seed, "shuffle")
    for number in itertools.count():
        yield xxh3_64(number.to_bytes(8, "little"), derived)
