"""The options that commands share, each defined once.

`data_command` gives a function its sources, outputs, rejects and messages:

    @app.command()
    @data_command("bp-x", drops=True)
    def x(pipe: Pipeline, bound: Annotated[int, option("--bound", help="...")] = 3) -> None:
        for raw, record in pipe: ...
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional

import typer

from bptools.core.cli import version_option
from bptools.core.errors import BpError, ConfigError, UsageError
from bptools.core.pipeline import Pipeline
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.setting_types import as_option
from bptools.core.settings import layered, listed_in_environment, origin_of


def option(*names: str, **settings: Any) -> Any:
    """Return a Typer option; BP_NAME variables hold for all options and are documented once."""
    settings.setdefault("show_envvar", False)
    return typer.Option(*names, **settings)


def _read_config(context: typer.Context, files: list[str] | None) -> list[str] | None:
    """Put the configuration files below flags and variables (an eager callback)."""
    known = {parameter.name for parameter in context.command.params if parameter.name}
    found = layered(context.info_name or "", list(files or []), known)
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in found.values:
            found.values[name] = as_option(parameter, found.values[name], found.origins[name])
    several = [item.name for item in context.command.params if getattr(item, "multiple", False) and item.name]
    for name, values in listed_in_environment(name for name in several if name != "config").items():
        found.values[name], found.origins[name] = values, f"BP_{name.upper()}"
        del os.environ[f"BP_{name.upper()}"]  # or it is split at white space and taken first
    context.default_map = found.values
    context.meta["bptools.origins"] = found.origins
    context.meta["bptools.files"] = found.files
    context.meta["bptools.warnings"] = found.warnings
    context.meta["bptools.either"] = found.either
    return files


Containers = Literal["jsonl", "json", "csv", "tsv", "parquet", "text"]

# (parameter, annotation, default): in the order of the help
READING: list[tuple[str, Any, Any]] = [
    ("output", Annotated[str, option("--output", "-o", metavar="FILE", help="Write to FILE, whole or not at all; - is standard output.")], "-"),
    ("input_format", Annotated[Optional[Containers], option("--input-format", help="Take every source for this container instead of looking.")], None),
    ("split_on", Annotated[Literal["line", "paragraph", "file"], option("--split-on", help="What one record of a text file is.")], "file"),
    ("text_field", Annotated[Optional[str], option("--text-field", metavar="COLUMN", help="The column that is the text.")], None),
    ("map", Annotated[Optional[list[str]], option("--map", metavar="FIELD=COLUMN", help="Say which column is a known field; may be repeated.")], None),
    ("skip", Annotated[int, option("--skip", min=0, metavar="N", help="Leave out the first N input records.")], 0),
    ("slice", Annotated[Optional[str], option("--slice", metavar="A:B", help="Only input records A to B-1, counted from 0.")], None),
    ("limit", Annotated[Optional[int], option("--limit", min=1, metavar="N", help="End well after N records have gone out.")], None),
]  # fmt: skip
REJECTING: list[tuple[str, Any, Any]] = [
    ("rejects", Annotated[Optional[str], option("--rejects", metavar="FILE", help="Keep what is no record in FILE, with file, line and reason.")], None),
    ("max_rejects", Annotated[str, option("--max-rejects", metavar="N|P%", help="How many rejects are tolerated before the exit status is 65.")], "0"),
    ("strict", Annotated[bool, option("--strict", help="Stop at the first reject.")], False),
]  # fmt: skip
DROPPING: list[tuple[str, Any, Any]] = [
    ("dropped", Annotated[Optional[str], option("--dropped", metavar="FILE", help="Keep what is dropped in FILE, each with its reason in bp.drop.")], None),
    ("tag", Annotated[bool, option("--tag", help="Drop nothing: pass all on, marked in bp.drop.")], False),
    ("explain", Annotated[bool, option("--explain", help="Say on stderr what is dropped, and why.")], False),
]  # fmt: skip
REPORTING: list[tuple[str, Any, Any]] = [
    ("report", Annotated[Optional[str], option("--report", metavar="FILE", help="Write the counts as JSON to FILE.")], None),
    ("line_buffered", Annotated[bool, option("--line-buffered", help="Write each line at once, as on a terminal.")], False),
    ("no_progress", Annotated[bool, option("--no-progress", help="Draw no progress on a terminal.")], False),
]  # fmt: skip
COMMON: list[tuple[str, Any, Any]] = [
    ("config", Annotated[Optional[list[str]], option("--config", "-c", metavar="FILE", is_eager=True, callback=_read_config, help="Read options from a YAML or TOML file; may be repeated, later ones win.")], None),
    ("show_config", Annotated[bool, option("--show-config", allow_from_autoenv=False, help="Print every option with its origin, and stop.")], False),
    ("log_format", Annotated[Literal["text", "json"], option("--log-format", help="How messages are written.")], "text"),
    ("quiet", Annotated[bool, option("--quiet", "-q", help="Errors and rejects only.")], False),
    ("verbose", Annotated[bool, option("--verbose", "-v", help="Name the files in folders that are passed over.")], False),
    ("version", Annotated[bool, version_option()], False),
]  # fmt: skip
SOURCES: tuple[str, Any, Any] = (
    "sources",
    Annotated[
        Optional[list[str]],
        typer.Argument(metavar="[SOURCE]...", show_default=False, help="Files, folders, globs, hf:NAME or -; default: standard input."),
    ],
    None,
)  # fmt: skip


def data_command(name: str, drops: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for `function(pipe, **own options)`; `drops` adds --dropped, --tag and --explain."""
    shared = READING + REJECTING + (DROPPING if drops else []) + REPORTING + COMMON

    def run(function: Callable[..., None], settings: PipelineSettings, chosen: dict[str, Any]) -> None:
        with Pipeline(name, settings) as pipe:
            function(pipe, **chosen)

    return _with_options(shared, run)


