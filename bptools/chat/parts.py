"""Message content that is no string: parts, numbers, objects, null."""

from __future__ import annotations

from bptools.chat import embedded
from bptools.chat.tools import read_calls
from bptools.core.records import Record, Reject

_MEDIA_WORDS = ("image", "video", "audio", "file", "document", "media")
_TEXT = ("text", "input_text", "output_text", "refusal", "markdown")
_THOUGHT = ("reasoning", "thinking", "reasoning_content", "think", "reasoning_text")
_CALL = ("tool_call", "function_call", "tool_use", "function", "tool_calls")
_RESULT = ("tool_result", "tool_response", "function_response")
_VALUE_KEYS = ("text", "value", "content", "refusal", "thinking", "reasoning", "reasoning_content")


class Content:
    """What one content value holds."""

    __slots__ = ("calls", "reasoning", "results", "text")

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.calls: list[Record] = []
        self.results: list[Record] = []  # tool messages found among the parts


def media_word(name: str) -> bool:
    """Return whether a part type or field name is one of pictures, sound or files."""
    return name.startswith(_MEDIA_WORDS) or name.startswith(("input_image", "input_audio", "input_file"))


def scalar_text(value: object) -> str | None:
    """Return a number or a bool as JSON writes it, None for anything else."""
    if value is True or value is False:
        return "true" if value else "false"
    if type(value) is int or type(value) is float:
        return repr(value)
    return None


def read(value: object, role: str, number: int) -> Content:
    """Read the content of message `number` (from 1) that is no string.

    Raises Reject: multimodal, bad-type.
    """
    content = Content()
    if value is None:
        return content
    text = scalar_text(value)
    if text is not None:
        content.text = text
        return content
    if type(value) is dict and type(value.get("parts")) is list:  # an export: {"content_type", "parts"}
        value = value["parts"]
    if role == "tool" and not _is_parts(value):
        content.text = embedded.dump(value)
        return content
    if type(value) is dict:
        value = [value]
    if type(value) is not list:
        raise Reject("bad-type", f"the content of message {number} is no string")
    texts: list[str] = []
    thoughts: list[str] = []
    for part in value:
        _read_part(part, number, content, texts, thoughts)
    content.text = "".join(texts)
    content.reasoning = "\n".join(thoughts)
    return content


def _is_parts(value: object) -> bool:
    items = [value] if type(value) is dict else value
    if type(items) is not list:
        return False
    return all(
        type(item) is dict and (type(item.get("type")) is str or set(item) == {"text"}) for item in items
    )


def _read_part(part: object, number: int, content: Content, texts: list[str], thoughts: list[str]) -> None:
    if type(part) is str:
        texts.append(part)
        return
    if type(part) is not dict:
        raise Reject("bad-type", f"a part of message {number} is neither an object nor a string")
    kind = part.get("type") or part.get("content_type")
    if kind is None:
        kind = _kind_of(part)
    if type(kind) is not str:
        raise Reject("bad-type", f"a part without type in message {number}")
    if kind in _TEXT:
        texts.append(_value(part, kind, number))
    elif kind in _THOUGHT:
        thoughts.append(_value(part, kind, number))
    elif kind in _CALL:
        content.calls.extend(_calls(part, kind, number))
    elif kind in _RESULT:
        content.results.append(_result(part, number))
    elif media_word(kind):
        raise Reject("multimodal", f"{kind} part in message {number}")
    else:
        raise Reject("bad-type", f"part of type '{kind[:40]}' in message {number}")


def _kind_of(part: Record) -> str | None:
    for key, value in part.items():
        if key == "text" and type(value) is str:
            return "text"
        if value is not None and type(key) is str and media_word(key.lower()):
            return key
    return None


def _value(part: Record, kind: str, number: int) -> str:
    for key in _VALUE_KEYS:
        value = part.get(key)
        if type(value) is str:
            return value
        if type(value) is dict and type(value.get("value")) is str:  # {"text": {"value": ...}}
            return str(value["value"])
    if any(key in part and part[key] is None for key in _VALUE_KEYS):
        return ""
    raise Reject("bad-type", f"{kind} part without text in message {number}")


def _calls(part: Record, kind: str, number: int) -> list[Record]:
    value = part.get("value", part.get("content", part.get("tool_call", part.get("function_call"))))
    calls = read_calls(value if value is not None else part)
    if calls is None and type(part.get("function")) is dict:
        calls = read_calls({key: item for key, item in part.items() if key != "type"})
    if calls is None:
        raise Reject("bad-type", f"{kind} part without a call in message {number}")
    return calls


def _result(part: Record, number: int) -> Record:
    value = part.get("content", part.get("value", part.get("output", "")))
    text = value if type(value) is str else read(value, "tool", number).text
    message = {"role": "tool", "content": text}
    for key in ("tool_use_id", "tool_call_id", "id"):
        if type(part.get(key)) is str:
            message["tool_call_id"] = part[key]
            break
    return message
