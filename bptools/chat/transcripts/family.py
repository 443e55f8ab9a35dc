"""What all template families share: the result, template tokens, and cutting a text at its markers."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

from bptools.core.records import Record

pattern = functools.cache(re.compile)  # compiled when first needed: start-up pays for none of them

_BEFORE = ("\ufeff", "<s>", "<|begin_of_text|>", "<bos>", "<|endoftext|>", "[gMASK]", "<sop>")
_AFTER = ("</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>")
_STOCK_OPENINGS = (
    "A chat between", "A conversation between", "You are ", "Below is a", "The following is a conversation",
    "This is a conversation", "This is a chat", "SYSTEM:", "System:", "The conversation between",
)  # fmt: skip


class Transcript(NamedTuple):
    """A conversation found in a text."""

    format: str
    messages: list[Record]
    tools: list[Any] | None = None
    unescaped: bool = False  # backslash-n was resolved before reading


class Section(NamedTuple):
    """What stands after a marker."""

    name: str
    content: str
    ended: bool  # by an eos token


def message(role: str, content: str) -> Record:
    """Return a message."""
    return {"role": role, "content": content}


def without_start(text: str) -> str:
    """Cut white space and bos tokens off the start."""
    text = text.lstrip()
    while text.startswith(_BEFORE):
        for token in _BEFORE:
            text = text.removeprefix(token)
        text = text.lstrip()
    return text


def without_end(text: str) -> tuple[str, bool]:
    """Cut one eos token (and white space after it) off the end, and tell whether there was one."""
    shorter = text.rstrip()
    for token in _AFTER:
        if shorter.endswith(token):
            return shorter[: -len(token)], True
    return text, False


def is_preamble(text: str) -> bool:
    """Tell whether a text before the first marker reads like a system prompt, not like prose."""
    return len(text) <= 4000 and text.startswith(_STOCK_OPENINGS)


def trim(text: str) -> str:
    """Cut one space or newline off either end: what most templates put around a content."""
    if text[:1] in (" ", "\n"):
        text = text[1:]
    return text[:-1] if text[-1:] in (" ", "\n") else text


def is_exchange(messages: list[Record]) -> bool:
    """Tell whether a user speaks and an assistant answers."""
    roles = [each["role"] for each in messages]
    return "user" in roles and "assistant" in roles[roles.index("user") :]


def cut(text: str, marker: re.Pattern[str], limit: int) -> tuple[str, list[Section]]:
    """Cut a text at its markers: (what stands before the first, the sections).

    A section loses one eos token at its end or, where it has none, as many newlines (at most `limit`) as all
    sections of its name have before the next marker.
    """
    before, *pieces = marker.split(text)
    names, contents = pieces[::2], pieces[1::2]
    ends = [without_end(content) for content in contents]
    newlines: dict[str, int] = {}
    for name, (content, ended) in zip(names[:-1], ends[:-1], strict=True):
        if not ended:
            run = len(content) - len(content.rstrip("\n"))
            newlines[name] = min(run, newlines.get(name, limit))
    sections = []
    for index, (name, (content, ended)) in enumerate(zip(names, ends, strict=True)):
        if not ended and index + 1 < len(names):
            content = content[: len(content) - newlines[name]]
        sections.append(Section(name, content, ended))
    return before, sections
