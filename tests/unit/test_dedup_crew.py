"""bp-dedup with several processes: the same bytes, and no process that outlives the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bptools.core.cli import call
from bptools.quality.dedup.crew import Crew, Job, WorkerLost
from bptools.quality.dedup.profile import Profile, Profiler
from bptools.quality.dedup.words import packed
from tests.golden import ROOT, environment
from tests.unit.test_dedup import dedup, lines, records

TEXTS = [["one two three four five six", "", "Straße \ud800 İstanbul ΑΣ"], ["a\nb c"], [], ["東京 x"] * 3]
PROC = Path("/proc/self/stat").exists()
DOORS = {
    "checkout": [sys.executable, str(ROOT / "bin" / "bp-dedup")],
    "installed": [str(Path(sys.executable).with_name("bp-dedup"))],
    "module": [sys.executable, "-c", "from bptools.commands.dedup import main; main()"],
    "main": [sys.executable, "-m", "door"],  # a file without a guard would run again with multiprocessing
}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four windows and more."""
    path = tmp_path_factory.mktemp("crew") / "large.jsonl"
    path.write_bytes(lines(records(18_000, seed=5)))
    assert path.stat().st_size > 4 << 20
    return path


@pytest.fixture(scope="module")
def wanted(large: Path) -> bytes:
    return dedup("--minhash", str(large), folder=large.parent)


def same(left: Profile | None, right: Profile) -> bool:
    assert left is not None
    pairs = [(left.sets[0], right.sets[0]), (left.sets[1], right.sets[1]), (left.checks, right.checks)]
    if right.signatures is not None:
        assert left.signatures is not None
        pairs.append((left.signatures, right.signatures))
    return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in pairs)


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == pid and state != "Z":
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def crew() -> Iterator[Crew]:
    made = Crew(Profiler(0.8, 3, 7, signatures=True), 3)
    yield made
    made.close()


def test_profiles_are_those_made_here(crew: Crew) -> None:
    alone = Profiler(0.8, 3, 7, signatures=True)
    crew.hand_out([Job(["x"]), Job(["y"])])  # starts one
    worker = crew._workers[0]
    wait_until(worker.is_free)
    for texts in TEXTS:
        job = Job(texts)
        worker.give(job)
        assert job.taken is worker and job.profile is None
        worker.take()
        assert same(job.profile, alone.profile(texts))


def test_jobs_are_done_in_any_order_by_whoever_is_free(crew: Crew) -> None:
    alone = Profiler(0.8, 3, 7, signatures=True)
    many = [
        [f"{row} {number} and some words of {row * number}" for row in range(2000)] for number in range(30)
    ]
    waiting = []
    for number, texts in enumerate(many):
        waiting.append((Job(texts), number))
        crew.hand_out([job for job, _ in waiting])
        if len(waiting) > crew.ahead:
            job, which = waiting.pop(0)
            crew.finish(job, [job for job, _ in waiting])
            assert same(job.profile, alone.profile(many[which]))
    assert 1 <= len(crew._workers) <= 2


def test_one_window_starts_nothing(crew: Crew) -> None:
    job = Job(["one two three"])
    crew.hand_out([job])
    crew.finish(job, [])
    assert job.profile is not None and not crew._workers
    alone = Crew(Profiler(0.7), 1)
    alone.hand_out([Job(["x"]), Job(["y"])])
    assert not alone._workers and alone.ahead == 0


def test_packed_texts_come_apart_again() -> None:
    texts = ["one", "", "zwölf\n", "\ud800", ""]
    made = packed(texts)
    for first in range(5):
        for last in range(first + 1, 6):
            part = made.part(first, last)
            again = packed(texts[first:last])
            assert part.data == again.data and part.ends.tolist() == again.ends.tolist()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_dead_process_is_an_error_and_no_hang(how: signal.Signals, crew: Crew) -> None:
    jobs = [Job(["x"]), Job(["y"])]
    crew.hand_out(jobs)
    crew._workers[0]._process.send_signal(how)
    with pytest.raises(WorkerLost, match=rf"killed \({how.name}\)"):
        for _ in range(1000):
            crew.hand_out(jobs)
            for job in jobs:
                if job.taken is not None:
                    crew.finish(job, [])
            time.sleep(0.01)


