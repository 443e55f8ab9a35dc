"""Data and a preset -> a plan -> a run: an adapter, how it was learnt, and what it is worth.

    from bptools.training import train

    train("clean.jsonl", preset="nano").adapter_path

Training happens in a child process; this package imports no torch in the process that calls it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bptools.training.settings import Settings
    from bptools.training.training import RunResult, abort, train

_HOMES = {"RunResult": "training", "Settings": "settings", "abort": "training", "train": "training"}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["RunResult", "Settings", "abort", "train"]
