"""A run that is stopped says how far it came; one whose result is there already is finished instead."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bptools.core.signals import Terminated
from bptools.training import launching, stopping, training
from bptools.training.launching import ChildError, Interrupted, launch
from bptools.training.run_directory import RunDirectory
from bptools.training.stopping import Stop
from tests.tiny import shared_model
from tests.training_runs import Run, write_records

REAL = subprocess.Popen
STUB = """
import json, os, signal, sys, time

def say(**event):
    print(json.dumps(event), flush=True)

def stop(*_):
    if {saves}:
        say(event="save", step=2)
    os._exit({code})

signal.signal(signal.SIGTERM, stop)
say(event="start", step=0, steps=60, trained=1, parameters=2, micro_batch=1)
say(event="step", step=1)
if {alone}:
    stop()
time.sleep(30)
"""


def child(monkeypatch: pytest.MonkeyPatch, *, saves: bool, code: int, alone: bool = False) -> None:
    """Let the child be one that says a few events."""
    program = STUB.format(saves=saves, code=code, alone=alone)

    def popen(command: list[str], **more: Any) -> Any:
        return REAL([sys.executable, "-c", program], **more)

    monkeypatch.setattr(launching.subprocess, "Popen", popen)


def stopped(tmp_path: Path, by: type[BaseException], *arguments: Any) -> tuple[Any, list[str]]:
    """Return (what came of a launch that a signal hit at the first step, the notes that were said)."""
    notes: list[str] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "note":
            notes.append(event["message"])
        if event["event"] == "step":
            raise by(*arguments)

    try:
        launch(RunDirectory(str(tmp_path)), on_event)
    except BaseException as error:
        return error, notes
    return None, notes


@pytest.mark.parametrize(("by", "arguments"), [(KeyboardInterrupt, ()), (Terminated, (signal.SIGTERM,))])
def test_a_signal_says_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: type[BaseException], arguments: tuple[Any, ...]
) -> None:
    child(monkeypatch, saves=True, code=143)
    error, notes = stopped(tmp_path, by, *arguments)
    assert (type(error), notes) == (by, ["saved at step 2 of 60; the same line goes on"])
    child(monkeypatch, saves=False, code=143)
    error, notes = stopped(tmp_path, by, *arguments)
    assert (type(error), notes) == (by, [])


def test_a_signal_after_the_result_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child(monkeypatch, saves=True, code=0)
    assert stopped(tmp_path, KeyboardInterrupt) == (None, [])
    error, notes = stopped(tmp_path, ValueError)  # of a caller: it is told no more
    assert (type(error), notes) == (ValueError, [])


def test_a_child_that_is_stopped_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    run = RunDirectory(str(tmp_path))
    child(monkeypatch, saves=True, code=143, alone=True)
    with pytest.raises(Interrupted, match="terminated") as caught:
        launch(run, lambda event: notes.append(event.get("message", "")))
    assert (caught.value.exit_code, notes[-1]) == (143, "saved at step 2 of 60; the same line goes on")
    child(monkeypatch, saves=True, code=-9, alone=True)
    monkeypatch.setattr(launching.subprocess, "Popen", _killed(launching.subprocess.Popen))
    with pytest.raises(
        ChildError, match="memory; the same line goes on from step 2, --micro-batch 1"
    ) as lost:
        launch(run, lambda event: None)
    assert lost.value.exit_code == 71


def _killed(real: Any) -> Any:
    def popen(*given: Any, **more: Any) -> Any:
        process = real(*given, **more)
        process.wait = lambda: -9
        return process

    return popen


def test_the_child_is_deaf_once_its_result_is_there() -> None:
    stop = Stop()
    stop.ended = True
    stop._asked(signal.SIGTERM, None)
    assert stop.signal == 0
    stop.ended = False
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit):
            stop._asked(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_while_the_reports_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl")
    from bptools.training import reporting

    source = write_records(tmp_path / "chats.jsonl", "chat", 16)
    run = Run(source, tmp_path, name="bot", model=shared_model(), steps=1, eval_split="0", max_length=128)
    assert run.work() == 0
    assert run.job().run.read("result.json")
    signals = [KeyboardInterrupt()]

    def plot(*_: Any) -> bytes:
        if signals:
            raise signals.pop()
        return b""

    monkeypatch.setattr(reporting, "_plot", plot)
    training.carry_out(run.planned, lambda event: None)
    assert not signals
    assert json.loads((run.path / "manifest.json").read_bytes())["result"]["steps"] == 1
    assert not (run.path / "checkpoints").exists()


def test_a_second_signal_is_another_wish_only_after_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one to the whole group the parent makes a second one, which must not keep the child from saving."""
    killed: list[int] = []
    monkeypatch.setattr(stopping.os, "kill", lambda pid, number: killed.append(number))
    monkeypatch.setattr(stopping.signal, "signal", lambda number, handler: None)
    stop = Stop()
    stop.steps_running = True
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
        stop._asked(number, None)
    assert (stop.signal, killed) == (signal.SIGHUP, [])
    monkeypatch.setattr(stopping, "SAME_WISH", -1.0)
    stop._asked(signal.SIGTERM, None)
    assert killed == [signal.SIGTERM]


def test_a_terminal_that_hangs_up_is_heard_unless_it_is_to_be_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caught: list[int] = []
    monkeypatch.setattr(stopping.signal, "signal", lambda number, handler: caught.append(number))
    for handler in (signal.SIG_DFL, signal.SIG_IGN):
        monkeypatch.setattr(stopping.signal, "getsignal", lambda number, handler=handler: handler)
        Stop().install()
    assert caught == [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGINT]