def test_one_that_cannot_start_is_an_error(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, large: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from bptools.commands.dedup import app

    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkerLost, match="cannot start"):
        crew.hand_out([Job(["x"]), Job(["y"])])
    out = large.with_name("out.jsonl")
    assert call(app, "bp-dedup", ["--minhash", "-j", "2", str(large), "-o", str(out)]) == 71
    captured = capfd.readouterr().err
    assert captured.count("\n") == 1 and "cannot start a process for --jobs: no such file" in captured
    assert not out.exists()


@pytest.mark.parametrize("door", DOORS)
def test_cores_change_nothing(door: str, large: Path, wanted: bytes, tmp_path: Path) -> None:
    (tmp_path / "door.py").write_text("from bptools.commands.dedup import main\nmain()\n")
    (tmp_path / "numpy.py").write_text("raise SystemExit('a file of the folder at hand')\n")
    command = [*DOORS[door], "--minhash", "-j", "3", str(large)]
    if not Path(command[0]).exists():
        pytest.skip("not installed")
    env = environment(str(tmp_path)) | {"PYTHONPATH": str(ROOT)}
    if door in ("main", "module"):
        (tmp_path / "numpy.py").unlink()
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout == wanted) == (0, True), done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [["--prefer", "longest"], ["--max-memory", "LEAST"], ["--index", "seen", "--tag"], ["--against", "eval.jsonl"],
     ["--signatures", "signatures.jsonl", "--exact", "normalized"], ["--limit", "9000"]],
    ids=lambda options: options[0],
)  # fmt: skip
def test_cores_change_nothing_whatever_the_options(options: list[str], large: Path, tmp_path: Path) -> None:
    outputs = []
    for jobs in ("1", "2", "4"):
        folder = tmp_path / jobs
        folder.mkdir()
        (folder / "eval.jsonl").write_bytes(lines(records(100, seed=5)))
        chosen = [f"{96 + 46 * (int(jobs) - 1)}M" if name == "LEAST" else name for name in options]
        output = dedup("--minhash", "-j", jobs, str(large), *chosen, folder=folder)
        made = folder / "signatures.jsonl"
        outputs.append((output, made.read_bytes() if made.exists() else b""))
    assert outputs[1:] == outputs[:1] * 2 and outputs[0][0].count(b"\n") > 5000


@pytest.mark.skipif(not PROC, reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, "worker"])
def test_nobody_outlives_the_command(how: signal.Signals | str, large: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*DOORS["checkout"], "-q", "--minhash", "-j", "3", "-o", "out.jsonl"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env=environment(str(tmp_path)), start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stderr is not None
    found: list[int] = []
    fed = large.read_bytes()
    while not found:  # what comes through a pipe comes in windows of its own size
        process.stdin.write(fed)
        found = children(process.pid)
    if how == "worker":
        os.kill(found[0], signal.SIGKILL)
        with pytest.raises(BrokenPipeError):
            for _ in range(50):
                process.stdin.write(fed)
    elif how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal.Signals(how))  # as a terminal does
    process.wait(30)
    wait_until(lambda: not any(map(is_alive, found)))
    said = process.stderr.read().decode()
    assert (
        process.returncode == {"worker": 71, signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how]
    )
    if how == signal.SIGKILL:
        assert not said
    else:
        assert said.count("\n") == 1 and "Traceback" not in said
        assert os.listdir(tmp_path) == [] and (how != "worker" or "killed (SIGKILL)" in said)
    with pytest.raises((BrokenPipeError, ValueError)):
        process.stdin.write(fed)
        process.stdin.close()


@pytest.mark.skipif(not PROC, reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_does_not_end_a_process_first(number: signal.Signals, crew: Crew) -> None:
    crew.hand_out([Job(["x"]), Job(["y"])])
    worker = crew._workers[0]
    wait_until(worker.is_free)
    worker._process.send_signal(number)
    job = Job(["one two"])
    worker.give(job)
    worker.take()
    assert job.profile is not None
