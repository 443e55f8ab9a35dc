"""A text with what several rules look at, worked out when first asked for and once."""

from __future__ import annotations

from itertools import chain

from bptools.quality.words import words_of_chunk


class Page:
    """A text; its chunks (split at white space); its words."""

    __slots__ = ("_chunks", "_words", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._chunks: list[str] | None = None
        self._words: list[str] | None = None

    @property
    def chunks(self) -> list[str]:
        """Return the runs without white space."""
        if self._chunks is None:
            self._chunks = self.text.split()
        return self._chunks

    @property
    def words(self) -> list[str]:
        """Return the words, as `quality.words.words` does."""
        if self._words is None:
            self._words = list(chain.from_iterable(map(words_of_chunk, self.chunks)))
        return self._words


def repeated_parts(parts: list[str]) -> tuple[int, int]:
    """Return how many parts equal an earlier one, and how many characters those have."""
    if len(parts) < 2 or len(set(parts)) == len(parts):
        return 0, 0
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        else:
            seen.add(part)
    return count, characters
