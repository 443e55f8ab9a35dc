"""What a record asks of a model, what it says the answer is, and the record with an answer in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bptools.core.records import Drop, Record
from bptools.models.surrogates import with_whole_pairs

_ANSWERED = {"preference": ("prompt", "chosen", "rejected"), "rated": ("prompt", "completion", "label")}


@dataclass(frozen=True)
class Asked:
    """A prompt: messages, or text to be continued. reference: the answer that was there, if there was one."""

    prompt: str | list[Record]
    tools: list[Any] | None
    reference: str | None
    rest: Record  # the fields of the record that stay

    def with_answer(self, answer: str) -> Record:
        """Return the record with the answer as its last message, or at the end of its text."""
        if isinstance(self.prompt, str):
            return {"text": self.prompt + answer, **self.rest}
        turns = [*self.prompt, {"role": "assistant", "content": answer}]
        tools = {} if self.tools is None else {"tools": self.tools}
        return {"messages": turns, **tools, **self.rest}


class Asking:
    """Takes prompts out of records. `system` replaces the system prompt; `raw`: texts are continued."""

    def __init__(self, system: str | None = None, raw: bool = False) -> None:
        self.system = with_whole_pairs(system)
        self.raw = raw

    def __call__(self, shape: str, made: Record) -> Asked:
        """Return what a record in its shape asks. Raises Drop: no-prompt, not-text."""
        if shape == "text":
            return self._of_text(made)
        if self.raw:
            raise Drop("not-text", explanation="--no-template continues texts; a chat needs its template")
        turns = made["messages"] if shape == "chat" else [*made["prompt"], *_answer_of(shape, made)]
        reference: str | None = None
        if turns and turns[-1]["role"] == "assistant":
            *turns, last = turns
            reference = last["content"] or None
        if shape == "rated" and made.get("label") is False:
            reference = None
        if not any(turn["role"] != "system" for turn in turns):
            raise Drop("no-prompt", explanation="nothing stands before the answer")
        tools = made.get("tools")
        used = ("messages", "tools", *_ANSWERED.get(shape, ()))
        rest = {name: value for name, value in made.items() if name not in used}
        return Asked(self._with_system(turns), tools if type(tools) is list else None, reference, rest)

    def _of_text(self, made: Record) -> Asked:
        text = made["text"]
        rest = {name: value for name, value in made.items() if name != "text"}
        if self.raw:
            return Asked(text, None, None, rest)
        if not text.strip():
            raise Drop("no-prompt", explanation="the text is empty")
        return Asked(self._with_system([{"role": "user", "content": text}]), None, None, rest)

    def _with_system(self, turns: list[Record]) -> list[Record]:
        if self.system is None:
            return turns
        rest = turns[1:] if turns and turns[0]["role"] == "system" else turns
        return [{"role": "system", "content": self.system}, *rest]


def _answer_of(shape: str, made: Record) -> list[Record]:
    answer: list[Record] = made["chosen" if shape == "preference" else "completion"]
    return answer
