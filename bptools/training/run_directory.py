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

import hashlib
import os
import re
import shutil
from typing import Any

import orjson

from bptools.core.errors import OutputError
from bptools.core.locks import Lock, take_lock
from bptools.core.output import write_file
from bptools.core.streams import reason_of

PLAN = "plan.json"
MANIFEST = "manifest.json"
RESULT = "result.json"
RECORDS = "records.jsonl"
EVALUATION = "eval.jsonl"
PLACES = "places.tsv"
METRICS = "metrics.jsonl"
EVENTS = "events.jsonl"
WORKER_LOG = "worker.log"
ROWS = "rows"
CHECKPOINTS = "checkpoints"
TENSORBOARD = "tensorboard"
_LOCK = ".lock"
STATE = "state.json"
OURS = {
    PLAN, MANIFEST, RESULT, RECORDS, EVALUATION, PLACES, METRICS, EVENTS, WORKER_LOG, ROWS, CHECKPOINTS,
    TENSORBOARD, STATE, _LOCK, "adapter", "model", "adapter.part", "model.part", "loss.png", "report.html",
}  # fmt: skip
"""What a run writes into its directory; nothing else there is ever touched."""
_LATEST = "latest"


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
        self._lock = take_lock(self.file(_LOCK), wait, f"the run '{self.path}'")

    def foreign(self) -> bool:
        """Say whether something is there that no run of ours made: then it is somebody else's directory."""
        if not os.path.isdir(self.path) or self.read(PLAN) is not None or self.read(MANIFEST) is not None:
            return False
        return any(name != _LOCK for name in os.listdir(self.path))

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
        """Say whether it holds a finished run: its result is there, of the size that the manifest says."""
        manifest = self.read(MANIFEST)
        if manifest is None:
            return False
        result = f"{manifest.get('path')}/"
        files = {name: entry for name, entry in manifest.get("files", {}).items() if name.startswith(result)}
        return bool(files) and all(
            os.path.isfile(self.file(name)) and os.path.getsize(self.file(name)) == entry["bytes"]
            for name, entry in files.items()
        )

    def clear(self) -> None:
        """Remove what earlier runs left, the lock aside; the manifest goes first, the plan last."""
        if not os.path.isdir(self.path):
            return
        order = {MANIFEST: 0, PLAN: 2}
        for name in sorted(os.listdir(self.path), key=lambda name: order.get(name, 1)):
            if name == _LOCK or name not in OURS:
                continue
            path = self.file(name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)

    def remove_workspace(self) -> None:
        """Remove what only an unfinished run needs."""
        for name in (ROWS, CHECKPOINTS):
            shutil.rmtree(self.file(name), ignore_errors=True)
        for name in (RESULT, PLACES):
            if os.path.exists(self.file(name)):
                os.unlink(self.file(name))

    def point_latest(self) -> None:
        """Let `latest` beside it lead to it, where links can be made."""
        parent, name = os.path.split(os.path.abspath(self.path))
        link = os.path.join(parent, _LATEST)
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


def sha256_of(path: str) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
