"""bp-ppl as a process: killed and run again, two at once, with a full disk, a slow writer, a reader that goes."""

from __future__ import annotations

import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.golden import ROOT, environment
from tests.tiny import shared_model
from tests.unit.ppl_running import lines

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "dog", "sun", "warm"]


def made(count: int, most: int = 60) -> str:
    source = random.Random(count)
    return lines(
        *({"text": " ".join(source.choices(WORDS, k=source.randint(3, most))), "id": n} for n in range(count))
    )


def start(folder: Path, *options: str, **settings: Any) -> subprocess.Popen[bytes]:
    """Start bp-ppl on the tiny model, standard input, output and messages in pipes."""
    env = {**environment(str(folder)), "OMP_NUM_THREADS": "1", **settings.pop("env", {})}
    return subprocess.Popen(
        [str(ROOT / "bin" / "bp-ppl"), "--model", shared_model(), "--device", "cpu", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=env, **settings,
    )  # fmt: skip


def run(folder: Path, data: bytes, *options: str, code: int = 0, **settings: Any) -> tuple[bytes, str]:
    process = start(folder, *options, **settings)
    out, said = process.communicate(data, timeout=120)
    assert process.returncode == code, said.decode()
    return out, said.decode()


# the cache alone: no model, a fraction of a second each

CACHE = """
import sys
from bptools.quality.perplexity.cache import ScoreCache
from bptools.core.errors import BpError
folder, number, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
try:
    for step in range(rounds):
        cache = ScoreCache(folder, {"model": "m"})
        keys = [(step * 1000 + each).to_bytes(16, "big") for each in range(200)]
        cache.get(keys)
        cache.put(keys, [float(each) for each in range(200)])
        assert cache.get(keys) == [float(each) for each in range(200)]
        if number >= 0:
            cache.close()
except BpError as error:
    sys.exit(f"{error.exit_code} {error}")
"""


def cache_process(folder: Path, number: int, rounds: int, **settings: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CACHE, str(folder), str(number), str(rounds)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, **settings)


def test_several_may_open_use_and_close_one_cache_at_the_same_time(tmp_path: Path) -> None:
    for attempt in range(2):
        running = [cache_process(tmp_path / str(attempt), number, 8) for number in range(6)]
        assert [process.communicate()[1] for process in running] == [b""] * 6
        (file,) = (tmp_path / str(attempt)).glob("*.sqlite")
        table = sqlite3.connect(file)
        assert table.execute("SELECT count(*) FROM scores").fetchone() == (1600,)
        table.close()


@pytest.mark.parametrize("size", [0, 1000, 6000, 200_000])
def test_a_full_disk_is_a_failed_write(size: int, tmp_path: Path) -> None:
    process = cache_process(
        tmp_path, 0, 200, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    )
    said = process.communicate()[1].decode()
    assert said.startswith("74 cannot use the cache '") and said.count("\n") == 1
    assert "disk i/o error" in said or "full" in said
    assert cache_process(tmp_path, 0, 2).communicate()[1] == b""  # what is there is whole


# whole processes


def litter(folder: Path) -> list[str]:
    """Return what is left in a folder, but for an empty one that importing torch makes."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("torchinductor_")]


def rows(folder: Path) -> int:
    """Return how many scores a cache has."""
    try:
        (file,) = folder.glob("*.sqlite")
        table = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            return int(table.execute("SELECT count(*) FROM scores").fetchone()[0])
        finally:
            table.close()
    except (ValueError, sqlite3.Error):
        return 0


KILLED = ["in.jsonl", "--keep", "5:95", "--batch-tokens", "40", "--report", "report.json", "-o"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an input, what comes out of it with a cache, and that cache."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "in.jsonl").write_text(made(1200))
    run(folder, b"", *KILLED, "whole.jsonl", "--cache", "scores")
    run(folder, b"", *KILLED, "plain.jsonl")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("at", [0.02, 0.5, 0.97])
def test_a_killed_run_goes_on_where_it_was(at: float, undisturbed: Path, tmp_path: Path) -> None:
    whole, total = (undisturbed / "whole.jsonl").read_bytes(), rows(undisturbed / "scores")
    assert total > 1000 and (undisturbed / "plain.jsonl").read_bytes() == whole
    (tmp_path / "in.jsonl").write_bytes((undisturbed / "in.jsonl").read_bytes())
    (tmp_path / "temporary").mkdir()
    cache = tmp_path / "scores"
    process = start(
        tmp_path, *KILLED, "out.jsonl", "--cache", "scores", env={"TMPDIR": str(tmp_path / "temporary")}
    )
    while process.poll() is None and rows(cache) < at * total:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "out.jsonl").exists()
    written = rows(cache)
    assert at * total <= written < total
    run(tmp_path, b"", *KILLED, "out.jsonl", "--cache", "scores")
    assert (tmp_path / "out.jsonl").read_bytes() == whole
    found = json.loads((tmp_path / "report.json").read_text())["perplexity"]["cache"]
    assert found["scored"] == total - written  # nothing twice but what was on its way
    assert rows(cache) == total
    assert litter(tmp_path / "temporary") == []


@pytest.mark.slow
def test_two_runs_at_once_share_a_cache(tmp_path: Path) -> None:
    data = made(600).encode()
    running = [start(tmp_path, "--batch-tokens", "64", "--cache", "scores") for _ in range(2)]
    outs: list[bytes] = [b"", b""]

    def feed(number: int) -> None:
        outs[number] = running[number].communicate(data)[0]

    threads = [threading.Thread(target=feed, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.returncode for process in running] == [0, 0]
    assert outs[0] == outs[1] == run(tmp_path, data, "--batch-tokens", "64")[0]
    assert outs[0].count(b"\n") == 600


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--keep", "5:95"], ["--line-buffered"]], ids=" ".join)
def test_termination_leaves_nothing_behind(options: list[str], tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = start(
        tmp_path, *options, "-o", "out.jsonl", "--dropped", "dropped.jsonl", "--report", "report.json", "--cache", "scores",
        "--batch-tokens", "64", env={"TMPDIR": str(temporary)},
    )  # fmt: skip
    assert process.stdin and process.stderr
    # more than is read ahead, or what a pipe holds where nothing is
    process.stdin.write(made(900 if "--line-buffered" in options else 9000, 10).encode())
    process.stdin.flush()
    while process.poll() is None and rows(tmp_path / "scores") < 300:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    process.stdin.close()
    assert process.stderr.read() == b"bp-ppl: terminated\n"
    assert litter(temporary) == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
    assert rows(tmp_path / "scores") >= 300


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--keep", "1:99"], ["--line-buffered"]], ids=" ".join)
def test_a_reader_that_goes_away_ends_it_silently(options: list[str], tmp_path: Path) -> None:
    process = start(tmp_path, *options)
    assert process.stdin and process.stdout and process.stderr
    stdin = process.stdin
    data = made(9000, 8).encode()

    def feed() -> None:
        try:
            stdin.write(data)
            stdin.close()
        except BrokenPipeError:
            pass

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert json.loads(process.stdout.readline())["id"] == 0
    process.stdout.close()
    assert process.wait(120) == 141
    feeder.join()
    assert process.stderr.read() == b""


@pytest.mark.slow
def test_line_buffered_passes_each_record_on_at_once(tmp_path: Path) -> None:
    data = made(6).encode().splitlines(keepends=True)
    slow = start(tmp_path, "--line-buffered", "-q")
    assert slow.stdin and slow.stdout
    for number, line in enumerate(data):
        slow.stdin.write(line)
        slow.stdin.flush()
        assert json.loads(slow.stdout.readline())["id"] == number  # nothing else was written yet
    slow.stdin.close()
    assert (slow.stdout.read(), slow.wait(30)) == (b"", 0)
    # a fast writer: of two windows of long records the first ones come while the others are scored
    fast = start(tmp_path, "--line-buffered", "-q", "--window", "64", "--stride", "2")
    assert fast.stdin and fast.stdout
    fast.stdin.write(b"".join(data) * 40)
    fast.stdin.close()
    times = []
    for _ in range(240):
        fast.stdout.readline()
        times.append(time.monotonic())
    assert fast.wait(30) == 0
    assert times[0] + times[-1] > 2 * times[0] + 0.2  # not all in one piece at the end


@pytest.mark.slow
def test_bytes_do_not_depend_on_pieces_locale_or_terminal(tmp_path: Path) -> None:
    data = (
        lines(
            {"text": "one two 猫 👩‍👩‍👧 three four five"},
            {
                "messages": [
                    {"role": "user", "content": "é"},
                    {"role": "assistant", "content": "six seven eight nine"},
                ]
            },
        ).encode()
        + made(20).encode()
    )
    whole, said = run(tmp_path, data)
    assert "\x1b" not in said
    process = start(tmp_path)
    assert process.stdin and process.stdout
    for place in range(len(data)):
        process.stdin.write(data[place : place + 1])
        process.stdin.flush()
    process.stdin.close()
    assert process.stdout.read() == whole
    assert process.wait(60) == 0
    odd = {
        "LC_ALL": "C",
        "LANG": "C",
        "PYTHONIOENCODING": "ascii",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "PYTHONUTF8": "0",
    }
    assert run(tmp_path, data, env=odd) == (whole, said)
    (tmp_path / "猫.jsonl").write_bytes(b"{broken\n" + data)
    found, said = run(tmp_path, b"", "猫.jsonl", "--max-rejects", "1", env=odd)
    assert found == whole and "jsonl:1: invalid-json" in said


@pytest.mark.slow
def test_an_output_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old\n")
    data = made(300).encode() + b"{broken\n"
    run(tmp_path, data, "-o", "out.jsonl", "--keep", "5:95", code=65)
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    small = resource.setrlimit

    def limited() -> None:
        small(resource.RLIMIT_FSIZE, (5000, 5000))

    _, said = run(tmp_path, data, "-o", "out.jsonl", "--max-rejects", "1", code=74, preexec_fn=limited)
    assert said.splitlines()[-1].startswith("bp-ppl: cannot ")
    assert (tmp_path / "out.jsonl").read_text() == "old\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl"]
    run(tmp_path, data, "-o", "out.jsonl", "--max-rejects", "1")
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 300


def test_no_model_is_loaded_for_nothing(tmp_path: Path) -> None:
    environ = {**environment(str(tmp_path)), "PYTHONPROFILEIMPORTTIME": "1"}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"")  # that there are none is said at once
    for data in (b"", b"\n\n", b"{broken\n"):
        done = subprocess.run(
            [str(ROOT / "bin" / "bp-ppl"), "--model", "model", "--keep", "5:95", "--max-rejects", "1", "--cache", "scores"],
            input=data, capture_output=True, cwd=tmp_path, env=environ,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (0, b"")
        loaded = {line.rpartition(b"|")[2].strip() for line in done.stderr.splitlines() if b"|" in line}
        assert not loaded & {b"torch", b"transformers"}
    assert not (tmp_path / "scores").exists()
