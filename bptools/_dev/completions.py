"""Static completions for bash, zsh and fish: the parameters mirrored into argparse, written by shtab.

Static, because a dynamic one costs a start of the command at every press of the key.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import shtab

from bptools._dev.parameters import Interface, Parameter
from bptools.core.recipes import listed
from bptools.models.presets import PRESETS

SHELLS = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}  # shell -> name of a command's file
_FILES = {"FILE", "SOURCE", "PATH"}  # what an option's placeholder says of its value
_FOLDERS = {"DIR"}
# names that are known when this is written: of options, and of the operands of subcommands
_KNOWN: dict[str, Callable[[], list[str]]] = {
    "--preset": lambda: list(PRESETS),
    "bptools presets": lambda: list(PRESETS),
    "bptools recipe": lambda: [recipe.name for recipe in listed()],
}
_ZSH_OPTIONS = re.compile(r"^(\w+)_options=\($(.*?)^\)$", re.MULTILINE | re.DOTALL)  # of a (sub)command


def completion(face: Interface, shell: str) -> str:
    """Return the completion script of a command for a shell."""
    script: str = shtab.complete(_parser(face), shell)
    if shell == "zsh":
        # shtab's specification of several operands excludes itself, so that zsh completes the first one only;
        # and its guard, which looks for that specification, would add subcommands that do not exist
        script = re.sub(r'^  "\(\*\)::', '  "*:', script, flags=re.MULTILINE)
        for name, options in _ZSH_OPTIONS.findall(script):
            if '\n  "*:' in options:
                script = script.replace(f"\n{name}_defaults_added=0", f"\n{name}_defaults_added=1")
    return "\n".join(line.rstrip() for line in script.split("\n")).rstrip("\n") + "\n"


def _parser(face: Interface) -> ArgumentParser:
    parser = ArgumentParser(prog=face.name.split()[-1], description=face.summary, add_help=False)
    _fill(parser, face)
    return parser


def _fill(parser: ArgumentParser, face: Interface) -> None:
    for parameter in face.options:
        _add_option(parser, parameter)
    for parameter in face.operands:
        word = parameter.value.strip("[].")
        nargs: Any = "*" if parameter.repeatable else "?"
        action = parser.add_argument(word.lower(), nargs=nargs, metavar=word, help=_head(parameter))
        _complete(action, word, parameter.choices or _known(face.name))
    if face.subcommands:
        children = parser.add_subparsers(dest="command", metavar="COMMAND", help="what to do")
        for entry in face.subcommands:
            title = entry.name.split()[-1]
            child = children.add_parser(title, help=entry.summary, description=entry.summary, add_help=False)
            _fill(child, entry)


def _add_option(parser: ArgumentParser, parameter: Parameter) -> None:
    if not parameter.value:
        parser.add_argument(*parameter.names, action="store_true", help=_head(parameter))
        return
    action = parser.add_argument(
        *parameter.names,
        metavar=_placeholder(parameter),
        action="append" if parameter.repeatable else "store",
        help=_head(parameter),
    )
    _complete(action, parameter.value, parameter.choices or _known(parameter.names[-1]))


def _known(name: str) -> tuple[str, ...]:
    return tuple(_KNOWN[name]()) if name in _KNOWN else ()


def _placeholder(parameter: Parameter) -> str:
    """Return what zsh shows for the value; a colon or a bracket there would end its specification."""
    if parameter.choices:
        return parameter.names[-1].lstrip("-")
    return re.sub(r"[^\w|=.]+", "-", parameter.value).strip("-")


def _complete(action: Any, word: str, choices: tuple[str, ...]) -> None:
    if choices:
        action.choices = list(choices)
    elif _FILES.intersection(word.split("|")):
        action.complete = shtab.FILE
    elif _FOLDERS.intersection(word.split("|")):
        action.complete = shtab.DIRECTORY


def _head(parameter: Parameter) -> str:
    """Return the first clause of the help, as much as fits beside a candidate."""
    text = parameter.help.split(" [")[0].split(";")[0].split(": ")[0].rstrip(".")
    return text.replace("%", "%%")
