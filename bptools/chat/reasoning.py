"""Where the reasoning of an answer stands: in `reasoning_content`, or before the answer as `<think>`."""

from __future__ import annotations

import re

from bptools.core.records import Record

_THINK = re.compile(r"\s*<think>(.*?)</think>[ \t]*\n*", re.DOTALL)


def apply(message: Record, how: str) -> Record:
    """Return an assistant message with its reasoning dropped, split off or put inline; others as they are."""
    if message["role"] != "assistant":
        return message
    if how == "inline":
        return inline(message)
    out = message
    match = _THINK.match(message["content"]) if "<think>" in message["content"] else None
    if match is not None and (how == "drop" or not message.get("reasoning_content")):
        out = {**out, "content": message["content"][match.end() :]}
        if how == "split" and match[1].strip():
            out["reasoning_content"] = match[1].strip("\n")
    if how == "drop" and "reasoning_content" in out:
        out = {key: value for key, value in out.items() if key != "reasoning_content"}
    return out


def inline(message: Record) -> Record:
    """Return a message with its reasoning before the content; the same object if there is none."""
    reasoning = message.get("reasoning_content")
    if type(reasoning) is not str:
        return message
    out = {key: value for key, value in message.items() if key != "reasoning_content"}
    if reasoning:
        out["content"] = f"<think>\n{reasoning}\n</think>\n\n{message['content']}"
    return out
