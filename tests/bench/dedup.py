"""bp-dedup: speed beside its peers, memory, accuracy, and the same bytes however it runs.

    make bench-peers; make bench ARGS='--only dedup' DATA='FILE.jsonl...'

Without DATA every set is made. DATA's files, of any format that bp-chatml knows, are taken as one; those of at
most 6,000 records beside larger ones are only judged for accuracy. From them come a scaled set (see
`dedup_data.scaled`) and planted ones. This process stays small, for a process that it starts is never
accounted less memory than it: whatever needs memory runs in one of its own.
"""

from __future__ import annotations

import hashlib
import itertools
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from tests.bench import dedup_data
from tests.bench.bench import BIN, FOLDER, Bench, baseline
from tests.bench.dedup_truth import Accuracy, measure_accuracy

T = TypeVar("T")

OURS = [sys.executable, str(BIN / "bp-dedup"), "-q"]
NEAR = [*OURS, "--minhash"]
PACKAGES = ("rensa", "datasketch", "datatrove", "text-dedup", "datasets")  # of the peers' environment
SLOW = 60_000  # records for the peers that need minutes
JUDGED = 5_000  # records of a set made to be judged: every pair is compared
THRESHOLD = 0.7


class Program(NamedTuple):
    """What runs on the same input as we do."""

    command: list[str]
    goal: float | None  # it takes at least so many times our CPU seconds
    rounds: int | None = None  # as many as we run, or fewer


class Ran(NamedTuple):
    """One run, or the median of several."""

    cpu: float  # user + system seconds, its children's too
    peak: float  # MB resident
    kept: int
    digest: str
    wall: float = 0.0  # seconds

    def shown(self, records: int) -> str:
        return f"{records / self.cpu:,.0f} rec/s, {self.peak:.0f} MB, {self.kept:,} kept"


def run(command: list[str], source: Path, env: dict[str, str]) -> Ran:
    """Run a program from a file to a file."""
    target = FOLDER / "dedup-output.jsonl"
    with (
        open(source, "rb") as lines,
        open(target, "wb") as out,
        open(FOLDER / "dedup-errors", "wb") as errors,
    ):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=lines, stdout=out, stderr=errors, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        why = (FOLDER / "dedup-errors").read_text(errors="replace")[-500:]
        raise SystemExit(f"bench: ended with {process.returncode}: {' '.join(command)}\n{why}")
    kept, digest = 0, hashlib.sha256()
    with open(target, "rb") as out:
        while part := out.read(1 << 20):
            kept += part.count(b"\n")
            digest.update(part)
    target.unlink()
    return Ran(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, kept, digest.hexdigest(), wall)


def race(programs: dict[str, Program], source: Path, env: dict[str, str], rounds: int) -> dict[str, Ran]:
    """Run programs in turn on one input; return each one's medians."""
    ran: dict[str, list[Ran]] = {name: [] for name in programs}
    for number in range(rounds):
        for name, program in programs.items():
            if program.rounds is None or number < program.rounds:
                ran[name].append(run(program.command, source, env))
    return {
        name: Ran(
            statistics.median(one.cpu for one in each),
            max(one.peak for one in each),
            *each[0][2:4],
            statistics.median(one.wall for one in each),
        )
        for name, each in ran.items()
    }


