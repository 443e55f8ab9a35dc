"""train() from Python: events, abort, what comes back; and records from a pipe."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bptools.training import RunResult, abort, train
from tests.golden import environment
from tests.tiny import shared_model
from tests.training_runs import write_records
from tests.unit.test_training_process import OPTIONS, PROGRAM

pytest.importorskip("trl")
SETTINGS: dict[str, Any] = {"batch_size": 8, "epochs": 2.0, "threads": 1, "device": "cpu", "samples": 1,
                            "eval_split": "8", "save_every": 4, "max_length": 128}  # fmt: skip


CALLER = """
import json, sys
from bptools.training import train

events = []
result = train(**json.loads(sys.argv[1]), on_event=events.append)
assert result.success, result.error
assert not {"torch", "transformers", "peft", "datasets"} & set(sys.modules)
json.dump([vars(result), events], sys.stdout)
"""


def test_events_abort_and_on_in_a_caller_without_torch(tmp_path: Path) -> None:
    source = write_records(tmp_path / "chats.jsonl", "chat", 88)
    wanted = {"source": source, "model": shared_model(), "runs": str(tmp_path / "runs"), **SETTINGS}
    seen: list[dict[str, Any]] = []

    def until_the_sixth(event: dict[str, Any]) -> None:
        seen.append(event)
        if event["event"] == "step" and event["step"] == 6:
            abort()

    first = train(**wanted, on_event=until_the_sixth)
    assert (first.success, first.error, first.adapter_path) == (False, "aborted", None)
    done = subprocess.run(
        [sys.executable, "-c", CALLER, json.dumps(wanted)],
        capture_output=True,
        env=environment(str(tmp_path)),
    )
    assert done.returncode == 0, done.stderr.decode()
    told, rest = json.loads(done.stdout)
    second = RunResult(**told)
    assert second.success
    assert second.run_id == first.run_id
    assert second.steps == len(second.loss_history) == 20
    assert second.final_loss == second.loss_history[-1]
    assert second.samples_seen == 160
    assert second.adapter_path
    assert Path(second.adapter_path, "adapter_model.safetensors").exists()
    assert Path(second.adapter_path, "../loss.png").exists()
    names = {event["event"] for event in rest}
    assert {"run_start", "step", "eval", "save", "sample", "run_end"} <= names
    steps = [event["step"] for event in rest if event["event"] == "step"]
    assert 5 <= steps[0] <= 9  # on from where it was saved
    assert steps[-1] == 20
    again = train(**wanted)
    assert isinstance(again, RunResult)
    assert again.loss_history == second.loss_history


def test_a_failure_is_returned(tmp_path: Path) -> None:
    result = train(str(tmp_path / "missing.jsonl"), model=shared_model(), runs=str(tmp_path))
    assert not result.success
    assert "missing.jsonl" in (result.error or "")


def test_a_pipe_and_a_file_are_the_same_run(tmp_path: Path) -> None:
    source = write_records(tmp_path / "chats.jsonl", "chat", 16)
    command = [sys.executable, PROGRAM, *OPTIONS, "--model", shared_model(), "--steps", "2", "-q"]
    with open(source, "rb") as piped:
        first = subprocess.run(
            command, stdin=piped, capture_output=True, cwd=tmp_path, env=environment(str(tmp_path))
        )
    assert first.returncode == 0, first.stderr
    assert first.stderr == b""
    named = subprocess.run(
        [*command, source], capture_output=True, cwd=tmp_path, env=environment(str(tmp_path))
    )
    assert named.stdout == first.stdout
    assert (tmp_path / first.stdout.decode().strip() / "adapter_config.json").exists()
