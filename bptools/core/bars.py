"""The progress bars of a pipe of commands, stacked on their terminal: a line for each, drawn by one of them.

    bar = Bar(lambda: "bp-x: 1,200 records")
    ...
    bar.stop()

The process that draws is the one that listens on an abstract socket named after the process group and the
terminal; the others connect and send it their line five times a second. A connection that ends is a command
that ended, however it did; when the one that drew is gone, the others learn of it at once and another
listens. Nothing lies on disk.

The bars hang below the cursor, which waits in an empty row above them. So whoever prints erases what is
below and prints where the cursor is, in one write, and no process has to know what others have drawn; a line
of a program that knows nothing of bars takes the empty row, and the next picture hangs below it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

from bptools.core import messages
from bptools.core.messages import printable, write_stderr
from bptools.core.progress_picture import ERASE, SPOKEN_BYTES, Stage, in_pipe_order, picture, pipe_at, spoken
from bptools.core.progress_sockets import close, connect, join, kept, peer, ready

FIRST_SECONDS = 1.0
HEAD_START_SECONDS = 0.1  # of a pipe's last command: it stays longest, and need not hand over
EVERY_SECONDS = 0.2
_AGAIN_SECONDS = 0.02  # between two pictures, and before the first: the others' lines are on their way
_writing = threading.Lock()  # held while a picture is drawn: a process that stops draws no more
_drawing = False  # whether it is this process that draws


class Bar:
    """A line on the terminal that `text` is asked for, by a thread, until it is stopped."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        self._line = ""
        self._shown = False
        self._over = False
        self._stop, self._stopped = kept(*socket.socketpair())
        self._thread = threading.Thread(target=self._work, daemon=True)
        messages.above_bars = write_above
        _catch_suspension()
        self._thread.start()

    def stop(self) -> None:
        """Take the line away. Other commands' lines stay."""
        if self._over:
            return
        self._over = True
        close(self._stop)  # which the thread sees on the other end
        self._thread.join()
        close(self._stopped)
        if self._shown:
            write_above(b"")

    def _work(self) -> None:
        self._wait(FIRST_SECONDS + (HEAD_START_SECONDS if pipe_at(1) else 0))
        with contextlib.suppress(OSError):  # no bar is better than no command
            while not self._over:
                listener, connection = join()
                self._shown = self._shown or listener is not None or connection is not None
                if listener is not None:
                    _Picture(self, listener).draw()
                elif connection is not None:
                    self._report(connection)
                else:
                    self._wait(_AGAIN_SECONDS)

    def _wait(self, seconds: float) -> None:
        ready([self._stopped], seconds)

    def _report(self, connection: socket.socket) -> None:
        """Send the line to the one that draws, until it or we are gone."""
        try:
            while not self._over:
                with contextlib.suppress(BlockingIOError):  # it has no time for us: the next line will do
                    connection.send(spoken(self.line()))
                if connection in ready([self._stopped, connection], EVERY_SECONDS):
                    return  # nothing is ever sent to us: this is the end
        except OSError:
            return
        finally:
            close(connection)

    @property
    def stopped(self) -> socket.socket:
        """What can be read when the bar is to stop."""
        return self._stopped

    def line(self) -> str:
        """Return what is to be shown now."""
        with contextlib.suppress(Exception):  # counts may change, and what is read be closed, as we look
            self._line = printable(self._text())
        return self._line


class _Picture:
    """All bars of a pipe, drawn by the process that listens."""

    def __init__(self, bar: Bar, listener: socket.socket) -> None:
        self._bar = bar
        self._listener = listener
        self._others: dict[socket.socket, Stage] = {}

    def draw(self) -> None:
        """Draw until the bar is stopped."""
        global _drawing
        drawn = time.monotonic()
        due = drawn + _AGAIN_SECONDS
        soon = False  # nothing else is listened to: a thousand messages a second are not answered one by one
        _drawing = True
        try:
            while True:
                heard = [] if soon else [self._listener, *self._others]
                came = ready([self._bar.stopped, *heard], due - time.monotonic())
                if self._bar.stopped in came:
                    return
                if sum(self._heard(source) for source in came):
                    due, soon = min(due, drawn + _AGAIN_SECONDS), True
                if time.monotonic() >= due:
                    self._show()
                    drawn = time.monotonic()
                    due, soon = drawn + EVERY_SECONDS, False
        finally:
            _drawing = False
            if _drawable():
                write_stderr(ERASE)
            close(self._listener, *self._others)  # and another draws

    def _heard(self, source: socket.socket) -> bool:
        """Take in what came; return whether to draw at once: a command came, went or printed something."""
        if source is self._listener:
            with contextlib.suppress(OSError):  # nobody else is there, or no descriptor is left
                while True:
                    connection, _ = source.accept()
                    connection.setblocking(False)
                    pid, uid, _ = peer(connection)
                    if uid == os.geteuid():
                        self._others[kept(connection)[0]] = Stage(pid)
                    else:
                        connection.close()
            return True
        try:
            while said := source.recv(SPOKEN_BYTES):
                self._others[source].hear(said)
        except BlockingIOError:
            return False
        except OSError:
            pass
        close(source)
        return bool(self._others.pop(source).line)

    def _show(self) -> None:
        if not _drawable():
            return
        ours = Stage(os.getpid())
        ours.hear(spoken(self._bar.line()))
        stages = [stage for stage in (ours, *self._others.values()) if stage.line]
        columns, rows = _size()
        with _writing:
            write_stderr(picture([stage.line for stage in in_pipe_order(stages)], columns, rows))


def write_above(line: bytes) -> None:
    """Write a line to stderr above whatever bars there are, and have them drawn again at once."""
    write_stderr(ERASE + line if _drawable() else line)
    connection = connect()
    if connection is not None:
        close(connection)  # that somebody came says enough


def _drawable() -> bool:
    """Say whether we are in the terminal's foreground, and no pager or editor has taken it over."""
    import termios

    try:
        if os.tcgetpgrp(2) != os.getpgrp():
            return False
    except OSError:  # no terminal that controls us: nobody else is in its foreground
        pass
    try:
        return bool(termios.tcgetattr(2)[3] & termios.ICANON)
    except termios.error:
        return False


def _size() -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(2)  # not shutil's, which asks stdout
    except OSError:
        columns = rows = 0
    return columns or 80, rows or 24


# Ctrl-Z


def _catch_suspension() -> None:
    """Have the bars erased before a Ctrl-Z stops us: the shell's prompt comes where they are."""
    ours = threading.current_thread() is threading.main_thread()
    if ours and signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:
        signal.signal(signal.SIGTSTP, _suspend)


def _suspend(number: int, frame: FrameType | None) -> None:
    held = _writing.acquire(timeout=EVERY_SECONDS)
    try:
        if _drawing:
            write_stderr(ERASE)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stopped here, until there is a SIGCONT
        signal.signal(number, _suspend)
    finally:
        if held:
            _writing.release()
