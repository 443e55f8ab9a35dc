"""The chat template of a model: its own, one of six that come along, a file, or that of another model.

template = resolve_template(tokenizer, "auto", folder)
tokenizer.chat_template = template.text     # what stock transformers needs, and what is saved
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any

from bptools.core.errors import DataError, InputError
from bptools.core.streams import reason_of

FAMILIES = ("chatml", "alpaca", "llama3", "mistral", "gemma", "zephyr")
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "chat_templates")
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")

# What a family's turns are marked with: each must be one token of the vocabulary, and a trained one.
MARKERS: dict[str, tuple[str, ...]] = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "mistral": ("[INST]", "[/INST]"),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
}
_FAMILY_OF_TYPE = (
    ("qwen", "chatml"),
    ("smollm", "chatml"),
    ("mixtral", "mistral"),
    ("mistral", "mistral"),
    ("gemma", "gemma"),
    ("llama", "llama3"),
)
_ANSWER = "\N{LATIN SMALL LETTER Q WITH HOOK TAIL}ANSWER"  # found again in what a template makes of it


@dataclass(frozen=True)
class Template:
    """A chat template: `name` for people and manifests, `text` in Jinja as transformers reads it.

    turn_end: what stands at the end of each answer, a token's text where there is one; generation stops
    there. has_generation: whether {% generation %} marks the answers. missing: markers that this tokenizer
    has no token for, so that they become pieces of text.
    """

    name: str
    text: str
    turn_end: str
    has_generation: bool
    missing: tuple[str, ...] = ()


def resolve_template(tokenizer: Any, choice: str = "auto", model_folder: str | None = None) -> Template:
    """Return the template that `choice` means for a tokenizer: auto, a name of FAMILIES, FILE or from:MODEL.

    auto is the model's own. A base model that has none gets its family's if all markers are tokens that were
    trained, which is looked up in the weights of `model_folder`, else alpaca: markers of plain text, and
    answers that end in eos. No token is ever added. Raises InputError (no such template), DataError (a
    template that cannot be rendered).
    """
    if choice == "auto":
        own = _own_text(tokenizer)
        if own is not None:
            return _made(tokenizer, "model", own)
        choice = _family_of_base(tokenizer, model_folder)
    if choice in FAMILIES:
        return _made(tokenizer, choice, family_text(choice))
    if choice.startswith("from:"):
        return _made(tokenizer, choice, _text_of_model(choice.removeprefix("from:")))
    return _made(tokenizer, os.path.basename(choice), _text_of_file(choice))


def check_choice(choice: str) -> None:
    """Refuse a template that `choice` cannot mean, without a tokenizer. Raises InputError, Unavailable."""
    if choice == "auto" or choice in FAMILIES:
        return
    if choice.startswith("from:"):
        from bptools.models.names import resolve

        resolve(choice.removeprefix("from:"))
    elif not os.path.exists(choice) or os.path.isfile(choice) or os.path.isdir(choice):
        _text_of_file(choice)  # but not a pipe, which can be read only once


def family_text(name: str) -> str:
    """Return the Jinja text of one of FAMILIES, with generation markers."""
    with open(os.path.join(_FOLDER, name + ".jinja"), encoding="utf-8") as file:
        return file.read()


def render(
    text: str,
    tokenizer: Any,
    messages: list[dict[str, Any]],
    tools: list[Any] | None = None,
    *,
    prompt: bool = False,
    spans: bool = False,
    **names: Any,
) -> tuple[str, list[tuple[int, int]]]:
    """Return (the text of a conversation, the character spans inside {% generation %} if `spans`).

    Raises DataError with what the template says.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    try:
        rendered, indices = render_jinja_template(
            [messages],
            tools=tools,
            chat_template=text,
            return_assistant_tokens_mask=spans,
            add_generation_prompt=prompt,
            **{**tokenizer.special_tokens_map, **names},
        )
    except Exception as error:  # Jinja's, and whatever Python raises in a template
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"the chat template cannot render this: {reason}") from None
    return rendered[0], [(start, end) for start, end in indices[0]] if spans else []


