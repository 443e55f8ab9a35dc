"""C4's rules (Raffel et al. 2020, JMLR 21/140, section 2.2) and mC4's (Xue et al. 2021, arXiv 2010.11934).

C4 keeps the lines of a page that read like prose and drops pages of too few sentences. Here the lines are
only looked at: the text stays as it is, and counts as dropped where nothing sufficient would be kept.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from bptools.quality.rules.page import Page
from bptools.quality.words import count_sentences

_citations = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_TERMINAL = (".", "?", "!", '"', "'")
_POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def c4_values(
    page: Page, chosen: Mapping[str, float], parameters: Mapping[str, int], exact: bool
) -> Iterator[tuple[str, float]]:
    """Yield (rule, value) for the chosen rules of the set: of the two about lines first what comes first.

    exact: count all sentences, not only as many as the limit asks for.
    """
    enough = chosen.get("min_num_sentences", 0)
    if exact and "min_num_sentences" in chosen:
        enough = math.inf
    found, sentences = _look(page.text, parameters, enough)
    for name in sorted(found, key=lambda name: found[name][0]):
        if name in chosen:
            yield name, found[name][1]
    if "min_num_sentences" in chosen:
        yield "min_num_sentences", sentences


def _look(text: str, parameters: Mapping[str, int], enough: float) -> tuple[dict[str, tuple[int, int]], int]:
    """Return by rule where its first line is and how many lines break it; and the number of sentences."""
    lower = text.lower()
    citations = parameters["citations"] and "[" in text
    curly = "{" in text
    # Most texts say none of these, and then no line needs to be asked. A citation cut out can bring two
    # halves together.
    speaks = citations or curly or "lorem ipsum" in lower
    javascript = parameters["javascript"] and (citations or "javascript" in lower)
    policy = parameters["policy"] and (
        citations or "cookie" in lower or "terms of use" in lower or "privacy policy" in lower
    )
    terminal = parameters["terminal_punctuation"]
    fewest, longest = parameters["min_words_per_line"], parameters["max_word_length"]
    found = {"lorem_ipsum": (0, 0), "curly_bracket": (1, 0)}
    sentences = 0
    for number, line in enumerate(text.splitlines()):
        line = line.strip()
        whole = line
        if citations:
            line = _citations.sub("", line)
        if terminal and (not line.endswith(_TERMINAL) or line.endswith("...")):
            continue
        words = whole.split()
        if len(words) < fewest or (len(whole) > longest and max(map(len, words)) > longest):
            continue
        if speaks or javascript or policy:
            lower = line.lower()
            if "lorem ipsum" in lower:
                found["lorem_ipsum"] = _hit(found["lorem_ipsum"], 2 * number)
            if javascript and "javascript" in lower:
                continue
            if "{" in line:
                found["curly_bracket"] = _hit(found["curly_bracket"], 2 * number + 1)
            if policy and any(phrase in lower for phrase in _POLICY):
                continue
        if sentences < enough:
            sentences += count_sentences(line)
    return found, sentences


def _hit(so_far: tuple[int, int], place: int) -> tuple[int, int]:
    first, count = so_far
    return (first if count else place), count + 1


def paragraph_values(
    page: Page, chosen: Mapping[str, float], parameters: Mapping[str, int]
) -> Iterator[tuple[str, float]]:
    """Yield ("min_paragraphs", the number of lines long enough) if it is chosen."""
    if "min_paragraphs" in chosen:
        long = parameters["min_paragraph_len"]
        yield "min_paragraphs", sum(len(line) >= long for line in page.text.split("\n"))
