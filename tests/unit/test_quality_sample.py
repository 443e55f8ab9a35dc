"""Samples: the same records whatever the order, and the rest of the data."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.errors import UsageError
from bptools.quality.sample import (
    Reservoir,
    Share,
    border,
    derive_seed,
    hash_key,
    parse_sample,
    shuffle_keys,
    unit,
)

KEYS = st.integers(0, 2**128 - 1)
SEEDS = st.one_of(st.integers(), st.sampled_from([0, 1, 2**64 - 1]))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("1000", 1000),
        ("1", 1),
        (" 7 ", 7),
        ("5%", 0.05),
        ("0.5%", 0.005),
        (".5 %", 0.005),
        ("100%", 1.0),
        ("9.%", 0.09),
    ],
)
def test_what_a_sample_may_be(text: str, meaning: float) -> None:
    found = parse_sample(text)
    assert found == meaning
    assert type(found) is type(meaning)


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "1e6", "0.5", "0%", "0.0%", "100.1%", "101%", "%", "5%%", "nan%", "1_000", "1,000", "٥%"],
)
def test_what_a_sample_may_not_be(text: str) -> None:
    with pytest.raises(UsageError, match="--sample"):
        parse_sample(text)


def test_the_hash_is_fixed() -> None:
    # from xxhash 4.1 (XXH3): a change would move every sample and split that was ever made
    assert hash_key(0, 0) == 15034821391391295848
    assert hash_key(2**128 - 1, 42) == 14735991988606956317
    assert unit(12345, 42) == 0.6218171343335005
    assert derive_seed(42, "split") == 3227292102447725448
    assert list(itertools.islice(shuffle_keys(42), 2)) == [17400013926559518408, 8093058370348748552]


@given(KEYS, SEEDS, st.floats(0, 1, exclude_min=True))
def test_a_share_is_what_lies_below_it(key: int, seed: int, fraction: float) -> None:
    assert 0 <= unit(key, seed) < 1
    assert Share(fraction, seed).takes(key) == (unit(key, seed) < fraction)
    assert Share(1.0, seed).takes(key)


@given(st.floats(0, 1), st.floats(0, 1))
def test_borders_rise(first: float, second: float) -> None:
    assert (border(first) <= border(second)) or first > second
    assert (border(0.0), border(1.0)) == (0, 1 << 64)


@given(KEYS, SEEDS, st.floats(0.001, 1), st.floats(0.001, 1))
def test_a_smaller_share_is_a_part_of_a_larger(key: int, seed: int, first: float, second: float) -> None:
    small, large = sorted((first, second))
    assert Share(large, seed).takes(key) or not Share(small, seed).takes(key)


def test_a_share_takes_its_share() -> None:
    taken = sum(map(Share(0.05, 7).takes, range(100_000)))
    assert abs(taken - 5000) < 5 * math.sqrt(100_000 * 0.05 * 0.95)


def test_seeds_give_independent_samples() -> None:
    first, second = Share(0.5, 1), Share(0.5, 2)
    both = sum(first.takes(key) and second.takes(key) for key in range(40_000))
    assert abs(both - 10_000) < 5 * math.sqrt(40_000 * 0.25 * 0.75)


def lines_of(keys: list[int]) -> list[tuple[int, bytes]]:
    return [(key, b"%d" % key) for key in keys]


def sample(
    pairs: list[tuple[int, bytes]], count: int, seed: int, **options: object
) -> list[tuple[bytes, bool]]:
    reservoir = Reservoir(count, seed, **options)  # type: ignore[arg-type]
    for key, line in pairs:
        reservoir.offer(key, line)
    found = list(reservoir)
    assert found == list(reservoir)
    assert len(reservoir) == sum(chosen for _, chosen in found)
    reservoir.close()
    return found


@settings(deadline=None)
@given(st.lists(st.integers(0, 40)), st.integers(1, 60), SEEDS, st.sampled_from([1, 1 << 20]))
def test_a_reservoir_holds_the_smallest_hashes(keys: list[int], count: int, seed: int, memory: int) -> None:
    lines = [(key, b"%d of %d" % (place, key)) for place, key in enumerate(keys)]
    ranked = sorted(range(len(keys)), key=lambda place: hash_key(keys[place], seed % 2**64))
    best = set(ranked[:count])
    everything = sample(lines, count, seed, keep_losers=True, memory_bytes=memory)
    assert everything == [(line, place in best) for place, (_, line) in enumerate(lines)]
    chosen = sample(lines, count, seed, memory_bytes=memory)
    assert chosen == [pair for pair in everything if pair[1]]


@given(st.lists(KEYS, unique=True, max_size=60), st.integers(1, 30), st.randoms(use_true_random=False))
def test_neither_order_nor_growth_changes_a_sample(keys: list[int], count: int, chance: object) -> None:
    before = {line for line, _ in sample(lines_of(keys), count, 3)}
    shuffled = list(keys)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert {line for line, _ in sample(lines_of(shuffled), count, 3)} == before
    half = {line for line, _ in sample(lines_of(keys[: len(keys) // 2]), count, 3)}
    rest = {line for _, line in lines_of(keys[len(keys) // 2 :])}
    assert before - rest <= half  # growth brings new ones in, never back one that had lost
    assert before <= {line for line, _ in sample(lines_of(keys), count + 5, 3)}


def test_only_lines_that_were_in_the_sample_are_stored() -> None:
    reservoir = Reservoir(100, 1)
    for key in range(100_000):
        reservoir.offer(key, b"x")
    assert len(reservoir._spool) < 1.3 * 100 * (1 + math.log(1000))
    assert len(reservoir) == 100


def test_every_order_is_as_likely_as_another() -> None:
    keys = shuffle_keys(1)
    orders = Counter(
        tuple(sorted(range(4), key=list(itertools.islice(keys, 4)).__getitem__)) for _ in range(24_000)
    )
    assert len(orders) == 24
    assert sum((seen - 1000) ** 2 / 1000 for seen in orders.values()) < 60  # chi square, 23 degrees: p < 1e-4


def test_shuffle_keys_hang_on_the_seed_alone() -> None:
    first = list(itertools.islice(shuffle_keys(5), 1000))
    assert first == list(itertools.islice(shuffle_keys(5), 1000))
    assert not set(first) & set(itertools.islice(shuffle_keys(6), 1000))
    assert all(0 <= key < 1 << 64 for key in first)
    assert len(set(first)) == 1000
