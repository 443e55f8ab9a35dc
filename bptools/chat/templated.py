"""Prompts and answers that are text in a chat template, as `--text` and many data sets write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bptools.core.records import Record

if TYPE_CHECKING:
    from bptools.chat.reader import RecordReader

_END = re.compile(r"\s*(?:<[^<>\s]{1,20}>\s*)*\Z")


def read(
    reader: RecordReader, record: Record, prompt: str, answer: str, names: tuple[str, str]
) -> tuple[list[Record], list[Record], list[Any] | None] | None:
    """Return (prompt, answer, tools) as messages, None if the prompt is not written in a template.

    `names` are the names of the two sidecars below `bp.chatml`.
    """
    if "<" not in prompt[:200] and "#" not in prompt[:200]:
        return None
    from bptools.chat import transcripts

    format = transcripts.recognise(prompt)
    if format == "text:chatml" or (format is None and "<|im_start|>" in prompt):
        # markup that was let stand may have left no template to recognise; the sidecar holds what was said
        found = _chatml(record, prompt, answer, names)
        if found is not None:
            return found
    if format is None:
        return None
    messages = transcripts.parse(prompt + answer, format)
    if not messages or messages[-1]["role"] != "assistant" or len(messages) < 2:
        return None
    said, text = messages[-1]["content"].strip(), answer.strip()
    if (
        set(messages[-1]) != {"role", "content"}
        or not text.startswith(said)
        or not _END.match(text, len(said))
    ):
        return None
    return messages[:-1], messages[-1:], None


def _chatml(
    record: Record, prompt: str, answer: str, names: tuple[str, str]
) -> tuple[list[Record], list[Record], list[Any] | None] | None:
    from bptools.chat import chatml

    bp = record.get("bp")
    sidecars = bp.get("chatml") if type(bp) is dict else None
    first, second = (sidecars.get(name) if type(sidecars) is dict else None for name in names)
    if not prompt.endswith(chatml.PROMPT_END):
        return None
    head = chatml.parse_record(prompt, first)
    tail = chatml.parse_completion(answer, second)
    if head is None or not tail:
        return None
    return head[0], tail, head[1]


def read_whole(text: str) -> list[Record] | None:
    """Return the messages of a whole conversation in a template, None for other text."""
    from bptools.chat import transcripts

    format = transcripts.recognise(text)
    return None if format is None else transcripts.parse(text, format)
