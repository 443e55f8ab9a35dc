"""Templates with [INST]: Llama 2 and Mistral.

    <s>[INST] <<SYS>>\\nSYSTEM\\n<</SYS>>\\n\\nUSER [/INST] ANSWER </s><s>[INST] USER [/INST] ANSWER </s>
    <s>[AVAILABLE_TOOLS] [...][/AVAILABLE_TOOLS][INST] USER[/INST] ANSWER</s>[INST] USER[/INST] ANSWER</s>

They are told apart by what only Llama 2 writes: <<SYS>>, a space before </s>, a new <s> before each exchange.
Anything else with [INST] is Mistral. One space (or newline) on either side of a content is the template's.
"""

from __future__ import annotations

import json
from typing import Any

from bptools.chat.transcripts.family import is_exchange, message, pattern, trim, without_start
from bptools.core.records import Record

_Found = tuple[list[Record], "list[Any] | None"]


def llama2(text: str) -> _Found | None:
    """Read Llama 2 text, None if it is Mistral's."""
    if "<<SYS>>" not in text and not pattern(r"\s</s>\s*$|</s>\s*<s>").search(text):
        return None
    return _read(text)


def mistral(text: str) -> _Found | None:
    """Read Mistral text, None if it is Llama 2's."""
    return None if llama2(text) is not None else _read(text)


def _read(text: str) -> _Found | None:
    text = without_start(text)
    if not text.startswith(("[INST]", "[AVAILABLE_TOOLS]", "[SYSTEM_PROMPT]")):
        return None
    marker = pattern(r"\[(/?(?:INST|AVAILABLE_TOOLS|TOOL_RESULTS|SYSTEM_PROMPT)|TOOL_CALLS)\]")
    _, *pieces = marker.split(text)
    messages: list[Record] = []
    tools: list[Any] | None = None
    inside = ""  # the block we are in
    for name, content in zip(pieces[::2], pieces[1::2], strict=True):
        if (inside and name != "/" + inside) or (name.startswith("/") and name != "/" + inside):
            return None
        inside = "" if name.startswith("/") or name == "TOOL_CALLS" else name
        if name == "INST":
            found = _user(content, first=not any(each["role"] == "user" for each in messages))
            if found is None:
                return None
            messages += found
        elif name == "AVAILABLE_TOOLS":
            tools = _list(content)
            if tools is None:
                return None
        elif name == "SYSTEM_PROMPT":
            messages.append(message("system", content.removeprefix(" ")))
        elif name == "TOOL_RESULTS":
            messages += _results(content)
        elif name == "TOOL_CALLS":
            calls = _calls(content)
            if calls is None:
                return None
            if messages and messages[-1]["role"] == "assistant":
                messages[-1]["tool_calls"] = calls
            else:
                messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        elif name in ("/INST", "/TOOL_RESULTS"):
            if not messages:
                return None
            answer = _answer(content)
            if answer is None:
                return None
            messages += [message("assistant", answer)] if answer or "</s>" in content else []
        elif not content.isspace() and content:
            return None  # text after a block of tools or a system prompt
    if inside or not is_exchange(messages):
        return None
    return messages, tools


def _user(content: str, first: bool) -> list[Record] | None:
    found = []
    inner = content.lstrip()
    if inner.startswith("<<SYS>>"):
        system, end, rest = inner[len("<<SYS>>") :].partition("<</SYS>>")
        if not first or not end or system.startswith("\\n"):
            return None
        found.append(message("system", trim(system)))
        content = rest[2:] if rest.startswith("\n\n") else rest.lstrip(" ").removeprefix("\n")
        content = content.removesuffix(" ")
    else:
        content = trim(content)
    if "<<SYS>>" in content or "<</SYS>>" in content:
        return None
    return [*found, message("user", content)]


def _answer(content: str) -> str | None:
    """Return an answer without its end, None if text follows the end."""
    answer, end, outside = content.partition("</s>")
    if end and outside.replace("<s>", "").replace("</s>", "").strip():
        return None
    if not end:
        answer = answer.removesuffix("<s>")
    return trim(answer) if end or answer.strip() else ""


def _list(content: str) -> list[Any] | None:
    try:
        found = json.loads(content.strip().removesuffix("</s>"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _calls(content: str) -> list[Record] | None:
    found = _list(content)
    if not found:
        return None
    calls = []
    for each in found:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            return None
        if not each.keys() <= {"name", "arguments", "id"}:
            return None
        call: Record = {"type": "function"}
        if "id" in each:
            call["id"] = each["id"]
        call["function"] = {"name": each["name"], "arguments": each.get("arguments", {})}
        calls.append(call)
    return calls


def _results(content: str) -> list[Record]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return [message("tool", trim(content))]
    messages = []
    for each in found if isinstance(found, list) else [found]:
        if not isinstance(each, dict) or not {"content"} <= each.keys() <= {"content", "call_id", "name"}:
            return [message("tool", trim(content))]
        value = each["content"]
        one = message("tool", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        if "call_id" in each:
            one["tool_call_id"] = each["call_id"]
        if "name" in each:
            one["name"] = each["name"]
        messages.append(one)
    return messages or [message("tool", trim(content))]