def reading_command() -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator for `function(settings, **own options)` of a command that reads records and writes none.

    It opens its Pipelines itself; --output and --limit, if it has them, are its own.
    """
    reading = [entry for entry in READING if entry[0] not in ("output", "limit")]
    reporting = [entry for entry in REPORTING if entry[0] != "line_buffered"]

    def run(function: Callable[..., None], settings: PipelineSettings, chosen: dict[str, Any]) -> None:
        function(settings, **chosen)

    return _with_options(reading + REJECTING + reporting + COMMON, run)


Run = Callable[[Callable[..., None], PipelineSettings, dict[str, Any]], None]


def _with_options(
    shared: list[tuple[str, Any, Any]], run: Run
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds sources and shared options after a function's own."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        # not get_type_hints: on Python 3.10 it wraps whatever defaults to None in Optional, options included
        parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        own = [_parameter(entry.name, entry.annotation, entry.default) for entry in parameters]
        own_names = [parameter.name for parameter in own]

        def wrapper(ctx: typer.Context, **values: Any) -> None:
            _drop_alternatives(ctx, values)
            chosen = {key: values[key] for key in own_names}
            _say_warnings(ctx, values)
            if values["show_config"]:
                typer.echo(show_config(ctx), nl=False)
                return
            try:
                run(function, _settings(ctx, values), chosen)
            except UsageError as error:
                raise _with_origin(ctx, error) from None

        parameters = [_parameter("ctx", typer.Context), _parameter(*SOURCES), *own]
        parameters += [_parameter(*entry) for entry in shared if entry[0] != "version"]
        parameters.append(_parameter(*COMMON[-1]))
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        wrapper.__name__, wrapper.__doc__ = function.__name__, function.__doc__
        return wrapper

    return decorate


def _drop_alternatives(context: typer.Context, values: dict[str, Any]) -> None:
    """Drop what a file says of an option where a flag or variable sets its alternative: --steps, and epochs."""
    for pair in context.meta.get("bptools.either", ()):
        for weak, strong in (pair, pair[::-1]):
            sources = [context.get_parameter_source(name) for name in (weak, strong)]
            kinds = [source.name if source is not None else "" for source in sources]
            if kinds[0] == "DEFAULT_MAP" and kinds[1] in ("COMMANDLINE", "ENVIRONMENT"):
                values[weak] = context.params[weak] = None
                context.meta["bptools.origins"][weak] += f", but --{strong.replace('_', '-')}"


def _say_warnings(context: typer.Context, values: dict[str, Any]) -> None:
    """Say what of the configuration files is not used."""
    warnings = context.meta.get("bptools.warnings")
    if warnings:
        from bptools.core.messages import Messages

        messages = Messages(context.info_name or "", as_json=values["log_format"] == "json")
        for text in warnings:
            messages.warn(text)


def _with_origin(context: typer.Context, error: UsageError) -> BpError:
    """Return the error of options, with where the value of the first comes from if no flag gave it.

    One that a flag has a part in stays an error of options.
    """
    names = [name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([a-z][a-z-]*)", str(error))]
    origin = origin_of(context, names[0]) if names and str(error).startswith("--") else None
    if origin is None:
        return error
    place = origin.place.removesuffix(f": {names[0].replace('_', '-')}")
    sources = [context.get_parameter_source(name) for name in names[1:]]
    flags = any(source is not None and source.name == "COMMANDLINE" for source in sources)
    return (ConfigError if origin.is_file and not flags else UsageError)(f"{place}: {error}")


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def pairs(name: str, given: list[str] | None, shape: str = "NAME=VALUE") -> dict[str, str]:
    """Return {left: right} of an option given as LEFT=RIGHT, its metavar. Raises UsageError naming it."""
    found: dict[str, str] = {}
    for text in given or []:
        left, equals, right = text.partition("=")
        if not equals or not left or not right:
            raise UsageError(f"{name} '{text}' is not {shape}")
        found[left] = right
    return found


def json_values(name: str, given: list[str] | None) -> dict[str, Any]:
    """Return {left: right} as `pairs`, where what is JSON is meant as JSON: false, 3, [1]."""
    import json

    values: dict[str, Any] = {}
    for key, text in pairs(name, given).items():
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return values


def _settings(context: typer.Context, values: dict[str, Any]) -> PipelineSettings:
    return PipelineSettings(
        sources=list(values["sources"] or []),
        output="-" if values.get("output") is None else values["output"],
        input_format=values["input_format"],
        split_on=values["split_on"],
        text_field=values["text_field"],
        field_map=pairs("--map", values["map"], "FIELD=COLUMN"),
        skip=values["skip"],
        slice=values["slice"],
        limit=values.get("limit"),
        rejects=values["rejects"],
        max_rejects=values["max_rejects"],
        strict=values["strict"],
        dropped=values.get("dropped"),
        tag=values.get("tag", False),
        explain=values.get("explain", False),
        report=values["report"],
        line_buffered=values.get("line_buffered", False),
        quiet=values["quiet"],
        verbose=values["verbose"],
        log_json=values["log_format"] == "json",
        progress=not values["no_progress"],
        resolved=resolved(context),
        config_files=[*context.meta.get("bptools.files", ())],
    )


def resolved(context: typer.Context) -> dict[str, dict[str, Any]]:
    """Return {option: {"value", "origin"}} of every option, sorted by name."""
    origins = context.meta.get("bptools.origins", {})
    table: dict[str, dict[str, Any]] = {}
    for parameter in sorted(context.command.params, key=lambda item: item.name or ""):
        name = parameter.name or ""
        if name not in context.params or name in ("show_config", "sources", "config"):
            continue
        source = context.get_parameter_source(name)
        kind = source.name.lower() if source is not None else "default"
        origin = {
            "commandline": "command line",
            "environment": "BP_" + name.upper(),
            "default_map": origins.get(name, "configuration"),
        }.get(kind, "default")
        table[name.replace("_", "-")] = {"value": context.params[name], "origin": origin}
    return table


def show_config(context: typer.Context) -> str:
    """Return every option as TOML with its origin; what it prints can be a bptools.toml."""
    import json

    lines = [f"[{context.info_name}]"]
    for name, entry in resolved(context).items():
        value, origin = entry["value"], entry["origin"]
        if value is None or value == []:
            lines.append(f"# {name} is not set  # {origin}")
        else:
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}  # {origin}")
    sources = context.get_parameter_source("sources") if "sources" in context.params else None
    if sources is not None and sources.name == "DEFAULT_MAP":  # an argument: no bptools.toml has it
        origin = context.meta["bptools.origins"]["sources"]
        lines.append(f"# sources = {json.dumps(context.params['sources'], ensure_ascii=False)}  # {origin}")
    return "\n".join(lines) + "\n"
