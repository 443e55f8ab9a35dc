"""bptools: the toolbox itself.

bptools doctor --json | jq .devices
"""

from __future__ import annotations

from typing import Annotated, NoReturn

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
        raise UsageError("no command given: doctor, list or version; see bptools --help")


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
    typer.echo(_json(found) if json else diagnosis_text(found), nl=False)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the commands."""
    from bptools.core.registry import COMMANDS

    if json:
        rows = [{"name": entry.name, "kind": entry.kind, "summary": entry.summary} for entry in COMMANDS]
        typer.echo("".join(map(_json, rows)), nl=False)
        return
    width = max(len(entry.name) for entry in COMMANDS)
    typer.echo("".join(f"{entry.name:<{width}}  {entry.summary}\n" for entry in COMMANDS), nl=False)


@app.command("version")
def version_(json: Json = False) -> None:
    """Print the version."""
    typer.echo(_json({"version": __version__}) if json else cli.version_line("bptools") + "\n", nl=False)


def _json(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False) + "\n"


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bptools")
