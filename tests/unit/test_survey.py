"""A sample ends where it is full, whatever fills it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bptools.chat.profile import Profile
from tests.golden import ROOT, environment


@pytest.mark.parametrize(
    "endless",
    ["yes", "yes '{}'", """yes '{"text":"a"}'""", """(yes '{"text":"a"}' | head -999; yes)"""],
    ids=["rejects", "unknown", "records", "a-reject-fills-it"],
)
def test_an_endless_pipe_is_sampled(endless: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{endless} | {ROOT / 'bin' / 'bp-detect'}"],
        capture_output=True, cwd=tmp_path, env=environment(str(tmp_path)), timeout=20,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (report["judged"], report["sample"], report["records"]) == (1000, "head", None)


def _report(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "bin" / "bp-detect"), "-q", *arguments],
        capture_output=True, cwd=tmp_path, env=environment(str(tmp_path)), timeout=60,
    )  # fmt: skip
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_shares_of_a_spread_sample_are_shares_of_records(tmp_path: Path) -> None:
    text = b'{"text":"%s"}\n' % (b"y" * 4000)
    pair = b'{"prompt":"a","completion":"b"}\n'
    (tmp_path / "a.jsonl").write_bytes(text * 2000 + pair * 20_000)
    report = _report(tmp_path, "a.jsonl")
    assert report["sample"] == "spread" and report["format"] == "prompt-completion"
    assert sum(report["formats"].values()) == report["judged"]
    assert abs(report["estimated_records"] - 22_000) < 2200
    assert abs(report["estimated_formats"]["text"] - 2000) < 200
    assert abs(report["estimated_formats"]["prompt-completion"] - 20_000) < 2000


@pytest.mark.parametrize(
    "more", [{"completion": "a"}, {"messages": "a"}, {"messages": None}, {"chosen": None, "rejected": "a"}]
)
def test_a_text_beside_fields_of_other_shapes_is_counted_as_text(more: dict[str, Any]) -> None:
    profile = Profile()
    profile.add({"text": "hello", **more}, 1)
    assert profile.shapes == {"text": 1}
    assert (profile.chars, profile.turns) == ([5], [])


def test_a_small_spread_counts_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text":"a"}\n' * 5000)
    report = _report(tmp_path, "a.jsonl")
    assert (report["sample"], report["judged"], report["estimated_records"]) == ("spread", 1000, 5000)


@pytest.mark.parametrize("size", ["--full", "--validate"])
def test_a_kept_reject_is_the_line_as_it_came(size: str, tmp_path: Path) -> None:
    line = '{"instruction": "\\ud83d",  "output": "r"}'
    (tmp_path / "a.jsonl").write_text(line + "\n")
    report = _report(tmp_path, size, "--rejects", "bad.jsonl", "--max-rejects", "1", "a.jsonl")
    assert report["problems"][0]["reason"] == "bad-unicode"
    assert json.loads((tmp_path / "bad.jsonl").read_text())["raw"] == line


def test_a_reject_of_a_spread_sample_is_placed_by_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    good = json.dumps({"prompt": "p", "completion": "x" * 80}).encode() + b"\n"
    bad = b'{"prompt": "p", "completion": ' + b"9" * 80 + b"x}\n"
    path.write_bytes((good * 19 + bad) * 5000)
    _report(tmp_path, "long.jsonl", "--rejects", "bad", "--max-rejects", "100%")
    kept = [json.loads(line) for line in (tmp_path / "bad").read_text().splitlines()]
    assert all(entry["line"] % 20 == 0 for entry in kept if entry["line"] is not None)
    placed = [entry for entry in kept if entry["line"] is None]
    assert placed and all(path.read_bytes()[entry["offset"] :].startswith(bad) for entry in placed)
