"""The promises of the stream, for every data command: what comes in, what goes out, where, and in which order."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.contract.commands import DATA_COMMANDS, GOOD, invocation, many, run
from tests.golden import environment

pytestmark = pytest.mark.parametrize("name", DATA_COMMANDS)

SUMMARY = re.compile(r"^(bp-\w+): (\d+) in, (\d+) out, (\d+) dropped, (\d+) rejected", re.MULTILINE)
BAD = b'{"messages":[{"role":"user"\n[1,2]\n\xff\xfe{}\n{"x":NaN}\n'


def without_bp(data: bytes) -> list[object]:
    records = [json.loads(line) for line in data.splitlines()]
    for record in records:
        record.pop("bp", None)
    return records


def test_no_source_and_dash_read_standard_input(name: str, tmp_path: Path) -> None:
    plain = run(name, stdin=GOOD, cwd=tmp_path)
    dash = run(name, "-", stdin=GOOD, cwd=tmp_path)
    assert plain.code == dash.code == 0
    assert plain.stdout == dash.stdout
    assert without_bp(plain.stdout) == without_bp(GOOD)


def test_sources_are_one_stream_in_the_order_given(name: str, tmp_path: Path) -> None:
    lines = GOOD.splitlines(keepends=True)
    (tmp_path / "b.jsonl").write_bytes(lines[0])
    (tmp_path / "a.jsonl").write_bytes(lines[1])
    outcome = run(name, "b.jsonl", "a.jsonl", "-", stdin=lines[2], cwd=tmp_path)
    assert without_bp(outcome.stdout) == without_bp(GOOD)


def test_unchanged_bytes_survive(name: str, tmp_path: Path) -> None:
    outcome = run(name, stdin=GOOD, cwd=tmp_path)
    for got, line in zip(outcome.stdout.splitlines(), GOOD.splitlines(), strict=True):
        assert got.startswith(line[:-1])  # the closing brace may be preceded by a spliced bp


def test_output_file(name: str, tmp_path: Path) -> None:
    piped = run(name, "-o", "-", stdin=GOOD, cwd=tmp_path)
    filed = run(name, "-o", "out.jsonl", stdin=GOOD, cwd=tmp_path)
    assert filed.stdout == b""
    assert (tmp_path / "out.jsonl").read_bytes() == piped.stdout
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_bytes())
    assert manifest["command"] == name
    assert manifest["counts"]["in"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.manifest.json"]


@pytest.mark.parametrize(
    "variant",
    [
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        GOOD[:-1],
        b"\n\n" + GOOD.replace(b"\n", b"\n  \n"),
        gzip.compress(GOOD),
        gzip.compress(GOOD[:100]) + gzip.compress(GOOD[100:]),
    ],
    ids=["bom", "crlf", "no-last-newline", "blank-lines", "gzip", "gzip-members"],
)
def test_tolerant_reading_strict_writing(name: str, variant: bytes, tmp_path: Path) -> None:
    assert run(name, stdin=variant, cwd=tmp_path).stdout == run(name, stdin=GOOD, cwd=tmp_path).stdout


def test_zstd(name: str, tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    outcome = run(name, stdin=zstd.compress(GOOD), cwd=tmp_path)
    assert outcome.stdout == run(name, stdin=GOOD, cwd=tmp_path).stdout


def test_empty_stream_is_done(name: str, tmp_path: Path) -> None:
    outcome = run(name, stdin=b"", cwd=tmp_path)
    assert (outcome.code, outcome.stdout) == (0, b"")


def test_summary_and_report_add_up(name: str, tmp_path: Path) -> None:
    outcome = run(name, "--report", "report.json", stdin=GOOD + b"\n" + BAD + many(1), cwd=tmp_path)
    match = SUMMARY.search(outcome.stderr.decode())
    assert match, outcome.stderr
    read, out, dropped, rejected = map(int, match.groups()[1:])
    assert (read, out, dropped, rejected) == (10, 6, 0, 4)
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert [report[key] for key in ("in", "out", "dropped", "rejected", "blank")] == [10, 6, 0, 4, 1]
    assert sum(report["rejects"].values()) == 4


def test_rejects_are_named_kept_and_tolerated(name: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(GOOD + BAD)
    outcome = run(name, "in.jsonl", "--rejects", "bad.jsonl", cwd=tmp_path)
    assert outcome.code == 65
    assert without_bp(outcome.stdout) == without_bp(GOOD)
    stderr = outcome.stderr.decode()
    for line, reason in ((4, "invalid-json"), (5, "not-object"), (6, "invalid-utf8"), (7, "non-finite")):
        assert f"{name}: in.jsonl:{line}: {reason}: " in stderr
    assert "--max-rejects 4" in stderr
    kept = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_bytes().splitlines()]
    assert [(entry["file"], entry["line"]) for entry in kept] == [
        ("in.jsonl", number) for number in range(4, 8)
    ]
    assert [entry["raw"].encode() for entry in kept if "raw_base64" not in entry] == [
        line for line in BAD.splitlines() if b"\xff" not in line
    ]
    assert run(name, "in.jsonl", "--max-rejects", "4", cwd=tmp_path).code == 0
    assert run(name, "in.jsonl", "--max-rejects", "50%", cwd=tmp_path).code == 65
    assert run(name, "in.jsonl", "--max-rejects", "58%", cwd=tmp_path).code == 0


def test_too_many_rejects_leave_no_output_file(name: str, tmp_path: Path) -> None:
    outcome = run(name, "-o", "out.jsonl", stdin=GOOD + BAD, cwd=tmp_path)
    assert outcome.code == 65
    assert list(tmp_path.iterdir()) == []


def test_strict_stops_at_the_first_reject(name: str, tmp_path: Path) -> None:
    outcome = run(name, "--strict", stdin=GOOD + BAD + GOOD, cwd=tmp_path)
    assert outcome.code == 65
    assert len(outcome.stdout.splitlines()) == 3


def test_a_closed_pipe_ends_silently_with_141(name: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(many(20_000))
    line = f"{' '.join(invocation(name, 'in.jsonl'))} | head -1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, cwd=tmp_path, env=environment(str(tmp_path)), timeout=60
    )
    assert done.stdout == b"141\n"
    assert done.stderr == b""


def test_limit_ends_well(name: str, tmp_path: Path) -> None:
    outcome = run(name, "--limit", "2", stdin=GOOD * 10, cwd=tmp_path)
    assert outcome.code == 0
    assert without_bp(outcome.stdout) == without_bp(GOOD)[:2]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["--skip", "1"], [1, 2]),
        (["--slice", "1:2"], [1]),
        (["--slice", ":2"], [0, 1]),
        (["--slice", "2:"], [2]),
    ],
    ids=["skip", "slice", "slice-head", "slice-tail"],
)
def test_skip_and_slice_count_input_records(
    name: str, options: list[str], chosen: list[int], tmp_path: Path
) -> None:
    outcome = run(name, *options, stdin=GOOD, cwd=tmp_path)
    assert without_bp(outcome.stdout) == [without_bp(GOOD)[index] for index in chosen]
    match = SUMMARY.search(outcome.stderr.decode())
    assert match and match.group(2) == match.group(3) == str(len(chosen))


def test_same_bytes_twice_in_any_locale(name: str, tmp_path: Path) -> None:
    first = run(name, stdin=GOOD * 50, cwd=tmp_path)
    second = run(
        name,
        stdin=GOOD * 50,
        cwd=tmp_path,
        env={"LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"},
    )
    assert first.stdout == second.stdout


def test_line_buffered_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    assert (
        run(name, "--line-buffered", stdin=GOOD, cwd=tmp_path).stdout
        == run(name, stdin=GOOD, cwd=tmp_path).stdout
    )


def test_line_buffered_writes_before_the_end(name: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        invocation(name, "--line-buffered"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env=environment(str(tmp_path)),
    )
    assert process.stdin and process.stdout
    first = GOOD.splitlines(keepends=True)[0]
    process.stdin.write(first)
    process.stdin.flush()
    assert without_bp(process.stdout.readline()) == without_bp(first)
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()
