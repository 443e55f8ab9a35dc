"""Hostile input through whole processes: one clear line each, no traceback, no hang, nothing lost."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from bptools.core.records import loads
from tests.contract.commands import DATA_COMMANDS, GOOD, invocation, run
from tests.contract.test_stream import SUMMARY
from tests.golden import environment

pytestmark = pytest.mark.parametrize("name", DATA_COMMANDS)


def counts(stderr: bytes) -> tuple[int, int, int, int]:
    match = SUMMARY.search(stderr.decode())
    assert match, stderr
    read, out, dropped, rejected = map(int, match.groups()[1:])
    assert read == out + dropped + rejected
    return read, out, dropped, rejected


HOSTILE = {
    "truncated-gzip": gzip.compress(GOOD * 50, mtime=0)[:-30],
    "corrupt-gzip": gzip.compress(GOOD * 50, mtime=0)[:-20] + b"x" * 20,
    "gzip-header-only": b"\x1f\x8b\x08",
    "zstd-magic-only": b"\x28\xb5\x2f\xfd",
    "nul-bytes": b"\x00" * 1000 + b"\n" + GOOD,
    "deep-arrays": b"[" * 200_000 + b"\n" + GOOD,
    "deep-objects": b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"\n" + GOOD,
    "lone-surrogate": b'{"prompt":"\\ud800","completion":"b"}\n' + GOOD,
    "not-a-number": b'{"text":"a","x":NaN}\n' + GOOD,
    "huge-number": b'{"text":"a","x":1e400}\n' + GOOD,
    "latin-1": b'{"text":"caf\xe9"}\n' + GOOD,
    "no-newlines-in-binary": bytes(random.Random(1).randbytes(300_000)),
    "carriage-returns-only": GOOD.replace(b"\n", b"\r"),
    "empty-object": b"{}\n",
    "only-a-bom": b"\xef\xbb\xbf",
    "half-a-bom": b"\xef\xbb",
    "unclosed-array": b'[{"text":"a"},{"text":"b"}',
    "array-with-a-broken-element": b'[{"text":"a"},{"text":"b" oops},{"text":"c"}]',
    "array-of-arrays": b"[[1,2],[3]]",
    "surrogate-in-an-array": b'[{"prompt":"\\ud800","completion":"b"},{"text":"a","bp":{"x":1}}]',
    "surrogate-beside-bp": b'{"text":"\\ud800","bp":{"x":1}}\n' + GOOD,
    "quotes-only": b'"' * 100_000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_no_traceback_and_everything_adds_up(name: str, what: str, tmp_path: Path) -> None:
    outcome = run(name, "--rejects", "bad.jsonl", stdin=HOSTILE[what], cwd=tmp_path)
    assert outcome.code in (0, 65), outcome.stderr
    assert b"Traceback" not in outcome.stderr and b"internal error" not in outcome.stderr
    _, out, _, rejected = counts(outcome.stderr)
    assert (rejected > 0) == (outcome.code == 65)
    assert len(outcome.stdout.splitlines()) == out
    for line in outcome.stdout.splitlines():
        loads(line)
    if rejected:
        assert len((tmp_path / "bad.jsonl").read_bytes().splitlines()) == rejected


@pytest.mark.parametrize("what", ["truncated-gzip", "corrupt-gzip"])
def test_what_a_damaged_archive_still_holds_is_kept(name: str, what: str, tmp_path: Path) -> None:
    outcome = run(name, stdin=HOSTILE[what], cwd=tmp_path)
    assert counts(outcome.stderr)[1] > 0
    assert what.encode() in outcome.stderr


def test_utf_16_is_refused_with_the_cure(name: str, tmp_path: Path) -> None:
    outcome = run(name, stdin=GOOD.decode().encode("utf-16"), cwd=tmp_path)
    assert outcome.code in (65, 66)
    assert b"iconv" in outcome.stderr


@pytest.mark.slow
def test_100_mb_on_one_line(name: str, tmp_path: Path) -> None:
    line = b'{"text":"' + b"words and " * 10_000_000 + b'"}\n'
    outcome = run(name, stdin=line + GOOD, cwd=tmp_path)
    assert outcome.code == 0
    assert outcome.stdout.count(b"\n") == 4
    broken = run(name, stdin=line[:-2] + b"\n" + GOOD, cwd=tmp_path)
    assert broken.code == 65
    assert broken.stdout.count(b"\n") == 3


def peak_memory(name: str, source: Path, folder: Path) -> float:
    """Return the peak resident memory of a run in MB."""
    program = (
        "import os, resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        ["python3", "-c", program, *invocation(name, "-q", str(source))],
        capture_output=True, env=environment(str(folder)), check=True,
    )  # fmt: skip
    return int(done.stdout) / (1 << 20 if sys.platform == "darwin" else 1 << 10)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(name: str, tmp_path: Path) -> None:
    small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    small.write_bytes(GOOD * 20_000)
    large.write_bytes(GOOD * 200_000)
    few, many = peak_memory(name, small, tmp_path), peak_memory(name, large, tmp_path)
    assert many < 64
    assert many < few + 4


def test_names_that_want_to_be_escape_sequences(name: str, tmp_path: Path) -> None:
    (tmp_path / "a\n\x1b[31mb.jsonl").write_bytes(b"bad\n")
    outcome = run(name, "a\n\x1b[31mb.jsonl", cwd=tmp_path)
    assert outcome.code == 65
    assert b"\x1b" not in outcome.stderr
    assert outcome.stderr.count(b"\n") == 3


def test_an_archive_of_something_else(name: str, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    outcome = run(name, stdin=buffer.getvalue(), cwd=tmp_path)
    assert outcome.code == 65
    assert b"Traceback" not in outcome.stderr
