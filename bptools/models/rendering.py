"""A conversation -> the tokens a model reads, and which of them are the assistant's own.

    renderer = Renderer(tokenizer, resolve_template(tokenizer))
    ids, trained = renderer.encode_chat(messages)
    prompt = renderer.encode_prompt(messages[:-1])

The text is rendered once and tokenized once. Which characters are the assistant's is known from the
template's {% generation %} marks, from those of TRL's twin of a known template, or from prefixes of the
conversation.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from bptools.core.errors import DataError
from bptools.models import templates
from bptools.models.literal import Literal
from bptools.models.templates import Template

Message = dict[str, Any]
Span = tuple[int, int]
"""Characters of the rendered text, [start, end)."""


class Renderer:
    """Renders and encodes conversations with one tokenizer and template; deterministic, keeps no state.

    template_kwargs: what the template may ask for beside the messages (enable_thinking=False).
    """

    def __init__(
        self, tokenizer: Any, template: Template, template_kwargs: dict[str, Any] | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template
        self.template_kwargs = dict(template_kwargs or {})
        self._literal = Literal(tokenizer)
        self._marked: Template | None = template if template.has_generation else None
        self._looked_for_twin = template.has_generation
        self._header: str | None = None

    def text(self, messages: list[Message], tools: list[Any] | None = None, *, prompt: bool = False) -> str:
        """Return the text of a conversation, with `prompt` up to where the assistant begins."""
        return self._render(self.template.text, _with_objects(messages), tools, prompt)[0]

    def encode_prompt(self, messages: list[Message], tools: list[Any] | None = None) -> list[int]:
        """Return the tokens of a conversation up to where the assistant begins. Raises DataError."""
        text, _ = self._render(self.template.text, *self.protected(messages, tools), True)
        return self._literal.encode(text)[0]

    def encode_text(self, text: str, add_eos: bool) -> list[int]:
        """Return the tokens of a text as the tokenizer begins one (bos where it has one), eos on request.

        The text may be a rendered chat: markers in it become tokens.
        """
        backend, eos = self.tokenizer.backend_tokenizer, self.tokenizer.eos_token_id
        ids: list[int] = backend.encode(text).ids
        if ids and ids[-1] == eos and len(ids) > len(backend.encode(text, add_special_tokens=False).ids):
            ids = ids[:-1]  # some tokenizers end every text by themselves
        return [*ids, eos] if add_eos and eos is not None and ids[-1:] != [eos] else ids

    def encode_chat(
        self, messages: list[Message], tools: list[Any] | None = None
    ) -> tuple[list[int], list[bool]]:
        """Return (tokens, whether each is trained) of a whole conversation, both of one length.

        Trained are the tokens of every assistant turn with its turn end, not its header, and not those of
        turns with `weight: 0`. Raises DataError for what the template refuses, and where it cannot be known
        which text is the assistant's.
        """
        text, spans = self.spans(*self.protected(messages, tools))
        return self.encode_spans(text, spans)

    def protected(
        self, messages: list[Message], tools: list[Any] | None
    ) -> tuple[list[Message], list[Any] | None]:
        """Return messages and tools as templates want them, special tokens in their texts marked as text."""
        return self._literal.protect(_with_objects(messages)), self._literal.protect(tools)

    def encode_spans(self, text: str, spans: Sequence[Span]) -> tuple[list[int], list[bool]]:
        """Return (tokens, whether each begins in a span) of rendered text, spans in order.

        No token reaches from before a span into it.
        """
        ids, offsets = self._literal.encode(text)
        crossed = _crossed(offsets, spans)
        if crossed:  # cut there, as it is when a prompt ends there and the model goes on
            ids, offsets = self._literal.encode(text, crossed)
        return ids, _inside(offsets, spans)

    def spans(self, messages: list[Message], tools: list[Any] | None = None) -> tuple[str, list[Span]]:
        """Return (text, the spans of it that are trained), in order. Raises DataError."""
        weighted = [message.get("weight") != 0 for message in messages if message["role"] == "assistant"]
        template = self._with_marks()
        if template is not None:
            text, spans = self._render(template.text, messages, tools, False, spans=True)
            if len(spans) == len(weighted):
                spans = [self._without_header(text, self._to_turn_end(text, span)) for span in spans]
                return text, [span for span, wanted in zip(spans, weighted) if wanted]
        return self._by_prefixes(messages, tools)

    def _with_marks(self) -> Template | None:
        """Return the template if it marks what the assistant says, else the twin that TRL has for some."""
        if not self._looked_for_twin:
            self._looked_for_twin = True
            text = _twin(self.tokenizer, self.template.text)
            if text is not None:
                self._marked = dataclasses.replace(self.template, text=text, has_generation=True)
        return self._marked

    def _by_prefixes(self, messages: list[Message], tools: list[Any] | None) -> tuple[str, list[Span]]:
        """Find each answer between the prompt before it and the conversation that ends in it."""
        full, _ = self._render(self.template.text, messages, tools, False)
        spans: list[Span] = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant" or message.get("weight") == 0:
                continue
            before, _ = self._render(self.template.text, messages[:index], tools, True)
            until, _ = self._render(self.template.text, messages[: index + 1], tools, False)
            until = self._up_to_turn_end(until, len(before))
            if not (full.startswith(before) and full.startswith(until) and len(before) <= len(until)):
                known = ", ".join(templates.FAMILIES)
                raise DataError(
                    "the chat template writes earlier turns differently once later ones follow, so the"
                    f" assistant's tokens cannot be told; choose a --chat-template of {known}"
                )
            spans.append((len(before), len(until)))
        return full, spans

    def _up_to_turn_end(self, text: str, start: int) -> str:
        """Return a conversation without what its template puts behind the last turn end: an eos, say."""
        mark = self.template.turn_end
        found = text.rfind(mark, start) if mark else -1
        return text if found < 0 else text[: found + len(mark)]

    def _to_turn_end(self, text: str, span: Span) -> Span:
        """Return the span up to its turn end: what follows that is the template's, what lacks it gets it."""
        start, end = span
        mark = self.template.turn_end
        if not mark:
            return span
        if text.startswith(mark, end):
            return start, end + len(mark)
        found = text.rfind(mark, start, end)
        if found >= 0 and not text[found + len(mark) : end].strip():
            return start, found + len(mark)
        return span

    def _without_header(self, text: str, span: Span) -> Span:
        """Return the span without what a prompt ends in: some templates mark a piece of the header too."""
        start, end = span
        header = self._assistant_header()
        for length in range(len(header), -1, -1):
            rest = header[length:]
            if text.endswith(header[:length], 0, start) and text.startswith(rest, start):
                return min(start + len(rest), end), end
        # a prompt may end in more than a header, <think> for one: then it is the tokens that both begin with
        tokens = templates.special_tokens(self.tokenizer)
        while common := [one for one in tokens if header.startswith(one) and text.startswith(one, start)]:
            header, start = header[len(common[0]) :], start + len(common[0])
        return start, end

    def _assistant_header(self) -> str:
        if self._header is None:
            turn = [{"role": "user", "content": "Hi"}]
            bare, _ = self._render(self.template.text, turn, None, False)
            prompt, _ = self._render(self.template.text, turn, None, True)
            self._header = prompt[len(bare) :] if prompt.startswith(bare) else ""
        return self._header

    def _render(
        self, text: str, messages: list[Message], tools: list[Any] | None, prompt: bool, spans: bool = False
    ) -> tuple[str, list[Span]]:
        return templates.render(
            text, self.tokenizer, messages, tools or None, prompt=prompt, spans=spans, **self.template_kwargs
        )


