"""A record as judges see it: who speaks in which order, and the text of it, whatever its format.

    views = Views(on="assistant")
    views.text({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]})
    # 'Yes?'

Chats in their own shape take a short way; every other record is converted first.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from bptools.chat.convert import Converter, Options
from bptools.chat.formats import PARTS, conversation_of
from bptools.chat.roles import CANONICAL
from bptools.core.records import Drop, Record, Reject, dumps, is_large, reparse_exact

role_of = itemgetter("role")
_MOST_NAMES = 10_000
_SPEAKERS = ("all", "user", "assistant", "system", "tool")


def field_value(record: Record, path: str, default: Any = None) -> Any:
    """Return the value at a dotted path (`bp.ppl`) or the default; a field that is called so goes first."""
    if path in record:
        return record[path]
    value: Any = record
    for name in path.split("."):
        if type(value) is not dict or name not in value:
            return default
        value = value[name]
    return value


class Views:
    """Looks at records. `on` says whose text: all, user, assistant, system, tool, or the name of a field.

    A record of plain text has no speakers: for each of them its text is all of it. The text of a chat is the
    contents and tool arguments, one after the other on lines of their own; of a preference prompt, chosen and
    rejected; of a rated record prompt and completion. Its turns are those of the prompt and the answer, with
    two answers of the chosen one.
    """

    def __init__(self, options: Options | None = None, on: str = "all") -> None:
        self._converter = Converter(options)
        self._convert = self._converter.function()
        self.on = on
        self._by_field = on not in _SPEAKERS
        self.field_found: bool | None = None  # whether any record had the field; None: no text was asked for
        self._chats: dict[tuple[str, ...], bool] = {}
        self._sequences: set[tuple[str, ...]] = set()
        self.plain_text = self._plain_reader()
        """Returns the text of a chat of roles and strings alone, quickly; None for any other record.

        Such a text has no more bytes than the line of its record."""

    def roles(self, record: Record) -> tuple[str, ...]:
        """Return the roles of the turns in order, none for plain text. Raises Reject, Drop as a Converter."""
        return tuple(map(role_of, self.turns(record)))

    def turns(self, record: Record) -> list[Record]:
        """Return the messages of the conversation, its chosen answer last. Raises Reject, Drop."""
        shape, several = self.made(record)
        return [turn for made in several for turn in conversation_of(shape, made)]

    def text(self, record: Record) -> str:
        """Return the text that is judged. Raises Reject, Drop."""
        text = self.plain_text(record)
        return self.other_text(record) if text is None else text

    def other_text(self, record: Record) -> str:
        """Return the text of a record that `plain_text` has none of. Raises Reject, Drop."""
        if self._by_field:
            value = field_value(record, self.on)
            self.field_found = bool(self.field_found) or value is not None
            return as_text(value)
        shape, several = self.made(record)
        return "\n".join([part for made in several for part in self._parts(shape, made)])

    def is_chat(self, record: Record) -> bool:
        """Return whether a record with these fields is a chat as soon as its `messages` are canonical."""
        keys = tuple(record)
        known = self._chats.get(keys)
        return self._learn(keys) if known is None else known

    def _plain_reader(self) -> Callable[[Record], str | None]:
        """Return `plain_text`, as a function of its own: it is called for every record."""
        chats, sequences, on, by_field = self._chats, self._sequences, self.on, self._by_field

        def plain_text(record: Record) -> str | None:
            try:
                keys = tuple(record)
                if by_field or not (chats[keys] if keys in chats else self._learn(keys)):
                    return None
                roles: list[str] = []
                texts: list[str] = []
                for turn in record["messages"]:
                    if len(turn) != 2:
                        return None
                    roles.append(turn["role"])
                    texts.append(turn["content"])
                if tuple(roles) not in sequences:
                    self._learn_sequence(tuple(roles))
                text = "\n".join(texts)  # raises for what is no string
                if on == "all":
                    return text
                return "\n".join([text for text, role in zip(texts, roles) if role == on])
            except (KeyError, TypeError):
                return None

        return plain_text

    def _learn_sequence(self, roles: tuple[str, ...]) -> None:
        """Remember a sequence of roles that are what they say. Raises TypeError for others."""
        if not roles or not all(role in CANONICAL for role in roles):
            raise TypeError
        if len(self._sequences) >= _MOST_NAMES:
            self._sequences.clear()
        self._sequences.add(roles)

    def made(self, record: Record) -> tuple[str, list[Record]]:
        """Return the shape of a record and what it is in that shape, of few formats several records.

        Raises Reject, Drop.
        """
        made = self._convert(record)
        return self._converter.shape, made if type(made) is list else [made]  # type: ignore[list-item]

    def made_exactly(self, raw: bytes | None, record: Record) -> tuple[str, list[Record]]:
        """Return what `made` does, with integers over 64 bits as they stand in the line of the record.

        orjson reads them as floats of at least 2**63: only these make a look at the line worth its time.
        """
        found = self.made(record)
        if raw is None:
            return found
        plain = self._converter.reader.plain
        for name, value in record.items():
            if type(value) is not str and name != plain and is_large(value):
                exact = reparse_exact(raw, record)
                return found if exact is record else self.made(exact)
        return found

    def converted_messages(self, record: Record) -> list[Record] | None:
        """Return the messages of a record that becomes one chat without tools; None for any other.

        None too for what is refused, and for what may hold integers over 64 bits.
        """
        reader = self._converter.reader
        try:
            made = self._convert(record)
        except (Reject, Drop):
            return None
        if reader.shape != "chat" or type(made) is list or made.get("tools"):  # type: ignore[union-attr]
            return None
        plain = reader.plain
        for name, value in record.items():
            if type(value) is not str and name != plain and is_large(value):
                return None
        return made["messages"]  # type: ignore[call-overload, no-any-return]

    def _parts(self, shape: str, made: Record) -> list[str]:
        if shape == "text":
            return [made["text"]]
        turns = [turn for name in PARTS[shape] for turn in made[name]]
        on = self.on
        return [part for turn in turns if on in ("all", turn["role"]) for part in _texts_of(turn)]

    def _learn(self, keys: tuple[str, ...]) -> bool:
        from bptools.chat.quick import holds_messages

        options = self._converter.options
        reader = self._converter.reader
        renamed = options.text_field is not None or any(name in keys for name in options.field_map.values())
        if len(self._chats) >= _MOST_NAMES:
            self._chats.clear()
        found = self._chats[keys] = not renamed and holds_messages(reader, reader.plan(keys))
        return found


def _texts_of(turn: Record) -> list[str]:
    texts = [turn["content"]]
    for call in turn.get("tool_calls") or ():
        arguments = call["function"].get("arguments") if type(call.get("function")) is dict else None
        texts.append(as_text(arguments))
    return texts


def as_text(value: Any) -> str:
    """Return a JSON value as text: a string as it is, nothing for null, JSON for all others."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    try:
        return dumps(value)[:-1].decode("utf-8")
    except Reject:
        return str(value)
