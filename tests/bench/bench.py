"""The table of one run: what was measured against what, written to its section of RESULTS.md."""

from __future__ import annotations

import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

from tests.bench.measure import Cost, interleaved
from tests.golden import ROOT

FOLDER = ROOT / ".bench"
BIN = ROOT / "bin"
RESULTS = ROOT / "tests" / "bench" / "RESULTS.md"


GIVEN: dict[str, str] = {}
"""Names of files that were given -> what RESULTS.md calls them: what somebody measures on is his own affair."""


def name_given(files: list[str]) -> None:
    """Let RESULTS.md call these files given-1, given-2, ..."""
    for number, file in enumerate(files, 1):
        name = Path(file).name
        GIVEN[name] = f"given-{number}"
        GIVEN[name.split(".")[0]] = f"given-{number}"


class Bench:
    """Collects the rows of one section: what, against what, cost, ratio, goal."""

    def __init__(self, runs: int, section: str = "", packages: tuple[str, ...] = ("orjson", "typer")) -> None:
        self.runs = runs
        self.heading = f"## {section}" if section else "# Benchmark results"
        self.packages = packages
        self.rows: list[tuple[str, str, str, str]] = []
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(FOLDER),
            "LC_ALL": "C.UTF-8",
        }

    def compare(
        self, what: str, ours: list[str], peers: dict[str, tuple[list[str], float]], stdin: Path
    ) -> None:
        """Measure our command against peers on one input; each peer comes with the largest ratio allowed."""
        commands = {"ours": ours, **{name: command for name, (command, _) in peers.items()}}
        costs = interleaved(commands, stdin, self.env, self.runs)
        mine = costs["ours"]
        for name, (_, goal) in peers.items():
            ratio = mine.cpu / costs[name].cpu
            self.row(
                what,
                f"{name} ({costs[name].cpu:.3f} s, {costs[name].peak:.0f} MB)",
                mine,
                f"{ratio:.2f}x",
                goal,
            )

    def absolute(self, what: str, command: list[str], stdin: Path | None, cpu: float, peak: float) -> None:
        """Measure a command that has a bound of its own, in CPU seconds and MB."""
        cost = interleaved({"ours": command}, stdin, self.env, self.runs)["ours"]
        self.row(what, f"{cpu} s, {peak:.0f} MB", cost, f"{cost.cpu:.3f} s, {cost.peak:.0f} MB", None)

    def row(self, what: str, against: str, cost: Cost, figure: str, goal: float | None) -> None:
        bound = (
            "" if goal is None else f"at most {goal:g}x" if goal >= 0.5 else f"at least {1 / goal:g}x faster"
        )
        self.note(what, f"{cost.cpu:.3f} s, {cost.peak:.0f} MB", against, f"{figure} {bound}".strip())

    def note(self, what: str, ours: str, against: str, figure: str) -> None:
        """Add a row of text."""
        self.rows.append((what, ours, against, figure))
        sys.stdout.write(" | ".join(self.rows[-1]) + "\n")
        sys.stdout.flush()

    def save(self) -> None:
        """Write the table with the machine and the versions; the other sections stay as they are."""
        packages = ", ".join(f"{name} {version(name)}" for name in self.packages)
        lines = [
            self.heading,
            "",
            f"Written by `make bench` on {platform.machine()}, {os.cpu_count()} cores, "
            f"Python {platform.python_version()}, {packages}.",
            "CPU seconds are user + system of the whole process, start included, median of "
            f"{self.runs} interleaved runs; memory is the peak.",
            "",
            "| what | ours | against | figure and goal |",
            "|---|---|---|---|",
            *("| " + " | ".join(row) + " |" for row in self.rows),
            "",
        ]
        written = RESULTS.read_text() if RESULTS.exists() else ""
        sections = {
            part.partition("\n")[0]: part for part in re.split(r"^(?=##? )", written, flags=re.M) if part
        }
        made = "\n".join(lines)
        for name in sorted(GIVEN, key=len, reverse=True):
            made = made.replace(name, GIVEN[name])
        sections[self.heading] = made
        RESULTS.write_text("\n".join(part.rstrip("\n") + "\n" for part in sections.values()))


def baseline(name: str) -> list[str]:
    """Return the command line of a baseline."""
    return [sys.executable, "-m", "tests.bench.baselines", name]
