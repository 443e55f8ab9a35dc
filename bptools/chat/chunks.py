"""Plain text in pieces of so many words, tokens or paragraphs: every piece an exact part of the text.

    bp-chatml --chunk 512tokens --overlap 64 book.txt

Without overlap the pieces put together are the text. A piece holds as many whole units as fit; white space
after a unit goes with it, indentation with the line that it indents.
"""

from __future__ import annotations

import functools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from bptools.chat.tokens import approximate_tokens, estimate_word

Offsets = Callable[[str], "list[tuple[int, int]]"]
UNITS = ("words", "tokens", "paragraphs")

# Scripts written without spaces: a character (with its marks) is a word.
_ALONE = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # Han, kana, bopomofo
    "\u0e01-\u0e30\u0e32\u0e33\u0e3f-\u0e46\u0e4f-\u0e5b"  # Thai but for its marks
)
_MARKS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef"


@functools.cache
def _words() -> re.Pattern[str]:
    return re.compile(f"[{_ALONE}][{_MARKS}]*|[^\\s{_ALONE}]+")


@functools.cache
def _paragraph_starts() -> re.Pattern[str]:
    return re.compile(r"\n(?:[^\S\n]*\n)+(?=[^\S\n]*\S)")


@functools.cache
def _fence_lines() -> re.Pattern[str]:
    return re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)", re.MULTILINE)


def parse_size(text: str) -> tuple[int, str]:
    """Read `512tokens`, `200words`, `3 paragraphs` or `200` (words). Raises ValueError with the reason."""
    match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]*)\s*", text, re.ASCII)
    if match is None:
        raise ValueError(f"{text!r} is no size; write 512tokens, 200words or 3paragraphs")
    size, unit = int(match[1]), match[2].lower() or "words"
    unit = unit if unit.endswith("s") else unit + "s"
    if unit not in UNITS:
        raise ValueError(f"{match[2]!r} is no unit; choose words, tokens or paragraphs")
    if size < 1:
        raise ValueError(f"{text!r} is too small; a chunk holds at least one unit")
    return size, unit


def chunk(text: str, size: int, unit: str, overlap: int = 0, offsets: Offsets | None = None) -> list[str]:
    """Cut a text into pieces of at most `size` units, each repeating the last `overlap` of the one before.

    unit: words (runs without white space; in Chinese, Japanese and Thai each character), paragraphs (blank
    lines apart; a fenced code block is never cut) or tokens: by `offsets`, a tokenizer's character spans,
    else by estimate at whole words. A single unit is never cut, but for words that alone exceed an estimate.
    Tokens are counted in the whole text: a piece tokenised alone may differ by a few at its ends.
    Raises ValueError for an unknown unit, a size below 1 or an overlap that is not below the size.
    """
    if unit not in UNITS:
        raise ValueError(f"{unit!r} is no unit; choose words, tokens or paragraphs")
    if size < 1:
        raise ValueError("a chunk holds at least one unit")
    if not 0 <= overlap < size:
        raise ValueError(f"an overlap of {overlap} does not fit a chunk of {size}; make it smaller")
    if unit == "words":
        units: Iterable[tuple[int, float]] = ((match.start(), 1) for match in _words().finditer(text))
    elif unit == "paragraphs":
        units = ((start, 1) for start in _paragraphs(text))
    elif offsets is not None:
        units = ((start, 1) for start in _rising(offsets(text)))
    else:
        units = _estimated(text, size)
    exact = unit == "tokens" and offsets is not None
    return [piece for piece in _pieces(text, units, size, overlap, exact) if piece]


def _pieces(
    text: str, units: Iterable[tuple[int, float]], size: int, overlap: int, exact: bool
) -> Iterator[str]:
    """Yield the pieces for units given as (start, weight)."""
    held: deque[tuple[int, float]] = deque()  # the units of the piece at hand
    total: float = 0
    begin = 0
    for start, weight in units:
        if held and total + weight > size:
            end = start if exact else _line_start(text, start)
            yield text[begin:end]
            while held and (total > overlap or total + weight > size):
                total -= held.popleft()[1]
            if not held:
                total = 0  # no rounding error is carried on
            begin = (held[0][0] if exact else _line_start(text, held[0][0])) if held else end
        held.append((start, weight))
        total += weight
    yield text[begin:]


def _line_start(text: str, start: int) -> int:
    """Return where the line begins if only its indentation stands before `start`, else `start`."""
    newline = text.rfind("\n", max(0, start - 1000), start)
    if newline >= 0 and (newline + 1 == start or text[newline + 1 : start].isspace()):
        return newline + 1
    return start


def _paragraphs(text: str) -> Iterator[int]:
    """Yield where paragraphs start: lines after a blank one, outside of fenced blocks."""
    yield 0
    fences = _fenced(text)
    inside = next(fences, None)
    for match in _paragraph_starts().finditer(text):
        start = match.end()
        while inside is not None and inside[1] <= start:
            inside = next(fences, None)
        if inside is None or start <= inside[0]:
            yield start


def _fenced(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each fenced code block, closed as CommonMark says; one left open is none."""
    lines = list(_fence_lines().finditer(text)) if "```" in text or "~~~" in text else []
    index = 0
    while index < len(lines):
        opening = lines[index][1]
        index += 1
        if opening[0] == "`" and "`" in lines[index - 1][2]:
            continue  # code within a line
        for later in range(index, len(lines)):
            closing, rest = lines[later].groups()
            if closing.startswith(opening) and not rest.strip():
                yield lines[index - 1].start(), lines[later].end()
                index = later + 1
                break


def _rising(spans: list[tuple[int, int]]) -> Iterator[int]:
    """Yield the starts of spans that hold text, in rising order (special tokens are empty spans)."""
    last = 0
    for start, end in spans:
        if end > start >= last:
            last = start
            yield start


def _estimated(text: str, size: int) -> Iterator[tuple[int, float]]:
    for match in _words().finditer(text):
        word = match.group()
        weight = estimate_word(word)
        if weight <= size:
            yield match.start(), weight
            continue
        step = max(1, int(len(word) * size / weight / 2))  # a word longer than a piece: cut it
        for at in range(0, len(word), step):
            yield match.start() + at, min(float(size), estimate_word(word[at : at + step]))


def load_offsets(tokenizer: str) -> Offsets:
    """Return a function giving the character spans of a tokenizer's tokens, for `chunk`.

    tokenizer: as `load_tokenizer` takes it; raises what that raises. Special tokens are not added.
    """
    from bptools.chat.tokenizer import encodable, load_tokenizer

    loaded = load_tokenizer(tokenizer)

    def offsets(text: str) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = loaded.encode(encodable(text), add_special_tokens=False).offsets
        return found

    return offsets


__all__ = ["UNITS", "Offsets", "approximate_tokens", "chunk", "load_offsets", "parse_size"]
