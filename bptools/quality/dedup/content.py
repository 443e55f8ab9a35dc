"""What of a record is compared with others: the key of the selected content, and its text.

    content = Content(Views(), on="all", exact="content", near=True)
    seen = content.look(raws, records)      # seen.keys, seen.texts, seen.absent, seen.objections

A record without the selected content has neither: it is like no other. Neither has one that is marked in
`bp.drop`, for it may go later, and the copy that was dropped for it would be lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson

from bptools.chat.formats import PARTS
from bptools.chat.identity import ContentKeys, content_of, reduced
from bptools.chat.view import Views, as_text, field_value
from bptools.core.hashing import canonical_json, xxh3_128_digest
from bptools.core.records import Drop, Record, Reject, dumps, is_large, reparse_exact
from bptools.quality.dedup.chat_lines import ChatLines, pair_key
from bptools.quality.dedup.keys import Array, keys_of

Exact = Literal["raw", "content", "normalized"]
Lines = Sequence["bytes | None"]
LookAtOne = Callable[["bytes | None", Record], "tuple[bytes | None, str]"]
_ROLES = ("user", "assistant", "system", "tool")
_SPEAKERS = ("user", "assistant")  # whose contents are the text where nobody is selected
_NESTED = ("chosen", "rejected", "completion")
_SORTED = orjson.OPT_SORT_KEYS
_ABSENT = bytes(16)  # stands for a key where there is none
_MOST_NAMES = 10_000


class Seen:
    """What was seen of some records, in their order."""

    __slots__ = ("absent", "digests", "objections", "texts")

    def __init__(self) -> None:
        self.digests: list[bytes] = []  # 16 bytes each
        self.texts: list[str] = []  # empty if nobody asked for them
        self.absent: list[int] = []  # numbers of records without a key, in order: `keys` says nothing there
        self.objections: dict[int, Drop | Reject] = {}  # {number: why it cannot be read}; these have no key

    @property
    def keys(self) -> Array:
        """The keys as KeyTable takes them, (records, 2)."""
        return keys_of(self.digests)

    def cut(self, count: int) -> None:
        """Forget all but the first records."""
        del self.digests[count:], self.texts[count:]
        self.absent = [number for number in self.absent if number < count]
        self.objections = {number: why for number, why in self.objections.items() if number < count}


class Content:
    """Looks at records: a Looker for `Pipeline.windows`. See the module's example.

    views: reads records that are in no shape of their own. on: all, a role, or the dotted path of a field.
    exact: `content` is what ContentKeys sees; `normalized` the same with contents in lower case and every run
    of white space one space; `raw` the line, whatever is selected. near: whether texts are wanted too.
    private: nobody is told a key, so that it need not be the content key where another costs less.
    """

    def __init__(
        self,
        views: Views,
        on: str = "all",
        exact: Exact = "content",
        near: bool = False,
        private: bool = False,
    ) -> None:
        self.on = on
        self.exact = exact
        self.near = near
        self.field_found: bool | None = None  # whether any record had the field; None: no field is selected
        self.passing_marked = True  # False: marked records are looked at like others
        self._views = views
        self._idents = ContentKeys(views)
        self._digest = xxh3_128_digest()
        self._all_of_content = exact == "content" and on == "all"
        self._private = private and self._all_of_content
        self._by_field = on != "all" and on not in _ROLES
        self._chats: dict[tuple[str, ...], bool] = {}
        self._chat_lines: ChatLines | None = None
        self._look_at_selected: LookAtOne = self._look_at_field if self._by_field else self._look_at_turns
        self._look_at_one = self._look_at_line if exact == "raw" else self._look_at_selected

    @property
    def keys_are_idents(self) -> bool:
        """Whether the key of a record is its content key."""
        return self._all_of_content and not self._private

    def ident(self, raw: bytes | None, record: Record) -> bytes:
        """Return the content key of any record, as 16 bytes; their `hex()` is what `bp.dup_of` holds.

        Where no known shape fits, it is a key of all fields but `bp`.
        """
        try:
            return self._idents.key(raw, record).to_bytes(16, "big")
        except (Reject, Drop):
            exact = record if raw is None else reparse_exact(raw, record)
            rest = {name: value for name, value in exact.items() if name != "bp"}
            return self._digest(canonical_json(rest))

    def fresh(self) -> Seen:
        """Return what is seen of no records."""
        return Seen()

    def look(self, raws: Lines, records: Sequence[Record], seen: Seen | None = None) -> Seen:
        """Return what is seen of records, added to `seen` if there is one. `raws`: their lines, or None."""
        seen = Seen() if seen is None else seen
        for raw, record in zip(raws, records):
            self._add(raw, record, seen)
        return seen

    def take(self, lines: list[bytes], seen: Seen) -> bool:
        """Add what is seen of lines; False, and nothing is added, where one of them is no record.

        A record is parsed, looked at and let go before the next. Lines of 600 bytes cost 0.1 us less so than
        in batches of 24 KiB, which the caches do not hold.
        """
        before = len(seen.digests)
        try:
            if self._all_of_content:
                self._take_all(lines, seen)
            else:
                for line in lines:
                    self._add(line, _parsed(line), seen)
        except ValueError:
            seen.cut(before)
            return False
        return True

    def _take_all(self, lines: list[bytes], seen: Seen) -> None:
        """Take lines of which all is selected: those that ChatLines does not take, one by one."""
        chats = self._chat_lines
        if chats is None:
            chats = ChatLines(self._digest, self.near, self._private, self._is_chat)
            self._chat_lines = chats
        digests, texts = seen.digests, seen.texts
        end = chats.take(lines, 0, digests, texts)
        if not end and lines:
            chats.learn(lines[0])
            end = chats.take(lines, 0, digests, texts)
        refused = 0
        while end < len(lines):
            refused += 1
            if not end or chats.refused(refused, len(lines)):
                self._take_chats(lines[end:], seen)
                return
            self._take_chats(lines[end : end + 1], seen)
            end = chats.take(lines, end + 1, digests, texts)

    def _take_chats(self, lines: list[bytes], seen: Seen) -> None:
        """Take lines of which all is selected: chats of plain turns that alternate go a short way.

        It is that of bptools.chat.quick: two turns at a time. Records that become such chats join them.
        """
        add, add_text = seen.digests.append, seen.texts.append
        digest, parse, write, near = self._digest, orjson.loads, orjson.dumps, self.near
        private = self._private
        converted = self._views.converted_messages
        known: list[str] = []
        chat = with_bp = False
        count, other = -1, ""  # of chats: how many fields, and the one beside the messages
        for line in lines:
            record = parse(line)
            try:
                if len(record) != count or other not in record:  # 50 ns, where comparing all names takes 150
                    fields = [*record]
                    if fields != known:
                        known, chat, with_bp = fields, self._is_chat(fields), "bp" in record
                        few = chat and len(fields) <= 2 and self._is_chat(fields[::-1])
                        count, other = (len(fields), _beside_messages(fields)) if few else (-1, "")
                messages = record["messages"] if chat else converted(record)
                if messages and not (with_bp and "drop" in record["bp"] and is_marked(record)):
                    if len(messages) == 2:
                        asks, says = messages
                        if (
                            asks["role"] == "user"
                            and says["role"] == "assistant"
                            and len(asks) + len(says) == 4
                            and (question := asks["content"])
                            and not question.isspace()
                            and (answer := says["content"]) > ""
                        ):
                            if private:
                                add(pair_key(digest, question, answer))
                            else:
                                add(digest(write(messages, None, _SORTED)))
                            if near:
                                add_text(f"{question}\n{answer}")
                            continue
                    turns = messages
                    first = turns[0]
                    if first["role"] == "system" and first["content"] > "" and len(first) == 2:
                        turns = turns[1:]
                        first = turns[0]
                    rest = iter(turns)
                    for asks in rest:
                        says = next(rest)
                        if (
                            asks["role"] != "user"
                            or says["role"] != "assistant"
                            or not asks["content"] > ""
                            or not says["content"] > ""
                            or len(asks) + len(says) != 4
                        ):
                            break
                    else:
                        if not first["content"].isspace():
                            add(digest(write(messages, None, _SORTED)))
                            if near:
                                add_text("\n".join([turn["content"] for turn in turns]))
                            continue
            except (AttributeError, IndexError, KeyError, StopIteration, TypeError):
                pass
            self._add(line, _object(record), seen)

    def _is_chat(self, fields: list[str]) -> bool:
        """Return whether a record with these fields is a chat as soon as its messages are."""
        names = tuple(fields)
        found = self._chats.get(names)
        if found is None:
            if len(self._chats) >= _MOST_NAMES:
                self._chats.clear()
            found = self._chats[names] = self._views.is_chat(dict.fromkeys(names))
        return found

    def _add(self, raw: bytes | None, record: Record, seen: Seen) -> None:
        key: bytes | None = None
        text = ""
        number = len(seen.digests)
        try:
            if not ("bp" in record and self.passing_marked and is_marked(record)):
                key, text = self._look_at_one(raw, record)
        except (Reject, Drop) as why:
            seen.objections[number] = why
        if key is None:
            seen.absent.append(number)
        seen.digests.append(_ABSENT if key is None else key)
        if self.near:
            seen.texts.append(text)

    def _look_at_line(self, raw: bytes | None, record: Record) -> tuple[bytes | None, str]:
        text = self._look_at_selected(raw, record)[1] if self.near else ""
        return self._digest((dumps(record) if raw is None else raw)[:-1]), text

    def _look_at_field(self, raw: bytes | None, record: Record) -> tuple[bytes | None, str]:
        value = field_value(record, self.on)
        self.field_found = bool(self.field_found) or value is not None
        if type(value) is str:
            if not value or value.isspace():
                return None, ""
        elif value is None or value == [] or value == {}:
            return None, ""
        elif raw is not None and is_large(value):
            value = field_value(reparse_exact(raw, record), self.on)
        text = as_text(value) if self.near else ""
        value = _folded_value(value) if self.exact == "normalized" else value
        return self._digest(canonical_json(value)), text

    def _look_at_turns(self, raw: bytes | None, record: Record) -> tuple[bytes | None, str]:
        """Return the key, None if there is nothing, and the text."""
        shape, several = self._idents.read(raw, record)
        on = self.on
        if shape == "text":
            texts = [made["text"] for made in several]
            filled = not all(text.isspace() or not text for text in texts)
            contents = texts
        else:
            turns = [turn for made in several for name in PARTS[shape] for turn in made[name]]
            wanted = _SPEAKERS if on == "all" else (on,)
            texts = [turn["content"] for turn in turns if turn["role"] in wanted] if self.near else []
            if on == "all":
                contents = [content_of(shape, made) for made in several]
            else:
                turns = [turn for turn in turns if turn["role"] == on]
                contents = [reduced(turns)]
            filled = any(map(_is_filled, turns))
        if not filled:
            return None, ""
        if self.exact == "normalized":
            contents = list(map(_folded, contents))
        return self._key(contents[0] if len(contents) == 1 else contents), "\n".join(texts)

    def _key(self, content: Any) -> bytes:
        """Return the key of what `content_of` gives, or of several such."""
        if self._private and type(content) is list and len(content) == 2:
            asks, says = content
            try:
                if asks["role"] == "user" and says["role"] == "assistant" and len(asks) + len(says) == 4:
                    return pair_key(self._digest, asks["content"], says["content"])
            except (KeyError, TypeError, UnicodeEncodeError):
                pass
        return self._digest(canonical_json(content))


def is_marked(record: Record) -> bool:
    """Return whether an earlier --tag left a reason in `bp.drop`. ChatLines takes none of these lines."""
    marks = record.get("bp")
    notes = marks.get("drop") if type(marks) is dict else None
    return type(notes) is list and bool(notes)


def _beside_messages(fields: list[str]) -> str:
    return fields[-1] if fields[0] == "messages" else fields[0]


def _parsed(line: bytes) -> Record:
    return _object(orjson.loads(line))


def _object(value: object) -> Record:
    """Return a value that is an object. Raises ValueError."""
    if type(value) is not dict:
        raise ValueError("no object")
    return value


def _is_filled(turn: Record) -> bool:
    content = turn["content"]
    if content and not content.isspace():
        return True
    return bool(turn.get("tool_calls") or _folded_value(turn.get("reasoning_content")))


def _folded(content: Any) -> Any:
    """Return what `content_of` or `reduced` gives with its contents folded."""
    if type(content) is str:
        return _folded_text(content)
    return [{name: _folded_part(name, value) for name, value in turn.items()} for turn in content]


def _folded_part(name: str, value: Any) -> Any:
    if name in _NESTED:
        return _folded(value)
    return _folded_value(value) if name in ("content", "reasoning_content") else value


def _folded_value(value: Any) -> Any:
    """Return a JSON value with all its texts folded, the names of fields as they are."""
    try:
        if type(value) is str:
            return _folded_text(value)
        if type(value) is list:
            return list(map(_folded_value, value))
        if type(value) is dict:
            return {name: _folded_value(inner) for name, inner in value.items()}
    except RecursionError:
        pass
    return value


def _folded_text(text: str) -> str:
    return " ".join(text.lower().split())
