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
CLEAR_LINE = b"\r\x1b[K"


class Progress:
    """Redraws one line from the pipeline's counts until it is stopped; then the line is gone."""

    def __init__(self, pipe: Pipeline, turn: socket.socket | None) -> None:
        self._pipe = pipe
        self._turn = turn  # held while we draw: one bar per pipe of commands
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)
        self._started = time.monotonic()
        self._thread.start()

    def _draw(self) -> None:
        wait = FIRST_SECONDS
        while not self._done.wait(wait):
            wait = EVERY_SECONDS
            self._pipe.messages.before_line = CLEAR_LINE
            width = shutil.get_terminal_size().columns
            text = progress_text(self._pipe, time.monotonic() - self._started)
            write_stderr(CLEAR_LINE + text[: width - 1].encode("utf-8", "replace"))

    def stop(self) -> None:
        """Stop drawing and clear the line."""
        self._done.set()
        self._thread.join()
        if self._pipe.messages.before_line:
            write_stderr(CLEAR_LINE)
            self._pipe.messages.before_line = b""
        if self._turn is not None:
            self._turn.close()


def progress_text(pipe: Pipeline, seconds: float) -> str:
    """Return `bp-x: 1,200,000 records, 48 %, 410 MB/s, 0:12 left`."""
    counts = pipe.counts
    parts = [f"{counts.read:,} records"]
    opened = pipe.input
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
    """Start drawing, if this command is the one of its pipe that draws and the terminal can take it."""
    if os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("NO_COLOR"):
        return None
    turn: socket.socket | None = None
    if sys.platform == "linux":
        # commands of one pipe share a process group; the abstract socket is the group's and dies with us
        turn = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            turn.bind(f"\0bptools-progress-{os.getpgrp()}")
        except OSError:
            turn.close()
            return None
    elif not os.isatty(1):
        return None
    return Progress(pipe, turn)
