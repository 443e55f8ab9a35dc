"""SIGTERM and SIGINT in the child: finish the step, save, and leave; the second one leaves at once."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
    """Whether somebody asked the training to stop; `signal` is by which signal."""

    def __init__(self) -> None:
        self.signal = 0
        self.steps_running = False  # before the first step there is nothing to save
        self.ended = False  # the result is there: a signal comes too late

    def install(self) -> None:
        """Catch the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.ended:
            return
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        if not self.steps_running:
            raise SystemExit(128 + number)
