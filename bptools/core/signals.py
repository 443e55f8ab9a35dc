"""SIGTERM, SIGINT and SIGHUP as exceptions, so that temporaries are removed; a later one ends at once.

One wish may come as several signals: a terminal that closes hangs up twice, once by the system and once by
the shell, and what is sent to a process group is often sent to its leader too. So what follows the first
within a moment is the same wish.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

SAME_WISH = 1.0  # seconds

_first: list[float] = []  # when the wish came that is being met


class Terminated(BaseException):
    """SIGTERM or SIGHUP: clean up as for any failure, then exit 143 or 129."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def catch_signals() -> None:
    """Raise Terminated or KeyboardInterrupt for a signal, but for those that whoever started this ignores."""
    _first.clear()
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _asked)
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, _asked)


def wish_is_met() -> None:
    """Say that what a signal asked for was done, and that this goes on: the next one is a first one."""
    _first.clear()


def _asked(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if not _first:
        _first.append(now)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise Terminated(number)
    if now - _first[0] > SAME_WISH:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
