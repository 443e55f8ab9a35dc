"""Several streams made one: one after the other, in turn, or in given proportions that hold at every point.

bp-filter --mix 3,1 chat.jsonl code.jsonl
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar

from bptools.core.errors import UsageError

Item = TypeVar("Item")

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_LONGEST_CYCLE = 10_000  # orders up to this long are computed once


def parse_mix(text: str, sources: int) -> list[float] | str:
    """Read `concat`, `round-robin`, or one weight for each source: `3,1` or `0.7,0.3`.

    Raises UsageError.
    """
    text = text.strip()
    if text in ("concat", "round-robin"):
        return text
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not _NUMBER.fullmatch(part):
            raise UsageError(f"--mix {text!r}: {part!r} is no weight; write concat, round-robin or 3,1")
        if not 0 < float(part) < math.inf:
            raise UsageError(f"--mix {text!r}: {part} is no weight; a weight is a finite number above 0")
    if len(parts) != sources:
        raise UsageError(
            f"--mix {text!r} has {len(parts)} weight{'s' * (len(parts) != 1)}"
            f" for {sources} source{'s' * (sources != 1)}; give each source one"
        )
    return [float(part) for part in parts]


def interleave(
    iterators: Sequence[Iterator[Item]], weights: Sequence[float] | None, until: Literal["all", "first"]
) -> Iterator[tuple[int, Item]]:
    """Yield (index of the source, item), in turn or by weight; the same input gives the same order.

    weights: None for in turn, else one number above 0 each, taken as the decimal that it is written as.
    After n items source i has given more than n x share - 1 and fewer than n x share + 1 (see `_order`).
    until: `all` goes on with the other sources when one is at its end, by their weights and counted from
    there; `first` ends when the source whose turn it is has nothing left.
    """
    if weights is None:
        yield from _in_turn(iterators, until)
        return
    integers = _as_integers(weights)
    active = list(range(len(iterators)))
    while active:
        for place in _order([integers[index] for index in active]):
            index = active[place]
            try:
                item = next(iterators[index])
            except StopIteration:
                break
            yield index, item
        if until == "first":
            return
        active.remove(index)


def _in_turn(
    iterators: Sequence[Iterator[Item]], until: Literal["all", "first"]
) -> Iterator[tuple[int, Item]]:
    active = list(range(len(iterators)))
    while active:
        ended = set()
        for index in active:
            try:
                item = next(iterators[index])
            except StopIteration:
                if until == "first":
                    return
                ended.add(index)
                continue
            yield index, item
        if ended:
            active = [index for index in active if index not in ended]


def _as_integers(weights: Sequence[float]) -> list[int]:
    """Return the smallest integers in the same proportions: [0.7, 0.3] -> [7, 3]."""
    from fractions import Fraction

    exact = [Fraction(str(weight)) for weight in weights]
    scale = math.lcm(*(weight.denominator for weight in exact))
    integers = [int(weight * scale) for weight in exact]
    common = math.gcd(*integers)
    return [weight // common for weight in integers]


def _order(weights: list[int]) -> Iterator[int]:
    """Yield for ever whose turn it is, by integers alone.

    With W the sum of the weights, the c-th item (from 0) of a source of weight w may be given from turn
    floor(cW/w) on and must be by turn ceil((c+1)W/w) - 1. Of the sources whose time has come the one with
    the earliest deadline is served. That meets all deadlines, which is to say that at every turn each
    source is less than one item away from its share: Baruah, Cohen, Plaxton, Varvel, "Proportionate
    progress: a notion of fairness in resource allocation", Algorithmica 15 (1996). Serving whoever is
    furthest behind, as usual, does not: with weights 1,1,26,15,6,26 it comes to be 1.13 items off.
    Among equal deadlines the one furthest behind is served, then the first. The order repeats after W.
    """
    if sum(weights) <= _LONGEST_CYCLE:
        yield from itertools.cycle(list(_cycle(weights)))
    while True:
        yield from _cycle(weights)


def _cycle(weights: list[int]) -> Iterator[int]:
    total = sum(weights)
    given = [0] * len(weights)
    for turn in range(1, total + 1):
        best = -1
        earliest = behind = 0
        for index, weight in enumerate(weights):
            lag = turn * weight - given[index] * total
            if lag <= 0:
                continue  # before its time
            deadline = -(-(given[index] + 1) * total // weight)
            if best < 0 or deadline < earliest or (deadline == earliest and lag > behind):
                best, earliest, behind = index, deadline, lag
        given[best] += 1
        yield best
