"""Which values of a record are labels of its format and no text: redaction leaves them alone.

The same names mean something else elsewhere: `from` is a speaker in a turn, and an address in the arguments
of a call that sends mail.
"""

from __future__ import annotations

from typing import Literal

from bptools.chat.messages import CONTENT_KEYS
from bptools.core.records import Record

Place = Literal["record", "field", "turn", "call", "part", "inside"]
"""Of an object: the record; below one of its fields; a turn; a tool call of a turn; a part of its content;
inside of what is said. A `field` is taken for a turn, a `part` for a call where it looks like one."""

_OF_TURN = frozenset(("role", "from", "type", "weight"))
_IN_TURN: dict[str, Place] = {"tool_calls": "call", "function_call": "call", "content": "part"}
_SAYS = (*CONTENT_KEYS, *_IN_TURN)
_CALLS = frozenset(("tool_use", "tool_result", "tool_call", "function_call"))


def place_of(found: Record, place: Place) -> Place:
    """Return what an object is that stands at a place."""
    if place == "field" and (
        ("role" in found and any(name in found for name in _SAYS)) or ("from" in found and "value" in found)
    ):
        return "turn"
    if place == "part":
        kind = found.get("type")
        return "call" if type(kind) is str and kind in _CALLS else "inside"
    return place


def is_label(name: str, place: Place) -> bool:
    """Return whether the value of that name in an object at that place is a label."""
    if place == "inside" or place == "field":
        return False
    if name == "id" or name.endswith("_id"):
        return True
    return name == "bp" if place == "record" else place == "turn" and name in _OF_TURN


def below(name: str, place: Place) -> Place:
    """Return the place of what stands under that name in an object at that place."""
    if name == "arguments":
        return "inside"
    if place == "turn":
        return _IN_TURN.get(name, "inside")
    return "field" if place in ("record", "field") else "inside"
