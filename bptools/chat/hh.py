"""Transcripts with `\\n\\nHuman:` and `\\n\\nAssistant:` turns, as the helpful-harmless sets have them.

They are split at the turns. Splitting a pair at its longest common beginning instead cuts inside the answer
wherever two answers begin alike, which is one pair in five.
"""

from __future__ import annotations

import re

from bptools.core.records import Record

_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def split(text: str, prompt: bool = False) -> list[Record] | None:
    """Return the messages of a transcript, None if it does not begin with a turn.

    The one space after the colon belongs to the marker. A prompt may end in `Assistant:`, which is no turn;
    a transcript that ends so has an empty answer.
    """
    found = list(_TURN.finditer(text))
    if not found or found[0].start() != 0:
        return None
    messages = []
    for number, match in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        content = text[match.end() : end]
        messages.append({"role": _ROLES[match[1]], "content": content[1:] if content[:1] == " " else content})
    if prompt and messages[-1]["role"] == "assistant" and not messages[-1]["content"].strip():
        messages.pop()
    return messages


def looks_like(text: object) -> bool:
    """Return whether a value is such a transcript."""
    return (
        type(text) is str
        and text[:16].lstrip().startswith(("Human:", "Assistant:"))
        and "\n\nAssistant:" in text
    )
