"""The whole path in one go: python -m bptools._dev.demo build/demo [--data FILE]... [--count N].

Runs the commands of the README as they stand there, shows each line before it runs, and ends with what came
of it: records by stage, the loss before and after, answers side by side. A second run finds its work done.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from bptools._dev.demo.chats import raw_lines

STAGES = ("bp-chatml", "bp-dedup", "bp-ppl", "bp-filter")
_ANSWERS = 4


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Demo:
    """One folder, and what is done in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = {}
        # the commands of this very installation go first
        path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
        self._environment = {**os.environ, "PATH": path, "BP_LEDGER": "ledger"}

    def shell(self, line: str, name: str) -> str:
        """Run a line of bash in the folder, show it, and return its output; a failure ends the demo."""
        say(f"\n$ {line}")
        begun = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        self.seconds[name] = time.monotonic() - begun
        if done.returncode:
            raise SystemExit(f"demo: this line ended with {done.returncode}; the folder is {self.folder}")
        return done.stdout

    def report(self, command: str) -> dict[str, Any]:
        """Return what a stage counted."""
        report: dict[str, Any] = json.loads((self.folder / f"{command}.json").read_bytes())
        return report


def main(arguments: list[str] | None = None) -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--data", type=Path, action="append", default=[], help="your chats, in place of made-up ones"
    )
    parser.add_argument("--count", type=int, default=2400, help="conversations to make up")
    parser.add_argument("--preset", default="nano")
    chosen = parser.parse_args(arguments)
    if shutil.which("bash") is None:
        raise SystemExit("demo: bash is not installed, and the pipe needs its pipefail")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    demo = Demo(chosen.folder)
    raw = _raw(demo, chosen.data, chosen.count)
    demo.shell(
        f"cat {raw} | bp-chatml --to chat --max-rejects 1% --rejects rejects.jsonl --report bp-chatml.json"
        " | bp-dedup --minhash --report bp-dedup.json"
        " | bp-ppl --keep 5:95 --report bp-ppl.json"
        " | bp-filter --range bp.bpb=:6 --report bp-filter.json > clean.jsonl",
        "prepare",
    )
    adapter = demo.shell(f"bp-train clean.jsonl --preset {chosen.preset}", "train").strip()
    run = Path(adapter).parent
    answers = demo.shell(
        f"bp-generate --adapter none --adapter {shlex.quote(adapter)} --max-new-tokens 96 --limit {_ANSWERS}"
        f" {shlex.quote(str(run / 'eval.jsonl'))} | tee answers.jsonl",
        "answer",
    )
    say(_side_by_side(answers))
    say(_table(demo, run))


def _raw(demo: Demo, data: list[Path], count: int) -> str:
    """Return what `cat` is to read: the user's files, or one that is made up now."""
    if data:
        return " ".join(shlex.quote(str(path.resolve())) for path in data)
    lines = raw_lines(count, seed=1)
    path = demo.folder / "raw.jsonl"
    path.write_bytes(b"".join(lines))
    say(f"{path}: {len(lines):,} lines of made-up chats, with copies, junk and broken lines among them")
    return path.name


def _side_by_side(answers: str) -> str:
    """Return questions with the answers of the model before and after."""
    lines = ["", "What it answers to questions that it was not trained on:"]
    for line in answers.splitlines():
        record = json.loads(line)
        before, after = (entry["text"] for entry in record["bp"]["completions"][:2])
        lines += ["", *_wrapped("question", record["messages"][-2]["content"])]
        lines += [*_wrapped("before", before), *_wrapped("after", after)]
    return "\n".join(lines)


def _wrapped(label: str, text: str) -> list[str]:
    width = min(110, shutil.get_terminal_size((100, 24)).columns)
    return textwrap.wrap(
        " ".join(text.split()) or "(nothing)",
        width,
        initial_indent=f"  {label:<10}",
        subsequent_indent=" " * 12,
        max_lines=3,
    )


def _table(demo: Demo, run: Path) -> str:
    """Return what came of it."""
    rows: list[tuple[str, ...]] = [("", "in", "out", "dropped", "rejected")]
    for command in STAGES:
        counts = demo.report(command)
        rows.append((command, *(f"{counts[name]:,}" for name in ("in", "out", "dropped", "rejected"))))
    manifest = json.loads((demo.folder / run / "manifest.json").read_bytes())
    result = manifest["result"]
    rows.append(
        ("bp-train", f"{manifest['records'] + manifest['evaluation']:,}", f"{result['steps']} steps", "", "")
    )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "",
        *(
            "  ".join([f"{row[0]:<{widths[0]}}", *(f"{row[i]:>{widths[i]}}" for i in range(1, 5))])
            for row in rows
        ),
    ]
    before, after = result.get("eval_loss_before"), result.get("eval_loss")
    if before is not None and after is not None:
        lines += [
            "",
            f"evaluation loss  {before:.3f} -> {after:.3f}  ({manifest['evaluation']} records held out)",
        ]
    lines.append(
        "seconds          " + ", ".join(f"{name} {value:.0f}" for name, value in demo.seconds.items())
    )
    made = [
        "clean.jsonl",
        "rejects.jsonl",
        str(run / "loss.png"),
        str(run / "report.html"),
        str(run / "adapter"),
    ]
    lines += ["", *(f"{_size(demo.folder / name) / 1000:>10,.0f} kB  {demo.folder / name}" for name in made)]
    return "\n".join(line.rstrip() for line in lines)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    main()
