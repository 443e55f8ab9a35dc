"""Streams mixed in proportions that hold at every point."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bptools.core.errors import UsageError
from bptools.quality import mix as module
from bptools.quality.mix import interleave, parse_mix

WEIGHTS = st.lists(
    st.one_of(
        st.integers(1, 20).map(float),
        st.sampled_from([0.1, 0.7, 0.3, 1e-5, 1e6, 1 / 3]),
        st.floats(1e-3, 1e3, allow_nan=False),
    ),
    min_size=1,
    max_size=7,
)


def test_what_a_mix_may_be() -> None:
    assert parse_mix("concat", 3) == "concat"
    assert parse_mix(" round-robin ", 1) == "round-robin"
    assert parse_mix("3,1", 2) == [3.0, 1.0]
    assert parse_mix("0.7, .3", 2) == [0.7, 0.3]
    assert parse_mix("1e-3,+2.", 2) == [0.001, 2.0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "3,1,1",
        "3,0",
        "3,-1",
        "3,nan",
        "3,inf",
        "3,1e999",
        "3,1e400",
        "3,x",
        "3,",
        "1_0,1",
        "3;1",
        "1e-999,1",
    ],
)
def test_what_a_mix_may_not_be(text: str) -> None:
    with pytest.raises(UsageError, match="--mix"):
        parse_mix(text, 2)


def endless(count: int) -> list[Iterator[int]]:
    return [itertools.count() for _ in range(count)]


def turns(weights: list[float], count: int) -> list[int]:
    return [index for index, _ in itertools.islice(interleave(endless(len(weights)), weights, "all"), count)]


@given(WEIGHTS, st.sampled_from([0, 10_000]))
def test_every_beginning_is_in_proportion(weights: list[float], cycle: int) -> None:
    exact = [Fraction(str(weight)) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    given_so_far = [0] * len(weights)
    before = module._LONGEST_CYCLE
    module._LONGEST_CYCLE = cycle
    try:
        order = turns(weights, 400)
    finally:
        module._LONGEST_CYCLE = before
    for number, index in enumerate(order, 1):
        given_so_far[index] += 1
        assert all(abs(seen - number * share) < 1 for seen, share in zip(given_so_far, shares))


def test_a_set_where_serving_the_furthest_behind_fails() -> None:
    weights = [1.0, 1.0, 26.0, 15.0, 6.0, 26.0]
    given_so_far = [0] * len(weights)
    for number, index in enumerate(turns(weights, 150), 1):
        given_so_far[index] += 1
        assert all(abs(seen - number * weight / 75) < 1 for seen, weight in zip(given_so_far, weights))


def test_no_drift_in_a_million() -> None:
    weights = [0.7123457, 0.1876543, 0.1]
    seen = [0, 0, 0]
    for index in turns(weights, 1_000_000):
        seen[index] += 1
    assert all(abs(count - 1_000_000 * weight) < 1 for count, weight in zip(seen, weights))


def test_orders() -> None:
    assert turns([3, 1], 8) == [0, 0, 1, 0, 0, 0, 1, 0]
    assert turns([1, 1, 1], 6) == [0, 1, 2, 0, 1, 2]
    assert turns([0.2, 0.2], 4) == [0, 1, 0, 1]
    assert turns([5], 3) == [0, 0, 0]
    assert turns([1e-5, 1], 100_001).count(0) == 1


def merged(sources: list[str], weights: list[float] | None, until: Literal["all", "first"]) -> str:
    found = list(interleave([iter(source) for source in sources], weights, until))
    assert all(item in sources[index] for index, item in found)
    return "".join(item for _, item in found)


def test_when_a_source_ends() -> None:
    assert merged(["abc", "1", "xy"], None, "all") == "a1xbyc"
    assert merged(["abc", "1", "xy"], None, "first") == "a1xb"
    assert merged(["", "1", "xy"], None, "first") == ""
    assert merged(["", "12", ""], None, "all") == "12"
    assert merged(["abcdef", "12"], [2, 1], "first") == "a1bc2de"
    assert merged(["abcdefgh", "1", "xyz"], [2, 1, 1], "all") == "a1xbcdyefzgh"
    assert merged([], None, "all") == merged([], [], "all") == ""


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.data())
def test_all_comes_through_once_and_in_order(lengths: list[int], data: st.DataObject) -> None:
    weights = data.draw(
        st.one_of(st.none(), st.lists(st.integers(1, 9), min_size=len(lengths), max_size=len(lengths)))
    )
    sources = [iter([(source, item) for item in range(length)]) for source, length in enumerate(lengths)]
    found = list(interleave(sources, weights, "all"))
    assert all(index == item[0] for index, item in found)
    for source, length in enumerate(lengths):
        assert [item[1] for index, item in found if index == source] == list(range(length))


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.data())
def test_first_stops_in_proportion(lengths: list[int], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 9), min_size=len(lengths), max_size=len(lengths)))
    found = [index for index, _ in interleave([iter(range(length)) for length in lengths], weights, "first")]
    assert any(found.count(source) == length for source, length in enumerate(lengths))
    assert all(abs(found.count(s) - len(found) * w / sum(weights)) < 1 for s, w in enumerate(weights))


def test_nothing_is_read_ahead() -> None:
    read: list[str] = []

    def source(name: str) -> Iterator[str]:
        for number in range(3):
            read.append(f"{name}{number}")
            yield name

    for weights in ([1.0, 1.0], None):
        read.clear()
        both = interleave([source("a"), source("b")], weights, "all")
        assert read == []
        next(both)
        assert read == ["a0"]
        next(both)
        assert read == ["a0", "b0"]
