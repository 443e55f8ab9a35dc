"""From what was asked for to a plan: the model, the settings, the records, and the place of the run."""

from __future__ import annotations

import errno
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from bptools import __version__
from bptools.core.errors import DataError, OutputError, ReadWriteError, UsageError
from bptools.training import preflight
from bptools.training.base_models import (
    adapter_sha256,
    base_model,
    fetch_model,
    fetch_reference,
    fetch_template,
    folder_sha256,
    identity_of,
    resolve_revision,
)
from bptools.training.checking import check_settings, with_adapters_sizes
from bptools.training.earlier import recover, set_aside, withdraw
from bptools.training.incoming import Incoming, make_incoming
from bptools.training.run_directory import (
    EVALUATION,
    MANIFEST,
    PLACES,
    PLAN,
    RECORDS,
    RunDirectory,
    run_id,
    run_name,
)
from bptools.training.settings import METHOD_OF_SHAPE, SHAPES, Method, Settings, complete
from bptools.training.spool import Spool, Spooled, evaluation_share, fill, only_shape
from bptools.training.unheard import leave_out

if TYPE_CHECKING:
    from bptools.chat import Options
    from bptools.core.pipeline import Pipeline

SMALL = 0.03  # billions of parameters: below, a CPU computes in float32


@dataclass
class Request:
    """What was asked for beside the settings."""

    runs: str = "runs"
    path: str | None = None  # of the run, instead of a name derived from its content
    fresh: bool = False
    dry_run: bool = False
    show_rows: int = 1
    wait: float = 0.0
    asked: dict[str, Any] = field(default_factory=dict)  # every option with its origin, for the manifest
    option: str = "--runs"  # that says where the run is, for messages


@dataclass
class Planned:
    """A plan in its place. `finished`: an earlier run did it all.

    new: nothing is there to go on with, so that nothing stays if it fails before its first step. made: nor
    was the directory there.
    """

    run: RunDirectory
    plan: dict[str, Any]
    finished: bool
    new: bool = False
    made: bool = False
    scratch: Incoming | None = None  # removed at the end: the place of a dry run


def make_plan(
    settings: Settings,
    request: Request,
    pipe: Pipeline,
    reading: Options,
    evaluation: Pipeline | None = None,
) -> Planned:
    """Read the records, decide what was left open, and put the plan into its run directory, locked.

    Raises DataError (no records, several shapes, a method that takes others), OutputError (another run is
    there), Busy, and what the model's name raises.
    """
    preflight.check_packages(settings)
    settings = leave_out(settings, request.asked, pipe.messages.warn)
    check_settings(settings)
    preflight.check_device(settings)
    settings = with_adapters_sizes(settings)
    model, preset = base_model(settings)
    if settings.checkpointing is None:
        settings = replace(settings, checkpointing=preflight.likely_device(settings) != "cpu")
    asked, why = settings.quant, ""
    if asked is None:
        quant, why = preflight.choose_quant(settings, preset)
        settings = replace(settings, quant=quant)
    if settings.method != "pretrain":  # before the records: they may come from a pipe of hours
        preflight.check_memory(settings, preset, model["shown"])
    resolve_revision(settings, model)
    template = fetch_template(settings)
    pipe.intake.hashing = True
    if evaluation is not None:
        evaluation.intake.hashing = True
    parent = os.path.dirname(os.path.abspath(request.path)) if request.path else request.runs
    incoming = _incoming(parent, request)
    folder = incoming.path
    planned: Planned | None = None
    try:
        try:
            spooled = _spool(settings, pipe, reading, evaluation, folder)
        except (ReadWriteError, OutputError) as error:
            raise type(error)(_of_the_place(str(error), folder, request)) from None
        settings = replace(settings, method=_method(settings, spooled))
        settings = leave_out(settings, request.asked, pipe.messages.warn)
        settings, reasons = complete(settings, preset, settings.method or "sft", spooled.records)
        if why:
            reasons["quant"] = why
        recipe = settings.recipe() | {"quant": asked}  # not what the memory that is free now makes of it
        if template is not None:
            recipe["chat_template"] = template
        plan: dict[str, Any] = {"small": preset.parameters < SMALL, "recipe": recipe}
        if settings.method != "pretrain":
            plan["memory"] = preflight.check_memory(settings, preset, model["shown"])
        preflight.check_disk(settings, preset, spooled.bytes, folder, request.option)
        fetch_model(settings, model)
        plan |= {"reasons": reasons, "inputs": _inputs(pipe, evaluation), "counts": _counts(pipe)}
        if evaluation is not None:
            plan["evaluation_counts"] = _counts(evaluation)
        planned = _place(settings, request, model, spooled, plan, incoming)
        return planned
    finally:
        if planned is None or planned.scratch is None:
            incoming.remove()


def _incoming(parent: str, request: Request) -> Incoming:
    """Make the folder for the records beside the run, or in it where nothing can be made beside it."""
    try:
        return make_incoming(parent, request.path)
    except OutputError:
        if not request.path or not os.path.isdir(request.path):
            raise
        return make_incoming(request.path, request.path)


def _of_the_place(message: str, folder: str, request: Request) -> str:
    """Let a failure to spool name what the user did: the folder of the records is our affair."""
    if folder not in message:
        return message
    shown = request.path or request.runs
    said = re.sub(rf"'{re.escape(folder)}[^']*'", lambda _: f"the records to '{shown}'", message)
    return f"{said}; {request.option} DIR puts the run elsewhere"


def _counts(pipe: Pipeline) -> dict[str, Any]:
    """Return the counts of what was read, as the manifests of the data commands have them."""
    counts = pipe.counts.as_json(pipe.command, __version__)
    return {name: value for name, value in counts.items() if name not in ("command", "version")}


