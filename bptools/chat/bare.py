"""Conversations without an object round them: `[{"role": ...}, ...]` or `[["question", "answer"], ...]`."""

from __future__ import annotations

from bptools.core.records import Record


def as_conversation(value: object) -> Record | None:
    """Return the record that a JSON value without an object stands for, or None.

    Readers call it for lines and array elements that are no objects.
    """
    if type(value) is not list or not value:
        return None
    if all(type(turn) is dict and ("role" in turn or "from" in turn) for turn in value):
        return {"conversations": value}
    if all(
        type(turn) is list and len(turn) == 2 and all(type(part) is str for part in turn) for turn in value
    ):
        return {"conversations": value}
    return None
