"""The promises for commands that load a model: each process takes seconds, so these few stand for the rest.

What is kept before a model is loaded is tested with the data commands.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.contract.commands import GOOD, LONG, MODEL_COMMANDS, invocation, many, run
from tests.golden import environment

ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("name", MODEL_COMMANDS)
def test_counts_add_up_rejects_are_named_and_stdout_is_records(name: str, tmp_path: Path) -> None:
    stdin = GOOD + b"{broken\n" + GOOD[:2] + b"\n"
    outcome = run(name, "--report", "report.json", stdin=stdin, cwd=tmp_path, env=ONE_THREAD)
    assert outcome.code == 65
    assert len([json.loads(line) for line in outcome.stdout.splitlines()]) == 3
    *_, verdict, summary = outcome.stderr.decode().splitlines()
    assert summary == f"{name}: 5 in, 3 out, 0 dropped, 2 rejected"
    assert "--max-rejects 2 tolerates them" in verdict
    assert outcome.stderr.startswith(f"{name}: <stdin>:4: invalid-json".encode())
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["in"], report["out"], report["rejected"]) == (5, 3, 2)


@pytest.mark.parametrize("name", MODEL_COMMANDS)
def test_the_same_input_gives_the_same_bytes_and_quiet_is_silent(name: str, tmp_path: Path) -> None:
    first = run(name, "-q", stdin=many(3), cwd=tmp_path, env=ONE_THREAD)
    again = run(name, "-q", "-o", "out.jsonl", "-", stdin=many(3), cwd=tmp_path, env=ONE_THREAD)
    assert (first.code, first.stderr, again.code, again.stderr) == (0, b"", 0, b"")
    assert (tmp_path / "out.jsonl").read_bytes() == first.stdout
    assert [json.loads(line)["id"] for line in first.stdout.splitlines()] == [
        1,
        2.5,
        18446744073709551617,
    ] * 3
    assert b"\x1b" not in first.stdout


@pytest.mark.parametrize("name", MODEL_COMMANDS)
def test_an_empty_stream_is_done_at_once(name: str, tmp_path: Path) -> None:
    start = time.perf_counter()
    outcome = run(name, cwd=tmp_path)
    assert (outcome.code, outcome.stdout) == (0, b"")
    assert outcome.stderr.decode() == f"{name}: 0 in, 0 out, 0 dropped, 0 rejected\n"
    assert time.perf_counter() - start < 2  # torch alone takes longer


@pytest.mark.parametrize("name", MODEL_COMMANDS)
def test_sigterm_leaves_no_target_and_no_litter(name: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        invocation(name, "-o", "out.jsonl", "--rejects", "bad.jsonl", *LONG.get(name, [])),
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env={**environment(str(tmp_path)), **ONE_THREAD},
    )  # fmt: skip
    assert process.stdin and process.stderr
    process.stdin.write(many(100))  # less than a pipe holds
    process.stdin.flush()
    time.sleep(6)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    process.stdin.close()
    assert process.stderr.read().decode() == f"{name}: terminated\n"
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", MODEL_COMMANDS)
def test_a_reader_that_goes_away_ends_it_silently(name: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        invocation(name, "--line-buffered"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=tmp_path, env={**environment(str(tmp_path)), **ONE_THREAD},
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    process.stdin.write(many(100))
    process.stdin.close()
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
