"""`python -m tests.bench [--size MB] [--runs N] [--data FILE]...`: print the figures and write RESULTS.md."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

from tests.bench.data import write_array, write_jsonl
from tests.bench.measure import Cost, interleaved, once
from tests.golden import ROOT

FOLDER = ROOT / ".bench"
BIN = ROOT / "bin"
RESULTS = ROOT / "tests" / "bench" / "RESULTS.md"


class Bench:
    """Collects rows: what, against what, cost, ratio, goal."""

    def __init__(self, runs: int) -> None:
        self.runs = runs
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
            self._row(
                what,
                f"{name} ({costs[name].cpu:.3f} s, {costs[name].peak:.0f} MB)",
                mine,
                f"{ratio:.2f}x",
                goal,
            )

    def absolute(self, what: str, command: list[str], stdin: Path | None, cpu: float, peak: float) -> None:
        """Measure a command that has a bound of its own, in CPU seconds and MB."""
        cost = interleaved({"ours": command}, stdin, self.env, self.runs)["ours"]
        self._row(what, f"{cpu} s, {peak:.0f} MB", cost, f"{cost.cpu:.3f} s, {cost.peak:.0f} MB", None)

    def _row(self, what: str, against: str, cost: Cost, figure: str, goal: float | None) -> None:
        bound = (
            "" if goal is None else f"at most {goal:g}x" if goal >= 0.5 else f"at least {1 / goal:g}x faster"
        )
        self.rows.append(
            (what, f"{cost.cpu:.3f} s, {cost.peak:.0f} MB", against, f"{figure} {bound}".strip())
        )
        sys.stdout.write(" | ".join(self.rows[-1]) + "\n")
        sys.stdout.flush()

    def save(self) -> None:
        """Write the table with the machine and the versions."""
        packages = ", ".join(f"{name} {version(name)}" for name in ("orjson", "typer"))
        lines = [
            "# Benchmark results",
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
        RESULTS.write_text("\n".join(lines))


def baseline(name: str) -> list[str]:
    """Return the command line of a baseline."""
    return [sys.executable, "-m", "tests.bench.baselines", name]


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100, help="MB of each made file")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", nargs="*", default=[], help="JSONL files of your own")
    chosen = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    size = chosen.size << 20
    files = {
        shape: write_jsonl(shape, FOLDER / f"{shape}-{chosen.size}.jsonl", size)
        for shape in ("sharegpt", "messages", "alpaca", "short")
    }
    tenth = write_jsonl("sharegpt", FOLDER / f"sharegpt-{chosen.size // 10}.jsonl", size // 10)
    bench = Bench(chosen.runs)
    chatml = [sys.executable, str(BIN / "bp-chatml"), "-q"]
    detect = [sys.executable, str(BIN / "bp-detect"), "-q"]
    start = interleaved({"ours": [*chatml], "typer": baseline("typer_app")}, None, bench.env, chosen.runs * 4)
    bench._row("start-up, empty input", f"empty Typer app ({start['typer'].cpu:.3f} s)", start["ours"],
               f"{start['ours'].cpu / start['typer'].cpu:.2f}x", 1.15)  # fmt: skip
    for what, shape, goal in (
        ("pass-through, long lines", "messages", 1.5),
        ("pass-through, short lines", "short", 1.5),
        ("ShareGPT to messages", "sharegpt", 2.0),
        ("Alpaca to messages", "alpaca", 2.0),
    ):
        peers = {"bare loop": (baseline("bare"), goal)}
        if shutil.which("jq"):
            peers["jq -c ."] = (["jq", "-c", "."], 0.2)
        bench.compare(what, chatml, peers, files[shape])
    for indent, name in ((None, "compact"), (2, "pretty")):
        array = write_array(files["messages"], FOLDER / f"array-{name}-{chosen.size}.json", indent)
        bench.compare(f"JSON array reader, {name}", baseline("array_streamed"),
                      {"orjson whole": (baseline("array_whole"), 1.3)}, array)  # fmt: skip
        bench.compare(f"JSON array through bp-chatml, {name}", chatml,
                      {"orjson whole + dumps + write": (baseline("array_whole_written"), 1.3)}, array)  # fmt: skip
    small, large = once(chatml, tenth, bench.env), once(chatml, files["sharegpt"], bench.env)
    bench._row("peak memory, ShareGPT, ten times the input", f"{small.peak:.0f} MB at a tenth", large,
               f"{large.peak:.0f} MB, at most 64 MB", None)  # fmt: skip
    for shape in ("sharegpt", "alpaca", "short"):
        bench.absolute(
            f"bp-detect FILE, {shape}, {chosen.size} MB", [*detect, str(files[shape])], None, 0.15, 40
        )
    for path in chosen.data:
        own = Path(path)
        bench.compare(f"bp-chatml {own.name}", chatml, {"bare loop": (baseline("bare"), 2.0)}, own)
        bench.absolute(f"bp-detect {own.name}", [*detect, str(own)], None, 0.15, 40)
    bench.save()


if __name__ == "__main__":
    main()
