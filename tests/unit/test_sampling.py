"""The spread sample: lines of the file, in file order, without repeats, at a bounded cost."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.sources import sampling
from bptools.core.sources.sampling import FileSample


def sample(path: Path) -> tuple[list[tuple[int, int | None, bytes]], FileSample]:
    fd = os.open(path, os.O_RDONLY)
    try:
        found = FileSample(fd, os.fstat(fd).st_size)
        return [(place.offset, place.line, line) for place, line in found], found
    finally:
        os.close(fd)


def test_a_small_file_is_judged_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    lines = [b'{"n":%d}\n' % number for number in range(1000)]
    path.write_bytes(b"".join(lines))
    found, result = sample(path)
    assert [line for _, _, line in found] == lines
    assert [number for _, number, _ in found] == list(range(1, 1001))
    assert result.whole


def test_a_large_file_is_sampled_from_all_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with open(path, "wb") as file:
        for number in range(200_000):
            file.write(b'{"n":%d,"x":"%s"}\n' % (number, b"y" * (number % 90)))
    size = path.stat().st_size
    found, result = sample(path)
    assert not result.whole
    assert 900 <= len(found) <= 1000
    offsets = [offset for offset, _, _ in found]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] > size * 0.99
    data = path.read_bytes()
    for offset, number, line in found:
        assert data[offset : offset + len(line)] == line
        assert offset == 0 or data[offset - 1] == 10
        assert line.endswith(b"\n") or offset + len(line) == size
        assert number is None or data.count(b"\n", 0, offset) + 1 == number


def test_the_cost_is_bounded_by_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with open(path, "wb") as file:
        for _ in range(60):
            file.write(b"x" * 1_500_000 + b"\n")
    found, result = sample(path)
    assert found and not result.whole
    assert result.bytes_seen <= sampling.BUDGET_BYTES * 2


@pytest.mark.parametrize("order", ["short first", "long first", "mixed"])
def test_weights_make_up_for_length(order: str, tmp_path: Path) -> None:
    short = [b'{"k":"s","x":"%s"}\n' % (b"y" * (number % 100)) for number in range(60_000)]
    long = [b'{"k":"l","x":"%s"}\n' % (b"y" * (1000 + 7 * number)) for number in range(3000)]
    lines = long + short if order == "long first" else short + long
    if order == "mixed":
        random.Random(1).shuffle(lines)
    path = tmp_path / "a"
    path.write_bytes(b"".join(lines))
    with open(path, "rb") as file:
        weights = {b"s": 0.0, b"l": 0.0}
        for place, line in FileSample(file.fileno(), path.stat().st_size):
            weights[line[6:7]] += place.weight
    assert 0.85 < weights[b"s"] / len(short) < 1.15
    assert 0.85 < weights[b"l"] / len(long) < 1.15


def test_lines_too_long_to_be_sampled_are_estimated(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"{}\n" * 300 + (b"x" * 1_500_000 + b"\n") * 30)
    _, result = sample(path)
    assert 25 < result.unseen < 35


def test_the_spread_reaches_the_end_where_lines_are_long(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes((b"x" * 100_000 + b"\n") * 1000)
    found, result = sample(path)
    assert found[-1][0] > 0.95 * path.stat().st_size
    assert result.bytes_seen <= sampling.BUDGET_BYTES * 2


@settings(max_examples=40)
@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=60), st.booleans()
)
def test_any_small_file_is_cut_into_its_lines(lines: list[bytes], final: bool) -> None:
    import tempfile

    data = b"\n".join(lines) + (b"\n" if final else b"")
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        found, result = sample(Path(file.name))
    assert b"".join(line for _, _, line in found) == data
    assert result.whole
