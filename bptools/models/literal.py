"""What people write stays text: `<|im_end|>` in a message never becomes the token that ends a turn.

A special token that a message spells out is put between two marks before the template sees it. The marks go
through Jinja as any other character; the rendered text is cut there, and what was between them is encoded
with special tokens switched off. Only the template's own markers become special tokens. (transformers 5.20
has the same idea in `sanitize_control_tokens`, without offsets.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from bptools.models.templates import special_tokens

Value = TypeVar("Value")
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"  # noncharacters: no text has them on purpose
_MARKS = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}|[{_OPEN}{_CLOSE}]")


class Literal:
    """Protects messages, and encodes what was rendered from them."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        tokens = special_tokens(tokenizer)
        self._special = re.compile("|".join([*map(re.escape, tokens), f"[{_OPEN}{_CLOSE}]"]))

    def protect(self, value: Value) -> Value:
        """Return messages or tools with the special tokens in their texts marked, the same object if none."""
        protected = self._protected(value)
        return value if protected is value else protected  # type: ignore[no-any-return]

    def _protected(self, value: Any) -> Any:
        if type(value) is str:
            if self._special.search(value) is None:
                return value
            return self._special.sub(_marked, value)
        if type(value) is list:
            items = [self._protected(item) for item in value]
            return items if any(map(_differ, items, value)) else value
        if type(value) is dict:
            entries = {key: self._protected(item) for key, item in value.items()}
            return entries if any(map(_differ, entries.values(), value.values())) else value
        return value

    def encode(self, text: str, cuts: Sequence[int] = ()) -> tuple[list[int], list[tuple[int, int]]]:
        """Return (tokens, the characters of each) of rendered text, without adding bos or eos.

        No token reaches across one of `cuts`, positions in the text in order.
        """
        if not cuts and _OPEN not in text and _CLOSE not in text:
            encoded = self._backend.encode(text, add_special_tokens=False)
            return encoded.ids, encoded.offsets
        ids: list[int] = []
        offsets: list[tuple[int, int]] = []
        for start, end, literal in _pieces(text, cuts):
            self._piece(text[start:end], start, literal, ids, offsets)
        return ids, offsets

    def _piece(
        self, piece: str, at: int, literal: bool, ids: list[int], offsets: list[tuple[int, int]]
    ) -> None:
        """Append the tokens of a piece, encoded after a newline: some tokenizers begin with a space."""
        if not piece:
            return
        backend = self._backend
        backend.encode_special_tokens = literal
        try:
            if not ids:
                encoded, skip, shift = backend.encode(piece, add_special_tokens=False), 0, 0
            else:
                encoded, skip, shift = backend.encode("\n" + piece, add_special_tokens=False), 0, 1
                newline = backend.encode("\n", add_special_tokens=False).ids
                if encoded.ids[: len(newline)] == newline:
                    skip = len(newline)
                else:
                    encoded, shift = backend.encode(piece, add_special_tokens=False), 0
        finally:
            backend.encode_special_tokens = False
        ids += encoded.ids[skip:]
        offsets += [(start - shift + at, end - shift + at) for start, end in encoded.offsets[skip:]]


def _pieces(text: str, cuts: Sequence[int]) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, whether special tokens are text in it) of what lies between marks and cuts."""
    position = 0
    left = list(cuts)
    for match in [*_MARKS.finditer(text), None]:
        end = len(text) if match is None else match.start()
        while left and left[0] < end:
            cut = left.pop(0)
            if cut > position:
                yield position, cut, False
                position = cut
        yield position, end, False
        if match is not None:
            if match[1]:
                yield match.start(1), match.end(1), True
            position = match.end()


def _marked(match: re.Match[str]) -> str:
    found = match[0]
    return "" if found in (_OPEN, _CLOSE) else _OPEN + found + _CLOSE


def _differ(new: Any, old: Any) -> bool:
    return new is not old
