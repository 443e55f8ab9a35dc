"""What a run reads against what it writes: no output may replace an input, or become one of the next run.

    collisions = Collisions(settings)           # refuses what the settings say
    collisions.add({"--signatures": "s.jsonl"}) # and what is opened beside that

Files are compared by their paths, links followed, and by device and inode. Only --output may name a source:
it is replaced when the source was read to its end. Nothing is looked at where all that is written is a pipe
or a terminal, and no folder is searched where no output is there yet.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from typing import NamedTuple

from bptools.core.errors import InputError, UsageError
from bptools.core.output import descriptor_of
from bptools.core.pipeline_settings import PipelineSettings

# One name has one meaning in all commands: which options name what is read, and what is written.
_SOURCES = ("against", "eval")
_FILES = ("tokenizer", "cutoffs", "instruct-template", "chat-template", "model-config")
_OUTPUTS = ("signatures", "save-cutoffs")
_FOLDERS = {"index": "index.json", "out-dir": "x.jsonl"}  # and a file that will be there

Identity = tuple[int, int]


class Input(NamedTuple):
    """Something that is read: how a message calls it, and whether --output may replace it."""

    shown: str
    replaceable: bool


class Collisions:
    """Refuses outputs that lie where this run or the next one like it reads, or in one another's place."""

    def __init__(self, settings: PipelineSettings) -> None:
        """Look at all that the settings name. Raises UsageError."""
        self._settings = settings
        self._taken: dict[str, str] = {}  # paths of outputs: their options
        self._places: list[_Place] | None = None
        self._inputs: tuple[dict[str, Input], dict[Identity, Input]] | None = None
        output = settings.output
        self._appended: dict[Identity, str] = {}  # files behind open descriptors that are written to
        if output == "-":
            self._append("standard output", 1)
        outputs = {
            "--output": output,
            "--rejects": settings.rejects,
            "--dropped": settings.dropped,
            "--report": settings.report,
            "the manifest of --output": f"{output}.manifest.json" if output not in ("", "-") else None,
        }
        self.add({**outputs, **{f"--{name}": self._value(name) for name in _OUTPUTS}})
        for name, file in _FOLDERS.items():
            folder = self._value(name)
            if folder == "":
                raise UsageError(f"--{name} is empty; name a folder")
            if folder is not None:
                self._refuse_place(f"--{name}", os.path.join(folder, file))

    def _value(self, option: str) -> str | None:
        value = self._settings.resolved.get(option, {}).get("value")
        return value if type(value) is str else None

    def add(self, outputs: Mapping[str, str | None]) -> None:
        """Take outputs, {option: file}. Raises UsageError for one that is in the way."""
        for option, name in outputs.items():
            descriptor = descriptor_of(name or "")
            if descriptor is not None:
                self._append(option, descriptor)
        for option, name in outputs.items():
            if name == "":
                what = "- is standard output" if option == "--output" else "name a file"
                raise UsageError(f"{option} is empty; {what}")
            if name is None or (name == "-" and option == "--output"):
                continue
            if name == "-" and self._settings.output == "-":
                raise UsageError(f"{option} - would mix with the records on standard output; name a file")
            if descriptor_of(name) is not None or (os.path.exists(name) and not os.path.isfile(name)):
                continue  # devices and pipes can be shared
            path = os.path.realpath(name)
            other = self._taken.setdefault(path, option)
            if other != option:
                raise UsageError(f"{other} and {option} are both '{name}'")
            self._refuse_replacing(option, name, path)
            self._refuse_place(option, name)

    def _refuse_replacing(self, option: str, name: str, path: str) -> None:
        try:
            status = os.stat(name)
        except OSError:
            return  # there is nothing to replace
        appended = self._appended.get((status.st_dev, status.st_ino))
        if appended is not None:
            raise UsageError(f"{option} would replace '{name}', where {appended} goes")
        by_path, by_identity = self._known_inputs()
        found = by_path.get(path) or by_identity.get((status.st_dev, status.st_ino))
        if found is not None and not (found.replaceable and option == "--output"):
            raise UsageError(f"{option} would replace {found.shown}")

    def _append(self, option: str, descriptor: int) -> None:
        """Take an output that is open already. To append to what is read is refused: it would never end."""
        identity = _regular_file(descriptor)
        if identity is None:
            return
        self._appended[identity] = option
        found = self._known_inputs()[1].get(identity)
        if found is not None:
            raise UsageError(f"{option} is {found.shown}; -o writes a file that is being read")

    def _refuse_place(self, option: str, name: str) -> None:
        if self._places is None:
            named = [("", operand) for operand in self._settings.sources]
            named += [(f" of --{name}", operand) for name in _SOURCES for operand in self._values(name)]
            self._places = [_Place(operand, of) for of, operand in named if _is_place(operand)]
        folder, base = os.path.split(name)
        paths = {os.path.join(os.path.realpath(folder), base), os.path.realpath(name)}
        for place in self._places:
            if any(map(place.reads, paths)):
                shown = "-o" if option == "--output" else option
                raise UsageError(f"{shown} {place.shown}, and the next run would read it; write elsewhere")

    def _values(self, option: str) -> list[str]:
        values = self._settings.resolved.get(option, {}).get("value")
        return [str(value) for value in values] if isinstance(values, list | tuple) else []

    def _known_inputs(self) -> tuple[dict[str, Input], dict[Identity, Input]]:
        if self._inputs is None:
            self._inputs = self._find_inputs()
        return self._inputs

    def _find_inputs(self) -> tuple[dict[str, Input], dict[Identity, Input]]:
        """Return all that is read, by path and by identity."""
        by_path: dict[str, Input] = {}
        by_identity: dict[Identity, Input] = {}

        def add(path: str | int, found: Input) -> None:
            with contextlib.suppress(ValueError):
                identity = _regular_file(path)
                if identity is not None:
                    by_identity[identity] = found
                    if type(path) is str:
                        by_path[os.path.realpath(path)] = found

        for operand in self._settings.sources or ["-"]:
            if operand == "-":
                add(0, Input("the source that standard input is", True))
            for path in _expanded(operand):
                add(path, Input(f"the source '{path}'", path == operand))
        for name in _SOURCES:
            for operand in self._values(name):
                for path in _expanded(operand):
                    add(path, Input(f"'{path}', which --{name} reads", False))
        for name in _FILES:
            file = self._value(name)
            if file is not None:
                for path in (file, os.path.join(file, "tokenizer.json")):
                    add(path, Input(f"'{path}', which --{name} reads", False))
        for path in self._settings.config_files:
            add(path, Input(f"the configuration '{path}'", False))
        return by_path, by_identity


