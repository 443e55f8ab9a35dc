"""bp-filter against the bare loop, and its quality rules against datatrove's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.bench import BIN, FOLDER, Bench, baseline
from tests.bench.measure import once

TURNS = [
    "--min-turns",
    "2",
    "--max-turns",
    "64",
    "--require-assistant",
    "--alternating",
    "--ends-with",
    "assistant",
]
PACKAGES = ("datatrove", "spacy")  # of the peers' environment: the other judge and its tokenizer
TIMED = 2000  # records that both sides judge


def measure_filter(bench: Bench, files: dict[str, Path]) -> None:
    """Add the rows of bp-filter itself."""
    command = [sys.executable, str(BIN / "bp-filter"), "-q"]
    for name, shape, goal in (("long", "messages", 1.3), ("short", "short", 1.5)):
        for what, options in (
            ("no condition", []),
            ("turns and roles", TURNS),
            ("turns, roles, no blank turn", [*TURNS, "--no-empty-turns"]),
            ("at most 4,096 tokens", ["--max-tokens", "4096"]),
        ):
            peer = {"bare loop": (baseline("bare"), goal)}
            bench.compare(f"bp-filter, {what}, {name} lines", [*command, *options], peer, files[shape])
        options = [*TURNS, "--min-tokens", "5", "--max-tokens", "4096"]
        peer = {"bare loop": (baseline("bare"), 3.0)}
        bench.compare(
            f"bp-filter, turns and 5 to 4,096 tokens, {name} lines", [*command, *options], peer, files[shape]
        )
    for what, options in (
        ("rules gopher, c4, fineweb", ["--rules", "gopher,c4,fineweb"]),
        ("--shuffle", ["--shuffle"]),
        ("--sample 1000", ["--sample", "1000"]),
    ):
        cost = once([*command, *options], files["alpaca"], bench.env)
        bench.row(
            f"bp-filter, peak memory, {what}", "64 MB, --shuffle 100 MB", cost, f"{cost.peak:.0f} MB", None
        )


def measure_rules(bench: Bench, files: dict[str, Path], data: list[str], peers: str | None) -> None:
    """Add the rows of the quality rules: last, for they run in this process and leave it larger."""
    chats = [_as_chats(bench, files["alpaca"], FOLDER / "rules.jsonl")]
    chats += [_as_chats(bench, Path(path), FOLDER / f"rules-{Path(path).name}") for path in data]
    _compare_rules(bench, chats, peers)


def _as_chats(bench: Bench, source: Path, made: Path) -> str:
    """Write the first records of any format as chats, which the reference's interpreter can read."""
    options = ["-q", "--limit", str(TIMED), "--max-rejects", "100%", "--to", "chat"]
    convert = [sys.executable, str(BIN / "bp-chatml"), *options, str(source), "-o", str(made)]
    subprocess.run(convert, env=bench.env, check=True, stdin=subprocess.DEVNULL)
    return str(made)


def _compare_rules(bench: Bench, files: list[str], peers: str | None) -> None:
    """Compare records per CPU second of the judging alone, every tokenizer warm, and the decisions."""
    from tests.bench.rules import SETS, ask_reference, compare_file

    answers = ask_reference(peers, files, TIMED, TIMED, each_rule=False) if peers else None
    for path in files:
        tally, ours, theirs = compare_file(path, TIMED, TIMED, answers)
        differ = sum(tally.records - tally.decisions[name] for name in SETS) if theirs else 0
        for name in ("together, all", "together, to the first"):
            if name in theirs:
                ratio, peer = (
                    f"{ours[name] / theirs[name]:.1f} times, at least 3; {differ} decisions differ",
                    f"datatrove ({theirs[name]:.0f} rec/s)",
                )
            else:
                ratio, peer = "", "datatrove not installed: make bench-peers"
            bench.note(
                f"rules gopher, c4, fineweb {name}, {Path(path).name}", f"{ours[name]:.0f} rec/s", peer, ratio
            )
