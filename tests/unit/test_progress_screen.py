"""The bars of real pipes on a real terminal: what tmux shows of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.golden import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux"),
]

# records at some pace, and now and then a line that is none
FEED = """
import json, sys, time
count, bad = int(sys.argv[1]), int(sys.argv[2])
for number in range(1, count + 1):
    turns = [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": f"{number}"}]
    print("{oops" if bad and number % bad == 0 else json.dumps({"messages": turns}), flush=True)
    time.sleep(0.02)
"""
STAGES = (
    "bp-chatml --max-rejects 9 --line-buffered | bp-filter --line-buffered | bp-dedup --line-buffered > out"
)
REJECT = "bp-chatml: <stdin>:{}: invalid-json: unexpected character, expected a string key at byte 2"


class Terminal:
    """A terminal with a shell."""

    def __init__(self, folder: Path) -> None:
        self._socket = str(folder / "tmux")
        self._folder = folder
        (folder / "feed.py").write_text(FEED)
        self.shells = 0

    def tmux(self, *words: str) -> str:
        """Give tmux a command; return what it says."""
        env = {**environment(str(self._folder)), "PS1": "$ ", "TERM": "screen"}
        words = ("tmux", "-S", self._socket, "-f", os.devnull, *words)
        done = subprocess.run(words, env=env, cwd=self._folder, capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def open(self, columns: int = 100, rows: int = 20) -> None:
        """Open a terminal of that size, the first or one more."""
        size = ("-x", str(columns), "-y", str(rows))
        self.tmux("new-session", "-d", *size, "-s", f"s{self.shells}", "env PS1='$ ' bash --norc --noprofile")
        self.wait_for(bool, self.shells)
        self.shells += 1

    def type(self, line: str, shell: int = 0) -> None:
        """Type a line."""
        self.tmux("send-keys", "-t", f"s{shell}", "-l", line)
        self.tmux("send-keys", "-t", f"s{shell}", "Enter")

    def key(self, name: str) -> None:
        """Press a key such as C-z."""
        self.tmux("send-keys", "-t", "s0", name)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self.tmux("resize-window", "-t", "s0", "-x", str(columns), "-y", str(rows))

    def shown(self, shell: int = 0, history: bool = False) -> list[str]:
        """Return the rows on the screen, or all that were."""
        start = ("-S", "-") if history else ()
        text = self.tmux("capture-pane", "-p", *start, "-t", f"s{shell}")
        return [row.rstrip() for row in text.rstrip("\n").split("\n")]

    def wait_for(self, want: Callable[[list[str]], bool], shell: int = 0, seconds: float = 15) -> list[str]:
        """Return the rows as soon as they are as wanted."""
        end = time.monotonic() + seconds
        while not want(rows := self.shown(shell)):
            assert time.monotonic() < end, "\n".join(rows)
            time.sleep(0.03)
        return rows

    def pid(self, name: str) -> int:
        """Return the process of a command here."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                here = os.readlink(entry / "cwd") == str(self._folder)
            except OSError:
                continue
            if here and any(os.path.basename(word) == name.encode() for word in words[:2]):
                return int(entry.name)
        raise LookupError(name)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    yield opened
    opened.tmux("kill-server")


def bars(rows: list[str], *names: str) -> bool:
    """Say whether the rows end in an empty one and those commands' bars."""
    last = rows[-len(names) - 1 :]
    return (
        len(last) == len(names) + 1
        and last[0] == ""
        and all(row.startswith(f"{name}: ") and " records" in row for name, row in zip(names, last[1:]))
    )


ALL = ("bp-chatml", "bp-filter", "bp-dedup")


def test_a_pipe_from_its_first_bar_to_its_last_lines(terminal: Terminal) -> None:
    terminal.open()
    terminal.type(f"clear; python3 feed.py 180 70 | {STAGES}; echo $?")
    rows = terminal.wait_for(lambda rows: REJECT.format(140) in rows and bars(rows, *ALL))
    assert rows[:2] == [REJECT.format(70), REJECT.format(140)] and len(rows) == 6
    terminal.wait_for(lambda rows: "bp-chatml: 180 in, 178 out, 0 dropped, 2 rejected" in rows)
    rows = terminal.wait_for(lambda rows: "0" in rows)
    assert terminal.shown(history=True)[:6] == [
        REJECT.format(70),
        REJECT.format(140),
        "bp-chatml: 180 in, 178 out, 0 dropped, 2 rejected",
        "bp-filter: 178 in, 178 out, 0 dropped, 0 rejected",
        "bp-dedup: 178 in, 178 out, 0 dropped, 0 rejected",
        "0",
    ]


def test_other_sizes_leave_nothing_behind(terminal: Terminal) -> None:
    terminal.open()
    # on a full screen: from one whose lower half is empty, tmux moves the cursor's row into its history
    terminal.type(f"clear; seq 40; python3 feed.py 260 60 | {STAGES}; echo $?")
    terminal.wait_for(lambda rows: REJECT.format(60) in rows and bars(rows, *ALL))
    terminal.resize(24, 20)
    rows = terminal.wait_for(lambda rows: bars(rows, *ALL) and all(len(row) < 24 for row in rows[-3:]))
    assert [row[:9] for row in rows].count("bp-filter") == 1
    terminal.resize(24, 4)
    terminal.wait_for(lambda rows: rows[-1] == "... and 2 more" and rows[-2].startswith("bp-chatml: "))
    terminal.resize(100, 20)
    terminal.wait_for(lambda rows: bars(rows, *ALL))
    terminal.wait_for(lambda rows: "0" in rows)
    rows = [row for row in terminal.shown(history=True) if row]
    assert rows[rows.index("40") + 1 : -1] == [
        *(REJECT.format(number) for number in (60, 120, 180, 240)),
        "bp-chatml: 260 in, 256 out, 0 dropped, 4 rejected",
        "bp-filter: 256 in, 256 out, 0 dropped, 0 rejected",
        "bp-dedup: 256 in, 256 out, 0 dropped, 0 rejected",
        "0",
    ]


def test_killed_and_stopped_stages_leave_nothing_behind(terminal: Terminal) -> None:
    terminal.open()
    terminal.type(f"clear; python3 feed.py 400 0 | {STAGES}")
    terminal.wait_for(lambda rows: bars(rows, *ALL))
    terminal.key("C-z")
    rows = terminal.wait_for(lambda rows: "Stopped" in "".join(rows) and rows[-1] == "$")
    assert not any(" records" in row for row in rows)
    terminal.type("fg")
    terminal.wait_for(lambda rows: bars(rows, *ALL))
    os.kill(terminal.pid("bp-dedup"), signal.SIGKILL)
    terminal.wait_for(lambda rows: bars(rows, "bp-chatml", "bp-filter") or "Killed" in "".join(rows))
    rows = terminal.wait_for(lambda rows: rows[-1] == "$")
    assert not any(" records" in row for row in rows)


def test_other_programs_and_other_terminals(terminal: Terminal) -> None:
    terminal.open()
    terminal.open()
    odd = 'awk \'{print; fflush()} NR == 90 {print "awk: odd" > "/dev/stderr"}\''
    terminal.type(f"clear; python3 feed.py 180 0 | bp-chatml --line-buffered | {odd} | bp-dedup > out")
    terminal.type("clear; python3 feed.py 180 0 | bp-filter -q | cat | bp-filter > out2", shell=1)
    terminal.wait_for(lambda rows: bars(rows, "bp-chatml", "bp-dedup"))
    terminal.wait_for(lambda rows: bars(rows, "bp-filter") and len(rows) == 2, shell=1)
    rows = terminal.wait_for(lambda rows: rows[-1] == "$")
    assert sorted(rows) == [
        "$",
        "awk: odd",
        "bp-chatml: 180 in, 180 out, 0 dropped, 0 rejected",
        "bp-dedup: 180 in, 180 out, 0 dropped, 0 rejected",
    ]
    rows = terminal.wait_for(lambda rows: rows[-1] == "$", shell=1)
    assert rows == ["bp-filter: 180 in, 180 out, 0 dropped, 0 rejected", "$"]
