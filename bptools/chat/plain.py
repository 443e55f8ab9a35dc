"""Text: plain, or a conversation in disguise; and what is recognised but cannot be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptools.chat.fields import TEXT, TRANSCRIPT
from bptools.chat.messages import names, read_messages
from bptools.core.records import Record, Reject

if TYPE_CHECKING:
    from bptools.chat.reader import Plan, RecordReader


def read(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read the field `text`."""
    key = plan.fields.get("text")
    if key is None or type(record[key]) is not str or _is_message_of_tree(plan):
        return None
    return _text(reader, record, plan, key)


def _is_message_of_tree(plan: Plan) -> bool:
    """Say whether these are the fields of one message of a tree, as OASST has them: no text of its own."""
    return "role" in plan.fields and any(name in plan.fields for name in _TREE)


def read_named(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read the field that `text_field` names. Raises Reject: missing-field, bad-type."""
    key = reader.text_field
    if key is None or key not in record:
        raise Reject("missing-field", f"no field {key}; there are {names(record)}")
    if type(record[key]) is not str:
        raise Reject("bad-type", f"the field {key} is no string")
    return _text(reader, record, plan, key)


def read_other(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read the first known text field that is a string."""
    for name in (*TEXT, *TRANSCRIPT):
        key = plan.fields.get(name)
        if key is not None and type(record[key]) is str:
            if _is_message_of_tree(plan) or ("role" in plan.fields and "message_id" in plan.fields):
                return None
            return _text(reader, record, plan, key)
    return None


def _text(reader: RecordReader, record: Record, plan: Plan, key: str) -> Record:
    text = unescape(reader, record[key]) if reader.unescape else record[key]
    bp = record.get("bp")
    sidecar = bp.get("chatml") if type(bp) is dict else None
    found = transcript(reader, text, sidecar)
    if found is not None:
        messages, tools = found
        record = without_sidecar(record)
        if tools:
            from bptools.chat.reader import build

            record = build({"tools": tools}, record, ())
            plan = reader.plan(tuple(record))
        return reader.chat(record, plan, messages, (key,))
    reader.format = reader.shape = "text"
    if key == "text" and text is record[key]:
        return record
    from bptools.chat.reader import build

    return build({"text": text}, record, (key,))


def without_sidecar(record: Record) -> Record:
    """Return the record without what helped to read its text, the same object if it holds none."""
    bp = record.get("bp")
    if type(bp) is not dict or "chatml" not in bp:
        return record
    rest = {key: value for key, value in bp.items() if key != "chatml"}
    if rest:
        return {**record, "bp": rest}
    return {key: value for key, value in record.items() if key != "bp"}


def unescape(reader: RecordReader, text: str) -> str:
    """Return a text with written-out escapes (backslash n, t, r, quote) as the characters they mean."""
    if "\\" not in text:
        return text
    import re

    meant = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "'": "'", "\\": "\\", "/": "/"}
    new = re.sub(r"""\\([ntr"'\\/])""", lambda match: meant[match[1]], text)
    if new != text:
        reader.note(("unescaped",))
    return new


def transcript(
    reader: RecordReader, text: str, sidecar: object = None
) -> tuple[list[Record], list[Any] | None] | None:
    """Return the messages and tools of a text in a chat template, None for other text; sets `format`."""
    messages: list[Record] | None
    tools: list[Any] | None
    if text.startswith("[Human]:") and "<eo" in text:
        from bptools.chat import moss

        messages = moss.read_transcript(text)
        if messages is not None:
            reader.format = "turns"
            return read_messages(reader, messages), None
    from bptools.chat import transcripts

    found = transcripts.read(text)
    if found is None and type(sidecar) is dict and "messages" in sidecar:
        # markup that was let stand may have left no template to recognise; the sidecar holds what was said
        found = transcripts.Transcript("text:chatml", [], None)
    if found is None:
        return None
    messages, tools = found.messages, found.tools
    if found.format == "text:chatml" and type(sidecar) is dict:
        from bptools.chat import chatml

        whole = chatml.parse_record(text, sidecar)
        messages, tools = whole if whole is not None else (messages, tools)
    if messages:
        try:
            messages = read_messages(reader, messages)
        except Reject:  # a speaker that is none: this is text about conversations
            messages = None
    if not messages:
        reader.note(("unparsed-template",))
        return None
    if found.unescaped:
        reader.note(("unescaped",))
    reader.format = found.format
    return messages, tools


_TREE = ("message_tree_id", "parent_id", "replies")


def refuse(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Refuse what is known and has no shape. Raises Reject: tokenized, unsupported."""
    fields = plan.fields
    reader.format, reader.shape = "unsupported", ""
    if "input_ids" in fields:
        raise Reject("tokenized", "token ids cannot be turned back into text without their tokenizer")
    if "segments" in fields:
        raise Reject("unsupported", "segments with labels of their own are no turns of a conversation")
    if "completions" in fields and "labels" in fields:
        raise Reject("unsupported", "labels for each step of an answer have no shape here")
    if _is_message_of_tree(plan):
        raise Reject(
            "unsupported", "one message of a tree; join each path of the tree into a conversation first"
        )
    if "mapping" in fields and type(record[fields["mapping"]]) is dict:
        raise Reject("unsupported", "a tree of messages; write out each path of it as a conversation first")
    return None
