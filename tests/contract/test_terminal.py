"""What a terminal sees: progress after one second, then nothing of it; no escape sequence anywhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from pathlib import Path

import pytest

from tests.contract.commands import DATA_COMMANDS, GOOD, invocation
from tests.golden import environment


def on_a_terminal(name: str, folder: Path, env: dict[str, str], seconds: float) -> bytes:
    """Run a command with stderr on a pseudo-terminal and input that takes a while; return what was shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        invocation(name),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        cwd=folder,
        env={**environment(str(folder)), **env},
    )
    os.close(theirs)
    assert process.stdin
    process.stdin.write(GOOD)
    process.stdin.flush()
    time.sleep(seconds)
    process.stdin.close()
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux ends a pseudo-terminal with EIO
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(30) == 0
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_progress_comes_after_a_second_and_goes(name: str, tmp_path: Path) -> None:
    shown = on_a_terminal(name, tmp_path, {"TERM": "xterm"}, 2.0)
    assert b"\r\x1b[K" + name.encode() + b": 3 records" in shown
    assert shown.rstrip().split(b"\x1b[K")[-1] == f"{name}: 3 in, 3 out, 0 dropped, 0 rejected".encode()


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_a_quick_run_draws_nothing(name: str, tmp_path: Path) -> None:
    assert b" records, " not in on_a_terminal(name, tmp_path, {"TERM": "xterm"}, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_COMMANDS)
@pytest.mark.parametrize(
    "env", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}], ids=["dumb", "no-color"]
)
def test_no_escape_sequence_where_none_is_wanted(name: str, env: dict[str, str], tmp_path: Path) -> None:
    assert b"\x1b" not in on_a_terminal(name, tmp_path, env, 1.6)
