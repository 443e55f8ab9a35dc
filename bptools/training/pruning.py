"""Old runs are removed: those that were named by age, number or state, and nothing that is no run.

for run in prunable(find_runs("runs"), Pruning(keep=10)):
    remove(run)
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass

from bptools.core.errors import Busy, OutputError
from bptools.core.locks import take_lock
from bptools.core.streams import reason_of
from bptools.training.earlier import recover
from bptools.training.run_directory import LATEST, LOCK, MANIFEST, PLAN, RunDirectory
from bptools.training.runs import Run, is_run


@dataclass
class Pruning:
    """Which runs go: all that every given condition names, none that is running."""

    keep: int | None = None  # not the newest so many
    older_than: float | None = None  # seconds since it last wrote something
    unfinished: bool = False  # only what has no manifest


def prunable(runs: list[Run], wanted: Pruning, now: float | None = None) -> list[Run]:
    """Return the runs that go; `runs` as `find_runs` orders them.

    `keep` counts those that the other conditions leave: with `unfinished`, 1 keeps the newest unfinished.
    """
    now = time.time() if now is None else now
    states = ("unfinished",) if wanted.unfinished else ("finished", "unfinished", "damaged")
    found = [run for run in runs if run.state in states and is_run(run.path)]
    found = found[wanted.keep or 0 :]
    return [run for run in found if wanted.older_than is None or now - run.time > wanted.older_than]


def remove(run: Run) -> None:
    """Remove a run under its lock. Raises Busy when somebody is at work in it, OutputError.

    The manifest goes first and the plan last: what is cut off half-way is an unfinished run, to be removed.
    """
    directory = RunDirectory(run.path)
    lock = take_lock(directory.file(LOCK), None, f"the run '{run.path}'")
    try:
        recover(directory)  # what waits aside is the run
        if not is_run(run.path):
            raise OutputError(f"'{run.path}' is no run any more; it stays")
        if run.state == "unfinished" and os.path.exists(directory.file(MANIFEST)):
            raise Busy(f"the run '{run.path}' is finished by now; it stays")
        names = [name for name in os.listdir(run.path) if name != LOCK]
        for name in sorted(names, key=lambda name: (name != MANIFEST, name == PLAN)):
            path = directory.file(name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        os.unlink(directory.file(LOCK))
        os.rmdir(run.path)
    except OSError as error:
        raise OutputError(f"cannot remove '{run.path}': {reason_of(error)}") from None
    finally:
        lock.release()


def mend_latest(folder: str, left: list[Run]) -> None:
    """Let `latest` lead to the newest finished run, or nowhere, when what it led to is gone."""
    link = os.path.join(folder, LATEST)
    if not os.path.islink(link) or os.path.exists(link):
        return
    finished = [run for run in left if run.state == "finished"]
    if finished:
        RunDirectory(finished[0].path).point_latest()
    else:
        os.unlink(link)
