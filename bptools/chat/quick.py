"""The short ways: most records of most files, read by one small function made for their field names.

Each function takes the plain case only (every turn a speaker and a string, speakers alternate, nothing is
empty) and leaves all others to the general readers, which also count what is odd: what it returns is what
they would have returned.

The loops take two turns at a time, which saves looking roles up, comparing neighbours and half of the steps:
on ShareGPT conversations of 16 turns they cost 2.0 us where one turn at a time costs 2.4, and 1.1 us instead
of 1.8 where the messages are canonical already. `> ""` is the cheapest test for a string that is not empty:
it raises TypeError for all that is no string. Comprehensions, map and itemgetter, sets of types, and copies
of a prepared message were all slower: it is the new dictionary that costs, 70 of 125 ns a turn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bptools.core.records import Record

if TYPE_CHECKING:
    from bptools.chat.pairs import Pair
    from bptools.chat.reader import Plan, RecordReader

Read = Callable[[Record], "Record | list[Record]"]


def reader_for(reader: RecordReader, plan: Plan, keys: tuple[str, ...]) -> Read:
    """Return the function that reads records with these field names."""
    slow = general(reader, plan)
    if plan.steps and not (plan.tools or plan.media or plan.labels) and len(plan.system) <= 1:
        from bptools.chat.reader import read_conversation, read_pair

        if plan.steps[0] is read_conversation:
            key = plan.conversations[0]
            if key == "messages":
                return _canonical(reader, slow) if holds_messages(reader, plan) else slow
            return _turns(reader, slow, plan, keys)
        if plan.pairs and plan.steps[0] is read_pair and len(plan.pairs[0].answers) == 1:
            pair = plan.pairs[0]
            if pair.history is None and not pair.reasoning and len(pair.inputs) <= 1:
                return _pair(reader, slow, plan, keys)
    if "prompt" in keys or "chosen" in keys:
        from bptools.chat import quick_answers

        return quick_answers.reader_for(reader, plan, keys, slow)
    return slow


def holds_messages(reader: RecordReader, plan: Plan) -> bool:
    """Return whether records with these fields are chats as soon as their `messages` are canonical."""
    if not plan.simple or not plan.steps or not plan.conversations or not writes_roles(reader):
        return False
    from bptools.chat.reader import read_conversation

    return plan.steps[0] is read_conversation and plan.conversations[0] == "messages"


def general(reader: RecordReader, plan: Plan) -> Read:
    """Return the function that tries one reader after the other."""

    def read(record: Record) -> Record | list[Record]:
        return reader.read_by(record, plan)

    return read


def writes_roles(reader: RecordReader) -> bool:
    """Return whether canonical role names mean themselves, which --role-map can change."""
    return all(reader.roles.get(name) == name for name in ("user", "assistant", "system"))


def _canonical(reader: RecordReader, slow: Read) -> Read:
    def read(record: Record) -> Record | list[Record]:
        turns = record["messages"]
        try:
            first = turns[0]
            if first["role"] == "system":
                if not first["content"] > "" or len(first) != 2 or len(turns) == 1:
                    return slow(record)
                turns = turns[1:]
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
                    return slow(record)
        except (KeyError, TypeError, IndexError, StopIteration):
            return slow(record)
        reader.format = "messages"
        reader.shape = "chat"
        reader.plain = "messages"
        return record

    return read


def _turns(reader: RecordReader, slow: Read, plan: Plan, keys: tuple[str, ...]) -> Read:
    key = plan.conversations[0]
    system = plan.system[0] if plan.system else None
    rest = [name for name in keys if name not in (key, system)]
    # Exactly a dict: the interpreter's fast way to subscript does not take a subclass.
    names = {name: role for name, role in reader.roles.items() if role in ("user", "assistant")}

    def read(record: Record) -> Record | list[Record]:
        turns = record[key]
        messages: list[Record] = []
        try:
            head = record[system] if system is not None else None
            if head:
                if type(head) is not str or not head.strip():
                    return slow(record)
                messages.append({"role": "system", "content": head})
            elif head is not None and head != "":
                return slow(record)
            elif turns[0]["from"] == "system":
                head = turns[0]["value"]
                if not head > "" or len(turns[0]) != 2:
                    return slow(record)
                messages.append({"role": "system", "content": head})
                turns = turns[1:]
            user, assistant = turns[0]["from"], turns[1]["from"]
            if names[user] != "user" or names[assistant] != "assistant":
                return slow(record)
            pairs = iter(turns)
            for asks in pairs:
                says = next(pairs)
                question, answer = asks["value"], says["value"]
                if (
                    asks["from"] != user
                    or says["from"] != assistant
                    or not question > ""
                    or not answer > ""
                    or len(asks) + len(says) != 4
                ):
                    return slow(record)
                messages.append({"role": "user", "content": question})
                messages.append({"role": "assistant", "content": answer})
        except (KeyError, TypeError, IndexError, StopIteration):
            return slow(record)
        reader.format = "sharegpt"
        reader.shape = "chat"
        reader.plain = key
        out: Record = {"messages": messages}
        for name in rest:
            out[name] = record[name]
        return out

    return read


def _pair(reader: RecordReader, slow: Read, plan: Plan, keys: tuple[str, ...]) -> Read:
    pair: Pair = plan.pairs[0]
    system = plan.system[0] if plan.system else None
    user, answer, format = pair.user, pair.answers[0], pair.format
    extra = pair.inputs[0] if pair.inputs else None
    rest = [name for name in keys if name not in (user, answer, extra, system)]
    join = reader.alpaca_join
    from bptools.chat.pairs import NO_INPUT

    def read(record: Record) -> Record | list[Record]:
        question = record[user]
        text = record[answer]
        if type(question) is not str or type(text) is not str or not text or not question.strip():
            return slow(record)
        if question[0] in "[{\n<#" or text[0] in "[{\n":
            return slow(record)
        if extra is not None:
            more = record[extra]
            if type(more) is not str:
                return slow(record)
            if more and more.strip().lower() not in NO_INPUT:
                question = question + join + more
        reader.format = format
        reader.shape = "chat"
        reader.plain = None
        messages = [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
        if system is not None:
            prompt = record[system]
            if type(prompt) is not str or not prompt.strip():
                return slow(record)
            messages.insert(0, {"role": "system", "content": prompt})
        out: Record = {"messages": messages}
        for name in rest:
            out[name] = record[name]
        return out

    return slow if "messages" in rest else read
