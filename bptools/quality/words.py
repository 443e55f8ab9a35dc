"""The words and sentences of a text, as spaCy's blank English tokenizer and sentencizer give them; fast.

    from bptools.quality.words import words
    words("Mr. Smith didn't pay $5.")  # ['Mr.', 'Smith', 'did', "n't", 'pay', '$', '5', '.']

White space separates chunks and each chunk is split on its own, so what a chunk consists of is remembered:
nearly every chunk of a text costs a look-up. Of 11 million chunks (chats and pages in English, some Chinese,
code) each is split as spaCy 3.8 splits it alone. In a whole text spaCy tries exceptions across white space
too, and then misses one: in `people,' 're-education` it sees a '' and splits 're. That was so in 9 of 107,000
texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import chain
from typing import TypeVar

from bptools.quality.word_pieces import split_chunk

_Value = TypeVar("_Value")

# Chunks that are remembered, at most: an entry takes 450 bytes in the three tables together, so 45 MB in all.
# Long ones (addresses, base64, Chinese) hardly come back in another text, but do in the next table asked: a
# few are kept.
_REMEMBERED = 100_000
_LONGEST = 64
_LONG_ONES = 64

# Code points, as first-last in hexadecimal. Sentence ends as of Unicode 10.
_SENTENCE_ENDS = (
    "21 2e 3f 589 61f 6d4 700-702 7f9 964-965 104a-104b 1362 1367-1368 166e 1735-1736 1803 1809 1944-1945 "
    "1aa8-1aab 1b5a-1b5b 1b5e-1b5f 1c3b-1c3c 1c7e-1c7f 203c-203d 2047-2049 2e2e 2e3c 3002 a4ff a60e-a60f "
    "a6f3 a6f7 a876-a877 a8ce-a8cf a92f a9c8-a9c9 aa5d-aa5f aaf0-aaf1 abeb fe52 fe56-fe57 ff01 ff0e ff1f "
    "ff61 10a56-10a57 11047-11048 110be-110c1 11141-11143 111c5-111c6 111cd 111de-111df 11238-11239 "
    "1123b-1123c 112a9 1144b-1144c 115c2-115c3 115c9-115d7 11641-11642 1173c-1173e 11a42-11a43 11a9b-11a9c "
    "11c41-11c42 16a6e-16a6f 16af5 16b37-16b38 16b44 1bc9f 1da88"
)
_NEWER_SENTENCE_ENDS = (
    "61d-61e 837 839 83d-83e 17d4-17d6 17d9-17da 1b7d-1b7e 2e53-2e54 10f55-10f59 10f86-10f89 11944 11946 "
    "11ef7-11ef8 11f43-11f44 16e98"
)
_OTHER_SYMBOLS = (  # controls; quotes, brackets and signs; some of them full-width, and the full-width 1
    "0-8 b-1f 21-2f 3a-40 5b-60 7b-9f ab b4 bb 2013-2014 2019 201c-201e 2026 2236 2501 25ba 3001-3002 "
    "3008-300d 3010-3011 ff01 ff05 ff08-ff09 ff0c ff0e ff11 ff1a-ff1b ff1f ff5e"
)


def _characters(ranges: str) -> frozenset[str]:
    found: list[str] = []
    for span in ranges.split():
        first, _, last = span.partition("-")
        found.extend(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return frozenset(found)


SENTENCE_ENDS = _characters(_SENTENCE_ENDS)  # where the sentencizer ends a sentence
TERMINALS = SENTENCE_ENDS | _characters(_NEWER_SENTENCE_ENDS)  # where FineWeb sees a line ended
SYMBOLS = TERMINALS | _characters(_OTHER_SYMBOLS)  # a word of these alone is a symbol


class _Remembered(dict[str, _Value]):
    """A value for each chunk, worked out when it is first asked for."""

    def __init__(self, work_out: Callable[[str], _Value]) -> None:
        super().__init__()
        self._work_out = work_out
        self._long: dict[str, _Value] = {}

    def __missing__(self, chunk: str) -> _Value:
        kept, most = (self, _REMEMBERED) if len(chunk) <= _LONGEST else (self._long, _LONG_ONES)
        if kept is self._long and chunk in kept:
            return kept[chunk]
        value = self._work_out(chunk)
        if len(kept) >= most:
            kept.clear()
        kept[chunk] = value
        return value


_words = _Remembered(split_chunk)
words_of_chunk = _words.__getitem__

# What is out of the ordinary in a chunk, in one int so that a text costs one sum(): words that are symbols,
# their characters, words without a letter. 20 bits each: three fields fit the 63 bits in which sum() is
# fastest, and no field can overflow in a text of fewer than 2**20 characters.
_BITS = 20
_MASK = (1 << _BITS) - 1


def _oddities(pieces: tuple[str, ...] | list[str]) -> tuple[int, int, int]:
    symbols = characters = letterless = 0
    for word in pieces:
        if not word.isalpha():
            if SYMBOLS.issuperset(word):
                symbols += 1
                characters += len(word)
            if not any(map(str.isalpha, word)):
                letterless += 1
    return symbols, characters, letterless


def _packed(chunk: str) -> int:
    if chunk.isalpha():
        return 0
    symbols, characters, letterless = _oddities(_words[chunk])
    return symbols | characters << _BITS | letterless << 2 * _BITS


_packed_oddities = _Remembered(_packed)


def words(text: str) -> list[str]:
    """Return the words of a text, punctuation marks being words too; white space is none."""
    # 120 ns a word once the tables are warm; split_chunk for each takes 2.2 us a word.
    return list(chain.from_iterable(map(words_of_chunk, text.split())))


def count_oddities(chunks: list[str]) -> tuple[int, int, int]:
    """Return how many words are symbols, how many characters those have, how many words have no letter.

    chunks: the text split at white space. A symbol has nothing but punctuation, signs and controls.
    """
    if sum(map(len, chunks)) > _MASK:
        return _oddities(list(chain.from_iterable(map(words_of_chunk, chunks))))
    total = sum(map(_packed_oddities.__getitem__, chunks))
    return total & _MASK, total >> _BITS & _MASK, total >> 2 * _BITS


# What a chunk does to the count of sentences, first if none has just ended before it, then if one has:
# how many begin in it, and whether one has just ended after it.
_Step = tuple[int, bool]


def _step(pieces: tuple[str, ...], ended: bool) -> _Step:
    begun = 0
    for word in pieces:
        if word in SENTENCE_ENDS:
            ended = True
        elif ended and not _is_punctuation(word):  # closing quotes and brackets still belong to the sentence
            begun += 1
            ended = False
    return begun, ended


def _is_punctuation(word: str) -> bool:
    return all(unicodedata.category(char)[0] == "P" for char in word)


_known_steps: dict[tuple[_Step, _Step], tuple[_Step, _Step]] = {}  # a handful, shared by all chunks


def _both_steps(chunk: str) -> tuple[_Step, _Step]:
    pieces = _words[chunk]
    steps = _step(pieces, False), _step(pieces, True)
    return _known_steps.setdefault(steps, steps) if len(chunk) <= _LONGEST else steps


_steps = _Remembered(_both_steps)
_runs_of_space = re.compile(r"(\s+)")


def count_sentences(line: str) -> int:
    """Return how many sentences a line has, at least one.

    The first word that is no punctuation mark after a `.`, `!`, `?` begins one; so does white space other
    than one blank, as it is a word to that tokenizer.
    """
    chunks = line.split()
    spaced = " ".join(chunks) != line
    if spaced:
        chunks = _runs_of_space.split(line)
    count, ended = 1, False
    for chunk in chunks:
        if spaced and (not chunk or chunk == " "):
            continue
        begun, ended = _steps[chunk][ended]
        count += begun
    return count
