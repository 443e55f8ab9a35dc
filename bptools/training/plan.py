"""From what was asked for to a plan: the model, the settings, the records, and the place of the run."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from bptools import __version__
from bptools.core.errors import DataError, InputError, OutputError, ReadWriteError, UsageError
from bptools.core.hashing import sha256_of
from bptools.training import preflight
from bptools.training.checking import check_reference, check_settings
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

if TYPE_CHECKING:
    from bptools.chat import Options
    from bptools.core.pipeline import Pipeline
    from bptools.models.names import ModelName
    from bptools.models.presets import Preset

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


def base_model(settings: Settings) -> tuple[dict[str, Any], Preset]:
    """Return (the model for the plan, the preset that holds for it). A preset needs no network for that.

    Raises InputError, Unavailable, UsageError.
    """
    from bptools.models import derive, preset, resolve
    from bptools.models.folders import read_config
    from bptools.models.hub import fetch

    if settings.method == "pretrain":
        return {
            "kind": "none",
            "name": "scratch",
            "shown": "scratch",
            "path": None,
            "revision": None,
        }, preset("nano", settings.style)
    name = resolve(settings.model, settings.revision)
    if settings.trust_remote_code and not (settings.revision or name.kind != "hub"):
        raise UsageError("--trust-remote-code runs code of the hub; pin it with --revision COMMIT")
    if name.preset is not None:
        found = preset(name.preset, settings.style)
    else:
        found = derive(read_config(fetch(name, "config")), style=settings.style)
    model = {"kind": name.kind, "name": name.name, "shown": name.shown, "path": None, "revision": None}
    return model, found


def resolve_revision(settings: Settings, model: dict[str, Any]) -> None:
    """Put the commit of a hub model into the plan's entry. Raises Unavailable where the hub is away."""
    from bptools.models.hub import resolved_revision

    if model["kind"] == "hub":
        model["revision"] = resolved_revision(_name_of(settings))


def fetch_model(settings: Settings, model: dict[str, Any]) -> None:
    """Put the folder of the model, and what identifies it, into the plan's entry; downloads if need be."""
    from bptools.models.hub import fetch

    if model["kind"] == "none":
        return
    model["path"] = os.path.abspath(fetch(_name_of(settings)))  # of the commit that was resolved before
    if model["kind"] != "hub":
        model["sha256"] = folder_sha256(model["path"])


def _name_of(settings: Settings) -> ModelName:
    from bptools.models import resolve

    return resolve(settings.model, settings.revision)


def folder_sha256(folder: str) -> str:
    """Return a hash that tells models apart: of all small files, and of the sizes and headers of weights."""
    digest = hashlib.sha256()
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.startswith((".", "README")) or not os.path.isfile(path):
            continue
        size = os.path.getsize(path)
        digest.update(f"{name}\0{size}\0".encode())
        with open(path, "rb") as file:
            digest.update(file.read(1 << 20))
            if size > 2 << 20:
                file.seek(size - (1 << 20))
                digest.update(file.read())
    return digest.hexdigest()


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
    check_settings(settings)
    model, preset = base_model(settings)
    if settings.checkpointing is None:
        settings = replace(settings, checkpointing=preflight.likely_device(settings) != "cpu")
    quant, why = settings.quant, ""
    if quant is None:
        quant, why = preflight.choose_quant(settings, preset)
        settings = replace(settings, quant=quant)
    if settings.method != "pretrain":  # before the records: they may come from a pipe of hours
        preflight.check_memory(settings, preset, model["shown"])
    resolve_revision(settings, model)
    pipe.intake.hashing = True
    if evaluation is not None:
        evaluation.intake.hashing = True
    parent = os.path.dirname(os.path.abspath(request.path)) if request.path else request.runs
    incoming = make_incoming(parent, request.path)
    folder = incoming.path
    planned: Planned | None = None
    try:
        try:
            spooled = _spool(settings, pipe, reading, evaluation, folder)
        except (ReadWriteError, OutputError) as error:
            raise type(error)(_of_the_place(str(error), folder, request)) from None
        settings = replace(settings, method=_method(settings, spooled))
        settings, reasons = complete(settings, preset, settings.method or "sft", spooled.records)
        if why:
            reasons["quant"] = why
        plan: dict[str, Any] = {"small": preset.parameters < SMALL}
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
    recipe = settings.recipe() | {"model": _identity(model)}
    if settings.adapter:
        recipe["adapter"] = _adapter_sha256(settings.adapter)
    if os.path.isfile(settings.chat_template):
        recipe["chat_template"] = sha256_of(settings.chat_template)
    if settings.tokenizer and os.path.isdir(settings.tokenizer):
        recipe["tokenizer"] = folder_sha256(settings.tokenizer)
    if settings.ref_model:
        decided["reference"] = _reference(settings)
        recipe["reference"] = folder_sha256(decided["reference"])
    identity = run_id(recipe, spooled.records_sha256, spooled.evaluation_sha256 or None)
    run = RunDirectory(request.path or os.path.join(request.runs, run_name(model["shown"], identity)))
    plan: dict[str, Any] = {
        "id": identity,
        "settings": settings.as_json(),
        **decided,
        "recipe": recipe,
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
    new = False
    try:
        recover(run)
        earlier = run.read(PLAN) or run.read(MANIFEST)  # which says the same
        if not request.fresh:
            if earlier is not None and _finished(run, earlier, plan):
                return Planned(run, earlier, True)
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


def _reference(settings: Settings) -> str:
    from bptools.models import fetch, resolve

    check_reference(settings)
    return os.path.abspath(fetch(resolve(settings.ref_model or "")))


def _identity(model: dict[str, Any]) -> str:
    if model["kind"] == "hub":
        return f"{model['name']}@{model['revision']}"
    return str(model.get("sha256") or model["name"])


def _adapter_sha256(folder: str) -> str:
    try:
        return "".join(
            sha256_of(os.path.join(folder, name))
            for name in ("adapter_model.safetensors", "adapter_config.json")
        )
    except OSError:
        raise InputError(
            f"--adapter '{folder}' is no adapter: there is no adapter_model.safetensors in it"
        ) from None


def difference(earlier: dict[str, Any], now: dict[str, Any]) -> str:
    """Say in which settings or records two plans differ."""
    old, new = earlier["recipe"], orjson.loads(orjson.dumps(now["recipe"]))  # as read: lists, not tuples
    said = [f"{name} was {old.get(name)}, is {new[name]}" for name in new if old.get(name) != new[name]]
    if earlier["records_sha256"] != now["records_sha256"]:
        said.append(f"other records ({earlier['records']} then, {now['records']} now)")
    if earlier["evaluation_sha256"] != now["evaluation_sha256"]:
        said.append("other evaluation records")
    return "; ".join(said) or "the same settings of another version"