class _Place:
    """A folder or a pattern among the operands: what is put there is read by the next run."""

    def __init__(self, operand: str, of: str) -> None:
        from bptools.core.sources.expand import is_data_file

        self._is_data_file = is_data_file
        self._folder = os.path.isdir(operand)
        if self._folder:
            kind = f"folder '{operand}'{of}" if of else f"source folder '{operand}'"
            self.shown = f"lies in the {kind}"
            self._parts = os.path.realpath(operand).rstrip(os.sep).split(os.sep)
        else:
            kind = f"pattern '{operand}'{of}" if of else f"source pattern '{operand}'"
            self.shown = f"is matched by the {kind}"
            parts = operand.split(os.sep)
            first = next(number for number, part in enumerate(parts) if _is_pattern(part))
            fixed = os.sep.join(parts[:first]) or (os.sep if operand.startswith(os.sep) else "")
            self._parts = os.path.realpath(fixed).rstrip(os.sep).split(os.sep) + parts[first:]

    def reads(self, path: str) -> bool:
        """Say whether a file at a path, links followed, is read."""
        parts = path.split(os.sep)
        if self._folder:
            return parts[: len(self._parts)] == self._parts and self._reads_below(parts[len(self._parts) :])
        if _matches(parts, self._parts):
            return True
        # a folder that matches is read as a folder
        return "**" not in self._parts and any(
            _matches(parts[:count], self._parts) and self._reads_below(parts[count:])
            for count in range(1, len(parts))
        )

    def _reads_below(self, parts: list[str]) -> bool:
        return self._is_data_file(parts[-1]) and not any(part.startswith(".") for part in parts)


def _regular_file(path: str | int) -> Identity | None:
    """Return what tells a regular file from others; None for anything else. A number is a descriptor."""
    try:
        status = os.stat(path)
    except (OSError, OverflowError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _is_place(operand: str) -> bool:
    if operand == "-" or operand.startswith("hf:"):
        return False
    return os.path.isdir(operand) or (_is_pattern(operand) and not os.path.lexists(operand))


def _matches(parts: list[str], pattern: list[str]) -> bool:
    """Say whether the parts of a path match those of a pattern, as glob.glob sees it."""
    from fnmatch import fnmatchcase

    if not pattern:
        return not parts
    if pattern[0] == "**" and _matches(parts, pattern[1:]):
        return True
    if not parts or (parts[0].startswith(".") and not pattern[0].startswith(".")):
        return False
    if pattern[0] == "**":
        return _matches(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _expanded(operand: str) -> list[str]:
    """Return the files that an operand names; what is wrong with it is said when it is read."""
    if not _is_place(operand):
        return [] if operand == "-" or operand.startswith("hf:") else [operand]
    from bptools.core.sources.expand import expand

    try:
        return [source.path for source in expand([operand]).sources if source.path is not None]
    except InputError:
        return []
