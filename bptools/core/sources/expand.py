"""Operands of a command line -> sources: files, folders, patterns, standard input, data sets on the hub.

A name is a path unless it says `hf:`. What a folder holds is chosen by suffix and read in one order
everywhere; what it holds besides is named, so that a command can say what it passed over.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bptools.core.errors import InputError
from bptools.core.messages import printable
from bptools.core.sources.base import Source
from bptools.core.streams import reason_not_read

DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md")
PACKED_SUFFIXES = (".gz", ".zst")

_METADATA = frozenset(
    ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "manifest.json")
)
_HUB_NAME = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"


class Expansion(NamedTuple):
    """The sources to read, in order, and the names of files in folders that are no data files."""

    sources: list[Source]
    passed_over: list[str]


def expand(operands: Sequence[str]) -> Expansion:
    """Return the sources that the operands of a command line name; none, or `-`, is standard input.

    Nothing is opened but folders. Raises InputError: a missing path, a folder without data files or
    that cannot be read, a pattern that matches nothing.
    """
    expansion = Expansion([], [])
    for operand in operands or ("-",):
        if operand == "-":
            expansion.sources.append(Source("<stdin>", None, "stdin"))
        elif operand.startswith("hf:"):
            expansion.sources.append(Source(operand, None, "hub"))
        else:
            _expand_path(operand, expansion)
    return expansion


def suffix_of(name: str) -> str:
    """Return the lower-case suffix that tells the content, behind which .gz or .zst may stand."""
    base = os.path.basename(name).lower()
    for packed in PACKED_SUFFIXES:
        base = base.removesuffix(packed)
    return os.path.splitext(base)[1]


def is_data_file(name: str) -> bool:
    """Say whether a file found in a folder is read: by suffix, known metadata files left out."""
    base = name.lower()
    for packed in PACKED_SUFFIXES:
        base = base.removesuffix(packed)
    return base.endswith(DATA_SUFFIXES) and base not in _METADATA and not base.endswith(".manifest.json")


def _expand_path(operand: str, expansion: Expansion) -> None:
    try:
        status = os.stat(operand)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and os.path.lexists(operand):
            raise InputError(f"cannot open '{printable(operand)}': {_reason(error)}") from None
        _expand_missing(operand, error, expansion)
        return
    if not stat.S_ISDIR(status.st_mode):
        expansion.sources.append(Source(printable(operand), operand))
        return
    before = len(expansion.sources)
    _add_folder(operand, expansion)
    if len(expansion.sources) == before:
        suffixes = " ".join(DATA_SUFFIXES)
        raise InputError(f"no data file in '{printable(operand)}'; a folder is searched for {suffixes}")


def _expand_missing(operand: str, error: OSError | ValueError, expansion: Expansion) -> None:
    name = printable(operand)
    if not any(sign in operand for sign in "*?["):
        message = f"cannot open '{name}': {_reason(error)}"
        if re.fullmatch(_HUB_NAME, operand) and not is_data_file(operand):
            message += f"; did you mean hf:{operand}?"
        raise InputError(message)
    import glob

    try:
        matches = glob.glob(operand, recursive=True)
    except (OSError, ValueError, re.error):
        matches = []
    before = len(expansion.sources)
    for match in sorted(matches, key=_order):
        if os.path.isdir(match):
            if "**" not in operand:  # else its files match too
                _add_folder(match, expansion)
        else:
            expansion.sources.append(Source(printable(match), match))
    if len(expansion.sources) == before:
        raise InputError(f"no file matches '{name}'")


def _add_folder(folder: str, expansion: Expansion) -> None:
    for path in _walk(folder, set()):
        if is_data_file(os.path.basename(path)):
            expansion.sources.append(Source(printable(path), path))
        else:
            expansion.passed_over.append(printable(path))


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the files below a folder in the order of their path components' bytes, each folder once.

    Hidden files and folders are left out; so are pipes and devices.
    """
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        try:
            status = os.stat(path)
            if not stat.S_ISDIR(status.st_mode):
                if stat.S_ISREG(status.st_mode):
                    yield path
                continue
            identity = (status.st_dev, status.st_ino)
            if identity in seen and status.st_ino:
                continue
            seen.add(identity)
            names = [name for name in os.listdir(path) if not name.startswith(".")]
        except OSError as error:
            if is_data_file(os.path.basename(path)) and os.path.islink(path):
                yield path  # a link to nowhere: opening it says so
                continue
            raise InputError(f"cannot read '{printable(path)}': {_reason(error)}") from None
        names.sort(key=os.fsencode, reverse=True)
        waiting.extend(os.path.join(path, name) for name in names)


def _order(path: str) -> list[bytes]:
    return os.fsencode(path).split(os.fsencode(os.sep))


def _reason(error: OSError | ValueError) -> str:
    return reason_not_read(error) if isinstance(error, OSError) else str(error).lower()
