"""The table of one run: what was measured against what, written to its section of RESULTS.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import datetime, timezone
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

    def __init__(
        self, runs: int, how: str, section: str = "", packages: tuple[str, ...] = ("orjson", "typer")
    ) -> None:
        """Begin a section. how: what is measured, and how often, for the reader of the table."""
        self.runs = runs
        self.how = how
        self.heading = f"## {section}" if section else "# Benchmark results"
        self.packages = packages
        self.peers: list[str] = []  # with their versions
        self.rows: list[tuple[str, str, str, str]] = []
        self.env = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(FOLDER),
            "LC_ALL": "C.UTF-8",
        }

    def name_tool(self, program: str) -> None:
        """Let the head of the section tell which version of a program was compared with."""
        self.peers.append(_said([program, "--version"]))

    def name_packages(self, python: str | None, *packages: str) -> None:
        """Let it tell which versions of packages, by the interpreter that has them; None has none.

        Called before anything is measured: an environment that lacks one ends the run here, not minutes later.
        """
        if python is not None:
            self.peers += _said([python, "-c", _VERSIONS, *packages]).split("\n")

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
        self.rows.append((what, ours, against, f"{figure} (missed)" if missed(figure) else figure))
        sys.stdout.write(" | ".join(self.rows[-1]) + "\n")
        sys.stdout.flush()

    def save(self) -> None:
        """Write the table with the machine and the versions; the other sections stay as they are."""
        packages = ", ".join(f"{name} {version(name)}" for name in self.packages)
        lines = [
            self.heading,
            "",
            f"Written by `make bench` on {datetime.now(timezone.utc).date()} (UTC): {processor()}, "
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}.",
            *([f"Peers: {', '.join(self.peers)}."] if self.peers else []),
            self.how,
            "Memory is the peak of a process. What did not reach its goal is marked as missed.",
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
        for name in sorted(GIVEN, key=len, reverse=True):  # whole words: a file may be called data.jsonl
            made = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", GIVEN[name], made)
        sections[self.heading] = made
        RESULTS.write_text("\n".join(part.rstrip("\n") + "\n" for part in sections.values()))


_BOUND = re.compile(
    r"(?P<figure>[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)[^\d;]*?,? at (?P<which>least|most) "
    r"(?P<goal>[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?P<faster>x faster)?"
)


def missed(figure: str) -> bool:
    """Say whether a figure such as `1.53 times, at least 2` or `0.2x at least 4x faster` misses its goal."""
    for found in _BOUND.finditer(figure):
        value, goal = float(found["figure"].replace(",", "")), float(found["goal"])
        if found["faster"]:
            value = 1 / value
        if value < goal if found["which"] == "least" else value > goal:
            return True
    return False


def processor() -> str:
    """Return the processor's model name; where /proc/cpuinfo tells none (a Mac, ARM), what Python knows."""
    try:
        told = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        told = None
    return told[1].strip() if told else platform.processor() or "unknown processor"


_VERSIONS = """
import sys
from importlib.metadata import PackageNotFoundError, version
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        sys.exit(f"{sys.executable} has no {name}: make bench-peers")
"""


def _said(command: list[str]) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"bench: {done.stderr.strip() or command[0]}")
    return done.stdout.strip()


def baseline(name: str) -> list[str]:
    """Return the command line of a baseline."""
    return [sys.executable, "-m", "tests.bench.baselines", name]
