"""A folder for records that have no run yet: nobody else touches it while its process lives.

The records come from a pipe of hours, maybe, and only when all of them are read does the run have a name.
Folders of processes that died are removed by the next one that needs its own: a lock inside tells them apart.
"""

from __future__ import annotations

import contextlib
import os
import shutil

from bptools.core.errors import Busy, OutputError
from bptools.core.locks import Lock, take_lock
from bptools.core.streams import reason_of
from bptools.training.run_directory import INCOMING, LOCK

PREFIX = ".incoming-"
_TRIES = 100  # each is lost only to a process that looks around in the very moment between two calls


class Incoming:
    """A folder that is locked until `remove`; keep it, for the lock goes with it."""

    def __init__(self, path: str, lock: Lock) -> None:
        self.path = path
        self.above: list[str] = []  # folders that were made for it, the innermost first
        self._lock = lock

    def remove(self) -> None:
        """Remove the folder and what is left in it; its lock is held until it is gone."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
        for folder in (self.path, *self.above):
            with contextlib.suppress(OSError):  # a run is there now, or Windows has the file open still
                os.rmdir(folder)


def make_incoming(parent: str, wanted: str | None = None) -> Incoming:
    """Make a locked folder in `parent`, and remove those that dead processes left. Raises OutputError.

    wanted: what is to be made in the end, for messages.
    """
    above = _missing(parent)
    try:
        os.makedirs(parent, exist_ok=True)
        for name in os.listdir(parent):
            if INCOMING.fullmatch(name):
                _remove_if_dead(os.path.join(parent, name))
        for _ in range(_TRIES):
            os.makedirs(parent, exist_ok=True)  # one that ended may have taken it along
            made = _claim(os.path.join(parent, f"{PREFIX}{os.getpid()}-{os.urandom(3).hex()}"))
            if made is not None:
                made.above = above
                return made
    except OSError as error:
        raise OutputError(f"cannot create '{wanted or parent}': {reason_of(error)}") from None
    raise OutputError(f"cannot create a folder in '{parent}': other processes remove it at once")


def _missing(folder: str) -> list[str]:
    """Return a folder and those above it, as far as they are not there."""
    missing = []
    folder = os.path.abspath(folder)
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    return missing


def _claim(folder: str) -> Incoming | None:
    """Make and lock a folder; None where another process took it for dead before it was locked."""
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        return None
    try:
        lock = take_lock(os.path.join(folder, LOCK), None, f"'{folder}'")
    except Busy:
        return None
    except OutputError:
        if not os.path.isdir(folder):
            return None
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if os.path.exists(os.path.join(folder, LOCK)):
        return Incoming(folder, lock)
    lock.release()  # of a file that was removed while it was waited for
    return None


def _remove_if_dead(folder: str) -> None:
    """Remove a folder whose owner died; one without a lock only if nothing is in it."""
    if not os.path.isfile(os.path.join(folder, LOCK)):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
        return
    try:
        lock = take_lock(os.path.join(folder, LOCK), None, f"'{folder}'")
    except (Busy, OutputError):
        return
    Incoming(folder, lock).remove()
