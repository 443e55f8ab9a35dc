"""Bounds on the length of the judged text, in characters and tokens.

Counting tokens is the dear part: an estimate takes 10 us for a kilobyte, a tokenizer 250. What the number of
bytes decides alone is decided first, so that usual bounds count only the records near them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bptools.chat.tokenizer import encodable
from bptools.chat.tokens import approximate_tokens
from bptools.quality.finding import Finding
from bptools.quality.structure import refuse_crossed

_LEAST_PER_CHARACTER = 0.04  # what every character adds to an estimate at the least: see chat/tokens.py


class Length:
    """Bounds in characters (code points) and tokens, both included; None is open.

    tokenizer: count tokens exactly by a `tokenizers.Tokenizer`, without special tokens; else by estimate.
    """

    def __init__(
        self,
        min_chars: int | None = None,
        max_chars: int | None = None,
        min_tokens: int | None = None,
        max_tokens: int | None = None,
        tokenizer: Any = None,
    ) -> None:
        refuse_crossed("chars", min_chars, max_chars)
        refuse_crossed("tokens", min_tokens, max_tokens)
        self.min_chars, self.max_chars = min_chars, max_chars
        self.min_tokens, self.max_tokens = min_tokens, max_tokens
        self.count: Callable[[str], int] = approximate_tokens
        self._estimating = tokenizer is None
        self._most = 1.0  # tokens that one byte can become
        self._longest = 1 / _LEAST_PER_CHARACTER  # characters that one token can stand for
        if tokenizer is not None:
            self.count = lambda text: len(tokenizer.encode(encodable(text), add_special_tokens=False).ids)
            self._most, self._longest = _extremes(tokenizer)
        # a text of so many characters in a line of so few bytes breaks nothing
        self._enough = max(self.min_chars or 0, (self.min_tokens or 0) * self._longest)
        self._few_bytes = self._top()

    def __bool__(self) -> bool:
        bounds = (self.min_chars, self.max_chars, self.min_tokens, self.max_tokens)
        return any(bound is not None for bound in bounds)

    def _top(self) -> float:
        """Return up to how many bytes no upper bound can be broken."""
        chars = math.inf if self.max_chars is None else self.max_chars
        tokens = math.inf if self.max_tokens is None else (self.max_tokens - 1) / self._most
        return min(chars, tokens)

    def broken(self, text: str, most_bytes: float = float("inf")) -> list[Finding]:
        """Return the bounds that a text breaks. `most_bytes`: its line has so many, so it has no more."""
        chars = len(text)
        if chars >= self._enough and most_bytes <= self._few_bytes:
            return []
        found: list[Finding] = []
        if self.min_chars is not None and chars < self.min_chars:
            found.append(Finding("min-chars", chars, self.min_chars))
        if self.max_chars is not None and chars > self.max_chars:
            found.append(Finding("max-chars", chars, self.max_chars))
        low, high = self.min_tokens, self.max_tokens
        if low is not None and not (chars >= low * self._longest or self._surely_words(text, low)):
            return found + self._broken_by(self.count(text))
        if high is not None:
            size = min(most_bytes, chars if text.isascii() else 4 * chars)
            if size * self._most + 1 > high:
                return found + self._broken_by(self.count(text))
        return found

    def _broken_by(self, tokens: int) -> list[Finding]:
        if self.min_tokens is not None and tokens < self.min_tokens:
            return [Finding("min-tokens", tokens, self.min_tokens)]
        if self.max_tokens is not None and tokens > self.max_tokens:
            return [Finding("max-tokens", tokens, self.max_tokens)]
        return []

    def _surely_words(self, text: str, low: int) -> bool:
        """Say whether words alone make an estimate of at least `low` tokens.

        What is not blank and stands between two spaces adds 0.8 at the least, 0.4 where it is not ASCII; a
        blank between two spaces begins with another space, a line feed, a tab or a carriage return.
        """
        if not self._estimating or "  " in text or " \n" in text or " \t" in text or " \r" in text:
            return False
        return (text.count(" ") - 1) * (0.8 if text.isascii() else 0.4) >= low


def _extremes(tokenizer: Any) -> tuple[float, float]:
    """Return how many tokens a byte can become and how many characters a token can stand for, at the most.

    A byte-level BPE that knows every byte and leaves nothing out makes at most one token of a byte. NFC
    before it makes at most 3 bytes of one and one character of 4 (Unicode Standard Annex 15, section 9).
    Nothing is promised of all others: (inf, inf).
    """
    import json

    made = json.loads(tokenizer.to_str())
    nothing = math.inf, math.inf
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if made["model"].get("type") != "BPE" or not _splits_bytes(made.get("pre_tokenizer"), vocabulary):
        return nothing
    if any(token.get("lstrip") or token.get("rstrip") for token in made.get("added_tokens", ())):
        return nothing
    longest = max(map(len, vocabulary), default=1)
    if made.get("normalizer") is None:
        return 1.0, float(longest)
    return (3.0, 4.0 * longest) if made["normalizer"] == {"type": "NFC"} else nothing


def _splits_bytes(pre_tokenizer: Any, vocabulary: dict[str, int]) -> bool:
    """Return whether text is cut into pieces of bytes that are all known, with nothing removed or added."""
    from tokenizers.pre_tokenizers import ByteLevel

    steps = [pre_tokenizer]
    if type(pre_tokenizer) is dict and pre_tokenizer.get("type") == "Sequence":
        steps = pre_tokenizer.get("pretokenizers", [])
    kinds = [step.get("type") for step in steps if type(step) is dict]
    if len(kinds) != len(steps) or kinds[-1:] != ["ByteLevel"] or steps[-1].get("add_prefix_space", True):
        return False
    cuts = all(
        kind == "Digits" or (kind == "Split" and step.get("behavior") != "Removed")
        for kind, step in zip(kinds[:-1], steps)
    )
    return cuts and all(symbol in vocabulary for symbol in ByteLevel.alphabet())
