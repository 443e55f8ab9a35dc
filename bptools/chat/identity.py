"""What makes two records the same: a key of 128 bits over their content, whatever the rest of them is.

The content of a record is its canonical shape as `bp-chatml` makes it, without ids, weights and other fields:
so an Alpaca row and the chat made of it have one key, and a record keeps its key when `bp` is added to it.
"""

from __future__ import annotations

from typing import Any

import orjson

from bptools.chat.roles import CANONICAL
from bptools.chat.view import Views
from bptools.core.hashing import canonical_json, xxh3_128
from bptools.core.records import Record

_SORTED = orjson.OPT_SORT_KEYS


class ContentKeys:
    """Computes content keys; `views` reads records that are in no shape of their own."""

    def __init__(self, views: Views | None = None) -> None:
        self._views = views or Views()

    def key(self, raw: bytes | None, record: Record) -> int:
        """Return the key of a record: XXH3-128 of its canonical content. Raises Reject, Drop as Views does.

        Of a chat whose turns are role and content alone that content is its messages as JSON with sorted
        keys; see bptools-jsonl(5) for the others. `raw` is its line, for integers that orjson rounds.
        """
        try:
            if self._is_plain(record):
                return xxh3_128(orjson.dumps(record["messages"], option=_SORTED))
        except TypeError:  # half a surrogate pair
            pass
        shape, several = self.read(raw, record)
        contents = [content_of(shape, made) for made in several]
        return xxh3_128(canonical_json(contents[0] if len(contents) == 1 else contents))

    def read(self, raw: bytes | None, record: Record) -> tuple[str, list[Record]]:
        """Return the shape of a record, and the one or more that it is in that shape. Raises Reject, Drop."""
        return ("chat", [record]) if self._is_plain(record) else self._views.made_exactly(raw, record)

    def _is_plain(self, record: Record) -> bool:
        """Return whether a record is a chat whose turns are role and content alone."""
        try:
            if not self._views.is_chat(record):
                return False
            messages = record["messages"]
            for turn in messages:
                if len(turn) != 2 or turn["role"] not in CANONICAL or type(turn["content"]) is not str:
                    return False
            return bool(messages)
        except (KeyError, TypeError):
            return False


def content_of(shape: str, made: Record) -> Any:
    """Return the content of a record in its shape, as its key sees it."""
    if shape == "text":
        return made["text"]
    turns: list[Any] = reduced(made["messages" if shape == "chat" else "prompt"])
    if shape == "preference":
        turns.append({"chosen": reduced(made["chosen"]), "rejected": reduced(made["rejected"])})
    elif shape == "rated":
        turns.append({"completion": reduced(made["completion"]), "label": made["label"]})
    if made.get("tools"):
        turns.append({"tools": _parsed(made["tools"])})
    return turns


def reduced(messages: list[Record]) -> list[Record]:
    """Return messages with what belongs to their content."""
    turns = []
    for message in messages:
        turn = {"role": message["role"], "content": message["content"]}
        if message.get("reasoning_content"):
            turn["reasoning_content"] = message["reasoning_content"]
        if message.get("tool_calls"):
            turn["tool_calls"] = [_call(call) for call in message["tool_calls"]]
        turns.append(turn)
    return turns


def _call(call: Any) -> Any:
    function = call.get("function") if type(call) is dict else None
    if type(function) is not dict:
        return call
    return [function.get("name"), _parsed(function.get("arguments"))]


def _parsed(value: Any) -> Any:
    """Return JSON in a string as what it says, so that both ways of writing arguments are one."""
    if type(value) is not str:
        return value
    from bptools.chat import embedded

    found = embedded.parse(value)
    return value if found is None else found
