"""Lines that are chats of plain turns, read with their shape checked while they are parsed.

    read = chat_lines(("messages", "id"))           # None without msgspec
    turns = read(line).messages                     # raises what NOT_CHATS names
    canonical = encoder()(turns)                    # the bytes that orjson writes with sorted keys

msgspec checks in C that a record has these fields and no others, that its messages are one turn at least, and
that a turn is a role that bptools knows and a string. What it takes orjson takes too, with the same values:
tests/unit/test_dedup_chat_lines.py holds the two side by side. What it refuses may still be a chat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Union

if TYPE_CHECKING:
    import msgspec

Names = Sequence[str]


class Turn(Protocol):
    """A message."""

    content: str
    role: str


class Chat(Protocol):
    """A record, as far as it is looked at."""

    messages: list[Turn]


Read = Callable[[bytes], Chat]
Write = Callable[[list[Turn]], bytes]
_MOST_FIELDS = 4  # whatever their order, all of it is asked for


def not_chats() -> tuple[type[Exception], ...]:
    """Return what is raised for a line that is not read."""
    import msgspec

    return (msgspec.MsgspecError, ValueError, RecursionError)


def encoder() -> Write:
    """Return the function that writes turns."""
    import msgspec

    return msgspec.json.Encoder().encode


def reader(names: Names) -> Read:
    """Return the function that reads a chat with these fields, one of them `messages`, in any order."""
    import msgspec

    number = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]  # orjson has its own view of others
    scalar = Union[number, float, str, bool, None]
    other = Union[scalar, list[scalar], dict[str, scalar]]
    role = Literal["user", "assistant", "system", "tool"]
    turn: Any = msgspec.defstruct(
        "Turn", [("content", str), ("role", role)], forbid_unknown_fields=True, gc=False
    )
    messages = Annotated[list[turn], msgspec.Meta(min_length=1)]
    others = [(f"other_{number}", other) for number in range(len(names) - 1)]
    renamed = {field: name for (field, _), name in zip(others, [name for name in names if name != "messages"])}
    record: Any = msgspec.defstruct(
        "Chat",
        [("messages", messages), *others],
        forbid_unknown_fields=True,
        gc=False,
        rename=renamed,
    )
    return msgspec.json.Decoder(record).decode
