"""Where a value comes from: flag > BP_* (and .env) > -c files > ./bptools.toml > user config > default.

A file holds tables named after commands (`[bp-chatml]`); a `-c` file may be flat, for the command at hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from bptools.core.errors import ConfigError
from bptools.core.registry import COMMANDS
from bptools.core.setting_types import as_written
from bptools.core.streams import reason_not_read
from bptools.core.suggesting import did_you_mean

PROJECT_FILE = "bptools.toml"
_NEVER_FROM_A_FILE = {"config", "show_config", "help", "sources", "version"}

# Commands that also understand the keys of other tools' files: a module with
# `translate([(path, content)] weakest first, option names) -> Layered`, loaded when a file says anything.
TRANSLATORS = {"bp-train": "bptools.training.config_keys"}


class Layered(NamedTuple):
    """What the configuration files say: {parameter: value}, {parameter: where}, and what to warn of.

    either: parameters of which only one can hold; a flag for one drops what a file says of the other.
    files: those that were read.
    """

    values: dict[str, Any]
    origins: dict[str, str]
    warnings: list[str]
    either: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()


_dotenv: dict[str, str] = {}  # what ./.env has set: FILE:LINE


def load_dotenv(path: str = ".env") -> str | None:
    """Put the BP_* lines of ./.env into the environment, where the environment does not have them.

    Returns a warning if a line is no assignment, which may be one that was meant to be.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, UnicodeDecodeError):
        return None
    odd: list[int] = []
    quote = ""  # in which a value goes on over several lines, as other tools have it
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if equals and name.startswith("BP_"):
            if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            if name not in os.environ:
                os.environ[name] = value
                _dotenv[name] = f"{path}:{number}"
        if quote:
            quote = "" if line.rstrip().endswith(quote) else quote
        elif equals and name and not any(map(str.isspace, name)):
            opened = value[:1] in ("'", '"') and (len(value) == 1 or value[-1] != value[0])
            quote = value[0] if opened and any(value[0] in later for later in lines[number:]) else ""
        elif line.strip() and not line.lstrip().startswith("#"):
            odd.append(number)
    if not odd:
        return None
    more = f", and {len(odd) - 1} more" if len(odd) > 1 else ""
    return f"{path}:{odd[0]}: no assignment, ignored{more}; write BP_NAME=VALUE"


class Origin(NamedTuple):
    """Where a value comes from that no flag gave: what a message calls it, and whether that is a file."""

    place: str
    is_file: bool


def origin_of(context: Any, parameter: str) -> Origin | None:
    """Return where a parameter's value comes from; None for a flag or a default."""
    source = context.get_parameter_source(parameter)
    kind = source.name if source is not None else ""
    variable = f"BP_{parameter.upper()}"
    origin = context.meta.get("bptools.origins", {}).get(parameter, "configuration")
    if kind == "ENVIRONMENT" or (kind == "DEFAULT_MAP" and origin == variable):
        where = _dotenv.get(variable)
        return Origin(f"{where}: {variable}" if where else variable, where is not None)
    return Origin(f"{origin}: {parameter.replace('_', '-')}", True) if kind == "DEFAULT_MAP" else None


def user_config_file() -> str:
    """Return the path of the user's own configuration, whether it exists or not."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "bptools", "config.toml")


def layered(command: str, config_files: list[str], known: set[str]) -> Layered:
    """Return what all configuration files say, the strongest winning.

    `known` are the command's parameter names. Raises ConfigError for unreadable files and unknown keys.
    """
    automatic = [path for path in (user_config_file(), PROJECT_FILE) if os.path.exists(path)]
    files = [(path, False) for path in automatic] + [(path, True) for path in config_files]
    layers = [(path, _section(command, path, flat_allowed)) for path, flat_allowed in files]
    layers = [(path, content) for path, content in layers if content]
    known = known - _NEVER_FROM_A_FILE
    if layers and command in TRANSLATORS:
        import importlib

        found: Layered = importlib.import_module(TRANSLATORS[command]).translate(layers, known)
    else:
        found = _merged(command, layers, known)
    return found._replace(files=tuple(path for path, _ in files))


def _merged(command: str, layers: list[tuple[str, dict[str, Any]]], known: set[str]) -> Layered:
    """Merge files that only hold the command's own keys."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for path, content in layers:
        for key, value in content.items():
            name = key.replace("-", "_")
            if name not in known:
                meant = did_you_mean(name, (item.replace("_", "-") for item in known))
                raise ConfigError(f"{path}: unknown key '{key}' for {command}{meant}")
            both = isinstance(value, dict) and isinstance(values.get(name), dict)
            values[name] = {**values[name], **value} if both else value
            origins[name] = path
    return Layered(values, origins, [])


def _section(command: str, path: str, flat_allowed: bool) -> dict[str, Any]:
    """Return what a file says for the command."""
    content = read_table(path, as_written)
    names = {entry.name for entry in COMMANDS}
    section: dict[str, Any] = {}
    for key, value in content.items():
        if key == command:
            if not isinstance(value, dict):
                raise ConfigError(f"{path}: '{key}' is no table")
            section.update(value)
        elif key in names:
            continue
        elif flat_allowed:
            section[key] = value
        else:
            raise ConfigError(f"{path}: unknown table '{key}'{did_you_mean(key, names)}")
    return section


def read_table(path: str, real: Callable[[float, str], float] = lambda value, text: value) -> dict[str, Any]:
    """Return the keys and values of a TOML or YAML (so also JSON) file. Raises ConfigError.

    real: makes a value of a number that is no whole one and of how it is written.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ConfigError(f"cannot open '{path}': {reason_not_read(error)}") from None
    try:
        if path.endswith(".toml"):
            try:
                import tomllib
            except ImportError:  # Python 3.10
                import tomli as tomllib  # type: ignore[import-not-found, no-redef, unused-ignore]
            content: Any = tomllib.loads(
                data.decode("utf-8"), parse_float=lambda text: real(float(text), text)
            )
        else:
            from bptools.core.yaml_text import load_yaml

            content = load_yaml(data, real)
    except RecursionError:
        raise ConfigError(f"{path}: it is nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0].lower()}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: no table of keys and values")
    return {str(key): value for key, value in content.items()}


def listed_in_environment(names: Iterable[str]) -> dict[str, list[str]]:
    """Return {parameter: values} of repeatable options whose variable holds a JSON list of strings.

    What is no such list is split at white space, as ever: `[a-z]+` is an expression.
    """
    import json

    found: dict[str, list[str]] = {}
    for name in names:
        text = os.environ.get(f"BP_{name.upper()}", "")
        if not text.lstrip().startswith("["):
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if type(values) is list and all(type(value) is str for value in values):
            found[name] = values
    return found
