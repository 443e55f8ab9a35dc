"""Which tokens of a record are judged: the assistant's, the user's, all, or the last answer's.

selector = Selector(renderer, "assistant")
chosen = selector.chat([], [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}])
chosen.ids, chosen.scored, chosen.bytes        # tokens, whether each is judged, bytes of the judged text
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from bptools.core.errors import DataError
from bptools.models.rendering import Message, Renderer, Span

On = Literal["assistant", "last", "user", "all"]
_MARKS = re.compile("[\ufdd0\ufdd1]")  # those of `literal`
_HOLE = re.compile("\ufdd2([0-9]+)\ufdd3")
_EDGES = (str, str.strip, str.lstrip, str.rstrip)  # what templates do to what is written


@dataclass(frozen=True)
class Selected:
    """Tokens, whether each is judged (never the first), and the UTF-8 bytes of the text they stand for.

    Turn ends are judged where the assistant's turns are, and count no bytes: what is cheap and said by every
    record must not make the text look cheap.
    """

    ids: list[int]
    scored: list[bool]
    bytes: int


class Selector:
    """Encodes records with a renderer; plain: contents alone, a blank line between them."""

    def __init__(self, renderer: Renderer, on: On = "assistant", plain: bool = False) -> None:
        self.renderer = renderer
        self.on = on
        self.plain = plain
        self._first = _before_texts(renderer.tokenizer)

    def text(self, text: str) -> Selected:
        """Return a plain text, all of it judged."""
        ids = self.renderer.encode_text(text, add_eos=False)
        return self._begun(ids, [True] * len(ids), len(text.encode("utf-8", "replace")))

    def chat(self, prompt: list[Message], answer: list[Message], tools: list[Any] | None = None) -> Selected:
        """Return a conversation; of the assistant's turns those in `answer` are judged, with `all` every one.

        Raises DataError for what the template refuses, and where it cannot be known which text is whose.
        """
        messages = [*prompt, *answer]
        if self.on == "all":
            prompt, messages = [], [{**turn, "weight": 1} for turn in messages]
        if self.plain:
            return self._plain(len(prompt), messages)
        messages, tools = self.renderer.protected(messages, tools)
        text, spans = "", list[Span]()
        if self.on != "user":
            text, spans = self.renderer.spans(messages, tools)
            spans = spans[sum(map(_is_answer, prompt)) :]
        if self.on == "last":
            spans = spans[-1:]
        end = self.renderer.template.turn_end
        size = sum(_size(text[start:stop].removesuffix(end)) for start, stop in spans)
        if self.on in ("user", "all"):
            roles = ("user",) if self.on == "user" else ("user", "system", "tool")
            text, contents = self._contents(messages, tools, roles)
            size += sum(_size(text[start:stop]) for start, stop in contents)
            spans = sorted([*spans, *contents])
        ids, scored = self.renderer.encode_spans(text, spans)
        return self._begun(ids, scored, size)

    def _plain(self, before: int, messages: list[Message]) -> Selected:
        """Return the contents one after the other, without any template."""
        chosen: list[int] = []
        for number, turn in enumerate(messages):
            role = turn["role"]
            if self.on in ("assistant", "last"):
                wanted = number >= before and _is_answer(turn)
            else:
                wanted = self.on in ("all", role)
            if wanted:
                chosen.append(number)
        chosen = chosen[-1:] if self.on == "last" else chosen
        text, spans = "", []
        for number, turn in enumerate(messages):
            content = _MARKS.sub("", turn["content"])
            text += "\n\n" if text and content else ""
            start, text = len(text), text + content
            if number in chosen and content:
                spans.append((start, len(text)))
        text = self.renderer.protected([{"content": text}], None)[0][0]["content"]
        ids, scored = self.renderer.encode_spans(*_shifted(text, spans))
        size = sum(_size(messages[number]["content"]) for number in chosen)
        return self._begun(ids, scored, size)

    def _contents(
        self, messages: list[Message], tools: list[Any] | None, roles: tuple[str, ...]
    ) -> tuple[str, list[Span]]:
        """Return (text, where the contents of these roles stand in it).

        The conversation is rendered a second time with a hole for each content; what the holes are filled
        with must be that content.
        """
        text = self._rendered(messages, tools)
        holes = [
            {**turn, "content": f"\ufdd2{number}\ufdd3"} if turn["role"] in roles else turn
            for number, turn in enumerate(messages)
        ]
        pieces = _HOLE.split(self._rendered(holes, tools))
        spans: list[Span] = []
        position = len(pieces[0])
        fits = text.startswith(pieces[0])
        for number, after in zip(map(int, pieces[1::2]), pieces[2::2]):
            content = messages[number]["content"] if number < len(messages) else ""  # a hole of their own
            found = next(
                (made for edge in _EDGES if text.startswith((made := edge(content)) + after, position)), None
            )
            if found is None:
                fits = False
                break
            if found:
                spans.append((position, position + len(found)))
            position += len(found) + len(after)
        if not fits or position != len(text):
            raise DataError(
                f"the chat template rewrites what is written, so the text of --on {self.on} cannot be told;"
                " --on assistant or --no-template can"
            )
        return text, spans

    def _rendered(self, messages: list[Message], tools: list[Any] | None) -> str:
        """Return the text that the spans of the assistant lie in: a twin may write another one."""
        if self.on == "user":
            return self.renderer.text(messages, tools)
        return self.renderer.spans(messages, tools)[0]

    def _begun(self, ids: list[int], scored: list[bool], size: int) -> Selected:
        """Return tokens that begin with one nothing is asked of, the end of the text before."""
        if scored and (scored[0] or self.plain):
            if ids[0] == self.renderer.tokenizer.bos_token_id or self._first is None:
                scored = [False, *scored[1:]]
            else:
                ids, scored = [self._first, *ids], [False, *scored]
        return Selected(ids, scored, size)


def _before_texts(tokenizer: Any) -> int | None:
    """Return the token that stands before a text: bos, else the one that ends the text before it.

    Where eos ends turns, <|endoftext|> ends texts: nano takes the first words of a text much better then.
    """
    if tokenizer.bos_token_id is not None:
        return int(tokenizer.bos_token_id)
    end = tokenizer.get_vocab().get("<|endoftext|>", tokenizer.eos_token_id)
    return int(end) if end is not None else None


def _is_answer(turn: Message) -> bool:
    return turn["role"] == "assistant" and turn.get("weight") != 0


def _size(text: str) -> int:
    return len(_MARKS.sub("", text).encode("utf-8", "replace"))


def _shifted(text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    """Return spans of a text as they lie in it once marks were put around its special tokens."""
    marks = [match.start() for match in _MARKS.finditer(text)]
    if not marks:
        return text, spans
    left = set(marks)
    places = [at for at in range(len(text)) if at not in left]  # of each character without marks
    return text, [(places[start], places[stop - 1] + 1) for start, stop in spans]