def apart(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a process of its own, whose memory is then gone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def measure_dedup(rounds: int, data: list[str], peers: str | None, records: int) -> None:
    """Measure everything and write the section of bp-dedup."""
    how = (
        f"Records per CPU second (user + system) of the whole process, start included: median of {rounds} runs in "
        f"turn with the peers, of {(rounds + 1) // 2} for the largest set, of one where memory is measured and for "
        "datasketch as in its README, datatrove and text-dedup. Accuracy is by bp-dedup's words and its rule that "
        "the first of two is kept, for the peers too: datatrove splits words its own way and keeps one of a cluster."
    )
    bench = Bench(rounds, how, "bp-dedup", ("orjson", "numpy", "xxhash"))
    bench.name_packages(peers, *PACKAGES)
    bench.env |= dict.fromkeys(("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    sets = apart(make_sets, data, bench.env, records)
    _speed(bench, sets, peers)
    _exact(bench, sets["large"])
    _memory(bench, sets["scaled"], records)
    _accuracy(bench, sets, peers)
    _same_bytes(bench, sets)
    _cores(bench, sets["scaled"])
    bench.save()


def make_sets(data: list[str], env: dict[str, str], records: int) -> dict[str, Path]:
    """Write the sets: base, scaled, large, and those to judge, by name."""
    many = [name for name in data if _counted(Path(name)) > JUDGED + 1000]
    if data:
        base = dedup_data.joined(many or data, env)
        texts = dedup_data.read_texts(base)
    else:
        texts = dedup_data.made_texts(20_000)
        base = dedup_data.write_texts("dedup-made", dedup_data.scaled(texts, 1), "alpaca", count=SLOW)
    name = base.stem
    sets = {
        "base": base,
        "scaled": dedup_data.write_texts(
            f"{name}-scaled-{records}", dedup_data.scaled(texts, 2), "chat", count=records
        ),
        "large": dedup_data.write_texts(
            f"{name}-large-{records}", dedup_data.scaled(texts, 3), "chat", size=records * 1100
        ),
    }
    lines = base.read_bytes().splitlines(keepends=True)
    for count in (JUDGED, SLOW):
        chosen = sorted(random.Random(5).sample(range(len(lines)), min(count, len(lines))))
        sample = FOLDER / f"{name}-sample-{count}.jsonl"
        sample.write_bytes(b"".join(lines[number] for number in chosen))
        sets[f"{count:,} of {name}"] = sample
    for seed in (1, 2, 3):
        drawn = dedup_data.planted(texts, JUDGED, seed)
        sets[f"planted {seed}"] = dedup_data.write_texts(
            f"{name}-planted-{seed}", drawn, "chat", JUDGED, remake=True
        )
    for own in data:
        if own not in many:
            sets[Path(own).name] = dedup_data.joined([own], env)
    return sets


def _counted(path: Path) -> int:
    with open(path, "rb") as lines:
        return sum(1 for _ in lines)


def _speed(bench: Bench, sets: dict[str, Path], peers: str | None) -> None:
    """Race the near-duplicate removals, and the bare loops as the floor."""

    def peer(name: str, goal: float | None, rounds: int | None = None) -> Program:
        return Program(_peer(str(peers), name), goal, rounds)

    fast = {
        "rensa add_pairs": peer("rensa", 2),
        "rensa add_pairs, words split at spaces": peer("rensa_spaces", None),
        "datasketch tuned": peer("datasketch_tuned", 4),
    }
    slow = {
        "datasketch as in its README": peer("datasketch", 30, 1),
        "datatrove, four stages": peer("datatrove", 45, 1),
        "text-dedup": peer("text_dedup", None, 1),
    }
    loops = {
        "bare loop: loads + write of the line": Program(baseline("parsed"), None),
        "bare loop: loads + dumps + write": Program(baseline("bare"), 1 / 17),
    }
    ours = {"ours": Program(NEAR, None)}
    if peers is None:
        fast, slow = {}, {}
        bench.note("bp-dedup --minhash", "", "peers not installed", "make bench-peers")
    base, scaled = sets["base"], sets["scaled"]
    _race_rows(bench, base, ours | fast | loops, bench.runs)
    if slow:
        sample = base if _counted(base) <= SLOW else dedup_data.first_records(base, SLOW)
        _race_rows(bench, sample, ours | slow, bench.runs)
    _race_rows(bench, scaled, ours | fast | loops, (bench.runs + 1) // 2)


def _peer(python: str, name: str) -> list[str]:
    return [python, str(Path(__file__).with_name("dedup_peers.py")), name]


def _race_rows(bench: Bench, source: Path, programs: dict[str, Program], rounds: int) -> None:
    ran = race(programs, source, bench.env, rounds)
    records, mine = _counted(source), ran["ours"]
    what = f"bp-dedup --minhash, {source.stem}, {records:,} records"
    for name, program in programs.items():
        if name != "ours":
            times, goal = ran[name].cpu / mine.cpu, program.goal
            bound = "" if goal is None else f", at least {goal:g}"
            figure = f"{times:.2f} times{bound}"
            if "loop:" in name:
                bound = "" if goal is None else f", at most {1 / goal:g}x"
                figure = f"{1 / times:.1f}x{bound}"
            bench.note(what, mine.shown(records), f"{name} ({ran[name].shown(records)})", figure)


def _exact(bench: Bench, large: Path) -> None:
    """Race the exact stage alone against the loop that every stage in Python pays."""
    programs = {"ours": Program(OURS, None), "loop": Program(baseline("bare"), None)}
    ran = race(programs, large, bench.env, bench.runs)
    size, records = large.stat().st_size / 1e6, _counted(large)
    bench.note(
        f"bp-dedup, {large.stem}, {size:.0f} MB",
        ran["ours"].shown(records),
        f"loads + dumps + write ({ran['loop'].cpu:.2f} s)",
        f"{ran['ours'].cpu / ran['loop'].cpu:.2f}x, at most 1.5x",
    )


def _memory(bench: Bench, scaled: Path, records: int) -> None:
    """Tell what a kept record costs, from a fifth of the set and all of it, and what a limit changes."""
    fifth = dedup_data.first_records(scaled, records // 5)
    near = run(NEAR, scaled, bench.env)
    for what, command, unit, goal in (("--minhash", NEAR, 1, "0.3 kB"), ("exact", OURS, 1000, "32 B")):
        small = run(command, fifth, bench.env)
        large = near if command is NEAR else run(command, scaled, bench.env)
        each = (large.peak - small.peak) * 1.048576e3 / (large.kept - small.kept) * unit
        bench.note(
            f"bp-dedup, memory of a kept record, {what}",
            f"{small.peak:.0f} MB for {small.kept:,}, {large.peak:.0f} MB for {large.kept:,}",
            "a fifth of the set and all of it",
            f"{each:.3g} {goal.split()[1]}, at most {goal}",
        )
    for limit in ("200M", "100M"):
        limited = run([*NEAR, "--max-memory", limit], scaled, bench.env)
        bench.note(
            f"bp-dedup --minhash --max-memory {limit}, {records:,} records",
            limited.shown(records),
            f"no limit ({near.shown(records)})",
            _same([near.digest, limited.digest]),
        )


def _accuracy(bench: Bench, sets: dict[str, Path], peers: str | None) -> None:
    """Compare what is dropped with the true similarity of every pair."""
    judged = {what: path for what, path in sets.items() if what not in ("base", "scaled", "large")}
    for what, path in judged.items():
        _accuracy_row(bench, what, path, THRESHOLD)
    for threshold in (0.5, 0.6, 0.8, 0.9, 1.0):
        _accuracy_row(bench, "planted 1", judged["planted 1"], threshold)
    for what, path in judged.items() if peers else ():
        if what == "planted 1" or what.endswith(".jsonl"):
            # text-dedup keeps any one of its copies: the truth, by who came first, does not judge it.
            for name in ("rensa", "datasketch_tuned", "datatrove"):
                command = _peer(str(peers), name)
                found = apart(measure_accuracy, path, THRESHOLD, command, bench.env, False)
                _note_accuracy(bench, f"accuracy of {name}, {what}", found, "")


def _accuracy_row(bench: Bench, what: str, path: Path, threshold: float) -> None:
    found = apart(measure_accuracy, path, threshold, NEAR, bench.env)
    goal = ", at least 0.93" if "planted" in what or "synth" in what else ", at least 0.98"
    _note_accuracy(bench, f"bp-dedup --minhash --threshold {threshold:g}, accuracy, {what}", found, goal)


def _note_accuracy(bench: Bench, what: str, found: Accuracy, goal: str) -> None:
    named = (
        f"; highest similarity named in {found.reported_right} of {found.reported}" if found.reported else ""
    )
    bench.note(
        f"{what}, {found.records:,} records",
        f"{found.dropped:,} dropped, {found.exact:,} of them exact copies",
        f"every pair compared: {found.truth:,} to drop",
        f"{found.wrong:,} dropped wrongly{goal and ', at most 0'}; recall {found.recall:.4f}{goal} "
        f"({found.shares}){named}",
    )


def _same_bytes(bench: Bench, sets: dict[str, Path]) -> None:
    """Compare outputs whatever the jobs, and however the input comes in."""
    base = sets["base"]
    few = dedup_data.first_records(base, 1000)
    some = dedup_data.first_records(base, JUDGED)
    for what, command in (("--minhash", NEAR), ("exact", OURS)):
        jobs = [run([*command, "-j", str(count)], base, bench.env).digest for count in (1, 2, 4)]
        bench.note(f"bp-dedup, {what}", "-j 1, -j 2, -j 4", base.stem, _same(jobs))
        fed = [run(command, some, bench.env).digest]
        fed += [_fed(command, some, size, bench.env) for size in (100, 4096, 65_536, 1_000_000)]
        bytewise = [run(command, few, bench.env).digest, _fed(command, few, 1, bench.env)]
        bench.note(
            f"bp-dedup, {what}",
            "a file, and a pipe in pieces of 1 B to 1 MB",
            base.stem,
            "same bytes" if _same(fed) == _same(bytewise) == "same bytes" else "OTHER BYTES",
        )


def _cores(bench: Bench, scaled: Path) -> None:
    """Tell what a second process saves; the goal is for a machine where nobody else is at work."""
    ran = race({jobs: Program([*NEAR, "-j", jobs], None) for jobs in "12"}, scaled, bench.env, bench.runs)
    one, two = ran["1"], ran["2"]
    bench.note(
        f"bp-dedup --minhash -j 2, {scaled.stem}",
        f"{two.wall:.2f} s on the clock, {two.cpu:.2f} s of CPU",
        f"-j 1: {one.wall:.2f} s, {one.cpu:.2f} s",
        f"{one.wall / two.wall:.2f} times, at least 1.25",
    )


def _same(digests: list[str]) -> str:
    return "same bytes" if len(set(digests)) == 1 else "OTHER BYTES"


def _fed(command: list[str], source: Path, size: int, env: dict[str, str]) -> str:
    """Return the digest of what a command writes when its input comes in pieces of so many bytes."""
    data = source.read_bytes()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert process.stdin and process.stdout

    def feed(descriptor: int) -> None:
        for piece in _pieces(data, size):
            os.write(descriptor, piece)
        os.close(descriptor)

    feeder = threading.Thread(target=feed, args=(os.dup(process.stdin.fileno()),))
    process.stdin.close()
    feeder.start()
    digest = hashlib.sha256(process.stdout.read()).hexdigest()
    feeder.join()
    if process.wait():
        raise SystemExit(f"bench: ended with {process.returncode}: {' '.join(command)}")
    return digest


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in itertools.count(0, size):
        if at >= len(data):
            return
        yield data[at : at + size]
