"""Which template a text holds, and its messages: the prefilters and the order in which families are tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bptools.chat import chatml
from bptools.chat.transcripts import headers, inst, instructions, speakers
from bptools.chat.transcripts.escapes import unescape, was_escaped
from bptools.chat.transcripts.family import Transcript
from bptools.core.records import Record

Parser = Callable[[str], "tuple[list[Record], list[Any] | None] | None"]


def _chatml(text: str) -> tuple[list[Record], list[Any] | None] | None:
    found = chatml.parse(text)
    return found if found is not None and found[0] else None


_FAMILIES: dict[str, Parser] = {
    "text:chatml": _chatml,
    "text:llama3": headers.llama3,
    "text:gemma": headers.gemma,
    "text:zephyr": headers.zephyr,
    "text:llama2": inst.llama2,
    "text:mistral": inst.mistral,
    "text:vicuna": speakers.vicuna,
    "text:alpaca": instructions.alpaca,
    "text:human-assistant": speakers.human_assistant,
}


def recognise(text: str) -> str | None:
    """Return the format of a text that holds a whole conversation in a known template, else None.

    Plain text costs a few substring searches; a text that holds a marker is read in full.
    """
    found = read(text)
    return None if found is None else found.format


def parse(text: str, format: str) -> list[Record] | None:
    """Return the messages of a text in this format, None if it is not one or something would get lost.

    Tools that stand in the text (ChatML, Mistral) are given by `read` alone; a text with any gives None.
    """
    found = read(text, format)
    return None if found is None or found.tools is not None else found.messages


def read(text: str, format: str | None = None) -> Transcript | None:
    """Return the conversation in a text (of this format, if one is named), None if it holds none.

    Roles are user, assistant, system and tool; ChatML and Llama 3 text may name roles of its own.
    """
    names = _candidates(text) if format is None else [format] if format in _FAMILIES else []
    for name in names:
        found = _FAMILIES[name](text)
        if found is not None:
            return Transcript(name, *found)
    if names and was_escaped(text):
        resolved = unescape(text)
        for name in names:
            found = _FAMILIES[name](resolved)
            if found is not None:
                return Transcript(name, *found, unescaped=True)
    return None


def _candidates(text: str) -> list[str]:
    """Return the formats whose marker stands in a text; for short plain text in a third of a microsecond."""
    names: list[str] = []
    if "<" in text:
        if "<|im_start|>" in text:
            names.append("text:chatml")
        if "<|start_header_id|>" in text:
            names.append("text:llama3")
        if "<start_of_turn>" in text:
            names.append("text:gemma")
        if "<|user|>" in text:
            names.append("text:zephyr")
    if "[/INST]" in text:
        names += ("text:llama2", "text:mistral")
    if "ASSISTANT:" in text:
        names.append("text:vicuna")
    if "### Response" in text:
        names.append("text:alpaca")
    if "Assistant:" in text:
        names.append("text:human-assistant")
    return names
