"""What a training says while it runs: one JSON object per line, from the child to its parent.

    {"event": "step", "step": 12, "loss": 2.31, "learning_rate": 0.0002}

Events are preflight, estimate (of a dry run), start, run_start, step, eval, answer (of a sample prompt, at an
evaluation), sample (before and after), save, note, error and run_end. The child writes them to what was its
standard output; whatever libraries print goes to the run's `worker.log` instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import orjson

AGAIN = 120
"""Exit status of a child that asks to be started again, with the micro batch that it left in the run."""

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


def encode(event: Event) -> bytes:
    """Return the line of an event; a number that JSON does not know becomes null."""
    return orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"


def decode(line: bytes) -> Event | None:
    """Return the event of a line, None for what is none."""
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


class Emitter:
    """The child's end: what it says goes to the parent at once. A parent that is gone is no error here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, name: str, **facts: Any) -> None:
        """Say an event with its facts."""
        line = encode({"event": name, **facts})
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            return
