"""A progress line on a terminal's stderr, after one second, redrawn by a thread: the loop pays nothing."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from bptools.core.messages import write_stderr

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline

FIRST_SECONDS = 1.0
EVERY_SECONDS = 0.2
HEAD_START_SECONDS = 0.3  # the stage that reads a file knows the percentage: it comes first
CLEAR_LINE = b"\r\x1b[K"


class Progress:
    """Redraws one line from the pipeline's counts until it is stopped; then the line is gone."""

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe
        self._turn: socket.socket | None = None  # held while we draw: one bar per pipe of commands
        self._done = threading.Event()
        self._drawn = False
        self._thread = threading.Thread(target=self._draw, daemon=True)
        self._started = time.monotonic()
        pipe.messages.before_line = CLEAR_LINE  # the bar on this terminal may also be a neighbour's
        self._thread.start()

    def _draw(self) -> None:
        if self._done.wait(FIRST_SECONDS):
            return
        opened = self._pipe.intake.input
        if (opened is None or not opened.file.size) and self._done.wait(HEAD_START_SECONDS):
            return
        self._turn = take_turn()
        if self._turn is None:
            return
        while True:
            width = shutil.get_terminal_size().columns
            text = progress_text(self._pipe, time.monotonic() - self._started)
            write_stderr(CLEAR_LINE + text[: width - 1].encode("utf-8", "replace"))
            self._drawn = True
            if self._done.wait(EVERY_SECONDS):
                return

    def stop(self) -> None:
        """Stop drawing and clear the line."""
        self._done.set()
        self._thread.join()
        if self._drawn:
            write_stderr(CLEAR_LINE)
        if self._turn is not None:
            self._turn.close()


def take_turn() -> socket.socket | None:
    """Return what is held while drawing, or None when another command of our pipe draws.

    Commands of one pipe share a process group; the abstract socket is the group's, and dies with its holder.
    """
    if sys.platform != "linux":  # no abstract sockets: the last stage draws, if it prints on the terminal
        return socket.socket() if os.isatty(1) else None
    turn = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        turn.bind(f"\0bptools-progress-{os.getpgrp()}")
    except OSError:
        turn.close()
        return None
    return turn


def progress_text(pipe: Pipeline, seconds: float) -> str:
    """Return `bp-x: 1,200,000 records, 48 %, 410 MB/s, 0:12 left`."""
    counts = pipe.counts
    parts = [f"{counts.read:,} records"]
    opened = pipe.intake.input
    if opened is not None:
        done = opened.file.bytes_read
        rate = done / max(seconds, 1e-9)
        if opened.file.size:
            parts.append(f"{100 * done // opened.file.size} %")
        parts.append(f"{rate / 1e6:.0f} MB/s")
        if opened.file.size and rate > 0:
            left = int((opened.file.size - done) / rate)
            parts.append(f"{left // 60}:{left % 60:02d} left")
    if counts.dropped:
        parts.append(f"{counts.dropped:,} dropped")
    if counts.rejected:
        parts.append(f"{counts.rejected:,} rejected")
    return f"{pipe.command}: " + ", ".join(parts)


def start_progress(pipe: Pipeline) -> Progress | None:
    """Start drawing where the terminal can take it and nobody is typing the input."""
    if os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("NO_COLOR"):
        return None
    typed = os.isatty(0) and pipe.settings.sources in ([], ["-"])
    return None if typed else Progress(pipe)
