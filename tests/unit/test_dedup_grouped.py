"""bp-dedup in little memory: whatever there is of it, the same bytes go out."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bptools.commands.dedup import app
from bptools.core.cli import call
from bptools.core.errors import UsageError
from bptools.quality.dedup import contents as contents_module
from bptools.quality.dedup import grouped, preferring, running
from bptools.quality.dedup.contents import GroupedProfile, RowFile
from bptools.quality.dedup.grouped import CheckFile, GroupedIndex
from bptools.quality.dedup.limited import Room
from bptools.quality.dedup.near import NearIndex
from bptools.quality.dedup.profile import Profile, Profiler
from tests.unit.test_dedup_recorded import WORDS, copies

BANDS = 20
Checks = Any


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "NEAR_BYTES", 10_000)
    monkeypatch.setattr(preferring, "_AT_ONCE", 70)
    monkeypatch.setattr(grouped, "_BLOCK", 64)
    monkeypatch.setattr(grouped, "_READ", 50)
    monkeypatch.setattr(grouped, "_LEAST_PART", 100)
    monkeypatch.setattr(contents_module, "_DENSE", 2)


def short_from(window: int) -> Callable[..., bool]:
    """Return a Room.is_short that says so from a window on."""
    asked = count()
    return lambda *_: next(asked) >= window


@pytest.fixture
def everything(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., list[Any]]:
    def run(source: Path, *options: str) -> list[Any]:
        files = [tmp_path / name for name in ("report", "dropped", "rejects", "signatures")]
        if "--limit" in options:  # which excludes it
            files.pop()
        names = [word for file in files for word in (f"--{file.name}", str(file))]
        more = ["--minhash", "--max-rejects", "50%", "--explain"]
        status = call(app, "bp-dedup", [str(source), *names, *more, *options])
        shown = capfd.readouterr()
        return [status, *(file.read_bytes() for file in files if file.exists()), shown.out, shown.err]

    return run


@pytest.mark.parametrize("options", [[], ["--tag", "--on", "user"], ["--limit", "150"]], ids=" ".join)
def test_the_same_goes_out_wherever_the_memory_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    everything: Callable[..., list[Any]],
    options: list[str],
) -> None:
    source = tmp_path / "in.jsonl"
    lines = [json.dumps(item) for item in copies(700, 3)]
    for place, line in [(0, ""), (0, "{broken"), (30, "[]"), (31, '{"unknown": 1}'), (300, ""), (301, "{")]:
        lines.insert(place, line)
    source.write_text("\n".join(lines) + "\n")
    wanted = everything(source, *options)
    assert wanted[0] == 0
    for window in (0, 1, 5, 12, 1000):
        monkeypatch.setattr(Room, "is_short", short_from(window))
        monkeypatch.setattr(Room, "for_sorting", lambda *_: 0)
        assert everything(source, *options, "--max-memory", "1G") == wanted


@pytest.mark.parametrize("prefer", ["last", "longest", "best:meta.score"])
def test_with_a_preference_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: Callable[..., list[Any]], prefer: str
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(item) + "\n" for item in copies(700, 4)))
    wanted = everything(source, "--tag", "--prefer", prefer)
    assert everything(source, "--tag", "--prefer", prefer, "--max-memory", "1G") == wanted
    monkeypatch.setattr(Room, "is_short", short_from(0))
    assert everything(source, "--tag", "--prefer", prefer, "--max-memory", "1G") == wanted


def test_what_it_is_compared_against_may_be_too_large_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: Callable[..., list[Any]]
) -> None:
    source, other = tmp_path / "in.jsonl", tmp_path / "other.jsonl"
    items = [json.dumps(item) + "\n" for item in copies(700, 6)]
    source.write_text("".join(items[:500]))
    other.write_text("".join(items[500:] + items[100:110]))
    options = ["--against", str(other), "--tag"]
    wanted = everything(source, *options)
    assert wanted[-2].count('"against"') > 100
    for room in (0, 1 << 20):
        monkeypatch.setattr(Room, "for_bands", room)
        assert everything(source, *options, "--max-memory", "1G") == wanted
    monkeypatch.setattr(Room, "is_short", lambda *_: True)
    for prefer in ("last", "longest"):
        wanted = everything(source, *options, "--prefer", prefer)
        assert everything(source, *options, "--prefer", prefer, "--max-memory", "1G") == wanted


def test_what_was_read_before_a_failure_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: Callable[..., list[Any]]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(item) + "\n" for item in copies(300, 5)))
    missing = "/proc/self/mem"  # whose first page cannot be read
    wanted = everything(source, missing)
    assert wanted[0] == 74 and wanted[-2].count("\n") > 20
    for window in (0, 2):
        monkeypatch.setattr(Room, "is_short", short_from(window))
        assert everything(source, missing, "--max-memory", "1G") == wanted


def profiles(texts: list[str]) -> Profile:
    return Profiler(0.7).profile(texts)


def texts(number: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    made: list[str] = []
    for _ in range(number):
        words = chance.choice(made).split() if made and chance.random() < 0.5 else chance.choices(WORDS, k=30)
        if words:
            words[chance.randrange(len(words))] = chance.choice(WORDS)
        made.append(" ".join(words) if chance.random() < 0.98 else "...")
    return made


def parts(profile: Profile, size: int) -> Iterator[Any]:
    for first in range(0, len(profile), size):
        yield np.arange(first, min(first + size, len(profile)))


@pytest.mark.parametrize("before", [0, 1, 150])
def test_groups_stand_for_tables(before: int) -> None:
    """Earlier records that were judged, that were given, and that were given when the tables were gone."""
    none = np.full(1000, -1)
    early, given, late = profiles(texts(before, 1)), profiles(texts(40, 2)), profiles(texts(300, 1))
    plain, index = NearIndex(0.7, BANDS), GroupedIndex(0.7, BANDS)
    for each in (plain, index):
        each.match(early, none[:before])
        each.add(given)
    index.spill()
    for each in (plain, index):
        each.add(given.take(np.arange(10, 40)))
        each.add(late.take(np.arange(20)))
    rows = RowFile(BANDS)
    rows.add(late.checks)
    groups = index.group(rows, 0)
    for which in parts(late, 70):
        wanted = plain.match(late.take(which), none[: len(which)])
        taken = late.take(which)
        profile = GroupedProfile(taken.sets, taken.checks, None, groups.read(which).T)
        found = index.match(profile, none[: len(which)])
        assert found.owner.tolist() == wanted.owner.tolist()
        assert found.jaccard.tolist() == wanted.jaccard.tolist()
    assert len(index) == len(plain)
    assert index.nbytes < plain.nbytes / 10
    for each in (plain, index, rows, groups):
        each.close()


def test_groups_are_the_checks_that_several_have() -> None:
    chance = np.random.RandomState(1)
    checks = chance.randint(1, 60, (BANDS, 500)).astype(np.uint32) * np.uint32(71_000_000)
    index = GroupedIndex(0.7, BANDS)
    index.spill()
    rows = RowFile(BANDS)
    rows.add(checks[:, :1])
    rows.add(checks[:, 1:])
    found = index.group(rows, 0).read(np.arange(500)).T
    numbers: dict[tuple[int, int], int] = {}
    for band in range(BANDS):
        _, which, several = np.unique(checks[band], return_inverse=True, return_counts=True)
        assert ((several[which] > 1) == (found[band] > 0)).all()
        for value, number in zip(checks[band].tolist(), found[band].tolist()):
            if number:
                assert numbers.setdefault((band, value), number) == number
    assert sorted(numbers.values()) == list(range(1, len(numbers) + 1))
    empty = GroupedIndex(0.7, BANDS)
    empty.spill()
    assert empty.group(RowFile(BANDS), 0).read(np.zeros(0, np.int64)).shape == (0, BANDS)


def test_files_of_checks_and_of_rows() -> None:
    chance = np.random.RandomState(2)
    checks = chance.randint(0, 1 << 32, (3, 200), dtype=np.uint32)
    file, rows = CheckFile(), RowFile(3)
    for first, last in [(0, 0), (0, 1), (1, 130), (130, 200)]:
        file.add(checks[:, first:last])
        rows.add(checks[:, first:last])
    assert file.count == len(rows) == 200
    for band in range(3):
        assert np.concatenate(list(file.band(band))).tolist() == checks[band].tolist()
    for numbers in (range(200), range(199, -1, -1), range(50, 60), [7], [199, 0, 3, 3], [], [9, 10, 9, 12]):
        wanted = checks[:, list(numbers)].T
        assert rows.read(np.array(numbers, np.int64)).tolist() == wanted.tolist()
    file.close()
    rows.close()


def test_too_little_memory_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert call(app, "bp-dedup", ["--minhash", "--max-memory", "10M"]) == 2
    least = capfd.readouterr().err.split()[-1]
    Room(least)
    with pytest.raises(UsageError, match="the least with --jobs 3 is"):
        Room(least, 3)
    assert call(app, "bp-dedup", ["--max-memory", "1G"]) == 2


_MEASURED = """
import sys
from bptools.commands.dedup import app
from bptools.core.cli import call
status = call(app, "bp-dedup", sys.argv[1:])
with open("/proc/self/status") as file:
    print(int(file.read().split("VmHWM:")[1].split()[0]) >> 10, file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_stays_within_its_limit(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    chance = random.Random(1)
    past: list[str] = []
    with open(source, "w") as file:
        for _ in range(150_000):
            words = [f"{chance.getrandbits(14):x}" for _ in range(12)]
            text = " ".join(words) if len(past) < 10 or chance.random() < 0.9 else chance.choice(past) + " x"
            past.append(text)
            file.write(json.dumps({"text": text}) + "\n")

    def run(*options: str) -> tuple[bytes, int]:
        command = [sys.executable, "-c", _MEASURED, "-q", "--minhash", str(source), *options]
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=True)
        return done.stdout, int(done.stderr)

    wanted, freely = run()
    found, limited = run("--max-memory", "96M")
    assert found == wanted and wanted.count(b"\n") < 145_000
    assert limited <= 96 < freely
