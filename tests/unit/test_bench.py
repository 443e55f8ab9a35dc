"""The table of `make bench` says which goals were missed."""

from __future__ import annotations

import pytest

from tests.bench.bench import missed


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("1.40x at most 1.5x", False),
        ("1.68x at most 1.5x", True),
        ("0.16x at least 5x faster", False),
        ("0.27x at least 5x faster", True),
        ("1.53 times, at least 2", True),
        ("5.82 times, at least 4", False),
        ("19 MB, at most 64 MB", False),
        ("+36 MB, at most 400", False),
        ("-0.4 s, at most +2 s", False),
        ("+2.1 s, at most +2 s", True),
        ("largest difference 0.0e+00, at most 1e-4", False),
        ("largest difference 2e-04, at most 1e-4", True),
        (
            "1.11 times, at least 0.95; largest difference 1e-06, at most 1e-04; padding 1.06x, at most 1.05x",
            True,
        ),
        ("0 dropped wrongly, at most 0; recall 0.9856, at least 0.98 (near copies 3153 of 3211)", False),
        ("0 dropped wrongly, at most 0; recall 0.9756, at least 0.98 (near copies 3153 of 3211)", True),
        ("43.5 times, at least 3; 0 decisions differ", False),
        ("same bytes", False),
        ("0.103 s, 19 MB", False),
    ],
)
def test_a_missed_goal_is_seen(figure: str, expected: bool) -> None:
    assert missed(figure) is expected
