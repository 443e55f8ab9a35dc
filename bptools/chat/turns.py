"""Lists of turns that are not role-and-content objects: strings, pairs, objects keyed by speaker, columns.

["hi", "hello"]                          user and assistant in turn
[["hi", "hello"], ...]                   pairs, or (role, text)
[{"human": "hi", "assistant": "hello"}]  keyed by who speaks
{"turn_1": {"Human": ..., "MOSS": ...}}  the same, numbered
{"role": [...], "content": [...]}        columns
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bptools.chat import embedded
from bptools.chat.fields import STRING_TURNS, TURN_WORDS
from bptools.chat.messages import (
    CONTENT_KEYS,
    ROLE_KEYS,
    has_role,
    note_messages,
    read_messages,
    turn_keys,
)
from bptools.chat.roles import fold
from bptools.core.records import Record, Reject

if TYPE_CHECKING:
    from bptools.chat.reader import RecordReader

_NUMBERED = re.compile(r"(?:turn|round|chat|message)?_?\d+")
_SPEAKERS = {"user", "human", "assistant", "gpt", "bot", "model", "system", "tool", "function"}
_STRONG = {"messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat"}


def read(reader: RecordReader, value: object, key: str, record: Record) -> list[Record] | None:
    """Return the messages of the field `key`, None if it holds no conversation.

    What a field with a telling name holds instead is remembered in `reader.pending`.
    """
    name = fold(key)
    if type(value) is str:
        parsed = embedded.parse(value) if value.lstrip()[:1] in ("[", "{") else None
        return read(reader, parsed, key, record) if type(parsed) in (list, dict) else None
    if type(value) is dict:
        return _read_dict(reader, value)
    if type(value) is not list:
        return None
    if not value:
        if name in _STRONG:
            reader.pending = Reject("empty-conversation", f"{key} is an empty list")
        return None
    if type(value[0]) is str and value[0].lstrip()[:1] == "{":  # a list of JSON texts
        decoded: list[Any] = [embedded.parse(item) if type(item) is str else item for item in value]
        if all(type(item) is dict for item in decoded):
            value = decoded
    turns: list[Any] = value
    kinds = set(map(type, turns))
    messages: list[Record] | None = None
    if kinds == {dict}:
        messages = _read_objects(reader, turns, name)
    elif kinds == {str} and name in STRING_TURNS and (name != "data" or len(value) > 1):
        messages = _read_strings(reader, turns, all_user=name == "turns" and "question_id" in record)
    elif kinds == {list}:
        if len(turns) == 1 and turns[0] and type(turns[0][0]) is dict:
            return read(reader, turns[0], key, record)
        messages = read_pairs(reader, turns)
    if messages is None and name in _STRONG:
        reader.pending = Reject("bad-type", f"{key} is no list of turns")
    return messages


def _read_objects(reader: RecordReader, turns: list[Record], name: str) -> list[Record] | None:
    strong = name in _STRONG
    if all(map(has_role, turns)):
        role_key = turn_keys(turns[0])[0]
        role = turns[0].get(role_key) if role_key is not None else None
        if strong or reader.roles.knows(role):
            return read_messages(reader, turns)
        return None
    keyed = _read_keyed(reader, turns)
    if keyed is None and strong and any(map(has_role, turns)):
        return read_messages(reader, turns)  # says which turn has no role
    return keyed


def _read_strings(reader: RecordReader, turns: list[str], all_user: bool) -> list[Record]:
    roles = ("user", "user") if all_user else ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(turns)]
    reader.kind = "turns"
    note_messages(reader, messages)
    return messages


def read_pairs(reader: RecordReader, pairs: list[Any]) -> list[Record] | None:
    """Return the messages of [[question, answer], ...] or [[role, text], ...], None if it is neither."""
    for pair in pairs:
        if type(pair) is not list or len(pair) != 2:
            return None
        if any(type(item) is not str and item is not None for item in pair):
            return None
    reader.kind = "turns"
    if all(type(pair[0]) is str and fold(pair[0]) in _SPEAKERS for pair in pairs):
        return read_messages(reader, [{"role": role, "content": text} for role, text in pairs])
    messages = []
    for question, answer in pairs:
        if question is not None:
            messages.append({"role": "user", "content": question})
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
    if not messages:
        return None
    note_messages(reader, messages)
    return messages


def _read_dict(reader: RecordReader, value: Record) -> list[Record] | None:
    if not value:
        return None
    if all(_NUMBERED.fullmatch(fold(key)) for key in value) and all(
        type(turn) is dict for turn in value.values()
    ):
        turns = list(value.values())
        if all(map(has_role, turns)):
            return read_messages(reader, turns)
        messages = _read_keyed(reader, turns)
        if messages is not None:
            reader.kind = "keyed-turns"
        return messages
    role, content = turn_keys(value)
    if role is None or content is None or role not in ROLE_KEYS or content not in CONTENT_KEYS:
        return None
    columns = {key: column for key, column in value.items() if column is not None}
    if not all(type(column) is list for column in columns.values()):
        return None
    if len({len(column) for column in columns.values()}) != 1 or not columns[role]:
        return None
    return read_messages(reader, [dict(zip(columns, row)) for row in zip(*columns.values())])


def _read_keyed(reader: RecordReader, turns: list[Record]) -> list[Record] | None:
    """Return the messages of turns whose field names say who speaks."""
    messages: list[Record] = []
    for turn in turns:
        words = {key: fold(key) for key in turn}
        speakers = {key: TURN_WORDS[word] for key, word in words.items() if word in TURN_WORDS}
        if not speakers or len(set(speakers.values())) != len(speakers):
            return None
        if any(type(turn[key]) is not str and turn[key] is not None for key in speakers):
            return None
        if "moss" in words.values() or "inner_thoughts" in words.values():
            from bptools.chat import moss

            moss.read_turn(turn, messages)
            continue
        start = len(messages)
        for role in ("system", "user", "assistant"):
            for key, who in speakers.items():
                if who == role and turn[key] is not None and (role != "system" or turn[key]):
                    messages.append({"role": role, "content": turn[key]})
        if len(messages) == start:
            continue
        for key, value in turn.items():  # what else is said about the exchange goes with its first message
            if key not in speakers:
                messages[start].setdefault(key, value)
    if not messages:
        return None
    if any(len(message) > 2 for message in messages):  # those fields may be weights, calls, ...
        messages = read_messages(reader, messages)
    else:
        note_messages(reader, messages)
    reader.kind = "turns"
    return messages
