"""bptools: the toolbox itself.

bptools doctor --json | jq .devices
"""

from __future__ import annotations

import os
from typing import Annotated, Literal, NoReturn, Optional

import typer

from bptools import __version__
from bptools.core import cli
from bptools.core.errors import UsageError
from bptools.core.options import option

app = cli.command_app()
Json = Annotated[bool, option("--json", help="Write JSON instead of lines for a person.")]


@app.callback(invoke_without_command=True)
def bptools(context: typer.Context, version: Annotated[bool, cli.version_option()] = False) -> None:
    """Look after the toolbox: what it has, what is missing, what it is."""
    if context.invoked_subcommand is None:
        raise UsageError(
            "no command given: doctor, list, presets, recipe, runs, trace or version; see bptools --help"
        )


@app.command()
def doctor(
    json: Json = False,
    imports: Annotated[
        bool,
        option("--imports", help="Import every package, each in a process of its own; takes a minute."),
    ] = False,
) -> None:
    """Show Python, packages, devices, and the line that installs what is missing."""
    from bptools.core.environment import diagnosis, diagnosis_text

    found = diagnosis(imports)
    _print(_json(found) if json else diagnosis_text(found))


@app.command("list")
def list_(json: Json = False) -> None:
    """List the commands."""
    from bptools.core.registry import COMMANDS

    if json:
        rows = [{"name": entry.name, "kind": entry.kind, "summary": entry.summary} for entry in COMMANDS]
        _print("".join(map(_json, rows)))
        return
    width = max(len(entry.name) for entry in COMMANDS)
    _print("".join(f"{entry.name:<{width}}  {entry.summary}\n" for entry in COMMANDS))


@app.command()
def presets(
    names: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="[NAME]...", show_default=False, help="Presets; default: all of them."),
    ] = None,
    style: Annotated[
        Literal["fast", "balanced", "quality"],
        option("--style", help="How much is spent on training."),
    ] = "balanced",
    json: Json = False,
) -> None:
    """Show the models that have a short name, and the settings for training them."""
    from bptools.models.presets import PRESETS, as_json, preset, table

    chosen = [preset(name, style) for name in names or PRESETS]
    _print("".join(_json(as_json(one)) for one in chosen) if json else table(chosen))


@app.command()
def runs(
    folder: Annotated[
        Optional[list[str]],
        typer.Argument(
            metavar="[DIR|RUN]...",
            show_default=False,
            help="Where runs are, default BP_RUNS or runs; with --compare runs.",
        ),
    ] = None,
    compare: Annotated[
        bool, option("--compare", help="Show in what the named runs differ, side by side.")
    ] = False,
    prune: Annotated[
        bool, option("--prune", help="Remove the runs that the three options after this name.")
    ] = False,
    keep: Annotated[Optional[int], option("--keep", min=0, metavar="N", help="Not the newest N.")] = None,
    older_than: Annotated[
        Optional[str],
        option("--older-than", metavar="DURATION", help="Only what has not written for so long: 12h, 30d."),
    ] = None,
    unfinished: Annotated[bool, option("--unfinished", help="Only what was not finished.")] = False,
    dry_run: Annotated[
        bool, option("--dry-run", "-n", help="With --prune: only say what would be removed.")
    ] = False,
    json: Json = False,
) -> None:
    """List the runs of bp-train, compare some, or remove old ones."""
    from bptools.core.messages import Messages
    from bptools.training.runs_report import compared, listed, pruned, pruning_of

    quiet, as_json = os.environ.get("BP_QUIET") == "1", os.environ.get("BP_LOG_FORMAT") == "json"
    messages, paths = Messages("bptools", quiet=quiet, as_json=as_json), folder or []
    wanted = pruning_of(prune, keep, older_than, unfinished, dry_run)
    if wanted is not None and compare:
        raise UsageError("--compare and --prune are two things to do; take one")
    if not compare and len(paths) > 1:
        raise UsageError(f"one folder at a time, not {len(paths)}; --compare takes several runs")
    where = paths[0] if paths else None
    failed = None
    if compare:
        text = compared(paths, json, messages)
    elif wanted is not None:
        text, failed = pruned(where, wanted, dry_run, json, messages)
    else:
        text = listed(where, json, messages)
    _print(text)
    if failed is not None:
        raise failed


@app.command("trace")
def trace_(
    artifact: Annotated[
        str,
        typer.Argument(metavar="ARTIFACT", show_default=False, help="A file, a run, an adapter, a folder."),
    ],
    verify: Annotated[
        bool, option("--verify", help="Hash the files that are there again; exit with 1 if one has changed.")
    ] = False,
    json: Json = False,
) -> None:
    """Follow something that was made back to the raw files: commands, options, counts, hashes."""
    from bptools.core.trace import Changed, as_json, as_text, trace

    found = trace(artifact, os.environ.get("BP_LEDGER"), verify)
    _print(_json(as_json(found)) if json else as_text(found))
    changed = found.changed()
    if verify and changed:
        raise Changed(changed)


@app.command()
def recipe(
    names: Annotated[
        Optional[list[str]],
        typer.Argument(metavar="[NAME]...", show_default=False, help="Recipes; without one all are listed."),
    ] = None,
    output: Annotated[
        Optional[str],
        option("--output", "-o", metavar="FILE|DIR", help="Another name, or a folder; - is standard output."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a recipe, a small Makefile to begin with, into this folder; or list them."""
    from bptools.core.recipes import listed, listing, write

    if json and names:
        raise UsageError("--json lists the recipes; leave the names out")
    if output is not None and not names:
        raise UsageError("--output needs the name of a recipe; bptools recipe lists them")
    if names:
        text = "".join(f"{path}\n" for path in write(names, output))
    else:
        text = "".join(_json(entry._asdict()) for entry in listed()) if json else listing()
    _print(text)


@app.command("version")
def version_(json: Json = False) -> None:
    """Print the version."""
    _print(_json({"version": __version__}) if json else cli.version_line("bptools") + "\n")


def _print(text: str) -> None:
    """Write a report. Raises ReaderGone, ReadWriteError."""
    from bptools.core.output import open_output

    output = open_output("-")
    output.write(text.encode("utf-8", "surrogateescape"))  # paths may be any bytes
    output.commit()


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False) + "\n"


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bptools")
