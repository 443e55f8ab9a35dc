"""ChatML text and back, losslessly: `<|im_start|>ROLE\\nCONTENT<|im_end|>\\n` for each turn.

Reasoning stands as `<think>`, tool calls as `<tool_call>`, tools as the section of the system turn that the
chat templates of Qwen2.5 and Qwen3 write. What the text cannot carry (ids, names, weights, content that looks
like markup) goes into a small sidecar, which is ignored when its text was edited later. Most chats need none.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from bptools.chat import sidecar as _sidecar
from bptools.chat.chatml_turn import END, START, Turn, body_of, is_boundary, read_turn, split_turns
from bptools.core.records import Record

ROLES = ("system", "user", "assistant", "tool")
PROMPT_END = f"{START}assistant\n"
_MESSAGE_FIELDS = (
    *("role", "content", "tool_calls", "tool_call_id"),
    *("name", "reasoning_content", "weight"),
)
_CALL_FIELDS = ("id", "type", "function")

_TOOLS_BEFORE = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_TOOLS_AFTER = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments"
    " within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)

# What parsing reads as more than text. Content without any of these is its own turn body.
_SPECIAL = re.compile(r"<(?:\|\\*im_|think>|tool)")
_GUARDED = re.compile(r"<\|(\\*)im_(start|end)\|>")
_ESCAPED = re.compile(r"<\|\\(\\*)im_(start|end)\|>")


def escape(text: str) -> str:
    """Make turn markers harmless and recoverable: one more backslash, `<|\\im_end|>`, in each."""
    return _GUARDED.sub(r"<|\\\1im_\2|>", text) if "im_" in text else text


def unescape(text: str) -> str:
    """Undo `escape`."""
    return _ESCAPED.sub(r"<|\1im_\2|>", text) if "<|\\" in text else text


def render(
    messages: list[Record], tools: list[Any] | None = None, on_markup: str = "escape"
) -> tuple[str, Record | None]:
    """Return the ChatML text of a chat, and the sidecar it needs to be read back (None for most chats).

    on_markup says what happens to `<|im_start|>` and `<|im_end|>` inside content: escape makes them harmless
    and recoverable, keep lets them stand (they then work as turns). `parse_record` gives the messages and
    tools back exactly; only the order of keys may differ. Raises ValueError for what has no text: a role
    other than the four, content that is no text, a tool call without a name, nesting too deep.
    """
    text, changes = _render(messages, tools, on_markup)
    if not text:  # no turn at all
        changes = {"messages": [], "tools": tools}
    return text, _with_check(changes, text)


def render_prompt(
    messages: list[Record], tools: list[Any] | None = None, on_markup: str = "escape"
) -> tuple[str, Record | None]:
    """Return the text of a prompt, ending where the assistant begins to speak, and its sidecar."""
    text, changes = _render(messages, tools, on_markup)
    text += PROMPT_END
    return text, _with_check(changes, text)


def render_completion(messages: list[Record], on_markup: str = "escape") -> tuple[str, Record | None]:
    """Return the text that follows `render_prompt`, and its sidecar.

    Prompt and completion together are byte for byte what `render` gives for all messages. Raises ValueError
    if the first message is not the assistant's.
    """
    if not messages or not isinstance(messages[0], dict) or messages[0].get("role") != "assistant":
        raise ValueError("a completion begins with the assistant")
    text, sidecar = render(messages, None, on_markup)
    return text[len(PROMPT_END) :], sidecar


def parse(text: str) -> tuple[list[Record], list[Any] | None] | None:
    """Return the messages and tools of a ChatML text, None if it is none or could not be split without loss.

    Roles are given as they stand. Tolerated: no newline after `<|im_end|>`, no `<|im_end|>` at the very end,
    bos and eos tokens around turns, a trailing `<|im_start|>assistant` (the prompt to go on, no message).
    """
    turns = split_turns(text)
    return None if turns is None else _restore(turns, {})


def parse_record(text: str, sidecar: Record | None = None) -> tuple[list[Record], list[Any] | None] | None:
    """Return what was rendered: `parse`, corrected by the sidecar if it belongs to this very text."""
    if isinstance(sidecar, dict) and sidecar.get("check") == _check(text):
        try:
            if "messages" in sidecar:
                return sidecar["messages"], sidecar.get("tools")
            turns = split_turns(text)
            if turns is not None:
                return _restore(turns, sidecar)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            pass  # not a sidecar of ours: the text speaks for itself
    return parse(text)


def parse_completion(text: str, sidecar: Record | None = None) -> list[Record] | None:
    """Return the messages of a text that `render_completion` made."""
    found = parse_record(PROMPT_END + text, sidecar)
    return None if found is None else found[0]


def has_markup(messages: list[Record], tools: list[Any] | None = None) -> bool:
    """Tell whether anything that would be rendered holds `<|im_start|>` or `<|im_end|>`."""
    texts = map(body_of, messages)
    section = _tools_section(tools) if tools else ""
    return any("<|im_" in text and (START in text or END in text) for text in (*texts, section))


def _render(messages: list[Record], tools: list[Any] | None, on_markup: str) -> tuple[str, Record | None]:
    if on_markup not in ("escape", "keep"):
        raise ValueError(f"on_markup is escape or keep, not {on_markup}")
    try:
        return _render_turns(messages, tools, on_markup == "escape")
    except RecursionError:
        raise ValueError("nested too deeply to be rendered") from None


def _render_turns(messages: list[Record], tools: list[Any] | None, guard: bool) -> tuple[str, Record | None]:
    parts: list[str] = []
    turns: dict[str, Record] = {}
    broken = False
    section = _tools_section(tools) if tools else ""
    if section and not (messages and isinstance(messages[0], dict) and messages[0].get("role") == "system"):
        parts.append(_turn("system", escape(section) if guard else section))
        broken = not guard and _GUARDED.search(section) is not None
        section = ""
    for message in messages:
        if not isinstance(message, dict):
            raise ValueError("a message is an object")
        role = message.get("role")
        if role not in ROLES:
            raise ValueError(f"role {role!r} has no ChatML turn")
        content = message.get("content")
        if not section and len(message) == 2 and type(content) is str and _SPECIAL.search(content) is None:
            parts.append(f"<|im_start|>{role}\n{content}<|im_end|>\n")
            continue
        body = body_of(message)
        entry = _entry(message, body, with_tools=not parts and not section)
        if entry:
            turns[str(len(parts))] = entry
        if section:
            body, section = f"{body}\n\n{section}", ""
        if guard:
            body = escape(body)
        elif _GUARDED.search(body) is not None:
            broken = True  # the text now says something else than the record: keep the record
        parts.append(_turn(role, body))
    text = "".join(parts)
    if broken:
        return text, {"messages": messages, "tools": tools}
    changes: Record = {}
    if turns:
        changes["turns"] = turns
    if tools is not None and not tools:
        changes["set"] = {"tools": tools}
    return text, changes or None


def _turn(role: str, body: str) -> str:
    return f"<|im_start|>{role}\n{body}<|im_end|>\n"


def _entry(message: Record, body: str, with_tools: bool) -> Record | None:
    """Return what must be known besides the body to read this message back: the shortest of three ways."""
    role = message["role"]
    ways: list[tuple[Record, list[Record]]] = []
    if not (with_tools and role == "system" and _cut_tools(body)):
        ways = [({}, read_turn(role, body)), ({"strings": True}, read_turn(role, body, strings=True))]
    ways.append(({"literal": True}, [{"role": role, "content": body}]))
    best: Record | None = None
    for flags, found in ways:
        if len(found) != 1:
            continue
        change = _sidecar.difference(found[0], message)
        entry = {**flags, **(change or {})}
        if not entry:
            return None
        if best is None or _size(entry) < _size(best):
            best = entry
        if change is None:
            break
    return best


def _size(entry: Record) -> int:
    return len(json.dumps(entry, default=str))


def _restore(turns: list[Turn], changes: Record) -> tuple[list[Record], list[Any] | None]:
    entries = changes.get("turns", {})
    messages: list[Record] = []
    tools: list[Any] | None = None
    for index, (role, name, raw) in enumerate(turns):
        if not entries and name is None and "<" not in raw:
            messages.append({"role": role, "content": raw})
            continue
        body = unescape(raw)
        entry = entries.get(str(index), {}) if entries else {}
        if entry.get("literal"):
            found: list[Record] = [{"role": role, "content": body}]
        else:
            if index == 0 and role == "system" and (cut := _cut_tools(body)):
                before, tools = cut
                if before is None:
                    continue
                body = before
            found = read_turn(role, body, strings=bool(entry.get("strings")))
        if name is not None:
            for message in found:
                message["name"] = name
        if entry:
            (only,) = found
            found = [_ordered(_sidecar.apply(only, entry))]
        messages.extend(found)
    return messages, changes["set"]["tools"] if "set" in changes else tools


def _ordered(message: Record) -> Record:
    """Return a message with its fields, and those of its calls, in the order of bptools-jsonl(5)."""
    calls = message.get("tool_calls")
    if type(calls) is list:
        message["tool_calls"] = [_led(call, _CALL_FIELDS) if type(call) is dict else call for call in calls]
    return _led(message, _MESSAGE_FIELDS)


def _led(value: Record, first: tuple[str, ...]) -> Record:
    return {**{key: value[key] for key in first if key in value}, **value}


def _tools_section(tools: list[Any]) -> str:
    if not isinstance(tools, list):
        raise ValueError("tools are a list")
    return _TOOLS_BEFORE + "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools) + _TOOLS_AFTER


def _cut_tools(body: str) -> tuple[str | None, list[Any]] | None:
    """Cut the tools section off a system turn: (what stood before it or None, tools). None: there is none."""
    if not body.endswith(_TOOLS_AFTER):
        return None
    start = body.rfind(_TOOLS_BEFORE)  # the lines of JSON hold no newline, so the last one is the section's
    if start < 0 or (start and not body.endswith("\n\n", 0, start)):
        return None
    try:
        lines = body[start + len(_TOOLS_BEFORE) : -len(_TOOLS_AFTER)].split("\n")
        tools = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return None
    return (body[: start - 2] if start else None), tools


def _check(text: str) -> int:
    """Return the checksum of a text up to its last turn's end: an eos token may follow it or not."""
    end = text.rfind(END) + len(END)
    if end > len(END) and is_boundary(text[end:]):
        text = text[:end]
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _with_check(changes: Record | None, text: str) -> Record | None:
    return None if changes is None else {"check": _check(text), **changes}
