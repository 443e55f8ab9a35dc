"""One run at a time in a place that lasts: a lock that ends with its process, however that ends.

    lock = take_lock(os.path.join(path, ".lock"), wait=60.0, what=f"the index '{path}'")
    try:
        ...
    finally:
        lock.release()

The lock is the system's (flock, LockFileEx), not the file, which stays behind empty: kill -9 leaves nothing
to clean up.
"""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING

from bptools.core.errors import Busy, OutputError
from bptools.core.streams import reason_of

if TYPE_CHECKING:
    from filelock import BaseFileLock

_POLL = 0.1  # seconds


class Lock:
    """A lock that is held until `release`."""

    def __init__(self, held: BaseFileLock) -> None:
        self._held: BaseFileLock | None = held

    def release(self) -> None:
        """Let others in; more than once is no error."""
        held, self._held = self._held, None
        if held is not None:
            with contextlib.suppress(OSError):  # the system does it when the file is closed
                held.release(force=True)


def take_lock(path: str, wait: float | None, what: str) -> Lock:
    """Take the lock on a file, which is made if need be; `what` is locked, in words for a message.

    Waits `wait` seconds for another run to end; None where the command has no --wait to be recommended.
    Raises Busy, OutputError.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, thread_local=False)
    try:
        with warnings.catch_warnings():  # a file system without flock: the file itself is the lock then
            warnings.simplefilter("ignore")
            lock.acquire(timeout=max(0.0, wait or 0.0), poll_interval=_POLL)
    except Timeout:
        waited = f" after {wait:g} seconds of waiting" if wait else ""
        fix = "try again when it is done" + (", or let --wait wait for it" if wait == 0 else "")
        raise Busy(f"{what} is in use by another run{waited}; {fix}") from None
    except OSError as error:
        raise OutputError(f"cannot lock {what}: {reason_of(error)}") from None
    except NotImplementedError:
        raise OutputError(f"cannot lock {what}: the file system has no locks") from None
    return Lock(lock)
