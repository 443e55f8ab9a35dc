"""Every command, once: entry points, bin/, man pages, completions, cases and contract tests follow."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command of the toolbox."""

    name: str
    module: str
    summary: str
    kind: str
    """data (records in, records out), model (the same, by a model), artifact (a path), service, umbrella."""


COMMANDS: tuple[Command, ...] = (
    Command("bp-detect", "bptools.commands.detect", "what is this data, and what is wrong with it", "data"),
    Command("bp-chatml", "bptools.commands.chatml", "any chat data to clean records", "data"),
    Command("bp-filter", "bptools.commands.filter", "keep what is good, say why the rest went", "data"),
    Command("bp-dedup", "bptools.commands.dedup", "keep the first of what says the same", "data"),
    Command("bp-ppl", "bptools.commands.ppl", "how well a model predicts each record", "model"),
    Command("bp-generate", "bptools.commands.generate", "answers of one model or several", "model"),
    Command("bp-train", "bptools.commands.train", "records to an adapter, on any machine", "artifact"),
    Command(
        "bptools",
        "bptools.commands.bptools",
        "the toolbox: doctor, list, presets, recipe, runs, trace, version",
        "umbrella",
    ),
)


def command(name: str) -> Command:
    """Return the command of that name. Raises KeyError."""
    for entry in COMMANDS:
        if entry.name == name:
            return entry
    raise KeyError(name)
