"""The runs of a folder: what each trained, how far it came, what came of it, and in what two of them differ.

    for run in find_runs("runs"):
        print(run.name, run.state, run.final_loss)

A run is a directory with a plan.json that names an id. What is damaged in one is said in its `detail`, and
never keeps the others from being listed. Where --fresh was killed before its first step, the run that waits
aside is the one that is there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import orjson

from bptools.core.errors import BpError, Busy, InputError
from bptools.core.locks import take_lock
from bptools.core.streams import reason_of
from bptools.training.curves import finite, last_event, read_lines
from bptools.training.run_directory import EARLIER, EVENTS, LOCK, MANIFEST, METRICS, PLAN, RunDirectory

_TAIL = 1 << 16  # bytes in which the last whole line of the metrics is looked for
_RESULTS = ("steps", "epochs", "final_loss", "eval_loss_before", "eval_loss", "best_step", "stopped_early",
            "micro_batch", "seconds")  # fmt: skip
_DATA = ("records", "records_sha256", "evaluation", "evaluation_sha256")
_MODEL = ("name", "revision", "sha256")


@dataclass
class Run:
    """One run. `state` is finished, running, unfinished or damaged; losses are nats.

    `step` is the last step done of `steps`; `final_loss` is that step's. `time` is when the run last wrote
    something, in seconds of the epoch; `size` counts all bytes in its directory.
    """

    path: str
    name: str
    state: str
    detail: str = ""
    id: str | None = None
    method: str | None = None
    model: str | None = None
    records: int | None = None
    step: int = 0
    steps: int | None = None
    final_loss: float | None = None
    eval_loss_before: float | None = None
    eval_loss: float | None = None
    seconds: float | None = None
    size: int = 0
    time: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it with the time as people write it, in UTC."""
        time = moment(self.time).isoformat().replace("+00:00", "Z")
        return {**self.__dict__, "path": readable(self.path), "name": readable(self.name), "time": time}


def readable(path: str) -> str:
    """Return a path as JSON can hold it: bytes of it that are no UTF-8 become a mark."""
    return os.fsencode(path).decode("utf-8", "replace")


def moment(time: float) -> datetime:
    """Return a time in UTC, to the second."""
    return datetime.fromtimestamp(int(time), timezone.utc)


def holds_plan(path: str) -> bool:
    """Say whether a directory is that of a run, be it damaged."""
    return os.path.isfile(os.path.join(_place(path), PLAN))


def is_run(path: str) -> bool:
    """Say whether a directory, and no link to one, is a run: its plan.json names an id."""
    plan = RunDirectory(_place(path)).read(PLAN)
    return not os.path.islink(path) and plan is not None and bool(_text(plan.get("id")))


