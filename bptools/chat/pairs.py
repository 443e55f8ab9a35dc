"""One question and one answer in fields of their own: Alpaca, Orca, prompt and completion, and the like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptools.chat import embedded
from bptools.chat import fields as names_of
from bptools.chat.fields import Fields
from bptools.chat.messages import has_role, note_messages, read_messages, turn_keys
from bptools.core.records import Record, Reject

if TYPE_CHECKING:
    from bptools.chat.reader import Plan, RecordReader, Step

NO_INPUT = {"", "<noinput>", "<no input>", "<no-input>", "<no_input>", "noinput", "no input"}
_SWITCHES = {
    "",
    "on",
    "off",
    "yes",
    "no",
    "true",
    "false",
    "none",
    "enabled",
    "disabled",
    "high",
    "medium",
    "low",
}
"""What a field called reasoning may hold besides reasoning."""


class Pair:
    """The fields of one way to read a record as a question and its answer."""

    __slots__ = ("answers", "format", "history", "inputs", "name", "reasoning", "user")

    def __init__(self, fields: Fields, user: str, answers: tuple[str, ...], format: str) -> None:
        self.name = user
        self.user = fields[user]
        self.answers = [key for key in dict.fromkeys(fields.all(answers)) if key != self.user]
        names = names_of.INPUT if user in names_of.WITH_INPUT else ()
        self.inputs = [key for key in fields.all(names) if key != self.user and key not in self.answers]
        self.reasoning = fields.all(names_of.REASONING)
        self.history = fields.first(names_of.HISTORY)
        self.format = format


def steps(fields: Fields, plan: Plan) -> list[Step]:
    """Return the readers for the pairs that these fields can be, the most telling first."""
    found: list[Step] = []
    if "preference" in fields and "output_1" in fields:
        from bptools.chat import comparison

        found += comparison.steps(fields)
    if any(name in fields for name in ("choices", "answers")):
        from bptools.chat import answers as lists

        found += lists.steps(fields)
    if "query" in fields and "answers" in fields and "tools" in fields:
        found.append(read_tool_query)
    if "instances" in fields and ("instruction" in fields or "definition" in fields):
        found.append(read_instances)
    for user, answers, format in names_of.PAIRS:
        if user in fields:
            pair = Pair(fields, user, answers, format)
            if pair.answers:
                if (
                    format in ("question-answer", "prompt-completion")
                    and plan.system
                    and user in ("question", "input")
                ):
                    pair.format = "orca"
                plan.pairs.append(pair)
    if plan.pairs:
        from bptools.chat import reader

        found.append(reader.read_pair)
    return found


def prompt_only(fields: Fields, plan: Plan) -> list[Step]:
    """Return the reader for a question without an answer, if these fields hold one."""
    user = next((name for name in names_of.PROMPT_ONLY if name in fields), None)
    if user is None:
        return []
    pair = Pair(fields, user, (), "prompt-only")

    def read(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
        if record[pair.user] is None or reader.unread:  # an answer that is no text is not no answer
            return None
        _refuse_trees(reader, record, plan, pair)
        return _read(reader, record, plan, pair, None)

    return [read]


def _refuse_trees(reader: RecordReader, record: Record, plan: Plan, pair: Pair) -> None:
    """Refuse a question whose answers have no shape: trees, scored lists. Raises Reject: unsupported."""
    value = record[pair.user]
    if type(value) is dict and "replies" in value:
        reader.format, reader.shape = "unsupported", ""
        raise Reject(
            "unsupported", "one message of a tree; join each path of the tree into a conversation first"
        )
    key = plan.fields.get("completions", "")
    answers = record.get(key)
    if type(answers) is not list or not answers:
        return
    if type(record.get(plan.fields.get("labels", ""))) is list:
        reader.format, reader.shape = "unsupported", ""
        raise Reject("unsupported", "labels for each step of an answer have no shape here")
    if all(type(answer) is dict for answer in answers):
        reader.format, reader.shape = "unsupported", ""
        detail = f"the field {key} holds several answers with scores; write the best and the worst as a pair"
        raise Reject("unsupported", detail)


def read_pair(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read the first pair that has an answer."""
    for pair in plan.pairs:
        for answer in pair.answers:
            if record[answer] is not None and record[pair.user] is not None:
                out = _read(reader, record, plan, pair, answer)
                if out is not None:
                    return out
                reader.unread = True
    return None


def _read(reader: RecordReader, record: Record, plan: Plan, pair: Pair, answer: str | None) -> Record | None:
    reader.partial = True
    found = question_of(reader, record, plan.fields, pair.user, pair.name, pair.inputs)
    if found is None:
        return None
    messages, used = found
    split = len(messages)
    if answer is not None:
        value = record[answer]
        if type(value) is str and not _special(value):
            messages.append({"role": "assistant", "content": value})
            used.append(answer)
        else:
            side = read_side(reader, value, "assistant", answer)
            if side is None:
                return None
            messages += side[0]
            if side[1]:
                used.append(answer)
        if pair.reasoning:
            _add_reasoning(record, pair, messages, split, used)
    reader.format = pair.format
    if pair.history is not None and pair.history not in used:
        before = read_history(reader, record[pair.history], pair.history)
        if before is not None:
            used.append(pair.history)
            if before:
                messages = before + messages
                split += len(before)
                reader.format = "history"
    reader.partial = False
    note_messages(reader, messages)
    return reader.chat(record, plan, messages, tuple(used), split)


