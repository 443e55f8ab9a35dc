"""Start the child that trains, pass on what it says, and see that neither outlives the other.

The child gets a pipe as its standard input that nobody writes to: it ends when its parent does, however that
ends, and the child leaves at once. What libraries print goes to the run's worker.log.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from bptools.core.errors import BpError
from bptools.training.events import Event, OnEvent, decode
from bptools.training.run_directory import WORKER_LOG, RunDirectory

AGAIN = 120  # of working.py: the child asks to be started again


class ChildError(BpError):
    """What the child failed of, with its exit status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class Interrupted(BpError):
    """The child was asked to stop, saved, and ended."""

    def __init__(self, code: int) -> None:
        super().__init__("stopped; the same line goes on from the last checkpoint")
        self.exit_code = code


def launch(run: RunDirectory, on_event: OnEvent) -> None:
    """Carry out the plan in a run directory. Raises ChildError, Interrupted."""
    while True:
        code, error = _once(run, on_event)
        if code == AGAIN:
            continue
        if code == 0:
            return
        if code in (128 + signal.SIGTERM, 128 + signal.SIGINT) and error is None:
            raise Interrupted(code)
        raise _explained(run, code, error)


def _once(run: RunDirectory, on_event: OnEvent) -> tuple[int, Event | None]:
    error: Event | None = None
    with open(run.file(WORKER_LOG), "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "bptools.training.worker", run.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(),
        )
    assert child.stdin is not None and child.stdout is not None
    try:
        for line in child.stdout:
            event = decode(line)
            if event is None:
                continue
            if event["event"] == "error":
                error = event
            on_event(event)
        return child.wait(), error
    except BaseException:
        _end(child)
        raise
    finally:
        child.stdin.close()
        child.stdout.close()


def _end(child: subprocess.Popen[bytes]) -> None:
    """Let the child finish its step and save; nobody listens to it any more."""
    assert child.stdout is not None
    if child.poll() is None:
        child.terminate()
        for _ in child.stdout:  # or it waits for room in the pipe
            pass
        child.wait()


def _environment() -> dict[str, str]:
    from bptools import __file__ as package

    root = os.path.dirname(os.path.dirname(os.path.abspath(package)))
    path = os.environ.get("PYTHONPATH", "")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, path]) if path else root,
        "PYTHONUNBUFFERED": "1",
        "OMP_WAIT_POLICY": os.environ.get(
            "OMP_WAIT_POLICY", "passive"
        ),  # threads that spin starve the others
        "NO_COLOR": "1",
    }


def _explained(run: RunDirectory, code: int, error: Event | None) -> ChildError:
    log = run.file(WORKER_LOG)
    if error is not None:
        return ChildError(f"{error['message']}", int(error["code"]))
    if code == -signal.SIGKILL:
        return ChildError(
            "the training process was killed, most likely for lack of memory; the same line goes on from the "
            "last checkpoint, --micro-batch 1 takes less",
            71,
        )
    said = _last_line(log)
    return ChildError(f"the training process ended with {code}: {said}; all it said is in '{log}'", 70)


def _last_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines: list[Any] = [line.strip() for line in file if line.strip()]
    except OSError:
        return "without a word"
    return str(lines[-1])[:200] if lines else "without a word"
