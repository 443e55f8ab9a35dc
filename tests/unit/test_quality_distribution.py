"""Distributions: nothing falls between the rows, and percentiles are those of the sorted values."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bptools.quality import Range
from bptools.quality.distribution import PERCENTILES, Distribution
from bptools.quality.measures import Measures
from bptools.quality.sieve import Sieve

values = st.lists(
    st.one_of(
        st.integers(0, 50), st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False), st.just(10**400)
    ),
    min_size=1,
    max_size=60,
)  # fmt: skip


def filled(items: list[float]) -> Distribution:
    made = Distribution("x")
    for item in items:
        made.add(item)
    return made


@given(values)
def test_rows_hold_every_value_once(items: list[float]) -> None:
    made = filled(items)
    rows = made.histogram()
    assert sum(count for _, _, count in rows) == len(items)
    assert all(low < high or low == high for low, high, _ in rows)
    assert rows[0][0] <= made.low and rows[-1][1] >= made.high
    assert len(rows) <= 20
    assert len(made.lines()) == len(rows) + 1
    assert made.as_json()["count"] == len(items)


@given(st.lists(st.integers(0, 10**6) | st.floats(-1e6, 1e6), min_size=1, max_size=80))
def test_percentiles_are_exact_of_few_values(items: list[float]) -> None:
    ordered = sorted(map(float, items))
    for percent in PERCENTILES:
        assert (
            filled(items).percentile(percent) == ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]
        )


def test_percentiles_of_many_values_are_right_to_one_percent() -> None:
    items = [1.5 * 1.0007**number for number in range(20_000)]
    made = filled(items)
    for percent in PERCENTILES:
        true = items[math.ceil(len(items) * percent / 100) - 1]
        assert abs(made.percentile(percent) / true - 1) < 0.01
    assert len(made._counts) < 3000
    assert sum(count for _, _, count in made.histogram()) == len(items)


def test_nothing_measured_is_said_so() -> None:
    made = Distribution("x")
    made.add(None)
    assert made.lines() == ["x: no record has it"]
    assert made.as_json() == {"count": 0, "missing": 1}


def test_figures_of_ranges_have_names_of_their_own_and_count_each_record_once() -> None:
    ranges = [Range("tokens=10:500"), Range("turns=1:"), Range("score=0:5"), Range("score=2:")]
    measures = Measures(Sieve(ranges=ranges), everything=True)
    for number in range(3):
        measures.add(None, {"text": "a", "tokens": 7, "turns": 70, "score": number})
    found = measures.as_json()
    assert set(found) == {"tokens", "chars", "turns", "range:tokens", "range:turns", "range:score"}
    assert {figure["count"] for figure in found.values()} == {3}
    assert (found["turns"]["max"], found["range:turns"]["max"]) == (0, 70)
