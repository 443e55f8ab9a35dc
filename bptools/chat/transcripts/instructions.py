"""Alpaca's prompt: `### Instruction:`, `### Input:`, `### Response:`, with or without its opening sentences.

Alpaca's two stock openings are the template's and go; another opening is a system prompt if it reads like
one. The input joins the instruction after a blank line, as bp-chatml joins the fields of an Alpaca record.
"""

from __future__ import annotations

from bptools.chat.transcripts.family import cut, is_preamble, message, pattern, without_start
from bptools.core.records import Record

_OPENINGS = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.",
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.",
)
_MARKER = r"(?:\A|(?<=\n))### ?(System|Instruction|Input|Response):(?:[ ]?\n|[ ])?"


def alpaca(text: str) -> tuple[list[Record], None] | None:
    """Read an Alpaca prompt with its response; several rounds may follow one another."""
    before, sections = cut(without_start(text), pattern(_MARKER), limit=2)
    opening = before.strip()
    messages: list[Record] = []
    if opening and " ".join(opening.split()) not in _OPENINGS:
        if not is_preamble(opening):
            return None
        messages.append(message("system", opening))
    expected = {"System", "Instruction"}
    for index, (name, content, ended) in enumerate(sections):
        if name not in expected or (ended and name != "Response"):
            return None
        if name == "System":
            messages.append(message("system", content))
            expected = {"Instruction"}
        elif name == "Instruction":
            messages.append(message("user", content))
            expected = {"Input", "Response"}
        elif name == "Input":
            if content.strip():
                messages[-1]["content"] += "\n\n" + content
            expected = {"Response"}
        else:
            if index + 1 == len(sections):
                content = _without_mark(content)
                if not content and not ended:
                    break
            messages.append(message("assistant", content))
            expected = {"Instruction"}
    if not messages or messages[-1]["role"] != "assistant":
        return None
    return messages, None


def _without_mark(content: str) -> str:
    """Cut `### End` (Dolly's own end of turn) off."""
    shorter = content.rstrip()
    return shorter.removesuffix("### End").rstrip("\n") if shorter.endswith("\n### End") else content