def question_of(
    reader: RecordReader, record: Record, fields: Fields, key: str, name: str, inputs: list[str] | None = None
) -> tuple[list[Record], list[str]] | None:
    """Return the messages of the field that asks with its input, and the fields used; None: no text."""
    question = record[key]
    used = [key]
    if type(question) is not str or _special(question):
        side = read_side(reader, question, "user", key)
        return None if side is None or not side[1] else (list(side[0]), used)
    if inputs is None:
        inputs = (
            [own for own in fields.all(names_of.INPUT) if own != key] if name in names_of.WITH_INPUT else []
        )
    for own in inputs:
        text = record[own]
        if type(text) is str:
            used.append(own)
            if text and text.strip().lower() not in NO_INPUT:
                question = question + reader.alpaca_join + text if question.strip() else text
            break
        if text is None:
            used.append(own)
    return [{"role": "user", "content": question}], used


def _special(text: str) -> bool:
    """Return whether a string may hold a conversation: a list as JSON, or a Human/Assistant transcript."""
    head = text[:1]
    return (head == "[" and text[:64].lstrip("[ \n\r\t")[:1] == "{") or (
        head == "\n" and text.startswith("\n\nHuman:")
    )


def read_side(reader: RecordReader, value: object, role: str, key: str) -> tuple[list[Record], bool] | None:
    """Return (messages, all of the field is in them) for a prompt, an answer, or either as messages.

    A list of plain strings gives its first (the field then stays). None: the field holds something else, and
    `reader.pending` says so.
    """
    if type(value) is str:
        if value.startswith("\n\nHuman:"):
            from bptools.chat import hh

            messages = hh.split(value, prompt=role == "user")
            if messages:
                return messages, True
        parsed = embedded.parse(value) if value[:1] in ("[", "{") else None
        if type(parsed) is list and parsed and all(map(has_role, parsed)) and _known(reader, parsed):
            return read_messages(reader, parsed), True
        return [{"role": role, "content": value}], True
    if type(value) is dict and has_role(value):
        value = [value]
    if type(value) is list and value:
        if all(map(has_role, value)) and not _signed(reader, value):
            return read_messages(reader, value), True
        if all(type(item) is str for item in value):
            if len(value) > 1:
                reader.note(("first-of-several",))
            return [{"role": role, "content": value[0]}], len(value) == 1
        if all(type(item) is dict and item.get("type") for item in value):
            return read_messages(reader, [{"role": role, "content": value}]), True
    from bptools.chat.parts import scalar_text

    text = "" if value is None else scalar_text(value)
    if text is None:
        reader.pending = Reject("bad-type", f"the field {key} is neither text nor messages")
        return None
    return [{"role": role, "content": text}], True


def _known(reader: RecordReader, turns: list[Any]) -> bool:
    keys = [turn_keys(turn)[0] for turn in turns]
    return all(key is not None and reader.roles.knows(turn[key]) for key, turn in zip(keys, turns))


def _signed(reader: RecordReader, turns: list[Any]) -> bool:
    """Return whether these are posts that name their author, and not turns of a conversation."""
    return all(turn_keys(turn)[0] == "author" and not reader.roles.knows(turn["author"]) for turn in turns)


def _add_reasoning(record: Record, pair: Pair, messages: list[Record], split: int, used: list[str]) -> None:
    answer = messages[split] if len(messages) == split + 1 else None
    if answer is None or answer["role"] != "assistant" or "reasoning_content" in answer:
        return
    for key in pair.reasoning:
        value = record[key]
        if key in used or type(value) is not str or value.strip().lower() in _SWITCHES:
            continue
        if "<think>" not in answer["content"]:
            messages[split] = {**answer, "reasoning_content": value}
            used.append(key)
        return


def read_history(reader: RecordReader, value: object, key: str) -> list[Record] | None:
    """Return the messages of a history, [] for an empty one, None for something else."""
    if type(value) is str:
        if not value.strip():
            return []
        value = embedded.parse(value)
    if value is None or value == []:
        return []
    if type(value) is not list:
        return None
    from bptools.chat import turns

    messages = turns.read(reader, value, "messages", {})
    reader.pending = None
    return messages


def read_tool_query(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read a query, the calls that answer it, and the tools they come from."""
    from bptools.chat.tools import read_calls

    query_key, answers_key = plan.fields["query"], plan.fields["answers"]
    query, answers = record[query_key], record[answers_key]
    if type(query) is not str:
        return None
    parsed = embedded.parse(answers) if type(answers) is str else answers
    message: Record = {"role": "assistant", "content": ""}
    if parsed != []:
        calls = read_calls(parsed)
        if calls is None:
            return None
        message["tool_calls"] = calls
    messages = [{"role": "user", "content": query}, message]
    reader.format = "tool-query"
    note_messages(reader, messages)
    return reader.chat(record, plan, messages, (query_key, answers_key))


def read_instances(reader: RecordReader, record: Record, plan: Plan) -> list[Record] | Record | None:
    """Read an instruction with a list of inputs and outputs: one record for each."""
    instruction_key = plan.fields.get("instruction", plan.fields.get("definition", ""))
    key = plan.fields["instances"]
    instances, instruction = record[key], record[instruction_key]
    if type(instances) is not list or not instances or type(instruction) is not str:
        return None
    out = []
    for instance in instances:
        if type(instance) is not dict or type(instance.get("output")) is not str:
            return None
        text = instance.get("input")
        text = text if type(text) is str and text.strip().lower() not in NO_INPUT else ""
        question = instruction + reader.alpaca_join + text if text and instruction else instruction or text
        messages = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": instance["output"]},
        ]
        rest = {name: value for name, value in instance.items() if name not in ("input", "output")}
        reader.format = "alpaca"
        note_messages(reader, messages)
        merged = {**{name: value for name, value in record.items() if name != key}, **rest}
        merged.setdefault(instruction_key, instruction)
        out.append(reader.chat(merged, reader.plan(tuple(merged)), messages, (instruction_key,)))
    return out[0] if len(out) == 1 else out
