"""From a record in its own shape to what was asked for: another shape, other system prompt, ChatML text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bptools.chat.formats import PARTS
from bptools.chat.reader import RecordReader, build
from bptools.core.records import Drop, Record, Reject

if TYPE_CHECKING:
    from bptools.chat.convert import Options


class Shaper:
    """Applies the options that change records. Same object in and out when nothing changes."""

    def __init__(self, options: Options, reader: RecordReader) -> None:
        self.options = options
        self.reader = reader

    def several(self, records: list[Record]) -> list[Record]:
        """Return what the records of one input record become."""
        shape = self.reader.shape
        made: list[Record] = []
        for record in records:
            self.reader.shape = shape
            out = self(record)
            made += out if type(out) is list else [out]  # type: ignore[list-item]
        return made

    def __call__(self, record: Record) -> Record | list[Record]:
        """Return the record as the options want it. Raises Reject and Drop."""
        shape = self.reader.shape
        if shape == "text":
            return self._plain_text(record)
        record = self._edit(record, shape)
        if self.options.to != "auto" and self.options.to != shape:
            made = self._reshape(record, shape)
        else:
            made = [record]
        if self.options.on_markup == "drop":
            for one in made:
                self._drop_markup(one, PARTS[self.reader.shape])
        if self.options.text or self.options.to == "text":
            from bptools.chat.rendering import render

            made = [render(one, self.reader, self.options) for one in made]
            self.reader.shape = "text" if self.reader.shape == "chat" else self.reader.shape
        return made[0] if len(made) == 1 else made

    def _plain_text(self, record: Record) -> Record:
        to = self.options.to
        if to == "chat":
            raise Reject("no-turns", "plain text has no turns; --to text keeps it")
        if to == "preference":
            raise Reject("no-rejected", "plain text has no chosen and rejected answer")
        if to == "rated":
            raise Reject("no-label", "plain text has no completion with a label")
        if self.options.on_markup == "drop":
            self._drop_markup({"messages": [{"role": "user", "content": record["text"]}]}, ("messages",))
        eos = self.options.eos
        if eos and not record["text"].endswith(eos):  # once, however often it is run
            return {**record, "text": record["text"] + eos}
        return record

    def _reshape(self, record: Record, shape: str) -> list[Record]:
        to = self.options.to
        if to == "preference":
            raise Reject("no-rejected", f"a {shape} record has no rejected answer")
        if to == "rated":
            if shape != "preference":
                raise Reject("no-label", "a chat has no label that says whether its answer is good")
            self.reader.shape = "rated"
            return [_rated(record, "chosen", True), _rated(record, "rejected", False)]
        self.reader.shape = "chat"  # to chat, or on the way to text
        if shape == "chat":
            return [record]
        if shape == "rated" and not record["label"]:
            raise Drop("label-false", False)
        answer = "chosen" if shape == "preference" else "completion"
        out: Record = {"messages": record["prompt"] + record[answer]}
        if "tools" in record:
            out["tools"] = record["tools"]
        used = {
            "prompt",
            "tools",
            *(("chosen", "rejected") if shape == "preference" else ("completion", "label")),
        }
        return [build(out, record, used)]

    def _edit(self, record: Record, shape: str) -> Record:
        options = self.options
        changed: Record = {}
        for name in PARTS[shape]:
            messages = record[name]
            new = self._edit_messages(messages)
            if new is not messages:
                changed[name] = new
        first = PARTS[shape][0]
        if options.system is not None or options.system_default is not None:
            messages = changed[first] if first in changed else record[first]
            new = with_system(messages, options.system, options.system_default)
            if new is not messages:
                changed[first] = new
        return {**record, **changed} if changed else record

    def _edit_messages(self, messages: list[Record]) -> list[Record]:
        options = self.options
        out = messages
        if options.unescape:
            from bptools.chat.plain import unescape

            out = _each(out, "content", lambda text: unescape(self.reader, text))
        if options.reasoning != "keep":
            from bptools.chat import reasoning

            new = [reasoning.apply(message, options.reasoning) for message in out]
            if any(one is not other for one, other in zip(new, out)):
                out = new
        if options.tool_args is not None:
            out = self._tool_arguments(out, options.tool_args)
        return out

    def _tool_arguments(self, messages: list[Record], form: str) -> list[Record]:
        from bptools.chat.tools import set_arguments

        out = messages
        for number, message in enumerate(messages):
            calls = message.get("tool_calls")
            if calls:
                new, done = set_arguments(calls, form)
                if not done:
                    self.reader.note(("tool-args-kept",))
                if new is not calls:
                    out = list(out) if out is messages else out
                    out[number] = {**message, "tool_calls": new}
        return out

    def _drop_markup(self, record: Record, fields: tuple[str, ...]) -> None:
        from bptools.chat import chatml

        for name in fields:
            if chatml.has_markup(record[name]):
                self.reader.note(("markup",))
                raise Drop("markup", name)
        if "tools" in record and type(record["tools"]) is list and chatml.has_markup([], record["tools"]):
            self.reader.note(("markup",))
            raise Drop("markup", "tools")


def with_system(messages: list[Record], system: str | None, default: str | None) -> list[Record]:
    """Return messages with the system prompt replaced by `system`, or led by `default` if they have none."""
    has = any(message["role"] == "system" for message in messages)
    if system is not None:
        rest = [message for message in messages if message["role"] != "system"]
        if messages[:1] == [{"role": "system", "content": system}] and len(rest) + 1 == len(messages):
            return messages
        return [{"role": "system", "content": system}, *rest]
    if default is None or has:
        return messages
    return [{"role": "system", "content": default}, *messages]


def _each(messages: list[Record], key: str, change: object) -> list[Record]:
    new = [change(message[key]) for message in messages]  # type: ignore[operator]
    if all(text is message[key] for text, message in zip(new, messages)):
        return messages
    return [{**message, key: text} for text, message in zip(new, messages)]


def _rated(record: Record, answer: str, label: bool) -> Record:
    out: Record = {"prompt": record["prompt"], "completion": record[answer], "label": label}
    if "tools" in record:
        out["tools"] = record["tools"]
    return build(out, record, {"prompt", "chosen", "rejected", "tools"})
