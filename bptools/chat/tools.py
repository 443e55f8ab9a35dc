"""Tool calls and tool definitions in the one form that chat templates understand.

A call is `{"type": "function", "function": {"name", "arguments"}}` (with the `id` it had), a tool is
`{"type": "function", "function": {"name", "description", "parameters"}}`. Arguments stay as found, text or
object: templates disagree, so changing them is an option, not a repair.
"""

from __future__ import annotations

from typing import Any

from bptools.chat import embedded
from bptools.core.records import Record

_CALL_KEYS = {"name", "arguments"}


def read_calls(value: object) -> list[Record] | None:
    """Return calls in OpenAI form from a call, a list of calls, or JSON text of either; None: no calls.

    The same list object comes back when nothing had to change.
    """
    if type(value) is str:
        value = embedded.parse(value)
    if type(value) is dict:
        value = [value]
    if type(value) is not list or not value:
        return None
    calls = [_read_call(item) for item in value]
    if any(call is None for call in calls):
        return None
    if all(new is old for new, old in zip(calls, value)):
        return value
    return calls  # type: ignore[return-value]


def _read_call(item: object) -> Record | None:
    if type(item) is str:
        item = embedded.parse(item)
    if type(item) is not dict:
        return None
    function = item.get("function")
    if type(function) is dict:
        return item if type(function.get("name")) is str else None
    if type(function) is str and "arguments" in item:  # {"function": "name", "arguments": ...}
        item = {"name": function, **{key: value for key, value in item.items() if key != "function"}}
    name = item.get("name")
    if type(name) is not str or item.get("type", "function") not in (
        "function",
        "tool_use",
        "tool_call",
        None,
    ):
        return None
    for key in ("arguments", "parameters", "input", "args"):
        if key in item:
            break
    else:
        key = "arguments"
    call: Record = {"type": "function", "function": {"name": name, "arguments": item.get(key, {})}}
    used = {"name", key, "type"}
    rest = {key: value for key, value in item.items() if key not in used}
    return {**({"id": rest.pop("id")} if "id" in rest else {}), **call, **rest}


def read_tools(value: object) -> object:
    """Return tool definitions as a list in OpenAI form, the same object if they are, None if there are none.

    Text that holds no JSON, and lists of something else, come back as they are.
    """
    if type(value) is str:
        if not value.strip():
            return None
        parsed = embedded.parse(value)
        if type(parsed) is not list and type(parsed) is not dict:
            return value
        return read_tools(parsed)
    if type(value) is dict:
        if not value:
            return None
        wrapped = _read_tool(value)
        return value if wrapped is None else [wrapped]
    if type(value) is not list:
        return value
    if not value:
        return None
    tools = [_read_tool(item) for item in value]
    if any(tool is None for tool in tools) or all(new is old for new, old in zip(tools, value)):
        return value
    return tools


def _read_tool(item: object) -> Record | None:
    if type(item) is str:
        item = embedded.parse(item)
    if type(item) is not dict:
        return None
    if type(item.get("function")) is dict:
        return item
    if type(item.get("name")) is not str:
        return None
    if item.get("type") in (None, "function"):
        return {"type": "function", "function": {key: value for key, value in item.items() if key != "type"}}
    return item


def set_arguments(calls: list[Any], form: str) -> tuple[list[Any], bool]:
    """Return calls whose arguments are objects (`form` "object") or JSON text ("string"); True: all could be.

    The same list comes back when nothing changed. Text that holds no JSON stays text.
    """
    done = True
    changed = False
    out = []
    for call in calls:
        function = call.get("function") if type(call) is dict else None
        if type(function) is dict and "arguments" in function:
            arguments = function["arguments"]
            new = arguments
            if form == "object" and type(arguments) is str:
                new = {} if not arguments.strip() else embedded.parse(arguments)
                if type(new) is not dict:
                    new, done = arguments, False
            elif form == "string" and type(arguments) is not str:
                new = embedded.dump(arguments)
            if new is not arguments:
                changed = True
                call = {**call, "function": {**function, "arguments": new}}
        out.append(call)
    return (out if changed else calls), done