def _crossed(offsets: Sequence[Span], spans: Sequence[Span]) -> list[int]:
    """Return where spans begin inside a token: a header that ends in a space, say."""
    crossed: list[int] = []
    index, count = 0, len(spans)
    for start, end in offsets:
        while index < count and spans[index][0] <= start:
            index += 1
        if index == count:
            break
        if spans[index][0] < end:
            crossed.append(spans[index][0])
    return crossed


def _inside(offsets: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """Say of each token whether it begins in a span."""
    trained = [False] * len(offsets)
    index, count = 0, len(spans)
    for position, (start, _) in enumerate(offsets):
        while index < count and spans[index][1] <= start:
            index += 1
        if index == count:
            break
        trained[position] = start >= spans[index][0]
    return trained


def _with_objects(messages: list[Message]) -> list[Message]:
    """Return messages with the arguments of tool calls as objects, which templates turn into JSON themselves.

    OpenAI writes them as JSON in a string; a template would write that string as JSON once more.
    """
    if not any(message.get("tool_calls") for message in messages):
        return messages
    return [
        {**message, "tool_calls": [_with_object(call) for call in message["tool_calls"]]}
        if message.get("tool_calls")
        else message
        for message in messages
    ]


def _with_object(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return call
    if not isinstance(arguments, dict):
        return call
    return {**call, "function": {**function, "arguments": arguments}}


def _twin(tokenizer: Any, text: str) -> str | None:
    """Return TRL's text of a template it knows, with marks; None for others, and without TRL."""
    try:
        from trl.chat_template_utils import get_training_chat_template
    except ImportError:
        return None
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = text
        found = get_training_chat_template(tokenizer)
        return found if found is not None and "generation" in found else None
    except Exception:  # ValueError for a template that it does not know, and what that template raises
        return None
    finally:
        tokenizer.chat_template = own
