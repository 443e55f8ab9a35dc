"""One turn of a conversation, however its fields are called -> one message (sometimes several).

A list that is canonical already comes back as the same object. The plain case, which is most of all data, has
a shorter way: see `quick`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptools.chat.roles import CALL, fold, judge
from bptools.core.records import Record, Reject

if TYPE_CHECKING:
    from bptools.chat.reader import RecordReader

ROLE_KEYS = ("role", "from", "speaker", "author", "sender", "user_type", "participant", "type")
CONTENT_KEYS = ("content", "value", "text", "message", "utterance", "body", "parts", "contents", "msg")
_REASONING = ("reasoning_content", "reasoning", "thinking", "thought", "thoughts", "think")
_OPTIONAL = ("tool_calls", "function_call", "tool_call_id", "name", *_REASONING, "weight")  # null: absent


def read_messages(reader: RecordReader, turns: list[Any]) -> list[Record]:
    """Return the messages of a list of turns that are objects; the same list if they are canonical.

    Sets `reader.kind` ("messages" or "sharegpt").
    Raises Reject: unknown-role, bad-type, missing-field, multimodal, empty-conversation.
    """
    if not turns:
        raise Reject("empty-conversation", "a conversation without turns")
    messages: list[Record] = []
    reader.kind = "messages"
    for number, turn in enumerate(turns, 1):
        if type(turn) is not dict:
            raise Reject("bad-type", f"message {number} is no object")
        read_message(reader, turn, number, messages)
    note_messages(reader, messages)
    if len(messages) == len(turns) and all(new is old for new, old in zip(messages, turns)):
        return turns
    return messages


def note_messages(reader: RecordReader, messages: list[Record]) -> None:
    """Count what is unusual about canonical messages."""
    if reader.partial:
        return
    notes = judge([message["role"] for message in messages])
    if notes:
        reader.note(notes)
    for message in messages:
        if not message["content"] and not message.get("tool_calls"):
            reader.note(("empty-content",))
            break


def turn_keys(turn: Record) -> tuple[str | None, str | None]:
    """Return the names of the role and the content field of a turn, None where it has none.

    A field that holds null counts only when there is no other.
    """
    return _pick(turn, ROLE_KEYS), _pick(turn, CONTENT_KEYS)


def _pick(turn: Record, names: tuple[str, ...]) -> str | None:
    for name in names:
        if turn.get(name) is not None:
            return name
    for name in names:
        if name in turn:
            return name
    folded: dict[str, str] = {}
    for key in turn:
        folded.setdefault(fold(key), key)
    for name in names:
        if name in folded:
            return folded[name]
    return None


def has_role(turn: object) -> bool:
    """Return whether a turn names its speaker in a field."""
    if type(turn) is not dict:
        return False
    role, content = turn_keys(turn)
    if role == "type":  # {"type": "human", "content": ...}; elsewhere type says something else
        return content is not None
    return role is not None


def read_message(reader: RecordReader, turn: Record, number: int, out: list[Record]) -> None:
    """Append the message that turn `number` (from 1) is to `out`; the same object if it is canonical.

    Raises Reject: unknown-role, bad-type, missing-field, multimodal.
    """
    role_key, content_key = turn_keys(turn)
    if role_key is None:
        raise Reject("missing-field", f"message {number} has no role; its fields are {names(turn)}")
    name = turn[role_key]
    if role_key == "from":
        reader.kind = "sharegpt"
    if type(name) is dict and type(name.get("role")) is str:  # {"author": {"role": "user"}}
        name = name["role"]
    role = reader.roles.role(name, number)
    call = role == CALL
    if call:
        role = "assistant"
    content = turn[content_key] if content_key is not None else None
    message: Record = {"role": role, "content": content}
    calls: list[Record] | None = None
    results: list[Record] = []
    if call:
        from bptools.chat.tools import read_calls

        calls = read_calls(content)
        if calls is not None:
            message["content"] = ""
        elif type(content) is not str:
            raise Reject("bad-type", f"message {number} is a function call without a name")
        else:
            reader.note(("call-kept-as-text",))
    elif type(content) is not str:
        if content_key is None and not _speaks_otherwise(turn):
            raise Reject("missing-field", f"message {number} has no content; its fields are {names(turn)}")
        from bptools.chat import parts

        read = parts.read(content, role, number)
        message["content"] = read.text
        if read.reasoning:
            message["reasoning_content"] = read.reasoning
        calls = read.calls or None
        results = read.results
    changed = (
        role_key != "role" or content_key != "content" or message["content"] is not content or name != role
    )
    if len(turn) > 1 + (content_key is not None) or calls or results:
        changed |= _read_rest(reader, turn, message, calls, (role_key, content_key), number)
    if results:
        out.extend(results)
        if not message["content"] and len(message) == 2:
            return
    out.append(message if changed or results else turn)


def names(record: Record) -> str:
    """Return the field names of an object for a message, shortened."""
    shown = ", ".join(key if len(key) <= 40 else key[:37] + "..." for key in list(record)[:12])
    return (shown + (", ..." if len(record) > 12 else "")) or "none"


def _speaks_otherwise(turn: Record) -> bool:
    return any(turn.get(key) for key in ("tool_calls", "function_call", *_REASONING))


def _read_rest(
    reader: RecordReader,
    turn: Record,
    message: Record,
    calls: list[Record] | None,
    used: tuple[str | None, str | None],
    number: int,
) -> bool:
    """Add the other fields of a turn to its message. Returns whether any of them changed."""
    changed = calls is not None or "reasoning_content" in message
    own = turn.get("tool_calls")
    for key, value in turn.items():
        if key in used:
            continue
        if value is None and (key in _OPTIONAL or key in ROLE_KEYS or key in CONTENT_KEYS):
            changed = True
        elif key == "tool_calls":
            read = _own_calls(value, number)
            changed |= read is not value
            if read:
                message["tool_calls"] = read
        elif key == "function_call" and not own and not calls:
            read = _own_calls(value, number)
            if read:
                message["tool_calls"] = read
            changed = True
        elif key in _REASONING and type(value) is str and message["role"] == "assistant":
            changed |= _add_reasoning(message, key, value)
        elif key in _FLAGS:
            changed |= _add_weight(message, turn, key, value)
        elif key not in message:
            message[key] = value
        else:
            raise Reject("bad-type", f"message {number} has two fields that mean {key}")
    if calls:
        message["tool_calls"] = [*message.get("tool_calls", ()), *calls]
    return changed


def _own_calls(value: object, number: int) -> list[Record] | None:
    from bptools.chat.tools import read_calls

    if not value:
        return None
    read = read_calls(value)
    if read is None:
        raise Reject("bad-type", f"the tool calls of message {number} have no names")
    return read


def _add_reasoning(message: Record, key: str, value: str) -> bool:
    if not value and key != "reasoning_content":
        return True
    if "reasoning_content" in message:
        if key == "reasoning_content":  # the parts, or a field that stood before it, said something too
            message["reasoning_content"] = "\n".join(filter(None, (value, message["reasoning_content"])))
            return True
        message[key] = value
        return False
    message["reasoning_content"] = value
    return key != "reasoning_content"


_FLAGS = {"weight", "loss_weight", "train", "training", "train_on_turn", "masked"}


def _add_weight(message: Record, turn: Record, key: str, value: object) -> bool:
    """Turn a flag about training into `weight`. Where several speak, the smallest holds."""
    weight: int | float
    if key == "masked" and type(value) is bool:
        weight = 0 if value else 1
    elif type(value) is bool:
        weight = 1 if value else 0
    elif type(value) in (int, float):
        weight = value  # type: ignore[assignment]
    else:
        message[key] = value
        return False
    if type(message.get("weight")) in (int, float):
        weight = min(weight, message["weight"])
    elif "weight" in message or ("weight" in turn and type(turn["weight"]) is str):
        message[key] = value  # a weight that is no number is somebody else's field
        return False
    message["weight"] = weight
    return key != "weight" or type(value) is bool
