"""CPU seconds and peak memory of whole processes, by the system's own accounting."""

from __future__ import annotations

import os
import statistics
import subprocess
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """Median over the runs."""

    cpu: float  # user + system seconds
    peak: float  # MB resident
    code: int


def once(command: list[str], stdin: Path | None, env: dict[str, str]) -> Cost:
    """Run a command to its end with its output to a drained pipe."""
    with open(stdin or os.devnull, "rb") as source, open(os.devnull, "wb") as null:
        drain = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=null)
        process = subprocess.Popen(
            command, stdin=source, stdout=drain.stdin, stderr=subprocess.DEVNULL, env=env
        )
        assert drain.stdin
        drain.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        drain.wait()
        process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode)


def interleaved(
    commands: dict[str, list[str]], stdin: Path | None, env: dict[str, str], runs: int
) -> dict[str, Cost]:
    """Run several commands in turn, A B C A B C, and return the median cost of each: drift hits all alike."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            cost = once(command, stdin, env)
            if cost.code not in (0, 65):
                raise SystemExit(f"bench: {name} ended with {cost.code}: {' '.join(command)}")
            if number:  # the first round warms caches up
                costs[name].append(cost)
    return {
        name: Cost(
            statistics.median(cost.cpu for cost in measured),
            max(cost.peak for cost in measured),
            measured[0].code,
        )
        for name, measured in costs.items()
    }
