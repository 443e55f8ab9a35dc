"""SIGTERM, SIGINT and SIGHUP in the child: finish the step, save, and leave; a later one leaves at once.

One to a whole process group, as systemd, scancel and a terminal send it, comes twice: from there, and from
the parent that it reached too.
"""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

from bptools.core.signals import SAME_WISH


class Stop:
    """Whether somebody asked the training to stop; `signal` is by which signal."""

    def __init__(self) -> None:
        self.signal = 0
        self._since = 0.0  # when it was asked for
        self.steps_running = False  # before the first step there is nothing to save
        self.ended = False  # the result is there: a signal comes too late

    def install(self) -> None:
        """Catch the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)
        hangup = getattr(signal, "SIGHUP", None)  # Windows has none
        if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:  # as nohup leaves it
            signal.signal(hangup, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.ended:
            return
        now = time.monotonic()
        if self.signal:
            if now - self._since > SAME_WISH:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        self.signal, self._since = number, now
        if not self.steps_running:
            raise SystemExit(128 + number)