def find_runs(folder: str) -> list[Run]:
    """Return the runs of a folder, the newest first; links such as `latest` are not followed.

    Raises InputError where the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        reason = "no such folder" if isinstance(error, FileNotFoundError) else reason_of(error)
        raise InputError(f"cannot open '{folder}': {reason}") from None
    paths = [os.path.join(folder, name) for name in names if not name.startswith(".")]
    found = [read_run(path) for path in paths if not os.path.islink(path) and holds_plan(path)]
    return sorted(found, key=lambda run: (-run.time, run.name))


def read_run(path: str) -> Run:
    """Return what is known of a run; never fails over what it holds."""
    place, name = _place(path), os.path.basename(os.path.abspath(path))
    run = RunDirectory(place)
    plan = run.read(PLAN)
    if plan is None or not _text(plan.get("id")):
        return Run(path, name, "damaged", f"{PLAN} cannot be read", size=_size(path), time=_time(place))
    manifest = run.read(MANIFEST)
    state, detail = _state(run, manifest)
    last, events = _last_line(run.file(METRICS)), read_lines(run.file(EVENTS))
    result = _table(manifest, "result")
    step = _whole(result.get("steps")) or _whole(last.get("step")) or 0
    starts = [_whole(event.get("steps")) for event in events if event.get("event") in ("start", "run_start")]
    return Run(
        path=path,
        name=name,
        state=state,
        detail=detail,
        id=_text(plan.get("id")),
        method=_text(_table(plan, "settings").get("method")),
        model=_text(_table(plan, "model").get("shown")),
        records=_whole(plan.get("records")),
        step=step,
        steps=step if state == "finished" else next((steps for steps in reversed(starts) if steps), None),
        final_loss=finite(result.get("final_loss", last.get("loss"))),
        eval_loss_before=finite(result.get("eval_loss_before")),
        eval_loss=finite(result.get("eval_loss", last_event(events, "eval").get("loss"))),
        seconds=finite(result.get("seconds", last.get("seconds"))),
        size=_size(path),
        time=_time(place),
    )


def _place(path: str) -> str:
    """Return where the files of a run lie: in its directory, or in it where it was set aside."""
    aside = os.path.join(path, EARLIER)
    waits = os.path.isfile(os.path.join(aside, PLAN)) and not os.path.exists(os.path.join(path, MANIFEST))
    return aside if waits and not is_held(path) else path


def _state(run: RunDirectory, manifest: dict[str, Any] | None) -> tuple[str, str]:
    if manifest is None and is_held(run.path):
        return "running", ""
    if manifest is None and os.path.exists(run.file(MANIFEST)):
        return "damaged", f"{MANIFEST} cannot be read"
    if manifest is None:
        return "unfinished", ""
    if run.finished():
        return "finished", ""
    return "damaged", f"files that {MANIFEST} names are missing or changed"


def is_held(path: str) -> bool:
    """Say whether somebody is at work in a run directory. Leaves no lock where there is none."""
    lock = os.path.join(path, LOCK)
    if not os.path.exists(lock):
        return False
    try:
        take_lock(lock, None, path).release()
    except Busy:
        return True
    except BpError:  # not ours to write: it cannot be ours to run either
        return False
    return False


def _last_line(path: str) -> dict[str, Any]:
    """Return the last whole line of the metrics without reading all of them."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            return value
    return {}


def _table(value: dict[str, Any] | None, name: str) -> dict[str, Any]:
    found = (value or {}).get(name)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None


def _time(path: str) -> float:
    times = [0.0]
    for name in (MANIFEST, METRICS, EVENTS, PLAN):
        try:
            times.append(os.stat(os.path.join(path, name)).st_mtime)
        except OSError:
            continue
        if name == MANIFEST:
            break
    return max(times)


def _size(path: str) -> int:
    total = 0
    for here, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(here, name)).st_size
            except OSError:
                continue
    return total


def choose(folder: str, wanted: str) -> str:
    """Return the path of a run: a path, a name in the folder, or how name or id begins. Raises InputError."""
    for path in (wanted, os.path.join(folder, wanted)):
        if holds_plan(path):
            return os.path.join(os.path.dirname(path), os.readlink(path)) if os.path.islink(path) else path
    fits = []
    if os.path.isdir(folder) and wanted:
        fits = [
            run.path
            for run in find_runs(folder)
            if run.name.startswith(wanted) or (run.id or "").startswith(wanted)
        ]
    if len(fits) == 1:
        return fits[0]
    if fits:
        names = ", ".join(os.path.basename(path) for path in fits[:5])
        raise InputError(f"'{wanted}' names {len(fits)} runs: {names}; write more of the name")
    raise InputError(f"no run '{wanted}' in '{folder}'; bptools runs lists those that are there")


def differences(paths: list[str]) -> list[tuple[str, list[Any]]]:
    """Return [(name, a value for each run)] of what is not the same in all of them. Raises InputError."""
    columns: list[dict[str, Any]] = []
    for path in paths:
        run = RunDirectory(_place(path))
        plan, manifest = run.read(PLAN), run.read(MANIFEST)
        if plan is None:
            raise InputError(f"'{path}' is no run that can be read: its {PLAN} is damaged")
        found = read_run(path)
        so_far = {name: getattr(found, name) for name in ("final_loss", "eval_loss", "seconds")}
        result = _table(manifest, "result") or {"steps": found.step, **so_far}
        columns.append(
            {"state": found.state}
            | {f"model.{name}": _table(plan, "model").get(name) for name in _MODEL}
            | {name: plan.get(name) for name in _DATA}
            | {name: value for name, value in _table(plan, "settings").items() if name != "model"}
            | {f"result.{name}": result.get(name) for name in _RESULTS}
            | {f"package.{name}": value for name, value in _table(manifest, "packages").items()}
        )
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, [column.get(name) for column in columns]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]
