"""Prompts and answers that are text in a chat template, as `--text` and many data sets write them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from bptools.core.records import Record, Reject

if TYPE_CHECKING:
    from bptools.chat.reader import RecordReader

_END = re.compile(r"\s*(?:<[^<>\s]{1,20}>\s*)*\Z")


def read(
    reader: RecordReader, record: Record, prompt: str, answer: str, names: tuple[str, str]
) -> tuple[list[Record], list[Record], list[Any] | None] | None:
    """Return (prompt, answer, tools) as messages, None if the prompt is not written in a template.

    `names` are the names of the two sidecars below `bp.chatml`.
    """
    bp = record.get("bp")
    sidecars = bp.get("chatml") if type(bp) is dict else None
    # a prompt may be empty, or end before a turn of the user; then the answer says what it is written in
    rendered = answer.startswith("<|im_start|>") or type(sidecars) is dict
    if not rendered and "<" not in prompt[:200] and "#" not in prompt[:200]:
        return None
    from bptools.chat import transcripts

    format = transcripts.recognise(prompt)
    if rendered or format == "text:chatml" or (format is None and "<|im_start|>" in prompt):
        # markup that was let stand may have left no template to recognise; the sidecar holds what was said
        first, second = (sidecars.get(name) if type(sidecars) is dict else None for name in names)
        found = _chatml(prompt, answer, first, second)
        if found is not None:
            return _with_known_roles(reader, found)
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
    prompt: str, answer: str, first: Any, second: Any
) -> tuple[list[Record], list[Record], list[Any] | None] | None:
    """Read ChatML; `first` and `second` are the sidecars of prompt and answer, if there are any."""
    from bptools.chat import chatml

    head = chatml.parse_record(prompt, first)
    if head is None and not prompt.strip():
        head = [], None
    if head is None:
        return None
    if prompt.endswith(chatml.PROMPT_END):
        tail = chatml.parse_completion(answer, second)
        if tail:
            return head[0], tail, head[1]
    whole = chatml.parse_record(answer, second)  # it does not begin with the assistant, or says so itself
    if whole is None or not whole[0] or (whole[1] is not None and head[1] is not None):
        return None
    return head[0], whole[0], whole[1] if head[1] is None else head[1]


def _with_known_roles(
    reader: RecordReader, found: tuple[list[Record], list[Record], list[Any] | None]
) -> tuple[list[Record], list[Record], list[Any] | None] | None:
    """Return what was found with roles as records have them, None where a speaker is none."""
    from bptools.chat.messages import read_messages
    from bptools.chat.roles import CANONICAL

    prompt, answer, tools = found
    if all(message["role"] in CANONICAL for message in [*prompt, *answer]):
        return found
    try:
        return read_messages(reader, prompt) if prompt else [], read_messages(reader, answer), tools
    except Reject:
        return None


def read_whole(text: str) -> list[Record] | None:
    """Return the messages of a whole conversation in a template, None for other text."""
    from bptools.chat import transcripts

    format = transcripts.recognise(text)
    return None if format is None else transcripts.parse(text, format)