def _made(tokenizer: Any, name: str, text: str) -> Template:
    vocabulary = tokenizer.get_vocab()
    markers = MARKERS.get(name, ())
    return Template(
        name=name,
        text=text,
        turn_end=_turn_end(tokenizer, text),
        has_generation=_GENERATION.search(text) is not None,
        missing=tuple(marker for marker in markers if marker not in vocabulary),
    )


def _turn_end(tokenizer: Any, text: str) -> str:
    """Return what a template puts after an answer: the first special token, else the text there, else eos."""
    conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": _ANSWER}]
    rendered, _ = render(text, tokenizer, conversation)
    _, found, after = rendered.rpartition(_ANSWER)
    if not found:
        raise DataError(
            "the chat template leaves out what the assistant says; choose another --chat-template"
        )
    tokens = [token for token in special_tokens(tokenizer) if token in after]
    if tokens:
        return min(tokens, key=lambda token: (after.index(token), -len(token)))
    return after.strip() or (tokenizer.eos_token or "")


def special_tokens(tokenizer: Any) -> list[str]:
    """Return the tokens that no text of a user may become, the longest first."""
    tokens = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted({*tokens, *tokenizer.all_special_tokens}, key=lambda token: (-len(token), token))


def text_in_folder(folder: str) -> str | None:
    """Return the template that a tokenizer's folder holds, as transformers reads it, without transformers."""
    path = os.path.join(folder, "chat_template.jinja")
    if os.path.isfile(path):
        return _text_of_file(path)
    for name in ("chat_template.json", "tokenizer_config.json"):
        try:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                table = json.load(file)
        except (OSError, ValueError):
            continue
        own = table.get("chat_template") if isinstance(table, dict) else None
        if own:
            return own if isinstance(own, str) else json.dumps(own, sort_keys=True)
    return None


def _own_text(tokenizer: Any) -> str | None:
    own = tokenizer.chat_template
    if isinstance(own, dict):  # several, by name
        own = own.get("default") or next(iter(own.values()), None)
    return own if isinstance(own, str) and own.strip() else None


def _family_of_base(tokenizer: Any, folder: str | None) -> str:
    vocabulary = tokenizer.get_vocab()
    type_ = _model_type(folder)
    families = [family for part, family in _FAMILY_OF_TYPE if part in type_]
    for family in families or list(MARKERS):
        if all(marker in vocabulary for marker in MARKERS[family]):
            ids = [vocabulary[marker] for marker in MARKERS[family]]
            if folder is None or _all_trained(folder, ids):
                return family
    return "alpaca"


def _model_type(folder: str | None) -> str:
    if folder is None:
        return ""
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            return str(json.load(file).get("model_type", ""))
    except (OSError, ValueError):
        return ""


def _all_trained(folder: str, ids: list[int]) -> bool:
    """Say whether the input embeddings of tokens look trained: not (nearly) zero, and no two alike.

    Llama 3's base models carry all markers with rows that were never trained, some hundred times smaller than
    the rest. Without weights to look at, having the tokens is enough.
    """
    from bptools.models.weights import embedding_rows

    rows = embedding_rows(folder, ids)
    if rows is None:
        return True
    chosen, typical = rows
    norms = [float(row.norm()) for row in chosen]
    alike = any(chosen[i].equal(chosen[j]) for i in range(len(ids)) for j in range(i))
    return min(norms) > 0.1 * typical and not alike


def _text_of_file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(
            f"no chat template '{path}'; choose auto, {', '.join(FAMILIES)}, a file or from:MODEL"
        ) from None
    except OSError as error:
        raise InputError(f"cannot read the chat template '{path}': {reason_of(error)}") from None
    except UnicodeDecodeError:
        raise InputError(f"the chat template '{path}' is not UTF-8") from None


def _text_of_model(name: str) -> str:
    from bptools.models.hub import fetch
    from bptools.models.loading import load_tokenizer
    from bptools.models.names import resolve

    text = _own_text(load_tokenizer(fetch(resolve(name), "tokenizer")))
    if text is None:
        raise InputError(f"'{name}' has no chat template")
    return text
