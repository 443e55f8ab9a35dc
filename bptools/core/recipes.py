"""The recipes: small Makefiles that lie in the package, to be copied and changed.

bptools recipe retrain && make -s -f retrain.mk
"""

from __future__ import annotations

import os
from typing import NamedTuple

from bptools.core.errors import InputError, OutputError, UsageError

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PLACES = (os.path.join(_PACKAGE, "recipes"), os.path.join(os.path.dirname(_PACKAGE), "recipes"))
"""Where a wheel has them, and where a checkout has them."""


class Recipe(NamedTuple):
    """A recipe: the name it is asked for by, its file, and its first line."""

    name: str
    file: str
    summary: str


def folder() -> str:
    """Return the folder of the recipes. Raises InputError."""
    for place in _PLACES:
        if os.path.isdir(place):
            return place
    raise InputError(f"the recipes are not there: no folder '{_PLACES[0]}'; install bptools anew")


def listed() -> list[Recipe]:
    """Return all recipes by name."""
    found = []
    where = folder()
    for file in sorted(os.listdir(where)):
        name, suffix = os.path.splitext(file)
        if name.startswith((".", "_")) or suffix not in (".mk", ""):
            continue
        with open(os.path.join(where, file), encoding="utf-8") as opened:
            found.append(Recipe(name, file, opened.readline().lstrip("# ").rstrip(".\n")))
    return found


def listing() -> str:
    """Return all recipes, a line each."""
    rows = listed()
    width = max(len(entry.name) for entry in rows)
    return "".join(f"{entry.name:<{width}}  {entry.summary}\n" for entry in rows)


def write(names: list[str], output: str | None = None) -> list[str]:
    """Write recipes into this folder, or where `output` says; return their paths, none for `-`.

    A file that is there is never replaced, and then nothing is written. Raises UsageError, InputError,
    OutputError, ReadWriteError.
    """
    known = {entry.name: entry for entry in listed()} | {entry.file: entry for entry in listed()}
    for name in names:
        if name not in known:
            raise InputError(f"no recipe '{name}'; there are {', '.join(entry.name for entry in listed())}")
    chosen = list(dict.fromkeys(known[name] for name in names))
    into = output is None or (output != "-" and os.path.isdir(output))
    if len(chosen) > 1 and not into:
        where = "is standard output" if output == "-" else "is no folder"
        raise UsageError(f"--output '{output}' {where}: {len(chosen)} recipes do not fit into one file")
    texts = []
    for recipe in chosen:
        with open(os.path.join(folder(), recipe.file), "rb") as file:
            texts.append(file.read())
    if output == "-":
        from bptools.core.output import open_output

        out = open_output("-")
        out.write(b"".join(texts))
        out.commit()
        return []
    paths = [os.path.join(output or "", recipe.file) if into else str(output) for recipe in chosen]
    for path in paths:
        if os.path.lexists(path):
            raise _taken(path)
    for path, text in zip(paths, texts):
        _write_new(path, text)
    return paths


def _write_new(path: str, text: bytes) -> None:
    """Write a file, whole or not at all, that must not be there yet."""
    from bptools.core.output import write_file

    if os.path.lexists(path):  # made since all were looked at
        raise _taken(path)
    write_file(path, text)


def _taken(path: str) -> OutputError:
    return OutputError(f"'{path}' is there and may have been changed; move it away, or name another with -o")
