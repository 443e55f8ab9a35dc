"""One turn of ChatML: splitting a text into turns, and a turn's body into reasoning, content and tool calls.

Reading never guesses: a block that is not exactly what the templates write stays content.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from bptools.core.records import Record

START = "<|im_start|>"
END = "<|im_end|>"
BOUNDARIES = ("<|endoftext|>", "</s>", "<s>", "<|begin_of_text|>", "<bos>", "<eos>", "\ufeff")

_THINK, _THOUGHT = "<think>\n", "\n</think>\n\n"
_CALL, _CALLED = "<tool_call>", "</tool_call>"
_RESPONSE, _RESPONDED = "<tool_response>", "</tool_response>"
_SPACE = " \t\r\n"
_PLAIN_ROLES = frozenset({"system", "user", "assistant", "tool"})


class Turn(NamedTuple):
    """A turn as it stands in the text: body not yet unescaped."""

    role: str
    name: str | None
    body: str


def _refuse(token: str) -> float:
    raise ValueError(token)


def _finite(token: str) -> float:
    value = float(token)
    if value in (float("inf"), float("-inf")):
        raise ValueError(token)
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def split_turns(text: str) -> list[Turn] | None:
    """Split a text into turns, None if text stands outside of turns or a turn does not end.

    A last turn may lack its end; a last turn without end and content is a prompt to go on and left out.
    """
    first, *pieces = text.split(START)
    if not pieces or not is_boundary(first):
        return None
    turns = []
    last = len(pieces) - 1
    for index, piece in enumerate(pieces):
        inside, end, outside = piece.partition(END)
        header, _, body = inside.partition("\n")
        if end:
            if outside != "\n" and not is_boundary(outside):
                return None
        else:
            if index != last:
                return None
            body = _without_boundary(body)
            header = _without_boundary(header)
            if is_boundary(body):
                if _role(header) is None:
                    return None
                break
        named = (header, None) if header in _PLAIN_ROLES else _role(header)
        if named is None:
            return None
        turns.append(Turn(named[0], named[1], body))
    return turns


def is_boundary(text: str) -> bool:
    """Tell whether this is what may stand between turns: white space, bos and eos tokens, a BOM."""
    if not text or text.isspace():
        return True
    for token in BOUNDARIES:
        text = text.replace(token, "")
    return not text or text.isspace()


def _without_boundary(body: str) -> str:
    shorter = body.rstrip()
    for token in ("<|endoftext|>", "</s>", "<eos>"):
        if shorter.endswith(token):
            return shorter[: -len(token)]
    return body


def _role(header: str) -> tuple[str, str | None] | None:
    """Read `user`, `user name=Ann` or `system name=example_user`."""
    role, space, rest = header.strip(" \r\t").partition(" ")
    if not role or len(role) > 40 or not role.replace("_", "").replace("-", "").isalnum():
        return None
    if not space:
        return role, None
    rest = rest.strip()
    if rest.startswith("name=") and len(rest) > 5:
        return role, rest[5:]
    return None


def body_of(message: Record) -> str:
    """Return the unguarded body of a message's turn.

    Raises ValueError if content is no text or a tool call has no name.
    """
    body = _text(message.get("content"))
    if message.get("role") != "assistant":
        return body
    calls = message.get("tool_calls")
    if calls:
        if not isinstance(calls, list):
            raise ValueError("tool_calls is no list[Any]")
        body += ("\n" if body else "") + "\n".join(map(_call_block, calls))
    reasoning = message.get("reasoning_content")
    if reasoning and isinstance(reasoning, str):
        body = f"{_THINK}{reasoning}{_THOUGHT}{body}"
    return body


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        texts = [part if isinstance(part, str) else _part(part) for part in content]
        return "".join(texts)
    raise ValueError(f"content is no text but {type(content).__name__}")


def _part(part: object) -> str:
    if isinstance(part, dict) and part.get("type", "text") == "text":
        text = part.get("text", part.get("value"))
        if isinstance(text, str):
            return text
    raise ValueError("content holds a part that is no text")


def _call_block(call: object) -> str:
    function = call.get("function", call) if isinstance(call, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str):
        raise ValueError("a tool call has no name")
    arguments = function.get("arguments", {})
    written = None
    if isinstance(arguments, str) and _decodes(arguments):
        written = arguments  # the JSON text that it is, not a string holding JSON
    if written is None:
        written = json.dumps(arguments, ensure_ascii=False)
    return f"{_CALL}\n{_call_head(name)}{written}}}\n{_CALLED}"


def _call_head(name: str) -> str:
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '


def _decodes(text: str) -> bool:
    try:
        _decoder.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def read_turn(role: str, body: str, strings: bool = False) -> list[Record]:
    """Return the messages of one turn: one, or several tool messages where a turn holds several responses.

    strings: give the arguments of tool calls as the JSON text that they are.
    """
    if "<t" not in body or role == "system":
        return [{"role": role, "content": body}]
    if role in ("user", "tool"):
        responses = _responses(body) if _RESPONSE in body else []
        return [{"role": "tool", "content": text} for text in responses] or [{"role": role, "content": body}]
    message: Record = {"role": role, "content": body}
    if body.startswith(_THINK):
        end = body.find(_THOUGHT, len(_THINK))
        if end > len(_THINK):
            message["reasoning_content"] = body[len(_THINK) : end]
            message["content"] = body = body[end + len(_THOUGHT) :]
    if _CALL in body:
        content, calls = _calls(body, strings)
        if calls:
            message["content"] = content
            message["tool_calls"] = calls
    return [message]


def _responses(body: str) -> list[str]:
    blocks = []
    rest = body.strip()
    while rest.startswith(_RESPONSE):
        inside, end, rest = rest[len(_RESPONSE) :].partition(_RESPONDED)
        if not end:
            return []
        blocks.append(inside.removeprefix("\n").removesuffix("\n"))
        rest = rest.lstrip()
    return [] if rest else blocks


def _calls(body: str, strings: bool) -> tuple[str, list[Record]]:
    """Split a body into content and the tool calls it ends with; no calls if it does not end with some."""
    start = body.find(_CALL)
    while start >= 0:
        following = start + 1
        if start == 0 or body[start - 1] == "\n":
            calls, at = _read_calls(body, start, strings)
            if at == len(body):
                return body[: max(0, start - 1)], calls
            following = max(at, following)  # any later start on the way would fail at the same place
        start = body.find(_CALL, following)
    return body, []


def _read_calls(body: str, at: int, strings: bool) -> tuple[list[Record], int]:
    """Read blocks from `at` on, and say where reading stopped: at the body's length if all was read."""
    calls: list[Record] = []
    while body.startswith(_CALL, at):
        start = _skip(body, at + len(_CALL))
        try:
            value, end = _decoder.raw_decode(body, start)
        except (ValueError, RecursionError):
            return calls, at
        function = _function(value)
        after = _skip(body, end)
        if function is None or not body.startswith(_CALLED, after):
            return calls, at
        if strings and body.startswith(head := _call_head(function["name"]), start):
            function["arguments"] = body[start + len(head) : end - 1]
        call: Record = {"type": "function", "function": function}
        if "id" in value:
            call["id"] = value["id"]
        calls.append(call)
        at = _skip(body, after + len(_CALLED))
    return calls, at


def _skip(body: str, at: int) -> int:
    length = len(body)
    while at < length and body[at] in _SPACE:
        at += 1
    return at


def _function(value: object) -> Record | None:
    """Read `{"name": ..., "arguments": ...}`, None for anything that holds more or less."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    if not value.keys() <= {"name", "arguments", "id"}:
        return None
    return {"name": value["name"], "arguments": value.get("arguments", {})}
