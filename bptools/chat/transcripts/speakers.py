"""Transcripts with speakers: Human/Assistant (hh-rlhf, Guanaco), USER/ASSISTANT (Vicuna, Glaive).

One space after the colon and the newlines between turns are the template's; a content keeps the rest. hh-rlhf
text turns only at a blank line, so that `Human:` on a line of its own inside an answer stays in it. A text
that begins with neither the first speaker nor what reads like a system prompt is prose.
"""

from __future__ import annotations

import json

from bptools.chat.transcripts.family import (
    Section,
    cut,
    is_exchange,
    is_preamble,
    message,
    pattern,
    without_end,
    without_start,
)
from bptools.core.records import Record

_Found = tuple[list[Record], None]

_ROLES = {
    "Human": "user", "Assistant": "assistant", "USER": "user", "ASSISTANT": "assistant", "SYSTEM": "system",
    "FUNCTION RESPONSE": "tool",
}  # fmt: skip
_CALL = "<functioncall>"


def human_assistant(text: str) -> _Found | None:
    """Read `\\n\\nHuman: ...\\n\\nAssistant: ...`, the same by lines, or `### Human: ...### Assistant: ...`.

    An empty last answer is kept.
    """
    text = without_start(text)
    if "### Human:" in text:
        marker = pattern(r"### (Human|Assistant):[ ]?")
    elif "\n\nAssistant:" in text:
        marker = pattern(r"(?:\A|(?<=\n\n))(Human|Assistant):[ ]?")
    else:
        marker = pattern(r"(?:\A|(?<=\n))(Human|Assistant):[ ]?")
    before, sections = cut(text, marker, limit=2)
    return _conversation(before, sections, "Human")


def vicuna(text: str) -> _Found | None:
    """Read Vicuna's one-line form, `USER: ... ASSISTANT: ...</s>`, or the same with a speaker on each line.

    Glaive's FUNCTION RESPONSE is a tool's turn, its `<functioncall> {...}` a tool call. A last ASSISTANT:
    with nothing after it is the prompt to go on and left out.
    """
    text = without_start(text)
    lines = pattern(
        r"(?:\A|(?<=\n)|(?<=</s>)|(?<=<\|endoftext\|>))[ ]?(SYSTEM|USER|ASSISTANT|FUNCTION RESPONSE):[ ]?"
    )
    before, sections = cut(text, lines, limit=3)
    found = _conversation(before, sections, "USER")
    if found is None:
        before, sections = cut(text, pattern(r"(?:\A|(?<=</s>)|[ \n])(USER|ASSISTANT):[ ]?"), limit=0)
        names = [section.name for section in sections]
        if names != ["USER", "ASSISTANT"] * (len(names) // 2):
            return None
        found = _conversation(before, sections, "USER")
    if found is None:
        return None
    messages = found[0]
    if messages[-1] == message("assistant", "") and not sections[-1].ended:
        messages.pop()
        if not is_exchange(messages):
            return None
    for each in messages:
        if each["role"] == "assistant" and _CALL in each["content"]:
            each.update(_called(each["content"]) or {})
    return messages, None


def _conversation(before: str, sections: list[Section], first: str) -> _Found | None:
    system = before.strip()
    if not sections or (system and not is_preamble(system)):
        return None
    if sections[0].name != first and not (sections[0].name == "SYSTEM" and not system):
        return None
    messages = [message("system", system)] if system else []
    for section in sections:
        content = section.content
        if section.ended:
            content = content.removesuffix(" ")
        if without_end(content)[1] or "<|endoftext|>" in content:
            return None  # text after an end of turn
        messages.append(message(_ROLES[section.name], content))
    return (messages, None) if is_exchange(messages) else None


def _called(content: str) -> Record | None:
    """Read `Text <functioncall> {"name": "f", "arguments": '{"a": 1}'}`: JSON but for the quotes."""
    text, _, written = content.partition(_CALL)
    written = written.strip()
    quoted = pattern(r'\{"name": "([^"]*)", "arguments": \'(.*)\'\}').fullmatch(written.replace("\n", " "))
    try:
        if quoted:
            name, arguments = quoted[1], json.loads(quoted[2].replace("\\'", "'"))
        else:
            call = json.loads(written)
            if not isinstance(call, dict) or call.keys() != {"name", "arguments"}:
                return None
            name, arguments = call["name"], call["arguments"]
    except (ValueError, RecursionError):
        return None
    if not isinstance(name, str):
        return None
    return {
        "content": text.removesuffix(" "),
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }
