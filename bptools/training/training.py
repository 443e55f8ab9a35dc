"""Training from Python: the same as bp-train, with events instead of lines on a terminal.

from bptools.training import train

result = train("clean.jsonl", preset="nano", on_event=print)
result.adapter_path, result.final_loss
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bptools import __version__
from bptools.core.errors import BpError, Exit
from bptools.core.manifest import leave_in_ledger
from bptools.core.pipeline import Pipeline
from bptools.core.pipeline_settings import PipelineSettings
from bptools.training.earlier import forget, withdraw
from bptools.training.events import Event, OnEvent, encode
from bptools.training.launching import launch
from bptools.training.plan import Planned, Request, make_plan
from bptools.training.run_directory import (
    EVENTS,
    MANIFEST,
    METRICS,
    RESULT,
    WORKSPACE,
    RunDirectory,
    listing,
    sync,
)
from bptools.training.settings import Settings


@dataclass
class RunResult:
    """What came of a run. `metrics` is the manifest's `result`; losses are nats per token."""

    run_id: str
    success: bool
    steps: int = 0
    final_loss: float | None = None
    loss_history: list[float] = field(default_factory=list)
    duration_seconds: float = 0.0
    samples_seen: int = 0
    adapter_path: str | None = None
    error: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)


class Abort(Exception):
    """Raised by an on_event: the run is saved and ended."""


def train(
    source: str | list[str],
    preset: str | None = None,
    *,
    model: str | None = None,
    runs: str = "runs",
    on_event: Callable[[Event], None] | None = None,
    **settings: Any,
) -> RunResult:
    """Train on sources (paths, folders, hf: names) and return what came of it.

    preset or model names the base model; `settings` are fields of `Settings`. on_event is called with every
    event in this process; `abort()` in it saves and ends the run. Failures come back as `error`, not raised.
    """
    wanted = Settings(model=model or preset or "nano", **settings)
    pipe_settings = PipelineSettings(
        sources=[source] if isinstance(source, str) else list(source),
        output=os.devnull,
        quiet=True,
        progress=False,
    )
    from bptools.chat import Options

    run_id = ""
    reading = Options(to="text" if wanted.method in ("cpt", "pretrain") else "auto")
    try:
        planned = make_plan(wanted, Request(runs=runs), Pipeline("bp-train", pipe_settings), reading)
        run_id = str(planned.plan["id"])
        carry_out(planned, on_event or (lambda event: None))
        return result_of(planned.run)
    except (BpError, Abort) as error:
        return RunResult(run_id, False, error=str(error) or "aborted")


def abort() -> None:
    """End the run from inside an on_event: it is saved, and the same call goes on from there."""
    raise Abort("aborted")


def carry_out(planned: Planned, on_event: OnEvent) -> None:
    """Run a plan to its end in a child, unless an earlier run did; leaves the manifest. Raises BpError."""
    run = planned.run
    try:
        if planned.finished:
            if any(os.path.exists(run.file(name)) for name in WORKSPACE):  # the end was cut off
                settle(run, run.read(MANIFEST) or {}, bool(planned.plan.get("latest")))
            return
        if run.read(RESULT) is None or planned.plan["dry_run"]:
            _launch(planned, on_event)
        if not planned.plan["dry_run"]:
            _finish_whatever_comes(planned)
    finally:
        run.release()
        if planned.scratch is not None:
            planned.scratch.remove()


def _launch(planned: Planned, on_event: OnEvent) -> None:
    """Have the child do the work. What fails before the first step is undone: nothing was begun."""
    run, begun = planned.run, False
    try:
        with open(run.file(EVENTS), "ab", buffering=0) as events:

            def record(event: Event) -> None:
                nonlocal begun
                if event["event"] == "step":  # these are in metrics.jsonl
                    if not begun:
                        forget(run)
                    begun = True
                else:
                    events.write(encode(event))
                on_event(event)

            launch(run, record)
    except BaseException as error:
        if planned.new and not begun:
            bug = isinstance(error, BpError) and error.exit_code == Exit.SOFTWARE
            withdraw(run, planned.made, keep_log=bug)
        raise


def _finish_whatever_comes(planned: Planned) -> None:
    """Finish: nothing is left to do but seconds of writing, so a first signal stops it no more."""
    try:
        finish(planned.run, planned.plan)
    except Exception:
        raise
    except BaseException:
        if os.path.exists(planned.run.file(RESULT)):  # else it was done but for the workspace
            finish(planned.run, planned.plan)


def finish(run: RunDirectory, plan: dict[str, Any]) -> None:
    """Write what is seen of a finished run, the manifest last, and remove its workspace."""
    from bptools.training.reporting import write_reports

    result = run.read(RESULT) or {}
    shown = write_reports(run, plan, result)
    kept = {name: value for name, value in plan.items() if name not in ("dry_run", "show_rows", "latest")}
    manifest = {
        "command": "bp-train",
        "version": __version__,
        **kept,
        "result": result,
        "packages": packages(),
        "path": plan["result"],
        "files": listing(run.path, [plan["result"], METRICS, *shown]),
    }
    for name in shown:
        sync(run.file(name))
    run.write(MANIFEST, manifest)
    sync(run.path)
    settle(run, manifest, bool(plan.get("latest")))


def settle(run: RunDirectory, manifest: dict[str, Any], latest: bool) -> None:
    """Do what is left once the manifest is there; the workspace goes last, which says that it was done."""
    leave_in_ledger(manifest)
    forget(run)
    if latest:
        run.point_latest()
    run.remove_workspace()


def packages() -> dict[str, str]:
    """Return the versions of what computes."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def result_of(run: RunDirectory) -> RunResult:
    """Return the result of a finished run."""
    import orjson

    manifest = run.read(MANIFEST) or {}
    result = manifest.get("result", {})
    with open(run.file(METRICS), "rb") as file:
        losses = [orjson.loads(line)["loss"] for line in file]
    settings = manifest["settings"]
    return RunResult(
        run_id=manifest["id"],
        success=True,
        steps=result["steps"],
        final_loss=result["final_loss"],
        loss_history=losses,
        duration_seconds=result.get("seconds", 0.0),
        samples_seen=result["steps"] * settings["batch_size"],
        adapter_path=run.file(manifest["path"]),
        metrics=result,
    )
