"""The difference between two JSON values, as JSON: what a text could not carry, and putting it back.

A difference of two objects is `{"set": {key: value}, "unset": [key], "in": {key: difference}}`, of two
lists of one length `{"in": {"0": difference}}`. Values compare by type too: true is not 1, 1 is not 1.0.
"""

from __future__ import annotations

from typing import Any

from bptools.core.records import Record


def same(old: object, new: object) -> bool:
    """Tell whether two JSON values are equal, types included. The order of keys does not count."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict) and isinstance(new, dict):
        return len(old) == len(new) and all(key in new and same(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same, old, new))
    return old == new


def difference(old: Any, new: Any) -> Record | None:
    """Return what turns `old` into `new` (objects, or lists of one length), None if they are the same."""
    if isinstance(old, list):
        pairs = {str(index): pair for index, pair in enumerate(zip(old, new, strict=True))}
        added: Record = {}
        removed: list[Any] = []
    else:
        pairs = {key: (old[key], new[key]) for key in old if key in new}
        added = {key: value for key, value in new.items() if key not in old}
        removed = [key for key in old if key not in new]
    inner: Record = {}
    for key, (before, after) in pairs.items():
        if same(before, after):
            continue
        if _divisible(before, after):
            inner[key] = difference(before, after)
        else:
            added[key] = after
    found = {"set": added, "unset": removed, "in": inner}
    return {name: part for name, part in found.items() if part} or None


def _divisible(before: object, after: object) -> bool:
    if isinstance(before, dict) and isinstance(after, dict):
        return bool(before and after)
    return isinstance(before, list) and isinstance(after, list) and len(before) == len(after)


def apply(old: Any, change: Record) -> Any:
    """Apply a difference in place and return the value.

    Raises KeyError, IndexError, TypeError, ValueError or AttributeError for a difference of something else.
    """
    at = int if isinstance(old, list) else str
    for key, value in change.get("set", {}).items():
        old[at(key)] = value
    for key in change.get("unset", ()):
        del old[key]
    for key, inner in change.get("in", {}).items():
        apply(old[at(key)], inner)
    return old
