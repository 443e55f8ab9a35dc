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

from bptools.core.errors import BpError, Exit
from bptools.training.events import AGAIN, Event, OnEvent, decode
from bptools.training.run_directory import WORKER_LOG, RunDirectory

_HUNG_UP = 129  # of SIGHUP


class ChildError(BpError):
    """What the child failed of, with its exit status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class Interrupted(BpError):
    """The child was asked to stop, saved, and ended."""

    def __init__(self, code: int) -> None:
        super().__init__({Exit.TERM: "terminated", Exit.INT: "interrupted"}.get(code, "hung up"))
        self.exit_code = code


class _Heard:
    """What a child has said that matters for how it ended."""

    def __init__(self) -> None:
        self.error: Event | None = None
        self.saved = self.steps = 0  # the step of the newest checkpoint, and of how many

    def __call__(self, event: Event) -> None:
        if event["event"] == "error":
            self.error = event
        elif event["event"] == "start":
            self.saved, self.steps = event["step"], event["steps"]
        elif event["event"] == "save":
            self.saved = event["step"]

    def tell_saved(self, on_event: OnEvent) -> None:
        """Say how far a run came that was stopped, if it can be gone on with."""
        if self.saved:
            said = f"saved at step {self.saved} of {self.steps}; the same line goes on"
            on_event({"event": "note", "message": said})


def launch(run: RunDirectory, on_event: OnEvent) -> None:
    """Carry out the plan in a run directory. Raises ChildError, Interrupted, and what stops this process.

    A signal that comes when the child has its result already stops nothing.
    """
    while True:
        heard = _Heard()
        code = _once(run, on_event, heard)
        if code == AGAIN:
            continue
        if code == 0:
            return
        if code in (Exit.TERM, Exit.INT, _HUNG_UP) and heard.error is None:
            heard.tell_saved(on_event)
            raise Interrupted(code)
        raise _explained(run, code, heard)


def _once(run: RunDirectory, on_event: OnEvent, heard: _Heard) -> int:
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
            heard(event)
            on_event(event)
        return child.wait()
    except Exception:
        _end(child, heard)  # of on_event: it is told no more
        raise
    except BaseException:  # a signal
        code = _end(child, heard, on_event)
        if code == 0:
            return code
        heard.tell_saved(on_event)
        raise
    finally:
        child.stdin.close()
        child.stdout.close()


def _end(child: subprocess.Popen[bytes], *listeners: OnEvent) -> int:
    """Let the child finish its step and save; return its exit status."""
    assert child.stdout is not None
    if child.poll() is None:
        child.terminate()
    for line in child.stdout:  # also because it would wait for room in the pipe
        event = decode(line)
        if event is not None:
            for listener in listeners:
                listener(event)
    return child.wait()


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


def _explained(run: RunDirectory, code: int, heard: _Heard) -> ChildError:
    log = run.file(WORKER_LOG)
    if heard.error is not None:
        return ChildError(f"{heard.error['message']}", int(heard.error["code"]))
    if code == -signal.SIGKILL:
        on = f"the same line goes on from step {heard.saved}, " if heard.saved else ""
        return ChildError(
            "the training process was killed, most likely for lack of memory; "
            f"{on}--micro-batch 1 takes less",
            Exit.NOMEMORY,
        )
    said = _last_line(log)
    return ChildError(
        f"the training process ended with {code}: {said}; all it said is in '{log}'", Exit.SOFTWARE
    )


def _last_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines: list[Any] = [line.strip() for line in file if line.strip()]
    except OSError:
        return "without a word"
    return str(lines[-1])[:200] if lines else "without a word"
