"""A prompt, a completion, and a verdict: `label` true or false."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptools.chat.messages import note_messages
from bptools.core.records import Record

if TYPE_CHECKING:
    from bptools.chat.reader import Plan, RecordReader

_WORDS = {"true": True, "false": False}  # what a CSV cell holds


def verdict(record: Record, plan: Plan, words: bool = False) -> tuple[str, bool] | None:
    """Return (field, verdict) of a record, None if it has none; `words` also takes 0, 1 and CSV's words."""
    for key in plan.labels:
        value = record.get(key)
        if type(value) is bool:
            return key, value
        if words and type(value) is int and value in (0, 1):
            return key, value == 1
        if words and type(value) is str and value.strip().lower() in _WORDS:
            return key, _WORDS[value.strip().lower()]
    return None


def read(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read prompt, completion and label."""
    from bptools.chat.pairs import read_side

    found = verdict(record, plan, words=True)
    prompt_key, completion_key = plan.fields["prompt"], plan.fields["completion"]
    if found is None or record[completion_key] is None:
        return None
    reader.partial = True
    templated = _templated(reader, record, prompt_key, completion_key)
    if templated is not None:
        return _finish_templated(reader, record, plan, templated, found, {prompt_key, completion_key})
    prompt: list[Record]
    if record[prompt_key] == []:
        prompt = record[prompt_key]
    else:
        side = read_side(reader, record[prompt_key], "user", prompt_key)
        if side is None or not side[1]:
            return None
        prompt = side[0]
    side = read_side(reader, record[completion_key], "assistant", completion_key)
    if side is None or not side[1]:
        return None
    reader.partial = False
    note_messages(reader, [*prompt, *side[0]])
    reader.format = "kto"
    return finish(reader, record, plan, prompt, side[0], found, {prompt_key, completion_key})


Templated = tuple["list[Record]", "list[Record]", "list[Any] | None"]


def _templated(reader: RecordReader, record: Record, prompt_key: str, answer_key: str) -> Templated | None:
    """Read a prompt and an answer that are written in a chat template, as --text writes them."""
    prompt, answer = record[prompt_key], record[answer_key]
    if type(prompt) is not str or type(answer) is not str:
        return None
    from bptools.chat import templated

    return templated.read(reader, record, prompt, answer, ("prompt", "completion"))


def _finish_templated(
    reader: RecordReader, record: Record, plan: Plan, read: Templated, found: tuple[str, bool], gone: set[str]
) -> Record:
    from bptools.chat.plain import without_sidecar

    prompt, completion, tools = read
    reader.partial = False
    note_messages(reader, [*prompt, *completion])
    reader.format = "kto"
    record = without_sidecar(record)
    if tools:
        record = {**record, "tools": tools}
        plan = reader.plan(tuple(record))
    return finish(reader, record, plan, prompt, completion, found, gone)


def from_chat(reader: RecordReader, chat: Record, plan: Plan, split: int | None) -> Record:
    """Return the rated record of a chat with a verdict about its last answer; the chat if it has none."""
    messages = chat["messages"]
    found = verdict(chat, plan)
    split = len(messages) - 1 if split is None else split
    if found is None or not 0 < split < len(messages) or messages[split]["role"] != "assistant":
        return chat
    reader.format = "kto"
    return finish(reader, chat, plan, messages[:split], messages[split:], found, {"messages"}, tools=False)


def finish(
    reader: RecordReader,
    record: Record,
    plan: Plan,
    prompt: list[Record],
    completion: list[Record],
    found: tuple[str, bool],
    gone: set[str],
    tools: bool = True,
) -> Record:
    """Return the rated record, the same object if it is one already."""
    from bptools.chat.reader import build

    reader.shape = "rated"
    key, label = found
    gone.add(key)
    used = len(gone)
    if tools:
        prompt = reader.with_system(prompt, record, plan, gone)
    out: Record = {"prompt": prompt, "completion": completion, "label": label}
    if tools:
        reader.add_tools(out, record, plan, gone)
    elif "tools" in record:
        out["tools"] = record["tools"]
        gone.add("tools")
    own = ("prompt", "completion", "label", "tools")
    if all(out.get(name) is record.get(name) for name in own) and len(gone) == used + ("tools" in out):
        return record
    return build(out, record, gone)
