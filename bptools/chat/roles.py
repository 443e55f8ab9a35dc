"""Who speaks: the many names of the four roles, and what a sequence of roles says."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from bptools.core.errors import UsageError
from bptools.core.records import Reject

CANONICAL = ("system", "user", "assistant", "tool")
CALL = "call"
"""Pseudo-role of a turn that is a function call: becomes an assistant message with tool_calls."""

_NAMES = {
    "user": "user human prompter customer client usr user_message human_message input question query prompt"
    " instruction person patient student visitor caller 用户 人类 问",
    "assistant": "assistant gpt bot model chatgpt bing bing_ai bard ai output chatbot agent llm claude"
    " gemini llama moss gpt4 gpt_4 gpt_3.5 gpt_3.5_turbo ai_assistant ai_message assistant_message response"
    " answer completion doctor chosen 助手 答",
    "system": "system developer context system_prompt system_message preamble 系统",
    "tool": "tool function observation tool_response tool_result tool_results tool_output ipython"
    " function_response function_result function_output environment code_output",
    CALL: "function_call tool_call function_calls tool_calls",
}
ROLES: dict[str, str] = {name: role for role, names in _NAMES.items() for name in names.split()}


def fold(name: str) -> str:
    """Return a field or role name as the tables spell it: lower case, words joined by underscores."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def judge(roles: list[str]) -> tuple[str, ...]:
    """Name what is unusual about the order of the speakers. Nothing of it is an error."""
    notes = []
    spoken = [role for role in roles if role != "system"]
    if spoken and spoken[0] == "assistant":
        notes.append("starts-with-assistant")
    if roles and roles[-1] == "user":
        notes.append("ends-with-user")
    pairs = set(pairwise(spoken))
    if ("user", "user") in pairs or ("assistant", "assistant") in pairs:
        notes.append("same-role-twice")
    if "system" in roles[1:]:
        notes.append("system-later")
    return tuple(notes)


class Roles(dict[str, str]):
    """Role names as data sets write them -> role, or CALL. `role_map` adds names or changes them."""

    def __init__(self, role_map: Mapping[str, str] | None = None) -> None:
        super().__init__(ROLES)
        for name, role in (role_map or {}).items():
            if role not in CANONICAL:
                raise UsageError(
                    f"role '{role}' is none of {', '.join(CANONICAL)}; use --role-map {name}=user"
                )
            self[name] = self[fold(name)] = role

    def knows(self, name: object) -> bool:
        """Return whether a value is the name of a role."""
        return type(name) is str and (name in self or fold(name) in self)

    def role(self, name: object, number: int) -> str:
        """Return the role that a name stands for (or CALL). `number` counts messages from 1.

        Raises Reject: unknown-role, bad-type.
        """
        if type(name) is not str:
            raise Reject("bad-type", f"the role of message {number} is no string")
        role = self.get(name)
        if role is None:
            role = self.get(fold(name))
            if role is None:
                shown = name if len(name) <= 60 else name[:57] + "..."
                detail = f"role '{shown}' in message {number}; --role-map {shown}=user says what it is"
                raise Reject("unknown-role", detail)
        return role
