"""A data command's progress on a terminal's stderr, drawn by a thread: the loop pays nothing.

bp-chatml: 120,000 records, 48 %, 410 MB/s, 0:12 left
bp-filter: 118,400 records, 395 MB/s, 1,600 dropped
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from bptools.core.bars import Bar
from bptools.core.sizes import shown_time

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline


class Progress:
    """Shows a pipeline's counts until it is stopped; then the line is gone."""

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe
        self._started = time.monotonic()
        self._begun: tuple[float, float] | None = None  # seconds and share done when work was first seen
        self._bar = Bar(self.text)
        pipe.resources.callback(self._bar.stop)

    def text(self) -> str:
        """Return what is to be shown now."""
        seconds = time.monotonic() - self._started
        if self._pipe.work is None:
            return progress_text(self._pipe, seconds)
        share, words = self._pipe.work()
        if share is None:
            return progress_text(self._pipe, seconds, (None, words))
        if self._begun is None and share > 0:
            self._begun = (seconds, share)
        since, done = self._begun or (0.0, 0.0)
        left = (seconds - since) / (share - done) * (1 - share) if share > done else None
        return progress_text(self._pipe, seconds, (share, words), left)

    def stop(self) -> None:
        """Stop drawing and take the line away."""
        self._bar.stop()


def progress_text(
    pipe: Pipeline,
    seconds: float,
    work: tuple[float | None, str] | None = None,
    left: float | None = None,
) -> str:
    """Return `bp-x: 1,200,000 records, 48 %, 410 MB/s, 0:12 left` of what was read in that many seconds.

    work: the share done and words that speak of it, in place of what the input says; left: seconds then.
    """
    counts = pipe.counts
    share, rate = (None, "")
    if work is not None:
        share, rate = work
    elif (opened := pipe.intake.input) is not None:
        done, size = opened.file.bytes_read, opened.file.size
        speed = done / max(seconds, 1e-9)
        rate = f"{speed / 1e6:.0f} MB/s" if speed >= 1e6 else f"{speed / 1e3:.0f} kB/s"
        if size:
            share = done / size
            left = seconds * (size - done) / done if done else None
    parts = [f"{counts.read:,} records"] if work is None or counts.read else []
    if share is not None:
        parts.append(f"{int(100 * min(1.0, max(0.0, share)))} %")
    if rate:
        parts.append(rate)
    if left is not None:
        parts.append(f"{shown_time(left)} left")
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
    try:
        return None if typed else Progress(pipe)
    except OSError:  # no descriptor is left: the command shall say so, if it needs one
        return None
