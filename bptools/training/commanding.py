"""bp-train's options -> settings, request and pipelines; what happens -> lines for a person."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bptools.core.errors import UsageError
from bptools.core.messages import Messages, printable
from bptools.core.options import json_values, pairs
from bptools.core.output import open_output
from bptools.core.pipeline import Pipeline
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.sizes import parse_duration
from bptools.core.streams import read_small_file
from bptools.training.plan import Planned, Request, make_plan
from bptools.training.run_directory import LATEST
from bptools.training.settings import Settings
from bptools.training.telling import Teller, counted
from bptools.training.training import carry_out

if TYPE_CHECKING:
    from bptools.chat import Options


def run(reading: PipelineSettings, given: dict[str, Any]) -> None:
    """Plan and train as the options say, and print the path of the result. Raises BpError."""
    settings = settings_of(given)
    request = request_of(given, reading)
    told = _Report if request.dry_run else Messages
    messages = told("bp-train", reading.quiet, reading.verbose, reading.log_json)
    teller = Teller(messages, progress=reading.progress and not reading.quiet, show_rows=request.show_rows)
    planned = make_plan(
        settings, request, _pipeline(reading), _options(reading, given), _evaluation(reading, given)
    )
    _say_plan(messages, planned)
    with teller:
        carry_out(planned, teller)
    if request.dry_run:
        return
    out = open_output("-")
    out.write(os.fsencode(planned.run.file(planned.plan["result"])) + b"\n")
    out.commit()


class _Report(Messages):
    """Of a dry run what is said is the output: on standard output, also under --quiet."""

    def info(self, text: str) -> None:
        """Write a line."""
        out = open_output("-", line_buffered=True)
        out.write(printable(text).encode("utf-8", "backslashreplace") + b"\n")
        out.commit()


def settings_of(given: dict[str, Any]) -> Settings:
    """Return the settings that the options name. Raises UsageError."""
    values = {entry.name: given[entry.name] for entry in fields(Settings) if entry.name in given}
    if given["preset"] and given["model"]:
        raise UsageError("--preset and --model both name a model; take one")
    if given["steps"] and given["epochs"]:
        raise UsageError("--steps and --epochs both say how long; take one")
    values["model"] = given["preset"] or given["model"] or "nano"
    values["template_kwargs"] = json_values("--template-kwargs", given["template_kwargs"])
    values["modules_to_save"] = tuple(given["modules_to_save"] or ())
    values["log"] = tuple(given["log"] or ())
    values["quant"] = None if given["quant"] == "auto" else given["quant"]
    values["micro_batch"] = _micro_batch(given["micro_batch"])
    if given["model_config"]:
        values["model_config"] = _table(given["model_config"])
    return Settings(**values)


def _table(path: str) -> dict[str, Any]:
    """Read --model-config: as any file that an option names it may be missing, which is not a bad one."""
    from bptools.core.settings import read_table

    read_small_file(path)
    return read_table(path)


def _micro_batch(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--micro-batch '{text}' is no number; write auto or 4")
    return int(text)


def request_of(given: dict[str, Any], reading: PipelineSettings) -> Request:
    """Return what was asked for beside the settings. Raises UsageError."""
    if given["output"] and given["name"] is not None:
        raise UsageError("--output and --name both say where the run is; take one")
    path = given["output"]
    if given["name"] is not None:
        path = os.path.join(given["runs"], _one_name(given["name"]))
    return Request(
        runs=given["runs"],
        path=path,
        fresh=given["fresh"],
        dry_run=given["dry_run"],
        show_rows=given["show_rows"],
        wait=parse_duration("--wait", given["wait"]) if given["wait"] else 0.0,
        asked=reading.resolved,
        option="-o" if given["output"] else "--runs",
    )


def _one_name(name: str) -> str:
    """Return a name for a run that stays in --runs and is seen there. Raises UsageError."""
    if not name or name.startswith(".") or {"/", os.sep, "\0"} & set(name) or name == LATEST:
        raise UsageError(
            f"--name '{printable(name)}' is no name in --runs: it takes no slash and no dot at the front, "
            f"and '{LATEST}' is taken; -o names any directory"
        )
    return name


def _pipeline(reading: PipelineSettings) -> Pipeline:
    reading.output = os.devnull
    return Pipeline("bp-train", reading)


def _evaluation(reading: PipelineSettings, given: dict[str, Any]) -> Pipeline | None:
    sources = given["eval"]
    if not sources:
        return None
    values = {name: getattr(reading, name) for name in PipelineSettings.__slots__}
    values.update(sources=list(sources), report=None, rejects=None, skip=0, slice=None)
    return Pipeline("bp-train", PipelineSettings(**values))


def _options(reading: PipelineSettings, given: dict[str, Any]) -> Options:
    from bptools.chat import Options

    return Options(
        to="text" if given["method"] in ("cpt", "pretrain") else "auto",  # a chat as ChatML then
        role_map=pairs("--role-map", given["role_map"], "NAME=ROLE"),
        text_field=reading.text_field,
        field_map=reading.field_map,
    )


def _say_plan(messages: Messages, planned: Planned) -> None:
    plan, settings = planned.plan, planned.plan["settings"]
    if planned.finished:
        messages.info(f"'{planned.run.path}' is finished; nothing to do")
        return
    long = counted(settings["steps"], "step") if settings["steps"] else counted(settings["epochs"], "epoch")
    messages.info(
        f"{settings['method']} of {plan['model']['shown']} on {counted(plan['records'], 'record')}, "
        f"{long} of batch {settings['batch_size']}, learning rate {settings['learning_rate']:g}; "
        f"{plan['evaluation']} held out; " + ("dry run" if plan["dry_run"] else f"in '{planned.run.path}'")
    )
