"""Progress lines: what they say, and the bars of several processes on one terminal, byte by byte."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bptools.core.pipeline import Pipeline
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.progress import Progress, progress_text, start_progress
from bptools.core.progress_picture import Stage, cut, in_pipe_order, picture, spoken
from tests.golden import ROOT

# a bar that comes early, in a process that prints, waits and ends as its arguments say
STAGE = """
import os, sys, time
from bptools.core import bars
from bptools.core.messages import Messages
bars.FIRST_SECONDS, bars.HEAD_START_SECONDS = float(sys.argv[2]), 0
name, begun = sys.argv[1], time.monotonic()
bar = bars.Bar(lambda: f"{name}: working")
for until, text in zip(sys.argv[3::2], sys.argv[4::2]):
    time.sleep(max(0, begun + float(until) - time.monotonic()))
    if text == "fork":
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
    elif text != "silence":
        Messages(name).info(text)
bar.stop()
if text != "silence":
    Messages(name).info("1 in, 1 out")
"""


def line_of(pipe: Any, seconds: float, *more: Any) -> str:
    return progress_text(pipe, seconds, *more)


def a_pipe(read: int = 1200, done: int = 0, size: int | None = None, **counts: int) -> Any:
    file = SimpleNamespace(bytes_read=done, size=size)
    counted = {"read": read, "dropped": 0, "rejected": 0, **counts}
    return SimpleNamespace(
        command="bp-x",
        counts=SimpleNamespace(**counted),
        intake=SimpleNamespace(input=SimpleNamespace(file=file)),
        work=None,
    )


def test_a_file_tells_how_far_it_is() -> None:
    assert line_of(a_pipe(1_200_000, 480_000_000, 1_000_000_000), 1.2) == (
        "bp-x: 1,200,000 records, 48 %, 400 MB/s, 0:01 left"
    )
    assert line_of(a_pipe(3, 0, 1000), 1.0) == "bp-x: 3 records, 0 %, 0 kB/s"


def test_a_pipe_tells_its_speed() -> None:
    pipe = a_pipe(30, 24_000, dropped=2, rejected=1)
    assert line_of(pipe, 2.0) == "bp-x: 30 records, 12 kB/s, 2 dropped, 1 rejected"


def test_work_tells_more_than_bytes() -> None:
    pipe = a_pipe(1200, 10, 100)
    assert line_of(pipe, 2.0, (0.48, "8,120 tokens/s"), 12.9) == (
        "bp-x: 1,200 records, 48 %, 8,120 tokens/s, 0:13 left"
    )
    assert line_of(pipe, 2.0, (None, "loading the model")) == "bp-x: 1,200 records, loading the model"


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Bars that are not drawn, and a clock that is set."""
    now = [100.0]
    monkeypatch.setattr("bptools.core.progress.Bar", lambda text: SimpleNamespace(stop=lambda: None))
    monkeypatch.setattr("bptools.core.progress.time", SimpleNamespace(monotonic=lambda: now[0]))

    def at(seconds: float) -> None:
        now[0] = 100.0 + seconds

    return at


def test_the_time_left_counts_from_the_first_work_done(still: Callable[[float], None]) -> None:
    pipe = Pipeline("bp-x", PipelineSettings(sources=[os.devnull], output=os.devnull))
    progress = Progress(pipe)
    assert progress.text() == "bp-x: 0 records"
    said: list[tuple[float | None, str]] = [(None, "loading"), (0.0, "8 tokens/s"), (0.2, ""), (0.6, "8 tokens/s")]  # fmt: skip
    pipe.work = lambda: said[0]
    assert progress.text() == "bp-x: loading"
    still(50)
    del said[0]
    assert progress.text() == "bp-x: 0 %, 8 tokens/s"
    del said[0]
    assert progress.text() == "bp-x: 20 %"
    still(60)
    del said[0]
    assert progress.text() == "bp-x: 60 %, 8 tokens/s, 0:10 left"
    pipe.resources.close()


