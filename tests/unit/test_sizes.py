"""core/sizes: what is read of an option, and how amounts are shown."""

from __future__ import annotations

import pytest

from bptools.core.errors import UsageError
from bptools.core.sizes import parse_duration, parse_size, shown_duration, shown_size, shown_time


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("200M", 200 << 20), ("4g", 4 << 30), ("1.5G", 3 << 29), ("1 GiB", 1 << 30), (".5k", 512), ("7", 7),
        ("12B", 12), ("1TB", 1 << 40), ("2.M", 2 << 20),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size("--x", text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1e3", "1,5G", "1.5.0G", "1P", "nan", "٣M", "9" * 400])
def test_what_no_size_is(text: str) -> None:
    with pytest.raises(UsageError, match="is no size; write it as 500M"):
        parse_size("--x", text)


def test_durations() -> None:
    given = ["30", "30s", "10m", "1.5h", "2 D", "0"]
    assert [parse_duration("--wait", text) for text in given] == [30, 30, 600, 5400, 172_800, 0]
    for text in ["", "m", "-1", "1w", "1h30m", "inf"]:
        with pytest.raises(UsageError, match="is no duration"):
            parse_duration("--wait", text)
    assert shown_size((96 << 20) - 1) == "96M"


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (61, "1:01"), (3723, "1:02:03"), (-1, "0:00")])
def test_times_as_a_clock_has_them(seconds: float, shown: str) -> None:
    assert shown_time(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.1, "1 s"), (99.4, "99 s"), (725, "12 min"), (12_600, "3.5 h")]
)
def test_durations_as_people_say_them(seconds: float, shown: str) -> None:
    assert shown_duration(seconds) == shown
