"""The run that --fresh replaces: kept until the new one has made a step, and put back if it never does.

Its files wait in `.earlier` in the directory of the run. They are moved one by one, so that folder is called
`.earlier.part` meanwhile: after kill -9 at any moment `recover` knows which files are the old run's. Once
it is not wanted any more it goes into `.gone` in one move: what cannot be removed there is never put back.
"""

from __future__ import annotations

import os
import shutil

from bptools.training.run_directory import (
    EARLIER,
    GONE,
    LOCK,
    MANIFEST,
    OURS,
    PLAN,
    WORKER_LOG,
    RunDirectory,
)

# the log is added to: what failed can be read there
_STAYS = {LOCK, WORKER_LOG, EARLIER, EARLIER + ".part", GONE}


def set_aside(run: RunDirectory) -> None:
    """Move an earlier run out of the way: the manifest first, the plan last."""
    if run.read(PLAN) is None and run.read(MANIFEST) is None:
        run.clear()
        return
    part = run.file(EARLIER + ".part")
    os.makedirs(part, exist_ok=True)
    order = {MANIFEST: 0, PLAN: 2}
    names = [name for name in os.listdir(run.path) if name in OURS and name not in _STAYS]
    for name in sorted(names, key=lambda name: (order.get(name, 1), name)):
        os.replace(run.file(name), os.path.join(part, name))
    os.replace(part, run.file(EARLIER))


def forget(run: RunDirectory) -> None:
    """Remove the earlier run: the new one has begun."""
    if os.path.isdir(run.file(EARLIER)):
        os.makedirs(run.file(GONE), exist_ok=True)
        os.replace(run.file(EARLIER), run.file(GONE, os.urandom(6).hex()))  # a rest of another may be there
    shutil.rmtree(run.file(GONE), ignore_errors=True)


def recover(run: RunDirectory) -> bool:
    """Put an earlier run back into its place, where one was set aside. Say whether there was one."""
    part = run.file(EARLIER + ".part")
    if os.path.exists(run.file(MANIFEST)):
        forget(run)  # the run in the place is finished
    shutil.rmtree(run.file(GONE), ignore_errors=True)
    if os.path.isdir(run.file(EARLIER)):
        run.clear(keep_log=True)
        os.replace(run.file(EARLIER), part)
    if not os.path.isdir(part):
        return False
    order = {PLAN: 0, MANIFEST: 2}
    for name in sorted(os.listdir(part), key=lambda name: (order.get(name, 1), name)):
        os.replace(os.path.join(part, name), run.file(name))
    os.rmdir(part)
    return True


def withdraw(run: RunDirectory, made: bool, keep_log: bool) -> None:
    """Undo a run that made no step: the earlier one is back, or nothing is left of it.

    made: the directory was made for it, and goes. keep_log: what the libraries said stays, for a bug report.
    """
    if recover(run):
        return
    run.clear(keep_log=keep_log)
    if made and not keep_log:
        run.remove()
