"""Checkpoints that can be trusted: sealed by a list of their files' hashes, written last.

A library writes a checkpoint file by file in place, and resumes from one that lacks its optimizer without a
word. So a checkpoint counts only when its seal is there and every file in it has the size and hash that the
seal says; what is not sealed is removed.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import Any

import orjson

from bptools.core.hashing import sha256_of
from bptools.core.output import write_file

SEAL = "bp-checkpoint.json"
NEEDED = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
_NAME = re.compile(r"checkpoint-(\d+)\Z")


def steps(folder: str) -> list[int]:
    """Return the steps of all checkpoints in a folder, whole or not, rising."""
    if not os.path.isdir(folder):
        return []
    found = [_NAME.match(name) for name in os.listdir(folder)]
    return sorted(int(match[1]) for match in found if match)


def path_of(folder: str, step: int) -> str:
    """Return where the checkpoint of a step is."""
    return os.path.join(folder, f"checkpoint-{step}")


def seal(path: str, facts: dict[str, Any]) -> None:
    """Write down the files of a finished checkpoint; `facts` travel along. Files are on the disk before."""
    files = {}
    for name in sorted(_files(path)):
        whole = os.path.join(path, name)
        files[name] = {"bytes": os.path.getsize(whole), "sha256": _sha256(whole, sync=True)}
    write_file(os.path.join(path, SEAL), orjson.dumps({**facts, "files": files}))


def verify(path: str) -> tuple[dict[str, Any] | None, str]:
    """Return (what the seal says, "") of a whole checkpoint, (None, what is wrong with it) of any other."""
    try:
        with open(os.path.join(path, SEAL), "rb") as file:
            sealed: dict[str, Any] = orjson.loads(file.read())
        files = sealed["files"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None, "it was not finished"
    lacking = [name for name in NEEDED if name not in files]
    if lacking:
        return None, f"{lacking[0]} is missing"
    for name, entry in files.items():
        whole = os.path.join(path, name)
        try:
            if os.path.getsize(whole) != entry["bytes"] or _sha256(whole) != entry["sha256"]:
                return None, f"{name} has changed"
        except OSError:
            return None, f"{name} is missing"
    return sealed, ""


def newest(folder: str) -> tuple[str | None, dict[str, Any], list[str]]:
    """Return (path, seal, complaints) of the newest checkpoint that verifies; (None, {}, complaints) without.

    Broken ones that are newer are removed, for they would be written again in the same place.
    """
    complaints: list[str] = []
    for step in reversed(steps(folder)):
        path = path_of(folder, step)
        sealed, fault = verify(path)
        if sealed is not None:
            return path, sealed, complaints
        complaints.append(f"checkpoint of step {step} is not used: {fault}")
        shutil.rmtree(path, ignore_errors=True)
    return None, {}, complaints


def prune(folder: str, keep: int, best: int | None) -> None:
    """Remove all but the newest `keep` checkpoints and the best one.

    The seal goes first, so that a removal that is cut short leaves nothing that looks whole.
    """
    for step in steps(folder)[: -keep or None]:
        if step != best:
            path = path_of(folder, step)
            try:
                os.unlink(os.path.join(path, SEAL))
            except FileNotFoundError:
                pass
            shutil.rmtree(path, ignore_errors=True)


def _files(path: str) -> list[str]:
    found = []
    for folder, _, names in os.walk(path):
        found += [os.path.relpath(os.path.join(folder, name), path) for name in names if name != SEAL]
    return found


def _sha256(path: str, sync: bool = False) -> str:
    if sync:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    return sha256_of(path)
