"""Templates that name the role in a header token: Llama 3, Gemma, Zephyr (also Phi-3, Tulu).

    <|start_header_id|>ROLE<|end_header_id|>\\n\\nCONTENT<|eot_id|>     Llama 3
    <start_of_turn>ROLE\\nCONTENT<end_of_turn>\\n                      Gemma
    <|ROLE|>\\nCONTENT</s>\\n                                    Zephyr; Phi-3 with <|end|>, Tulu with neither

White space between turns and the newlines after a header go; a content keeps its own. A last header without
content is the prompt to go on and is left out.
"""

from __future__ import annotations

from bptools.chat.transcripts.escapes import was_escaped
from bptools.chat.transcripts.family import is_exchange, message, pattern, without_end, without_start
from bptools.core.records import Record

_Found = tuple[list[Record], None]

_ZEPHYR_ENDS = ("</s>", "<|end|>", "<|endoftext|>")
_LLAMA3_ROLES = {"ipython": "tool"}
_GEMMA_ROLES = {"model": "assistant"}


def llama3(text: str) -> _Found | None:
    """Read Llama 3 text; ipython is tool, other roles stand as found."""
    escaped = was_escaped(text)
    first, *pieces = without_start(text).split("<|start_header_id|>")
    if first or not pieces:
        return None
    messages = []
    for index, piece in enumerate(pieces):
        role, header_end, rest = piece.partition("<|end_header_id|>")
        role = role.strip()
        if not header_end or not role.replace("_", "").isalnum() or (escaped and rest.startswith("\\n")):
            return None
        rest = rest.removeprefix("\n\n") if rest.startswith("\n\n") else rest.removeprefix("\n")
        content, token, outside = _end_of_turn(rest, ("<|eot_id|>", "<|eom_id|>"))
        if not token:
            if index + 1 < len(pieces):
                return None
            content, ended = without_end(content)
            if not content.strip() and not ended:
                break
        elif outside.strip() and outside.strip() not in ("<|end_of_text|>", "<|begin_of_text|>"):
            return None
        messages.append(message(_LLAMA3_ROLES.get(role, role), content))
    return (messages, None) if messages else None


def _end_of_turn(text: str, tokens: tuple[str, ...]) -> tuple[str, str, str]:
    """Partition at the first of these tokens."""
    found = [(at, token) for token in tokens if (at := text.find(token)) >= 0]
    if not found:
        return text, "", ""
    at, token = min(found)
    return text[:at], token, text[at + len(token) :]


def gemma(text: str) -> _Found | None:
    """Read Gemma text; model is assistant."""
    first, *pieces = without_start(text).split("<start_of_turn>")
    if first or not pieces:
        return None
    messages = []
    for index, piece in enumerate(pieces):
        header, _, rest = piece.partition("\n")
        role = header.strip()
        if role not in ("user", "model", "system", "developer", "tool"):
            return None
        content, token, outside = rest.partition("<end_of_turn>")
        if not token:
            if index + 1 < len(pieces):
                return None
            content, ended = without_end(content)
            if not content.strip() and not ended:
                break
        elif outside.strip() not in ("", "<eos>"):
            return None
        messages.append(message(_GEMMA_ROLES.get(role, role), content))
    return (messages, None) if messages else None


def zephyr(text: str) -> _Found | None:
    """Read Zephyr, Phi-3 or Tulu text."""
    escaped = was_escaped(text)
    text = without_start(text)
    marker = pattern(r"(?:\A|(?<=[\n>]))<\|(system|user|assistant|observation|tool)\|>[ \t]*\r?\n?")
    first, *pieces = marker.split(text)
    if first or not pieces:
        return None
    messages = []
    roles, contents = pieces[::2], pieces[1::2]
    for index, (role, content) in enumerate(zip(roles, contents, strict=True)):
        if escaped and content.startswith("\\n"):
            return None
        last = index + 1 == len(contents)
        content, token, outside = _end_of_turn(content, _ZEPHYR_ENDS)
        if token:
            if outside.strip() and not (last and outside.strip() in _ZEPHYR_ENDS):
                return None
        elif last:
            if not content.strip():
                break
        else:
            content = content.removesuffix("\n")
        messages.append(message("tool" if role == "observation" else role, content))
    return (messages, None) if is_exchange(messages) else None
