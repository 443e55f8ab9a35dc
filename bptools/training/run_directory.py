"""The directory of one run: its name, what lies in it, and what an earlier run left there.

runs/nano-3fa09c41d27e/
    plan.json        what is to be done; written first
    records.jsonl    the records, as they were read; eval.jsonl the ones held out
    rows/ checkpoints/   work in progress, gone when the run is finished
    metrics.jsonl    one line per optimizer step; events.jsonl everything else
    adapter/         the result (model/ where all weights are trained)
    loss.png report.html worker.log
    tensorboard/     what --log tensorboard writes
    manifest.json    written last: where it is, all is complete
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from typing import Any

import orjson

from bptools.core.errors import OutputError
from bptools.core.hashing import sha256_of
from bptools.core.locks import Lock, take_lock
from bptools.core.output import write_file
from bptools.core.streams import reason_of

PLAN = "plan.json"
MANIFEST = "manifest.json"
RESULT = "result.json"
RECORDS = "records.jsonl"
EVALUATION = "eval.jsonl"
PLACES = "places.tsv"
README = "README.md"
METRICS = "metrics.jsonl"
EVENTS = "events.jsonl"
WORKER_LOG = "worker.log"
ROWS = "rows"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
LOCK = ".lock"
STATE = "state.json"
EARLIER = ".earlier"  # the run that --fresh replaces, until the new one has made a step; see earlier.py
INCOMING = re.compile(r"\.incoming-\d+-[0-9a-f]{6}")  # records that have no run yet; see incoming.py
GONE = ".gone"  # earlier runs that are being removed, each under 12 hex digits
GOING = re.compile(r"[0-9a-f]{12}")
LATEST = "latest"  # beside the runs: leads to the last one that was finished
OURS = {
    PLAN, MANIFEST, RESULT, RECORDS, EVALUATION, PLACES, METRICS, EVENTS, WORKER_LOG, ROWS, CHECKPOINTS,
    TENSORBOARD, STATE, LOCK, "adapter", "model", "adapter.part", "model.part", "loss.png", "report.html",
    EARLIER, EARLIER + ".part", GONE,
}  # fmt: skip
"""What a run writes into its directory; nothing else there is ever touched."""
WORKSPACE = (ROWS, CHECKPOINTS, PLACES, RESULT)
"""What only an unfinished run needs."""
_LISTED = {"bytes", "sha256"}


def run_id(recipe: dict[str, Any], records_sha256: str, eval_sha256: str | None) -> str:
    """Return 12 hex digits of the settings that change the result and of the records in their order."""
    settings = orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS)
    parts = b"\n".join([settings, records_sha256.encode(), (eval_sha256 or "").encode()])
    return hashlib.sha256(parts).hexdigest()[:12]


def run_name(title: str, identity: str) -> str:
    """Return the name of a run: what it trains, as far as a file name takes it, and its id."""
    short = re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(title.rstrip("/"))).strip("-.") or "model"
    return f"{short[:60]}-{identity}"


class RunDirectory:
    """One run's directory. Hold its lock while anything in it changes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.above: list[str] = []  # folders that were made for it, the innermost first
        self._lock: Lock | None = None

    def file(self, *names: str) -> str:
        """Return the path of something in it."""
        return os.path.join(self.path, *names)

    def create(self, wait: float) -> None:
        """Make the directory if need be and lock it. Raises OutputError, Busy."""
        try:
            os.makedirs(self.path, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create '{self.path}': {reason_of(error)}") from None
        self._lock = take_lock(self.file(LOCK), wait, f"the run '{self.path}'")

    def foreign(self) -> bool:
        """Say whether something is there that no run of ours made: then it is somebody else's directory."""
        if not os.path.isdir(self.path) or self.read(PLAN) is not None or self.read(MANIFEST) is not None:
            return False
        if any(RunDirectory(self.file(EARLIER + end)).read(PLAN) for end in ("", ".part")):
            return False  # kill -9 while it was set aside
        names = set(os.listdir(self.path)) - {LOCK, WORKER_LOG}
        return not all(INCOMING.fullmatch(name) or (name == GONE and self._is_ours_gone()) for name in names)

    def _is_ours_gone(self) -> bool:
        gone = self.file(GONE)
        return os.path.isdir(gone) and all(map(GOING.fullmatch, os.listdir(gone)))

    def release(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of it, None where there is none that can be read."""
        try:
            with open(self.file(name), "rb") as file:
                value = orjson.loads(file.read())
        except (OSError, orjson.JSONDecodeError):
            return None
        return value if isinstance(value, dict) else None

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON file whole or not at all."""
        write_file(self.file(name), orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")

    def finished(self) -> bool:
        """Say whether it holds a finished run, by the sizes of its files; `fault` looks into them."""
        return os.path.exists(self.file(MANIFEST)) and not self.fault(hashes=False)

    def fault(self, hashes: bool = True) -> str:
        """Say what of a finished run is not as its manifest says, "" for nothing.

        Looked at is the result but its README.md, which people write in: sizes, and hashes if asked.
        """
        manifest = self.read(MANIFEST) or {}
        result, listed = f"{manifest.get('path')}/", manifest.get("files")
        files = listed.items() if isinstance(listed, dict) else ()
        wanted = {name: entry for name, entry in files if name.startswith(result) and name != result + README}
        if not wanted or not all(
            isinstance(entry, dict) and entry.keys() >= _LISTED for entry in wanted.values()
        ):
            return f"{MANIFEST} cannot be read"
        for name, entry in sorted(wanted.items()):
            path, size, digest = self.file(name), entry["bytes"], entry["sha256"]
            if not os.path.isfile(path):
                return f"{name} is missing"
            if os.path.getsize(path) != size or (hashes and sha256_of(path) != digest):
                return f"{name} was changed since"
        return ""

    def clear(self, keep_log: bool = False) -> None:
        """Remove what a run left, the lock and an earlier run that waits aside; the plan goes last."""
        if not os.path.isdir(self.path):
            return
        stays = {LOCK, EARLIER, EARLIER + ".part", *([WORKER_LOG] if keep_log else [])}
        order = {MANIFEST: 0, PLAN: 2}
        for name in sorted(os.listdir(self.path), key=lambda name: order.get(name, 1)):
            if name in stays or name not in OURS:
                continue
            path = self.file(name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)

    def remove(self) -> None:
        """Remove the directory, if nothing but the lock is in it, and what was made for it."""
        with contextlib.suppress(OSError):
            if os.listdir(self.path) == [LOCK]:
                os.unlink(self.file(LOCK))
            for folder in (self.path, *self.above):
                os.rmdir(folder)

    def remove_workspace(self) -> None:
        """Remove what only an unfinished run needs."""
        for name in WORKSPACE:
            if os.path.isdir(self.file(name)):
                shutil.rmtree(self.file(name), ignore_errors=True)
            elif os.path.exists(self.file(name)):
                os.unlink(self.file(name))

    def point_latest(self) -> None:
        """Let `latest` beside it lead to it, where links can be made."""
        parent, name = os.path.split(os.path.abspath(self.path))
        link = os.path.join(parent, LATEST)
        temporary = f"{link}.{os.getpid()}"
        try:
            if os.path.lexists(link) and not os.path.islink(link):
                return
            os.symlink(name, temporary)
            os.replace(temporary, link)
        except OSError:
            if os.path.islink(temporary):
                os.unlink(temporary)


def listing(folder: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return {path in folder: {bytes, sha256}} of files and of all files in folders."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        path = os.path.join(folder, name)
        inside = [os.path.join(here, file) for here, _, files in os.walk(path) for file in files]
        for whole in sorted(inside) if os.path.isdir(path) else [path]:
            if os.path.isfile(whole):
                relative = os.path.relpath(whole, folder).replace(os.sep, "/")
                found[relative] = {"bytes": os.path.getsize(whole), "sha256": sha256_of(whole)}
    return found


def sync_all(path: str) -> None:
    """Have a file, or a folder with all that is in it, on the disk when this returns."""
    for here, _, files in os.walk(path):
        for name in files:
            sync(os.path.join(here, name))
        sync(here)
    if not os.path.isdir(path):
        sync(path)


def sync(path: str) -> None:
    """Have a file, or the names in a folder, on the disk when this returns."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        if os.path.isdir(path):
            return  # Windows opens no folders
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # a file system that cannot
            raise
    finally:
        os.close(descriptor)
