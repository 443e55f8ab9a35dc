"""A record of any known format -> the record of its own shape: chat, preference, rated or text.

Which readers can apply is decided by the names of the fields alone and remembered per set of names (a file
has few: 0.2 us a record); the readers then look at the values, and the first that can read them does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bptools.chat import fields as names_of
from bptools.chat.fields import Fields
from bptools.chat.messages import names, read_messages
from bptools.chat.roles import Roles
from bptools.core.records import Record, Reject

if TYPE_CHECKING:
    from bptools.chat.quick import Read

Step = Callable[["RecordReader", Record, "Plan"], "Record | list[Record] | None"]
_MOST_PLANS = 1024


class Plan:
    """What the field names of a record allow it to be."""

    __slots__ = (
        "conversations", "fields", "labels", "late", "media", "pairs", "simple", "steps", "system", "tools",
    )  # fmt: skip

    def __init__(self, keys: tuple[str, ...]) -> None:
        fields = self.fields = Fields(keys)
        late = names_of.LATE
        self.conversations = fields.all(tuple(name for name in names_of.CONVERSATION if name not in late))
        self.conversations += [key for name, key in fields.items() if name.endswith("_trace")]
        self.late = fields.all(tuple(name for name in names_of.CONVERSATION if name in late))
        self.system = fields.all(names_of.SYSTEM)
        self.tools = fields.all(names_of.TOOLS)
        self.media = [key for name, key in fields.items() if name in names_of.MEDIA]
        self.labels = fields.all(names_of.LABELS)
        self.simple = not (self.system or self.tools or self.media or self.labels)
        self.pairs: list[Any] = []
        self.steps = _steps(fields, self)


def _steps(fields: Fields, plan: Plan) -> list[Step]:
    """Return the readers that these fields can concern, in the order in which they are tried."""
    steps: list[Step] = []
    if _maybe_preference(fields):
        from bptools.chat import preference

        steps += preference.steps(fields)
    if plan.labels and "prompt" in fields and "completion" in fields:
        from bptools.chat import rated

        steps.append(rated.read)
    if plan.conversations:
        steps.append(read_conversation)
    from bptools.chat import pairs

    steps += pairs.steps(fields, plan)
    if plan.late:
        steps.append(read_late_conversation)
    steps.append(read_text)
    steps += pairs.prompt_only(fields, plan)
    steps += [read_other_text, read_unsupported]
    return steps


_PREFERENCE_WORDS = (
    "chosen",
    "rejected",
    "response_",
    "pos_resp",
    "conversation_",
    "human_ref_",
    "preferred",
    "neg_",
    "better_response",
    "response1",
)


def _maybe_preference(fields: Fields) -> bool:
    return "overall_preference" in fields or any(
        name.startswith(_PREFERENCE_WORDS) or name.endswith(("chosen", "preferred_output")) for name in fields
    )


class Readers(dict[tuple[str, ...], "Read"]):
    """Field names of a record -> the function that reads such records, made when they are first seen."""

    def __init__(self, reader: RecordReader) -> None:
        super().__init__()
        self._reader = reader

    def __missing__(self, keys: tuple[str, ...]) -> Read:
        from bptools.chat.quick import general, reader_for

        reader = self._reader
        plan = reader.plan(keys)
        if len(self) >= _MOST_PLANS:
            self.clear()
        named = reader.text_field is not None or reader.unescape
        read = self[keys] = general(reader, plan) if named else reader_for(reader, plan, keys)
        return read


class RecordReader:
    """Reads records to their own shape; `format`, `shape` and `notes` tell about the last and about all."""

    def __init__(
        self,
        role_map: Mapping[str, str] | None = None,
        alpaca_join: str = "\n\n",
        text_field: str | None = None,
        unescape: bool = False,
    ) -> None:
        self.roles = Roles(role_map)
        self.alpaca_join = alpaca_join
        self.text_field = text_field
        self.unescape = unescape
        self.notes: dict[str, int] = {}
        self.format = "unknown"
        self.shape = ""
        self.kind = "messages"  # how the last list of turns was written
        self.unread = False  # there was an answer that could not be read
        self.partial = False  # reading a part of a conversation: its order says nothing yet
        self.plain: str | None = None  # the field whose list of turns holds nothing but strings
        self.pending: Reject | None = None  # why a known field could not be used, if nothing else can
        self._plans: dict[tuple[str, ...], Plan] = {}
        self.readers = Readers(self)

    def note(self, codes: tuple[str, ...]) -> None:
        """Count one record for each code."""
        for code in codes:
            self.notes[code] = self.notes.get(code, 0) + 1

    def read(self, record: Record) -> Record | list[Record]:
        """Return the record in its own shape, the same object if it is already; sets `format` and `shape`.

        A list comes back for the few formats that hold several records in one. Raises Reject, and Drop
        ("tie") for a comparison that nobody won.
        """
        return self.readers[tuple(record)](record)

    def read_by(self, record: Record, plan: Plan) -> Record | list[Record]:
        """Return the record as the first reader of the plan that can reads it; see `read`."""
        self.pending = None
        self.partial = False
        self.unread = False
        self.plain = None
        self.format, self.shape = "unknown", ""
        try:
            for step in plan.steps:
                result = step(self, record, plan)
                if result is not None:
                    if plan.media and self.shape != "text":
                        _refuse_media(record, plan)
                    return result
        except Reject:
            if self.format == "unknown":
                self.format = _named_conversation(record, plan)
            raise
        self.format, self.shape = "unknown", ""
        if self.pending is not None:
            raise self.pending
        detail = f"no known fields: {names(record)}; --text-field or --map can name them"
        raise Reject("unknown-format", detail if record else "an object without fields")

    def plan(self, keys: tuple[str, ...]) -> Plan:
        """Return the plan for the field names of a record; remembers it."""
        plan = self._plans.get(keys)
        if plan is not None:
            return plan
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        plan = self._plans[keys] = Plan(keys)
        if self.text_field is not None:
            plan.steps = [read_named_text]
        return plan

    def chat(
        self,
        record: Record,
        plan: Plan,
        messages: list[Record],
        used: tuple[str, ...],
        split: int | None = None,
    ) -> Record:
        """Return the chat record of these messages: with system prompt, tools and all fields but `used`.

        `split` says where the answer begins, for records that carry a verdict about it (default: the last).
        """
        self.shape = "chat"
        if plan.simple:
            if record.get("messages") is messages:
                return record
            return build({"messages": messages}, record, used)
        gone = set(used)
        same = record.get("messages") is messages
        if plan.system:
            before = len(messages)
            messages = self.with_system(messages, record, plan, gone)
            if split is not None:
                split += len(messages) - before
        out: Record = {"messages": messages}
        if plan.tools:
            self.add_tools(out, record, plan, gone)
            same = same and out.get("tools") is record.get("tools")
        if same and record.get("messages") is messages and len(gone) <= 1 + ("tools" in out):
            out = record
        else:
            out = build(out, record, gone)
        if plan.labels:
            from bptools.chat import rated

            return rated.from_chat(self, out, plan, split)
        return out

    def with_system(self, messages: list[Record], record: Record, plan: Plan, gone: set[str]) -> list[Record]:
        """Return messages led by the system prompt that stands in a field; adds that field to `gone`.

        If a message says it already, a field that holds another text stays a field.
        """
        has = any(message["role"] == "system" for message in messages)
        for key in plan.system:
            if key in gone:
                continue
            value = record[key]
            text = value if type(value) is str else _system_text(value)
            if text is None:
                continue
            if not text.strip():
                gone.add(key)
            elif not has:
                has = True
                gone.add(key)
                messages = [{"role": "system", "content": text}, *messages]
        return messages

    def add_tools(self, out: Record, record: Record, plan: Plan, gone: set[str]) -> None:
        """Put the tool definitions of a record into `out`; adds their field to `gone`."""
        from bptools.chat.tools import read_tools

        for key in plan.tools:
            value = record[key]
            if "tools" in out:
                break
            tools = read_tools(value)
            if tools is None:
                gone.add(key)
            elif key == plan.fields.get("tools") or type(tools) is list:
                out["tools"] = tools
                gone.add(key)


def _system_text(value: object) -> str | None:
    if value is None:
        return ""
    if type(value) is list or type(value) is dict:
        from bptools.chat import parts

        try:
            return parts.read(value, "system", 1).text
        except Reject:
            return None
    return None


def build(out: Record, record: Record, used: tuple[str, ...] | set[str]) -> Record:
    """Return `out` followed by the fields of `record` that were not used, in their order.

    A field that would stand where the shape has its own goes to `bp.kept`, unless it says the same.
    """
    kept: Record = {}
    own = len(out)
    for key, value in record.items():
        if key in used:
            continue
        if key in out:
            if value and value != out[key]:
                kept[key] = value
        else:
            out[key] = value
    if kept and own:
        old = out.get("bp")
        if type(old) is dict:
            was = old.get("kept")
            out["bp"] = {**old, "kept": {**was, **kept} if type(was) is dict else kept}
        else:
            out["bp"] = {"kept": kept if old is None else {"bp": old, **kept}}
    return out


def _named_conversation(record: Record, plan: Plan) -> str:
    """Return the format of a conversation that is recognised but refused: a picture, an unknown role."""
    for key in (*plan.conversations, *plan.late):
        turns = record[key]
        if type(turns) is list and turns and type(turns[0]) is dict:
            return "sharegpt" if "from" in turns[0] else "messages" if "role" in turns[0] else "turns"
    return "unknown"


def _refuse_media(record: Record, plan: Plan) -> None:
    for key in plan.media:
        if record[key]:
            raise Reject("multimodal", f"the field {key} is not empty")


def turns_of(reader: RecordReader, value: object, key: str, record: Record) -> list[Record] | None:
    """Return the messages of a field that may hold a conversation, None if it does not."""
    from bptools.chat import turns

    return turns.read(reader, value, key, record)


def read_conversation(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read the field that holds a list of turns."""
    for key in plan.conversations:
        value = record[key]
        if (
            type(value) is list
            and value
            and type(value[0]) is dict
            and ("role" in value[0] or "from" in value[0])
        ):
            strong = key in ("messages", "conversations") and all(type(turn) is dict for turn in value)
            messages = read_messages(reader, value) if strong else turns_of(reader, value, key, record)
        else:
            messages = turns_of(reader, value, key, record)
        if messages is not None:
            reader.format = reader.kind
            return reader.chat(record, plan, messages, (key,))
    return None


def read_pair(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read a question and its answer from fields of their own."""
    from bptools.chat import pairs

    return pairs.read_pair(reader, record, plan)


def read_late_conversation(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read a history that stands alone as the conversation."""
    from bptools.chat import turns

    for key in plan.late:
        messages = turns.read(reader, record[key], key, record)
        if messages is not None:
            reader.format = reader.kind
            return reader.chat(record, plan, messages, (key,))
    return None


def read_text(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read the field `text`, or a list of conversation turns written as one string."""
    from bptools.chat import plain

    return plain.read(reader, record, plan)


def read_named_text(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read the field that the user named."""
    from bptools.chat import plain

    return plain.read_named(reader, record, plan)


def read_other_text(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read text that is not called text."""
    from bptools.chat import plain

    return plain.read_other(reader, record, plan)


def read_unsupported(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Refuse by name what is known and cannot be kept."""
    from bptools.chat import plain

    return plain.refuse(reader, record, plan)
