"""A command's parameters as plain data, read from its Typer app: what pages and completions are made of."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from typer.main import get_command

from bptools.core.registry import Command

_NOTHING: tuple[Any, ...] = (None, False, "", (), [])


class Parameter(NamedTuple):
    """One option or operand."""

    names: tuple[str, ...]  # short ones first; empty for an operand
    value: str  # what stands for its value, empty for a flag
    choices: tuple[str, ...]
    help: str  # with default and range
    variable: str  # the environment variable that sets it, empty for operands
    repeatable: bool


class Interface(NamedTuple):
    """What a command line of one command or subcommand may hold."""

    name: str  # "bp-detect", "bptools doctor"
    summary: str
    parameters: tuple[Parameter, ...]
    subcommands: tuple[Interface, ...]

    @property
    def options(self) -> tuple[Parameter, ...]:
        """The parameters that are options."""
        return tuple(parameter for parameter in self.parameters if parameter.names)

    @property
    def operands(self) -> tuple[Parameter, ...]:
        """The parameters that are operands."""
        return tuple(parameter for parameter in self.parameters if not parameter.names)


def interface(command: Command) -> Interface:
    """Return the interface of a registered command."""
    return _read(get_command(import_module(command.module).app), command.name, None)


def _read(command: Any, name: str, parent: Any) -> Interface:
    prefix = "BP" if parent is None else None  # a subcommand's comes from its parent
    settings = command.context_settings
    context = command.context_class(
        command, info_name=name.split()[-1], parent=parent, auto_envvar_prefix=prefix, **settings
    )
    parameters = [_parameter(item, context) for item in command.get_params(context) if not _hidden(item)]
    subcommands = [
        _read(item, f"{name} {title}", context)
        for title, item in getattr(command, "commands", {}).items()
        if not item.hidden
    ]
    summary = " ".join((command.help or "").split("\f")[0].split())
    return Interface(name, summary, tuple(parameters), tuple(subcommands))


def _hidden(parameter: Any) -> bool:
    return bool(getattr(parameter, "hidden", False))


def _parameter(parameter: Any, context: Any) -> Parameter:
    choices = tuple(str(choice) for choice in getattr(parameter.type, "choices", None) or ())
    text = " ".join((getattr(parameter, "help", None) or "").split())
    if parameter.param_type_name == "argument":
        metavar = parameter.metavar or parameter.name.upper()
        return Parameter((), metavar, choices, text, "", parameter.nargs == -1)
    names = sorted((*parameter.opts, *parameter.secondary_opts), key=lambda name: name.startswith("--"))
    value = ""
    if not parameter.is_flag and not parameter.count:
        value = parameter.metavar or "|".join(choices) or parameter.type.name.upper()
    facts = []
    default = parameter.default
    if default not in _NOTHING and not callable(default) and parameter.show_default:
        facts.append(f"default: {_shown(default, parameter)}")
    if bounds := _range(parameter.type):
        facts.append(bounds)
    if parameter.multiple and "repeat" not in text:
        facts.append("may be repeated")
    if facts:
        text = f"{text} [{'; '.join(facts)}]"
    variable = ""
    if getattr(parameter, "allow_from_autoenv", True) and "--help" not in names:
        variable = f"{context.auto_envvar_prefix}_{parameter.name}".upper()
    return Parameter(tuple(names), value, choices, text, variable, bool(parameter.multiple))


def _shown(default: Any, parameter: Any) -> str:
    if parameter.is_flag and parameter.secondary_opts:
        return str(parameter.opts[0] if default else parameter.secondary_opts[0])
    if isinstance(default, list | tuple):
        return " ".join(str(item) for item in default)
    return str(getattr(default, "value", default))


def _range(kind: Any) -> str:
    """Return the bounds of a number in words."""
    low, high = getattr(kind, "min", None), getattr(kind, "max", None)
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"at least {low}"
    return f"at most {high}" if high is not None else ""
