"""Gopher's quality rules (Rae et al. 2021, arXiv 2112.11446, section A1.1): length, symbols, stop words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bptools.quality.rules.page import Page
from bptools.quality.words import count_oddities

STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))


def quality_values(page: Page, chosen: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield (rule, value) for the chosen rules of the set, in datatrove's order.

    A text without a word yields ("empty", 0) where the rules that compare with the number of words would
    come, and none of those.
    """
    count = len(page.words)
    symbols, symbol_characters, letterless = count_oddities(page.chunks)
    plain = count - symbols
    if "min_doc_words" in chosen:
        yield "min_doc_words", plain
    if "max_doc_words" in chosen:
        yield "max_doc_words", plain
    if count:
        yield from _ratios(page, chosen, symbol_characters, plain)
        if "min_alpha_words_ratio" in chosen:
            yield "min_alpha_words_ratio", (count - letterless) / count
    elif not chosen.keys().isdisjoint(_OF_WORDS):
        yield "empty", 0
    if "min_stop_words" in chosen:
        yield "min_stop_words", len(STOP_WORDS.intersection(page.words))


_OF_WORDS = (
    "min_avg_word_length",
    "max_avg_word_length",
    "max_symbol_word_ratio",
    "max_bullet_lines_ratio",
    "max_ellipsis_lines_ratio",
    "min_alpha_words_ratio",
)


def _ratios(
    page: Page, chosen: Mapping[str, float], symbol_characters: int, plain: int
) -> Iterator[tuple[str, float]]:
    """Yield the values of a text with words, up to the lines that end in an ellipsis."""
    text = page.text
    if plain and ("min_avg_word_length" in chosen or "max_avg_word_length" in chosen):
        # A text of symbols alone has no mean and breaks neither.
        mean = (sum(map(len, page.chunks)) - symbol_characters) / plain
        if "min_avg_word_length" in chosen:
            yield "min_avg_word_length", mean
        if "max_avg_word_length" in chosen:
            yield "max_avg_word_length", mean
    ellipses = text.count("...") + text.count("\u2026")
    if "max_symbol_word_ratio" in chosen:
        yield "max_symbol_word_ratio", max(text.count("#"), ellipses) / len(page.words)
    lines = text.splitlines()
    if "max_bullet_lines_ratio" in chosen:
        bullets = sum(line.lstrip().startswith(("\u2022", "-")) for line in lines)
        yield "max_bullet_lines_ratio", bullets / len(lines)
    if "max_ellipsis_lines_ratio" in chosen:
        trailing = ellipses and sum(line.rstrip().endswith(("...", "\u2026")) for line in lines)
        yield "max_ellipsis_lines_ratio", trailing / len(lines)
