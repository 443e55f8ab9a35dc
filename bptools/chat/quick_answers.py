"""The short ways for records with answers that were judged: chosen and rejected, or a label.

As in `quick`, only the plain case is taken, and what comes out is what the general readers would return:
hh-rlhf transcripts that differ in the last answer only, a prompt and answers that are plain strings, and
records that are canonical already. A pair of transcripts costs 4 us instead of 23 with the general readers,
which split both; here the beginning that they share is split once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bptools.chat import fields as names_of
from bptools.core.records import Record

if TYPE_CHECKING:
    from bptools.chat.quick import Read
    from bptools.chat.reader import Plan, RecordReader

_HUMAN, _ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
_MARK = len(_ASSISTANT)
# fields that say something about the prompt, where one called prompt is not alone
_MEANT = {"instruction", "question", "query", "user_prompt", "problem", "instructions"}
_MEANT |= {*names_of.INPUT, *names_of.HISTORY}


def reader_for(reader: RecordReader, plan: Plan, keys: tuple[str, ...], slow: Read) -> Read:
    """Return the function that reads records with these field names, `slow` where there is no short way."""
    from bptools.chat.quick import writes_roles

    if plan.conversations or plan.late or plan.system or plan.tools or plan.media:
        return slow
    if not writes_roles(reader):
        return slow
    if not _MEANT.isdisjoint(plan.fields):
        return slow
    if "chosen" in keys and "rejected" in keys and not plan.labels:
        if "prompt" in keys:
            return _answers(reader, keys, slow, ("chosen", "rejected"), "preference", "preference")
        if "prompt" not in plan.fields:
            return _transcripts(reader, keys, slow)
    if "prompt" in keys and "completion" in keys and plan.labels == ["label"] and _first_is_rated(plan):
        return _answers(reader, keys, slow, ("completion",), "kto", "rated")
    return slow


def _first_is_rated(plan: Plan) -> bool:
    from bptools.chat import rated

    return plan.steps[0] is rated.read


def _transcripts(reader: RecordReader, keys: tuple[str, ...], slow: Read) -> Read:
    rest = [name for name in keys if name not in ("chosen", "rejected")]

    def read(record: Record) -> Record | list[Record]:
        better, worse = record["chosen"], record["rejected"]
        if type(better) is not str or type(worse) is not str:
            return slow(record)
        cut = better.rfind(_ASSISTANT)
        shared, chosen = better[:cut], better[cut + _MARK :].removeprefix(" ")
        if cut < 0 or not worse.startswith(shared) or not worse.startswith(_ASSISTANT, cut):
            return slow(record)
        rejected = worse[cut + _MARK :].removeprefix(" ")
        if not chosen or not rejected or _HUMAN in chosen or _HUMAN in rejected or _ASSISTANT in rejected:
            return slow(record)
        start, *turns = shared.split(_HUMAN)
        if start or not turns:
            return slow(record)
        prompt = []
        question = turns.pop()
        for turn in turns:
            asked = turn.split(_ASSISTANT)
            if len(asked) != 2:
                return slow(record)
            said, answered = asked[0].removeprefix(" "), asked[1].removeprefix(" ")
            if not said or not answered:
                return slow(record)
            prompt.append({"role": "user", "content": said})
            prompt.append({"role": "assistant", "content": answered})
        question = question.removeprefix(" ")
        if not question or _ASSISTANT in question:
            return slow(record)
        prompt.append({"role": "user", "content": question})
        out: Record = {
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        reader.format = "hh-rlhf"
        reader.shape = "preference"
        reader.plain = None
        for name in rest:
            out[name] = record[name]
        return out

    return read


def _answers(
    reader: RecordReader,
    keys: tuple[str, ...],
    slow: Read,
    answers: tuple[str, ...],
    format: str,
    shape: str,
) -> Read:
    rest = [name for name in keys if name != "prompt" and name not in answers and name != "label"]
    label, marked = shape == "rated", "bp" in keys

    def read(record: Record) -> Record | list[Record]:
        prompt = record["prompt"]
        if label and type(record["label"]) is not bool:
            return slow(record)
        if marked and type(record["bp"]) is dict and "chatml" in record["bp"]:  # an answer may be rendered
            return slow(record)
        if type(prompt) is str:
            # a template, a list as JSON or a transcript may begin like this
            if not prompt or prompt[0] in "[{\n" or "<" in prompt[:200] or "#" in prompt[:200]:
                return slow(record)
            out: Record = {"prompt": [{"role": "user", "content": prompt}]}
            for name in answers:
                text = record[name]
                if type(text) is not str or not text or text[0] in "[{\n<" or _ASSISTANT in text:
                    return slow(record)
                out[name] = [{"role": "assistant", "content": text}]
            if label:
                out["label"] = record["label"]
            for name in rest:
                out[name] = record[name]
        else:
            try:
                if not _asks(prompt) or not all(_answers_once(record[name]) for name in answers):
                    return slow(record)
            except (KeyError, TypeError, IndexError):
                return slow(record)
            out = record
        reader.format = format
        reader.shape = shape
        reader.plain = None
        return out

    return read


def _asks(turns: Any) -> bool:
    """Return whether these are canonical messages that end with a question.

    Raises KeyError, TypeError or IndexError for what is no list of messages.
    """
    role, other = "user", "assistant"
    if turns[0]["role"] == "system":
        if not turns[0]["content"] > "" or len(turns[0]) != 2:
            return False
        turns = turns[1:]
    for turn in turns:
        if turn["role"] != role or not turn["content"] > "" or len(turn) != 2:
            return False
        role, other = other, role
    return role == "assistant"


def _answers_once(turns: Any) -> bool:
    """Return whether these are one canonical answer. Raises as `_asks` does."""
    turn = turns[0]
    return len(turns) == 1 and turn["role"] == "assistant" and turn["content"] > "" and len(turn) == 2
