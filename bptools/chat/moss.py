"""Exchanges keyed by speaker, with markers, thoughts and commands in them, as MOSS has them.

{"Human": "<|Human|>: hi<eoh>", "Inner Thoughts": "<|Inner Thoughts|>: None<eot>",
 "Commands": "<|Commands|>: Calculate(\\"1+1\\")<eoc>", "Tool Responses": "<|Results|>: ...<eor>",
 "MOSS": "<|MOSS|>: 2<eom>"}
"""

from __future__ import annotations

import re

from bptools.chat import embedded
from bptools.chat.roles import fold
from bptools.core.records import Record

_START = re.compile(r"\s*<\|(?:Human|Inner Thoughts|Commands|Tool Responses|Results|MOSS)\|>:[ ]?\n?")
_END = re.compile(r"\s*<eo[a-z]>\s*\Z")
_CALL = re.compile(r"([A-Za-z_][\w ]*?)\((.*)\)", re.DOTALL)
_TRANSCRIPT = re.compile(r"\[(Human|MOSS)\]: ?(.*?)<eo[a-z]>\s*", re.DOTALL)


def strip(value: object) -> str:
    """Return a field without the markers round it."""
    text = value if type(value) is str else ""
    start = _START.match(text)
    if start is not None:
        text = text[start.end() :]
    end = _END.search(text)
    return text[: end.start()] if end is not None else text


def read_turn(turn: Record, messages: list[Record]) -> None:
    """Append the messages of one exchange: user, the call and its result if there was one, assistant."""
    said = {fold(key): strip(value) for key, value in turn.items()}
    if "human" in said:
        messages.append({"role": "user", "content": said["human"]})
    thoughts = said.get("inner_thoughts", "")
    reasoning = {} if thoughts in ("", "None") else {"reasoning_content": thoughts}
    commands = said.get("commands", "")
    if commands not in ("", "None"):
        messages.append({"role": "assistant", "content": "", **reasoning, "tool_calls": [_call(commands)]})
        reasoning = {}
    results = said.get("tool_responses", said.get("results", ""))
    if results.strip() not in ("", "None"):
        messages.append({"role": "tool", "content": results})
    if "moss" in said:
        messages.append({"role": "assistant", "content": said["moss"], **reasoning})
    known = {"human", "inner_thoughts", "commands", "tool_responses", "results", "moss"}
    for key, value in turn.items():
        if fold(key) not in known and messages:
            messages[-1].setdefault(key, value)


def _call(command: str) -> Record:
    """Return a command as a call; the text between its parentheses is the argument `input`."""
    match = _CALL.fullmatch(command.strip())
    if match is None or "), " in command:
        return {"type": "function", "function": {"name": "commands", "arguments": {"input": command}}}
    inner = match[2]
    value = embedded.parse(inner) if inner.startswith('"') else None
    argument = value if type(value) is str else inner
    return {"type": "function", "function": {"name": match[1], "arguments": {"input": argument}}}


def read_transcript(text: str) -> list[Record] | None:
    """Return the messages of `[Human]: ...<eoh> [MOSS]: ...<eoa>`, None if anything is left over."""
    messages = []
    end = 0
    for match in _TRANSCRIPT.finditer(text):
        if match.start() != end:
            return None
        end = match.end()
        messages.append({"role": "user" if match[1] == "Human" else "assistant", "content": match[2]})
    return messages if messages and end == len(text) else None
