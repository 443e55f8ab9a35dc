"""Sudden deaths: a command killed, terminated or out of disk space at a random moment leaves nothing half-written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.contract.commands import invocation
from tests.golden import environment

CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


def sample(records: int) -> bytes:
    """Return ShareGPT records that take a while to convert."""
    line = (
        b'{"id":%d,"conversations":[{"from":"human","value":"tell me about number %d"},'
        b'{"from":"gpt","value":"it is a number, and a fine one"}]}\n'
    )
    return b"".join(line % (number, number) for number in range(records))


def die(
    name: str, number: signal.Signals, moment: float, early: float, folder: Path, source: Path, whole: bytes
) -> str:
    """Send a signal after `moment` seconds. Returns "done" or "died"; raises AssertionError on a half-written file.

    early: seconds in which Python may still be starting, and catch nothing.
    """
    target = folder / "out.jsonl"
    process = subprocess.Popen(
        invocation(name, "-q", "-o", "out.jsonl", str(source)),
        cwd=folder, env=environment(str(folder)), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(moment)
    process.send_signal(number)
    code = process.wait(60)
    left = sorted(os.listdir(folder))
    if target.exists():
        assert target.read_bytes() == whole, f"{name}: half-written after {number.name}"
    assert code in (0, CODES[number]) or (moment < early and code < 0), f"{name}: {number.name} gave {code}"
    allowed = {"out.jsonl", "out.jsonl.manifest.json"}
    assert set(left) <= allowed, f"{name}: {number.name} left {left}"
    for path in folder.iterdir():
        path.unlink()
    return "done" if code == 0 else "died"


def deaths(name: str, rounds: int, seed: int, folder: Path) -> dict[str, int]:
    """Kill a command at random moments of its life; the last run, undisturbed, gives the whole output."""
    chance = random.Random(seed)
    source = folder / "in.jsonl"
    source.write_bytes(sample(60_000))
    work = folder / "work"
    work.mkdir()
    start = time.monotonic()
    subprocess.run(
        invocation(name, "-q", "-o", "out.jsonl", str(source)),
        cwd=work,
        env=environment(str(folder)),
        check=True,
    )
    life = time.monotonic() - start
    whole = (work / "out.jsonl").read_bytes()
    for path in work.iterdir():
        path.unlink()
    counts = {"done": 0, "died": 0}
    for _ in range(rounds):
        number = chance.choice(list(CODES))
        moment = chance.uniform(0, life * 1.1)
        counts[die(name, number, moment, max(0.2, life / 3), work, source, whole)] += 1
    return counts


def full_disk(name: str, folder: Path, sizes: list[int]) -> int:
    """Run into a full tmpfs of several sizes. Returns how many were tried; 0 when mounting is not allowed."""
    source = folder / "full-in.jsonl"
    source.write_bytes(sample(20_000))
    mount = folder / "small"
    mount.mkdir(exist_ok=True)
    tried = 0
    for size in sizes:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)], capture_output=True
        )
        if mounted.returncode:
            return tried
        try:
            done = subprocess.run(
                invocation(name, "-o", "out.jsonl", "--report", "report.json", str(source)),
                cwd=mount, env=environment(str(folder)), capture_output=True,
            )  # fmt: skip
            assert done.returncode == 74, (done.returncode, done.stderr)
            assert b"no space left on device" in done.stderr
            assert os.listdir(mount) == [], os.listdir(mount)
            tried += 1
        finally:
            subprocess.run(["umount", str(mount)], check=True)
    return tried
