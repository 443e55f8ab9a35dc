"""The names of what a record can be, and the shape each of them becomes."""

from __future__ import annotations

from bptools.core.records import Record

PARTS: dict[str, tuple[str, ...]] = {  # the fields of a shape that hold messages
    "chat": ("messages",),
    "preference": ("prompt", "chosen", "rejected"),
    "rated": ("prompt", "completion"),
    "text": (),
}
FORMATS: dict[str, str] = {
    "messages": "chat",  # [{"role", "content"}], whatever the field is called
    "sharegpt": "chat",  # [{"from", "value"}]
    "alpaca": "chat",  # instruction, input, output
    "orca": "chat",  # system_prompt, question, response
    "prompt-completion": "chat",
    "question-answer": "chat",
    "history": "chat",  # [[question, answer], ...] and a last exchange beside it
    "turns": "chat",  # lists of strings, pairs, or objects keyed by speaker
    "keyed-turns": "chat",  # {"turn_1": {"Human": ..., "MOSS": ...}}
    "prompt-only": "chat",
    "tool-query": "chat",  # query, answers (calls), tools
    "preference": "preference",
    "hh-rlhf": "preference",  # chosen and rejected transcripts
    "kto": "rated",
    "text:chatml": "chat",
    "text:llama2": "chat",
    "text:llama3": "chat",
    "text:mistral": "chat",
    "text:gemma": "chat",
    "text:zephyr": "chat",
    "text:vicuna": "chat",
    "text:alpaca": "chat",
    "text:human-assistant": "chat",
    "text": "text",
    "unsupported": "",  # recognised, but no shape can hold it
    "unknown": "",
}


def conversation_of(shape: str, made: Record) -> list[Record]:
    """Return the messages of a record in its shape, the chosen answer last; none of plain text."""
    return [turn for name in PARTS[shape] if name != "rejected" for turn in made[name]]
