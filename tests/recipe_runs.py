"""What the tests of the recipes share: a recipe in a folder with a user's data, no HOME, no terminal, few steps."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from bptools.core.recipes import write
from bptools.core.registry import COMMANDS
from tests.golden import environment
from tests.training_runs import sentence

FEW = "--steps 2 --samples 0 --threads 1 --batch-size 4"
PPL = {} if any(entry.name == "bp-ppl" for entry in COMMANDS) else {"PPL": "cat"}
RETRAIN = {"TRAIN": f"{FEW} --save-every 1", "HOLD_OUT": "4", "ANSWERS": "2", **PPL}


def bare(place: Path) -> dict[str, str]:
    """Return an environment without HOME and TERM, as the shortest that cron could give."""
    return {
        name: value for name, value in environment(str(place)).items() if name in ("PATH", "HF_HUB_OFFLINE")
    }


def made(name: str, place: Path) -> list[str]:
    """Return the line that makes everything of a recipe."""
    write([name], str(place))
    return ["make", "-s", "-f", f"{name}.mk"]


def start(line: list[str], place: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a line in a session of its own, so that all of it can be killed."""
    return subprocess.Popen(
        [*line, *(f"{name}={value}" for name, value in variables.items())],
        cwd=place,
        env=bare(place),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def run(line: list[str], place: Path, **variables: str) -> None:
    """Run a line that must succeed and be silent."""
    process = start(line, place, variables)
    said, _ = process.communicate(timeout=300)
    assert (process.returncode, said.decode()) == (0, "")


def fail(line: list[str], place: Path, **variables: str) -> str:
    """Run a line that must fail; return what it said."""
    process = start(line, place, variables)
    said, _ = process.communicate(timeout=300)
    assert process.returncode
    return said.decode()


def chats(path: Path, count: int, seed: int = 1, **fields: str) -> None:
    chance = random.Random(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for _ in range(count):
            question, answer = sentence(chance, chance.randint(3, 9)), sentence(chance, chance.randint(5, 20))
            file.write(json.dumps({"instruction": question, "output": answer, **fields}) + "\n")


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def times(place: Path) -> dict[str, int]:
    """Return when each file was written."""
    files = [path for path in place.rglob("*") if path.is_file()]
    return {str(path.relative_to(place)): path.stat().st_mtime_ns for path in files}


def litter(place: Path) -> list[str]:
    return [
        str(path)
        for path in place.rglob("*")
        if path.name.endswith((".part", ".tmp")) or ".incoming" in str(path)
    ]


def result(place: Path) -> dict[str, Any]:
    """Return what must be the same whatever happened: records, weights, metrics, answers."""
    adapter = place / (place / "bot").read_text().strip()
    metrics = [
        {name: value for name, value in line.items() if name != "seconds"}
        for line in records(adapter.parent / "metrics.jsonl")
    ]
    return {
        "records": (place / "clean.jsonl").read_bytes(),
        "weights": (adapter / "adapter_model.safetensors").read_bytes(),
        "metrics": metrics,
        "answers": (place / "answers.jsonl").read_bytes(),
    }


def raw_chats(place: Path) -> None:
    chats(place / "raw" / "a.jsonl", 150)
    chats(place / "raw" / "b.jsonl", 50, seed=2)
    with open(place / "raw" / "b.jsonl", "a") as file:
        file.write("broken\n")
