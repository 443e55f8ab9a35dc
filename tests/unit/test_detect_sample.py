"""What bp-detect says of a file from a sample of it: rates that hold, places and totals that are true."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.chat.profile import Profile
from bptools.core.records import Reject
from bptools.core.sources.sampling import FileSample
from tests.golden import ROOT, environment

BROKEN = '{"broken\n'


def _run(tmp_path: Path, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bin" / "bp-detect"), *arguments],
        capture_output=True, cwd=tmp_path, env=environment(str(tmp_path)), timeout=60, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def _report(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    return json.loads(_run(tmp_path, "-q", *arguments)[0])  # type: ignore[no-any-return]


def _broken_lines(seed: int, lines: int, rate: float) -> list[str]:
    """Return records of some 300 bytes, and short broken lines between them."""
    draw = random.Random(seed)
    return [
        BROKEN if draw.random() < rate else json.dumps({"text": "word " * draw.randint(20, 100)}) + "\n"
        for _ in range(lines)
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_rate_of_short_broken_lines_is_estimated(seed: int, tmp_path: Path) -> None:
    lines = _broken_lines(seed, 22_000, 0.09)
    (tmp_path / "a.jsonl").write_text("".join(lines))
    report = _report(tmp_path, "a.jsonl")
    assert report["sample"] == "spread" and report["records"] is None
    (problem,) = report["problems"]
    assert report["judged"] == report["convertible"] + problem["count"]
    rate = report["estimated_problems"]["invalid-json"] / report["estimated_records"]
    assert 0.75 < rate / 0.09 < 1.25
    assert abs(report["estimated_records"] - 22_000) < 500


def test_estimates_hold_where_the_counts_of_a_sample_do_not(tmp_path: Path) -> None:
    # One half of the bytes are long records, where one line stands for few, the other half short ones.
    long = [json.dumps({"text": "y" * 12_000}) + "\n"] * 700
    short = _broken_lines(7, 40_000, 0.2)
    (tmp_path / "a.jsonl").write_text("".join(long + short))
    report = _report(tmp_path, "a.jsonl")
    true = short.count(BROKEN) / (len(long) + len(short))
    assert report["problems"][0]["count"] / report["judged"] < 0.7 * true
    estimated = report["estimated_problems"]["invalid-json"] / report["estimated_records"]
    assert 0.8 < estimated / true < 1.2


def test_the_counts_of_a_run_are_those_of_the_sample(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(_broken_lines(4, 22_000, 0.09)))
    out, told = _run(tmp_path, "--report", "report.json", "a.jsonl")
    report, counts = json.loads(out), json.loads((tmp_path / "report.json").read_text())
    assert counts["in"] == counts["out"] + counts["rejected"] == report["judged"]
    assert counts["rejected"] == report["problems"][0]["count"] == counts["rejects"]["invalid-json"]
    assert f"{counts['rejected']} rejected" in told


def test_the_table_shows_the_estimate_beside_the_count(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(_broken_lines(5, 22_000, 0.09)))
    report = _report(tmp_path, "a.jsonl")
    table = " ".join(_run(tmp_path, "-q", "--table", "a.jsonl")[0].split())
    count, about = report["problems"][0]["count"], report["estimated_problems"]["invalid-json"]
    share = 100 * about / report["estimated_records"]
    assert f"{count} x invalid-json (about {about:,} in all, {share:.1f} %):" in table
    assert "; line " in table and "; offset " in table


def test_without_a_spread_sample_there_is_no_estimate(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(_broken_lines(6, 22_000, 0.09)))
    assert "estimated_problems" not in _report(tmp_path, "--full", "a.jsonl")


def test_problems_come_the_most_frequent_first() -> None:
    profile = Profile()
    for line, reason in enumerate(["rare", "late", "often", "often", "early", "often", "late", "early"], 1):
        profile.refuse(Reject(reason), line)
    reasons = [problem["reason"] for problem in profile.as_json()["problems"]]
    assert reasons == ["often", "late", "early", "rare"]


def test_problems_of_a_spread_sample_are_ordered_by_the_estimate() -> None:
    profile = Profile()
    for _ in range(3):
        profile.refuse(Reject("near"), 1)
    profile.refuse(Reject("far"), None, 5000, weight=40.0)
    reasons = [problem["reason"] for problem in profile.as_json()["problems"]]
    assert reasons == ["far", "near"]


def test_a_small_file_that_is_sampled_is_counted_to_its_end(tmp_path: Path) -> None:
    lines = _broken_lines(8, 6000, 0.1)
    text = "".join(line + "\n" * (number % 7 == 0) for number, line in enumerate(lines))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf\n" + text.encode())
    report = _report(tmp_path, "a.jsonl")
    assert report["sample"] == "spread" and report["judged"] == 1000
    assert report["records"] == report["estimated_records"] == 6000
    assert report["blank"] == 1 + text.count("\n\n")
    assert sum(report["estimated_formats"].values()) + report["estimated_problems"]["invalid-json"] == 6000
    (problem,) = report["problems"]
    whole = text.split("\n")
    assert "offsets" not in problem
    assert all(whole[line - 2] + "\n" == BROKEN for line in problem["lines"])
    table = _run(tmp_path, "-q", "--table", "a.jsonl")[0]
    assert "6,000, 1,000 judged (spread)" in table


def test_blank_lines_do_not_count_among_the_thousand(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text":"a"}\n\n' * 1000)
    report = _report(tmp_path, "a.jsonl")
    assert (report["sample"], report["records"], report["blank"]) == ("all", 1000, 1000)


def test_first_lines_have_numbers_and_later_ones_offsets(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(_broken_lines(9, 22_000, 0.02)))
    (problem,) = _report(tmp_path, "a.jsonl")["problems"]
    data = path.read_bytes()
    lines = data.split(b"\n")
    assert problem["lines"] and max(problem["lines"]) <= 200
    assert all(lines[line - 1] == b'{"broken' for line in problem["lines"])
    assert problem["offsets"]
    assert all(data[offset - 1 : offset + 9] == b'\n{"broken\n' for offset in problem["offsets"])


@pytest.mark.parametrize("pad", ["", " " * 1250])
def test_a_sample_keeps_no_step_with_a_pattern(pad: str, tmp_path: Path) -> None:
    # 5 of 10 lines are pairs; lines and bytes fall on steps of the sample.
    pair = '{"prompt":"a","completion":"b"' + pad + "}\n"
    text = '{"text":"' + "y" * (len(pair) - 12) + '"}\n'
    (tmp_path / "a.jsonl").write_text((pair * 5 + text * 5) * 820)
    report = _report(tmp_path, "a.jsonl")
    assert 0.45 < report["formats"]["text"] / report["judged"] < 0.55


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=30),
    st.integers(1, 24),
    st.integers(0, 2),
    st.booleans(),
)
def test_every_line_is_of_one_group(lengths: list[int], block: int, skipped: int, final: bool) -> None:
    lines = [b"x" * length + b"\n" for length in lengths]
    data = b"".join(lines) if final else b"".join(lines) + b"x"
    ends = [end + 1 for end in range(len(data)) if data[end] == 10]
    first = ([0, *ends])[min(skipped, len(ends) - 1)]
    begins = [begin for begin in [0, *ends] if first <= begin < len(data)]
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        sample = FileSample(file.fileno(), len(data))
        groups = {}
        for offset in range(first, len(data)):
            found, end = sample._group(offset, first, block)
            groups[tuple(found)] = end
            assert (found[0] - first) // block == (found[-1] - first) // block
            assert found[0] - (found[0] - first) % block <= offset
            assert end == len(data) or offset < end - (end - first) % block
    assert sorted(begin for group in groups for begin in group) == begins
    assert all(data[end - 1] == 10 or end == len(data) for end in groups.values())
