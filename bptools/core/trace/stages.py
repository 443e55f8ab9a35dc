"""A manifest of any command, read into the one form that a trace is made of.

Three kinds are read: FILE.manifest.json beside a file, manifest.json in a folder (of bp-filter --out-dir,
of a run), and the entries of the ledger. Manifests come from disks: whatever is not as expected is left
out, and nothing here raises for it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import Any

import orjson

MANIFEST = "manifest.json"
OF_A_FILE = ".manifest.json"
Table = dict[str, Any]


@dataclass
class File:
    """Bytes that a command read or wrote. `path` is where they lie now, as far as that is known."""

    name: str
    bytes: int | None = None
    sha256: str | None = None
    revision: str | None = None  # of a data set of the hub: its commit, or what was asked for
    complete: bool = True
    option: str | None = None  # that named it, where it was no source
    own: bool = False  # whether it is the artifact that is asked for, or a file of it
    path: str | None = None
    state: str = "unknown"
    """there, unchanged, changed, missing; stream: it was never a file; hub: a data set there; unknown."""
    maker: Stage | None = None
    link: str | None = None
    """How its maker is known: manifest, ledger, or name where nothing but the path speaks for it."""
    passed: list[Stage] = field(default_factory=list)  # stages that wrote these very bytes as they read them
    others: int = 0  # more runs that made the same bytes of other ones


@dataclass
class Stage:
    """One run of a command."""

    key: str  # the same for the same run, wherever its manifest lies
    manifest: str
    command: str
    version: str
    settings: dict[str, Table]
    inputs: list[File]
    made: dict[str, File]  # by name; "" is the one output of a command that has one
    counts: Table
    training: Table
    base: str | None  # the folder that relative names are meant from, where it can be told
    whole: bool = True  # whether what it read is listed


def read_table(path: str) -> Table | None:
    """Return the object that a JSON file holds, None where there is none."""
    try:
        with open(path, "rb") as file:
            value = orjson.loads(file.read())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def read_stage(path: str) -> Stage | None:
    """Return the stage that a manifest tells of, None where there is no manifest of ours."""
    content = read_table(path)
    if content is None or not isinstance(content.get("command"), str):
        return None
    training = content["command"] == "bp-train" and "records_sha256" in content
    settings = _table(content, "options" if training else "settings")
    inputs = [_file(entry) for entry in _list(content, "inputs")]
    learnt_from = [file for file in inputs if file.option is None]
    counts = {
        name: value
        for name, value in _table(content, "counts").items()
        if isinstance(value, int)
        or (isinstance(value, dict) and all(isinstance(n, int) for n in value.values()))
    }
    stage = Stage(
        key=hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        manifest=path,
        command=content["command"],
        version=str(content.get("version", "")),
        settings={name: entry for name, entry in settings.items() if _was_chosen(entry)},
        inputs=inputs,
        made=_made(content),
        counts=counts,
        training=_training(content) if training else {},
        base=None,
        whole=bool(learnt_from) or not (counts.get("in") or training),
    )
    stage.base = _base(path, content, settings)
    stage.inputs += _models(content, stage.settings)
    return stage


def _table(content: Table, name: str) -> Table:
    value = content.get(name)
    return value if isinstance(value, dict) else {}


def _list(content: Table, name: str) -> list[Table]:
    value = content.get(name)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _file(entry: Table, name: str | None = None) -> File:
    size, sha256, revision = entry.get("bytes"), entry.get("sha256"), entry.get("revision")
    return File(
        name=str(entry.get("name", "")) if name is None else name,
        bytes=size if isinstance(size, int) else None,
        sha256=sha256 if isinstance(sha256, str) and sha256 else None,
        revision=revision if isinstance(revision, str) and revision else None,
        complete=entry.get("complete") is not False,
        option="--eval" if entry.get("part") == "evaluation" else None,
    )


def _was_chosen(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("origin") != "default"


def _made(content: Table) -> dict[str, File]:
    files = _table(content, "files")
    if files:
        return {name: _file(entry, name) for name, entry in files.items() if isinstance(entry, dict)}
    output = content.get("output")
    return {"": _file(output)} if isinstance(output, dict) else {}


def _training(content: Table) -> Table:
    model, result = _table(content, "model"), _table(content, "result")
    shown = {
        "method": _table(content, "settings").get("method"),
        "model": model.get("shown"),
        "revision": model.get("revision"),
        "records": content.get("records"),
        "held_out": content.get("evaluation"),
        "steps": result.get("steps"),
        "final_loss": result.get("final_loss"),
        "eval_loss_before": result.get("eval_loss_before"),
        "eval_loss": result.get("eval_loss"),
    }
    text = ("method", "model", "revision")
    return {
        name: value
        for name, value in shown.items()
        if isinstance(value, str if name in text else (int, float))
    }


def _models(content: Table, settings: dict[str, Table]) -> list[File]:
    """Return the adapters that a command was given: what they are made of is part of its origin, too."""
    named = settings.get("adapter", {}).get("value")
    found = []
    for name in named if isinstance(named, list) else [named]:
        if isinstance(name, str) and name != "none":
            hashes = _table(content, "recipe").get("adapter")  # bp-train: of the weights, then of the config
            weights = hashes[:64] if isinstance(hashes, str) and len(hashes) == 128 else None
            found.append(File(name, sha256=weights, option="--adapter"))
    return found


def _base(path: str, content: Table, settings: Table) -> str | None:
    """Return the folder that a command ran in: its manifest lies where a name of its output says."""

    def value(name: str) -> str | None:
        entry = settings.get(name)
        found = entry.get("value") if isinstance(entry, dict) else None
        return found if isinstance(found, str) and found else None

    place = os.path.dirname(os.path.abspath(path))
    if os.path.basename(path) != MANIFEST:
        output = content.get("output")
        named = output.get("name") if isinstance(output, dict) else None
        here = os.path.abspath(path)[: -len(OF_A_FILE)]
    else:
        named, here = value("out-dir") or value("output"), place
        if named is None and value("runs"):
            named = os.path.join(value("runs") or "", os.path.basename(place))
    if not isinstance(named, str) or named == "-" or os.path.isabs(named):
        return None
    tail = os.path.normpath(named)
    if tail.startswith(os.pardir) or not here.endswith(os.sep + tail):
        return None
    return here[: -len(tail) - 1] or os.sep
