"""Lines that are chats of plain turns, their shape checked in C while they are parsed.

    chats = ChatLines(digest, near=True, private=True, is_chat=is_chat)
    end = chats.take(lines, 0, digests, texts)      # lines[:end] are taken, lines[end] is something else

msgspec sees to it that a record has the fields that it should and no others, that its messages are at least
one turn, and that a turn is a role of ours and a string, nothing else. What it reads orjson reads too, with
the same values; tests/unit/test_dedup_chat_lines.py holds both side by side. What it refuses may be a chat
for all that. Without msgspec nothing is taken, and nothing but time is lost.

Of 853,000 lines of 645 bytes all of bp-dedup takes 2.3 s of CPU, 2.9 s without; loads, dumps and write of
orjson alone 1.5 s. Most of it is what private keys save: to write turns costs 0.5 to 0.8 us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import orjson

_MOST_FIELDS = 4  # of a record: a chat has to be one whatever their order is, which nobody tells
_MOST_NAMES = 100
_SHARE = 8  # of a batch: where more is refused, the rest is not tried
_UNFIT = 8  # so many batches like that are enough
_ROLES = ("user", "assistant", "system", "tool")
_SPEAKERS = ("user", "assistant")


class Turn(Protocol):
    """A message."""

    content: str
    role: str


class Chat(Protocol):
    """A record, as far as anybody looks at it."""

    messages: list[Turn]


Read = Callable[[bytes], Chat]  # raises for a line that is something else
Write = Callable[[list[Turn]], bytes]


class Readers(NamedTuple):
    """Of chats with certain fields: those of a user's and an assistant's turn alone, and all."""

    pair: Read
    turns: Read


Digest = Callable[..., bytes]


class ChatLines:
    """Takes lines. `is_chat` says of field names whether they are a chat's, whatever is in the messages.

    A key is the digest of what orjson writes of the turns with sorted keys, or a private one: see `pair_key`.
    """

    def __init__(
        self, digest: Digest, near: bool, private: bool, is_chat: Callable[[list[str]], bool]
    ) -> None:
        self._digest = digest
        self._near = near
        self._private = private
        self._is_chat = is_chat
        self._readers: dict[frozenset[str], Readers | None] = {}
        self._reads: Readers | None = None  # lines like the last ones
        self._pairs = private  # whether the last line was one
        self._unfit = 0
        try:
            import msgspec  # 8 ms

            self._write: Write = msgspec.json.Encoder().encode
            self._refusals = (msgspec.MsgspecError, ValueError, RecursionError)
        except ImportError:
            self._unfit = _UNFIT

    def take(self, lines: list[bytes], start: int, digests: list[bytes], texts: list[str]) -> int:
        """Take lines from a number on until there is another one; return its number."""
        readers = self._reads
        if readers is None:
            return start
        if self._pairs:
            start = self._take_pairs(readers.pair, lines, start, digests, texts)
        return self._take_turns(readers.turns, lines, start, digests, texts) if start < len(lines) else start

    def _take_pairs(
        self, read: Read, lines: list[bytes], start: int, digests: list[bytes], texts: list[str]
    ) -> int:
        """Take lines of a question and an answer each, the most frequent: 0.1 to 0.2 us a line less.

        The two roles are looked at by msgspec, as that there are two.
        """
        add, add_text, digest, near = digests.append, texts.append, self._digest, self._near
        before = len(digests)
        try:
            for line in lines[start:] if start else lines:
                asks, says = read(line).messages
                question = asks.content
                if not question or question.isspace():
                    break
                text = f"{question}\n{says.content}"
                add(digest(text.encode(), len(question) + 1))  # pair_key, without the call
                if near:
                    add_text(text)
        except self._refusals:
            pass
        return start + len(digests) - before

    def _take_turns(
        self, read: Read, lines: list[bytes], start: int, digests: list[bytes], texts: list[str]
    ) -> int:
        """Take lines of any turns."""
        before = len(digests)
        pair = False
        try:
            for line in lines[start:]:
                turns = read(line).messages
                first = turns[0].content
                if not first or first.isspace():
                    break
                pair = len(turns) == 2 and turns[0].role == "user" and turns[1].role == "assistant"
                if pair and self._private:
                    digests.append(pair_key(self._digest, first, turns[1].content))
                else:
                    digests.append(self._digest(self._write(turns)))
                if self._near:
                    texts.append("\n".join([turn.content for turn in turns if turn.role in _SPEAKERS]))
        except self._refusals:
            pass
        self._pairs = pair and self._private
        return start + len(digests) - before

    def learn(self, line: bytes) -> None:
        """Take lines like this one, which was refused at the head of a batch, from now on."""
        if self._unfit >= _UNFIT:
            return
        record = orjson.loads(line)
        if type(record) is not dict:
            return
        names = frozenset(record)
        if names not in self._readers and len(self._readers) < _MOST_NAMES:
            fits = "messages" in names and len(names) <= _MOST_FIELDS
            fits = fits and all(self._is_chat([*order]) for order in permutations(names))
            self._readers[names] = readers(sorted(names)) if fits else None
        self._reads = self._readers.get(names)

    def refused(self, count: int, total: int) -> bool:
        """Return whether the rest of a batch should go another way, so many lines having been refused."""
        if _SHARE * count <= total:
            return False
        self._unfit += 1
        if self._unfit >= _UNFIT:
            self._reads = None
        return True


def pair_key(digest: Digest, question: str, answer: str) -> bytes:
    """Return the key of a chat of a user's and an assistant's turn that nobody is told.

    Both contents go in as they are, and where the first ends as the seed, which keeps all this apart from
    what has none. Raises UnicodeEncodeError.
    """
    return digest(f"{question}\n{answer}".encode(), len(question) + 1)


_MADE: tuple[Any, Any, Any] = (Annotated, list, tuple)  # of types that are made here, which mypy cannot know


def readers(names: Sequence[str]) -> Readers | None:
    """Return what reads chats with these fields, in any order; one of them is `messages`.

    The other fields hold what is flat: a scalar, or a list or an object of scalars. They are checked as
    orjson checks them, and that is all.
    """
    import msgspec

    def struct(name: str, fields: dict[str, Any], rename: dict[str, str] | None = None) -> Any:
        return msgspec.defstruct(name, fields.items(), forbid_unknown_fields=True, gc=False, rename=rename)

    def turn(*roles: str) -> Any:
        return struct("Turn", {"content": str, "role": Literal[roles]})

    others = {f"other_{number}": name for number, name in enumerate(names) if name != "messages"}
    annotated, list_of, tuple_of = _MADE
    several = annotated[list_of[turn(*_ROLES)], msgspec.Meta(min_length=1)]
    number = annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]  # orjson sees others as floats
    scalar: Any = number | float | str | bool | None
    flat: Any = scalar | list[scalar] | dict[str, scalar]
    fields = dict.fromkeys(others, flat)
    made = []
    for messages in (tuple_of[turn("user"), turn("assistant")], several):
        try:
            chat = struct("Chat", {"messages": messages, **fields}, others)
        except ValueError:  # a name with a quote in it
            return None
        made.append(msgspec.json.Decoder(chat).decode)
    return Readers(*made)
