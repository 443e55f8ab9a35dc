"""The curriculum score, and chunks of equal size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bptools.quality.difficulty import chunk_name, chunks, difficulty


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("", 0.0),
        (" \n\t", 0.0),
        ("a", 0.5 / 5000 + 0.25 + 0.025),
        ("The cat the", 0.5 * 11 / 5000 + 0.25 * 2 / 3 + 0.25 * 0.3),
        ("x" * 5000, 1.0),
        ("x" * 9000, 1.0),
        ("ab " * 5000, 0.5 + 0.25 / 5000 + 0.05),
    ],
)
def test_the_formula(text: str, score: float) -> None:
    assert difficulty(text) == pytest.approx(score, abs=1e-12)


@given(st.text())
def test_it_stays_in_its_range(text: str) -> None:
    assert 0 <= difficulty(text) <= 1


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_chunks_are_as_equal_as_can_be(total: int, count: int) -> None:
    sizes = chunks(total, count)
    assert len(sizes) == count
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("total", "count"), [(1, 0), (1, -1), (-1, 1)])
def test_chunks_that_cannot_be(total: int, count: int) -> None:
    with pytest.raises(ValueError, match="chunks"):
        chunks(total, count)


@pytest.mark.parametrize("count", [1, 9, 10, 99, 100, 1000])
def test_names_sort_as_numbers_do(count: int) -> None:
    names = [chunk_name(number, count) for number in range(1, count + 1)]
    assert names == sorted(names)
    assert len(set(names)) == count


def test_names() -> None:
    assert [chunk_name(1, 9), chunk_name(1, 10), chunk_name(10, 10)] == ["1.jsonl", "01.jsonl", "10.jsonl"]
