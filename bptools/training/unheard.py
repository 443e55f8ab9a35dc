"""Options that a training has no use for: refused if typed, left out if a file or a variable says them.

A line is typed for one run, so that such an option is a mistake; a file serves several phases and machines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bptools.core.errors import UsageError
from bptools.training.checking import OF_ADAPTER

if TYPE_CHECKING:
    from bptools.training.settings import Settings

_WITH_BETA = ("dpo", "orpo", "kto", None)  # None: the records decide, and it is asked again


def unheard(settings: Settings) -> dict[str, str]:
    """Return {setting: why} of what is set and would change nothing."""
    default = type(settings)()
    instead = "--full" if settings.full else "--method pretrain"
    found = {
        name: f"--{name.replace('_', '-')} is of an adapter, {instead} trains none; leave one out"
        for name in (OF_ADAPTER if settings.full or settings.method == "pretrain" else ())
        if getattr(settings, name) != getattr(default, name)
    }
    if settings.early_stopping and settings.eval_every == "never":
        found["early_stopping"] = (
            "--early-stopping waits for evaluations, and --eval-every never takes none; leave one out"
        )
    if settings.beta != default.beta and settings.method not in _WITH_BETA:
        found["beta"] = f"--beta is for dpo, orpo and kto, not for {settings.method}"
    return found


def leave_out(settings: Settings, asked: dict[str, Any], warn: Callable[[str], None]) -> Settings:
    """Return the settings without what would change nothing. Raises UsageError for what was typed.

    asked: {option: {"value", "origin"}}; what it lacks was typed, too: as Python.
    """
    default, unused = type(settings)(), []
    for name, why in unheard(settings).items():
        option = name.replace("_", "-")
        origin = asked.get(option, {}).get("origin", "command line")
        if origin == "command line":
            raise UsageError(why)
        unused.append(f"{option} of {origin}")
        settings = replace(settings, **{name: getattr(default, name)})
    if unused:
        warn(f"not used: {', '.join(unused)}")
    return settings