def _inputs(pipe: Pipeline, evaluation: Pipeline | None) -> list[dict[str, Any]]:
    """Return the hashes of all that was read; what --eval named says so."""
    held_out = [] if evaluation is None else evaluation.intake.hashes()
    return pipe.intake.hashes() + [{**entry, "part": "evaluation"} for entry in held_out]


def _spool(
    settings: Settings, pipe: Pipeline, reading: Options, evaluation: Pipeline | None, folder: str
) -> Spooled:
    share, most = (0.0, 0) if evaluation is not None else evaluation_share(settings.eval_split)
    spool = Spool(folder, share, most, lambda: pipe.intake.place)
    try:
        with pipe:
            fill(pipe, spool, reading, settings.max_records)
        if evaluation is not None:
            with evaluation:
                spool.into_evaluation()
                fill(evaluation, spool, reading, None)
        return spool.close()
    finally:
        spool.abort()


def _method(settings: Settings, spooled: Spooled) -> Method:
    shape = only_shape(spooled)
    method = settings.method or METHOD_OF_SHAPE[shape]
    if SHAPES[method] != shape:
        fits = ", ".join(name for name, takes in SHAPES.items() if takes == shape)
        raise DataError(
            f"--method {method} takes {SHAPES[method]} records, these are {shape}; {fits} would do"
        )
    if spooled.records == 0:
        raise DataError("no record to train on: all of them are in the evaluation part; see --eval-split")
    return method


def _place(
    settings: Settings,
    request: Request,
    model: dict[str, Any],
    spooled: Spooled,
    decided: dict[str, Any],
    incoming: Incoming,
) -> Planned:
    recipe = decided["recipe"]
    recipe["model"] = identity_of(model)
    if settings.adapter:
        recipe["adapter"] = adapter_sha256(settings.adapter)
    if settings.tokenizer and os.path.isdir(settings.tokenizer):
        recipe["tokenizer"] = folder_sha256(settings.tokenizer)
    if settings.ref_model:
        decided["reference"] = fetch_reference(settings)
        recipe["reference"] = folder_sha256(decided["reference"])
    identity = run_id(recipe, spooled.records_sha256, spooled.evaluation_sha256 or None)
    run = RunDirectory(request.path or os.path.join(request.runs, run_name(model["shown"], identity)))
    plan: dict[str, Any] = {
        "id": identity,
        "settings": settings.as_json(),
        **decided,
        "model": model,
        "result": "model" if settings.full or settings.method == "pretrain" else "adapter",
        "records": spooled.records,
        "evaluation": spooled.evaluation,
        "records_sha256": spooled.records_sha256,
        "evaluation_sha256": spooled.evaluation_sha256,
        "shapes": spooled.shapes,
        "options": request.asked,
        "latest": request.path is None,
        "dry_run": request.dry_run,
        "show_rows": request.show_rows,
    }
    if request.dry_run:
        run = RunDirectory(os.path.join(incoming.path, "run"))
    if run.foreign():
        raise OutputError(f"'{run.path}' holds files that no run made; name another directory")
    if settings.adapter and _inside(settings.adapter, run.path):
        raise UsageError(f"--adapter '{settings.adapter}' lies in the run's own directory '{run.path}'")
    made = not os.path.isdir(run.path)
    run.create(request.wait)
    run.above = incoming.above
    new = False
    try:
        recover(run)
        earlier = run.read(PLAN) or run.read(MANIFEST)  # which says the same
        if not request.fresh:
            if earlier is not None and _finished(run, earlier, plan):
                return Planned(run, earlier, True)
            if earlier is not None:  # another run may have left the GPU since
                plan["settings"]["quant"] = earlier["settings"]["quant"]
                plan["reasons"]["quant"] = earlier["reasons"].get("quant", "given")
        else:
            set_aside(run)
        new = earlier is None or request.fresh
        run.write(PLAN, plan)  # before the rest: it says whose directory this is
        for name in (RECORDS, EVALUATION, PLACES):
            _move(os.path.join(incoming.path, name), run.file(name))
    except BaseException:
        if new:
            withdraw(run, made, keep_log=False)
        run.release()
        raise
    return Planned(run, plan, False, new, made, incoming if request.dry_run else None)


def _finished(run: RunDirectory, earlier: dict[str, Any], plan: dict[str, Any]) -> bool:
    """Say whether an earlier run did it all; if not, it can be gone on with. Raises OutputError otherwise."""
    if earlier["id"] != plan["id"]:
        raise OutputError(f"'{run.path}' holds another run: {difference(earlier, plan)}; --fresh replaces it")
    if not os.path.exists(run.file(MANIFEST)):
        return False
    fault = run.fault()
    if fault:
        raise OutputError(f"'{run.path}' was finished, but {fault}; --fresh trains again")
    return True


def _inside(path: str, folder: str) -> bool:
    return os.path.join(os.path.realpath(path), "").startswith(os.path.join(os.path.realpath(folder), ""))


def _move(source: str, target: str) -> None:
    """Move a file; to another file system by a copy that appears whole."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target + ".part")
        os.replace(target + ".part", target)
        os.unlink(source)


def difference(earlier: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in which settings or records two plans differ."""
    old, new = earlier["recipe"], orjson.loads(orjson.dumps(now["recipe"]))  # as read: lists, not tuples
    said = [f"{name} was {old.get(name)}, is {new[name]}" for name in new if old.get(name) != new[name]]
    if earlier["records_sha256"] != now["records_sha256"]:
        said.append(f"other records ({earlier['records']} then, {now['records']} now)")
    if earlier["evaluation_sha256"] != now["evaluation_sha256"]:
        said.append("other evaluation records")
    return "; ".join(said) or "the same settings of another version"