@pytest.mark.parametrize("name, value", [("TERM", "dumb"), ("NO_COLOR", "1")])
def test_nothing_starts_where_nothing_is_wanted(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(name, value)
    assert start_progress(a_pipe()) is None


def test_a_line_is_cut_to_the_columns() -> None:
    assert cut("bp-x: 12", 4) == "bp-x"
    assert cut("日本語", 4) == "日本"
    assert cut("日本語", 5) == "日本"
    assert cut("e\u0301e\u0301e", 2) == "e\u0301e\u0301"
    assert cut("ä", 4) == "ä"


@pytest.mark.parametrize(
    ("rows", "shown"),
    [(24, [b"a", b"b", b"c"]), (5, [b"a", b"b", b"c"]), (4, [b"a", b"... and 2 more"]), (3, [b"a"]), (1, [b"a"])],
)  # fmt: skip
def test_a_picture_leaves_room_for_what_was_printed_last(rows: int, shown: list[bytes]) -> None:
    drawn = picture(["a", "b", "c"], 80, rows)
    assert re.findall(rb"\x1b\[K([^\x1b\r\n]+)", drawn) == shown
    assert drawn.endswith(b"\r\x1b[%dA\x1b[?7h" % len(shown)) and drawn.count(b"\n") == len(shown)


def stage(pid: int, line: str, reads: int = 0, writes: int = 0) -> Stage:
    made = Stage(pid)
    made.line, made.reads, made.writes = line, reads, writes
    return made


def test_bars_stand_in_the_order_of_the_pipe() -> None:
    # numbers of processes started again at 2; a jq between b and c; d to f are of a pipe that started later
    stages = [
        stage(9, "a", 0, 11), stage(2, "b", 11, 12), stage(3, "c", 13, 0), stage(6, "d", 0, 21),
        stage(5, "f", 22, 0), stage(7, "e", 21, 22),
    ]  # fmt: skip
    assert "".join(each.line for each in in_pipe_order(stages)) == "cdefab"
    assert "".join(each.line for each in in_pipe_order([stage(2, "b", 1, 2), stage(1, "a", 2, 1)])) == "ab"


def test_what_a_process_says_is_heard() -> None:
    heard = Stage(1)
    heard.hear(spoken("bp-x: 3 records"))
    assert heard.line == "bp-x: 3 records"
    heard.hear(b"short")
    assert heard.line == "bp-x: 3 records"


# several processes on one terminal


def run(*words: object) -> str:
    """Return the shell's line for a process with a bar: name, seconds before it is drawn, [seconds, text]..."""
    return '"$PYTHON" -c "$STAGE" ' + shlex.join(map(str, words))


def together(*stages: Sequence[object], tail: str = "wait") -> str:
    """Return the line that starts several at once."""
    return " & ".join([*(run(*words) for words in stages), tail])


class Screen:
    """What a terminal of 24 rows was sent, and what it shows then: as much of a terminal as bars need."""

    def __init__(self, line: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PYTHON=sys.executable, STAGE=STAGE, TERM="xterm", PYTHONPATH=str(ROOT))
            os.environ.pop("NO_COLOR", None)
            os.execvp("bash", ["bash", "-c", line])
        self.sent = b""

    def read_until(self, wanted: bytes | None = None, seconds: float = 10) -> bytes:
        """Read until that was sent, or to the end."""
        end = time.monotonic() + seconds
        while wanted is None or wanted not in self.sent:
            assert time.monotonic() < end, self.sent
            try:
                piece = os.read(self._fd, 65536)
            except OSError:  # Linux ends a pseudo-terminal with EIO
                piece = b""
            if not piece:
                assert wanted is None, self.sent
                os.close(self._fd)
                os.waitpid(self.pid, 0)
                break
            self.sent += piece
        return self.sent

    def rows(self) -> list[str]:
        """Return the rows that what was sent makes, to the last that is not empty."""
        rows = [""]
        row = column = 0
        for piece in re.findall(rb"\x1b\[[?\d]*[A-Zhl]|[\r\n]|[^\x1b\r\n]+", self.sent):
            number = int(piece[2:-1] or 1) if piece[-1:] in b"AC" and piece[:1] == b"\x1b" else 0
            if piece.startswith(b"\x1b[?7"):
                continue  # nothing here is as wide as the terminal
            if piece == b"\r":
                column = 0
            elif piece == b"\n":
                row += 1
                rows += [""] * (row + 1 - len(rows))
            elif piece.endswith(b"A") and number:
                row -= number
            elif piece.endswith(b"C") and number:
                column += number
            elif piece == b"\x1b[J":
                rows[row:] = [rows[row][:column]]
            elif piece == b"\x1b[K":
                rows[row] = rows[row][:column]
            else:
                text = piece.decode()
                rows[row] = rows[row].ljust(column)[:column] + text + rows[row][column + len(text) :]
                column += len(text)
        while rows and not rows[-1].strip():
            rows.pop()
        return rows


@pytest.mark.slow
def test_bars_of_several_processes_stack_and_end_in_their_last_lines() -> None:
    screen = Screen(
        together(["bp-a", 0.1, 1.0, "done"], ["bp-b", 0.2, 1.4, "done"], ["bp-c", 0.3, 1.8, "done"])
    )
    screen.read_until(b"bp-a: working\r\n\r\x1b[Kbp-b: working\r\n\r\x1b[Kbp-c: working\x1b[J\r\x1b[3A")
    assert screen.rows() == ["", "bp-a: working", "bp-b: working", "bp-c: working"]
    screen.read_until(b"bp-a: 1 in, 1 out\r\n")
    screen.read_until(b"bp-b: done\r\n")
    screen.read_until()
    expected = [f"bp-{name}: {text}" for name in "abc" for text in ("done", "1 in, 1 out")]
    assert screen.rows() == expected
    after = screen.sent.split(b"bp-a: 1 in, 1 out\r\n")[1]
    assert b"bp-b: working\r\n\r\x1b[Kbp-c: working" in after and b"bp-a: working" not in after


def test_a_process_that_is_killed_takes_its_bar_along() -> None:
    screen = Screen(together(["bp-a", 0.1, 9, "x"], ["bp-b", 0.5, 9, "x"], ["bp-c", 0.7, 9, "x"]))
    both = b"Kbp-a: working\r\n\r\x1b[Kbp-b: working\r\n\r\x1b[Kbp-c: working\x1b[J"
    screen.read_until(both)
    pids = sorted(int(pid) for pid in children(screen.pid))
    os.kill(pids[1], signal.SIGKILL)
    begun = time.monotonic()
    screen.sent = b""
    screen.read_until(b"Kbp-a: working\r\n\r\x1b[Kbp-c: working\x1b[J")
    os.kill(pids[0], signal.SIGKILL)  # the one that draws
    screen.read_until(b"\r\x1b[K\r\n\r\x1b[Kbp-c: working\x1b[J\r\x1b[1A")
    assert time.monotonic() - begun < 5
    assert screen.rows()[-2:] == ["", "bp-c: working"]  # above it, bash says who was killed
    assert sum(row.endswith(": working") for row in screen.rows()) == 1
    os.kill(pids[2], signal.SIGKILL)
    screen.read_until()
    assert not re.search(rf"@bptools-bars-{screen.pid}-", Path("/proc/net/unix").read_text())


def children(pid: int) -> list[str]:
    done = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.slow
def test_a_forked_child_holds_no_bar() -> None:
    screen = Screen(together(["bp-a", 0.1, 0.5, "fork", 1.0, "silence"], ["bp-b", 0.3, 2.0, "done"]))
    screen.read_until(b"Kbp-a: working\r\n\r\x1b[Kbp-b: working")
    screen.read_until(b"\r\x1b[K\r\n\r\x1b[Kbp-b: working\x1b[J\r\x1b[1A", 2.5)  # the child lives for 3 s
    os.killpg(screen.pid, signal.SIGKILL)
    screen.read_until()


def test_messages_stay_whole_and_in_order_whoever_draws() -> None:
    many = [word for number in range(300) for word in (0.6 + number / 1000, f"message {number}")]
    screen = Screen(together(["bp-a", 0.1, *many], ["bp-b", 0.2, *many], ["bp-c", 0.15, 0.7, "done"]))
    screen.read_until()
    shown = screen.rows()
    for name in ("bp-a", "bp-b"):
        own = [row for row in shown if row.startswith(name)]
        assert own == [f"{name}: message {number}" for number in range(300)] + [f"{name}: 1 in, 1 out"]
    assert len(shown) == 604


@pytest.mark.slow
def test_a_line_of_another_program_stays_whole() -> None:
    screen = Screen(together(["bp-a", 0.1, 1.5, "done"], tail="sleep 0.8; echo 'jq: error: odd' >&2; wait"))
    screen.read_until()
    assert screen.rows() == ["jq: error: odd", "bp-a: done", "bp-a: 1 in, 1 out"]


def test_a_terminal_in_raw_mode_is_left_alone() -> None:
    screen = Screen("stty -icanon <&2; " + run("bp-a", 0.1, 0.8, "done"))
    assert b"\x1b" not in screen.read_until() and b"bp-a: done" in screen.sent


def test_no_bar_in_the_background() -> None:
    screen = Screen("set -m; " + run("bp-a", 0.1, 0.8, "done") + "& wait")
    assert b"\x1b" not in screen.read_until() and b"bp-a: done" in screen.sent


@pytest.mark.slow
def test_a_stopped_process_leaves_no_bar_behind() -> None:
    screen = Screen(together(["bp-a", 0.1, 1.5, "done"]))
    screen.read_until(b"bp-a: working")
    (pid,) = children(screen.pid)
    os.kill(int(pid), signal.SIGTSTP)
    screen.read_until(b"\x1b[C\x1b[J\r\x1b[K")
    assert screen.rows() == []
    os.kill(int(pid), signal.SIGCONT)
    screen.sent = b""
    screen.read_until(b"bp-a: working")
    screen.read_until()
    assert screen.rows() == ["bp-a: done", "bp-a: 1 in, 1 out"]
