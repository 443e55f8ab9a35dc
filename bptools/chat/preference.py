"""A prompt and two answers, one of them better: every way to write that down.

prompt, chosen, rejected                 text, a message, messages, or whole conversations
chosen, rejected                         hh-rlhf transcripts
prompt, response_0, response_1, better_response_id, and other comparisons (see `comparison`)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptools.chat import fields as names_of
from bptools.chat import hh
from bptools.chat.fields import Fields
from bptools.chat.messages import has_role, note_messages
from bptools.chat.pairs import question_of, read_history, read_side
from bptools.chat.roles import fold
from bptools.core.records import Record

if TYPE_CHECKING:
    from bptools.chat.reader import Plan, RecordReader, Step

PAIRS = (
    ("chosen", "rejected"),
    ("chosen_messages", "rejected_messages"),
    ("chosen_conversations", "rejected_conversations"),
    ("chosen_conversation", "rejected_conversation"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("chosen_output", "rejected_output"),
    ("chosen_answer", "rejected_answer"),
    ("chosen_completion", "rejected_completion"),
    ("preferred_output", "non_preferred_output"),
    ("preferred", "dispreferred"),
    ("pos_resp", "neg_resp"),
    ("response_j", "response_k"),
    ("better_response", "worse_response"),
)
PROMPTS = ("prompt", "instruction", "question", "query", "user_prompt", "input", "problem", "instructions")


def steps(fields: Fields) -> list[Step]:
    """Return the readers for the pairs of answers that these fields hold."""
    found: list[Step] = []
    for better, worse in PAIRS:
        if better in fields and worse in fields:
            found.append(_reader(fields[better], fields[worse]))
    from bptools.chat import comparison

    return found + comparison.steps(fields)


def _reader(better: str, worse: str) -> Step:
    def step(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
        return read(reader, record, plan, better, worse)

    return step


def read(
    reader: RecordReader,
    record: Record,
    plan: Plan,
    better: str,
    worse: str,
    also_used: tuple[str, ...] = (),
    prompt_key: str | None = None,
) -> Record | None:
    """Return the preference record of a better and a worse answer; None if one of them is missing."""
    if record[better] is None or record[worse] is None:
        return None
    reader.partial = True
    gone = {better, worse, *also_used}
    reader.format = "preference"
    sides = _templated(reader, record, plan, record[better], record[worse], gone)
    if sides is not None:
        from bptools.chat.plain import without_sidecar

        record = without_sidecar(record)
    else:
        sides = _plain(reader, record, plan, (better, worse), gone, prompt_key)
        if sides is None:
            return None
    prompt, chosen, rejected, tools = sides
    common = common_turns(chosen, rejected)
    if common:
        prompt, chosen, rejected = prompt + chosen[:common], chosen[common:], rejected[common:]
    reader.partial = False
    note_messages(reader, [*prompt, *chosen])
    if not all(message["content"] or message.get("tool_calls") for message in rejected):
        reader.note(("empty-content",))
    used = len(gone)
    prompt = reader.with_system(prompt, record, plan, gone)
    out: Record = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    if tools:
        out["tools"] = tools
    reader.add_tools(out, record, plan, gone)
    reader.shape = "preference"
    own = ("prompt", "chosen", "rejected", "tools")
    if all(out.get(name) is record.get(name) for name in own) and len(gone) == used + ("tools" in out):
        return record
    from bptools.chat.reader import build

    container = plan.fields.get("input", "")
    if container in gone and type(record[container]) is dict:
        record = _unpacked(record, container, gone, tools is not None)
    return build(out, record, gone)


def _unpacked(record: Record, container: str, gone: set[str], tools: bool) -> Record:
    """Return the record with the fields of a request beside its own: those of the request that were not read.

    What has a meaning or a namesake there stays inside the request.
    """
    taken = {*names_of.SYSTEM, *names_of.TOOLS, *names_of.MEDIA, *names_of.LABELS, "bp"}
    out: Record = {}
    rest: Record = {}
    for key, value in record[container].items():
        if key == "messages" or (key == "tools" and (tools or not value)):
            continue
        (rest if key in record or fold(key) in taken else out)[key] = value
    if rest:
        gone.discard(container)
        out = {container: rest, **out}
    new: Record = {}
    for key, value in record.items():
        new.update(out if key == container else {key: value})
    return new


def common_turns(chosen: list[Record], rejected: list[Record]) -> int:
    """Return how many whole turns two conversations share at the start; at least one stays in each."""
    most = min(len(chosen), len(rejected)) - 1
    number = 0
    while number < most and chosen[number] == rejected[number]:
        number += 1
    return number


Sides = tuple[list[Record], list[Record], list[Record], "list[Any] | None"]


def _plain(
    reader: RecordReader,
    record: Record,
    plan: Plan,
    keys: tuple[str, str],
    gone: set[str],
    prompt_key: str | None,
) -> Sides | None:
    better, worse = record[keys[0]], record[keys[1]]
    if hh.looks_like(better) and hh.looks_like(worse):
        chosen, rejected = hh.split(better) or [], hh.split(worse) or []
        reader.format = "hh-rlhf"
    else:
        first = _answer(reader, better, keys[0], gone)
        second = _answer(reader, worse, keys[1], gone)
        if first is None or second is None:
            return None
        chosen, rejected = first, second
    whole = chosen[0]["role"] in ("user", "system") or rejected[0]["role"] in ("user", "system")
    found = _prompt(reader, record, plan, gone, prompt_key, whole)
    if found is None:
        return [], chosen, rejected, None
    prompt, used, tools = found
    if whole and prompt and _said(prompt, chosen, rejected):
        gone.update(used)
        return [], chosen, rejected, tools
    if whole and prompt and type(record[used[0]]) is str:
        return [], chosen, rejected, tools  # the conversations speak for themselves: the field is kept aside
    gone.update(used)
    if len(prompt) > 1 and not whole and prompt[-1]["role"] == "assistant" and prompt[-1:] == chosen:
        prompt = prompt[:-1]
    return prompt, chosen, rejected, tools


def _answer(reader: RecordReader, value: object, key: str, gone: set[str]) -> list[Record] | None:
    side = read_side(reader, value, "assistant", key)
    if side is None:
        return None
    if not side[1]:
        gone.discard(key)
    return side[0]


def _said(prompt: list[Record], chosen: list[Record], rejected: list[Record]) -> bool:
    """Return whether whole conversations say the prompt already."""
    for answer in (chosen, rejected):
        if answer[: len(prompt)] == prompt:
            return True
    if len(prompt) == 1:
        text = prompt[0]["content"].strip()
        return any(message["content"].strip() == text for message in [*chosen[:-1], *rejected[:-1]])
    contents = [message["content"].strip() for message in chosen]
    return all(message["content"].strip() in contents for message in prompt)


def _prompt(
    reader: RecordReader, record: Record, plan: Plan, gone: set[str], prompt_key: str | None, whole: bool
) -> tuple[list[Record], list[str], list[Any] | None] | None:
    """Return (messages, fields used, tools) of the prompt; None if no field holds one."""
    fields = plan.fields
    key = prompt_key or fields.get("prompt")
    if key is not None and type(record[key]) is list:
        if not record[key]:
            return record[key], [key], None
        side = read_side(reader, record[key], "user", key)
        if side is not None and side[1]:
            return side[0], [key], None
    if not whole or key is None:
        found = _conversation(reader, record, plan, gone, whole, late=False)
        if found is not None:
            return found
    container = fields.get("input")
    if container is not None and type(record[container]) is dict:  # {"input": {"messages", "tools"}}
        return _request(reader, record[container], container)
    for name in (prompt_key, *PROMPTS) if prompt_key else PROMPTS:
        key = fields.get(name, name)
        if key not in record or key in gone or record[key] is None:
            continue
        asked = question_of(reader, record, fields, key, name)
        if asked is None:
            continue
        messages, used = asked
        history = fields.first(names_of.HISTORY)
        if history is not None and history not in used:
            before = read_history(reader, record[history], history)
            if before is not None:
                return before + messages, [*used, history], None
        return messages, used, None
    return None if whole else _conversation(reader, record, plan, gone, whole, late=True)


def _conversation(
    reader: RecordReader, record: Record, plan: Plan, gone: set[str], whole: bool, late: bool
) -> tuple[list[Record], list[str], None] | None:
    """Return the turns that are the prompt; `late`: fields that are history where there is a question."""
    from bptools.chat import turns

    for name in plan.late if late else plan.conversations:
        if name in gone or type(record[name]) not in (list, str):
            continue
        pending = reader.pending
        messages = turns.read(reader, record[name], name, record)
        reader.pending = pending
        if messages is not None and (not whole or messages[-1]["role"] == "user"):
            return messages, [name], None
    return None


def _request(
    reader: RecordReader, request: Record, key: str
) -> tuple[list[Record], list[str], list[Any] | None] | None:
    value = request.get("messages")
    if type(value) is not list or not value or not all(map(has_role, value)):
        return None
    side = read_side(reader, value, "user", key)
    if side is None:
        return None
    from bptools.chat.tools import read_tools

    tools = read_tools(request.get("tools"))
    return side[0], [key], tools if type(tools) is list else None


def _templated(
    reader: RecordReader, record: Record, plan: Plan, better: object, worse: object, gone: set[str]
) -> Sides | None:
    """Read prompt and answers that are written in a chat template."""
    key = plan.fields.get("prompt")
    prompt = record[key] if key is not None else None
    if type(better) is not str or type(worse) is not str:
        return None
    from bptools.chat import templated

    if key is not None and type(prompt) is str:
        first = templated.read(reader, record, prompt, better, ("prompt", "chosen"))
        if first is None:
            return None
        second = templated.read(reader, record, prompt, worse, ("prompt", "rejected"))
        if second is None or first[0] != second[0] or first[2] != second[2]:
            return None
        gone.add(key)
        asked = {first[1][0]["role"], second[1][0]["role"]} & {"user", "system"}
        repeated = asked and first[0] and _said(first[0], first[1], second[1])
        return [] if repeated else first[0], first[1], second[1], first[2]
    if prompt is None and better[:1] == "<" == worse[:1]:
        whole = templated.read_whole(better), templated.read_whole(worse)
        if whole[0] and whole[1]:
            return [], whole[0], whole[1], None
    return None
