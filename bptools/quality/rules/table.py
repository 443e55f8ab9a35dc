"""The published rules by name: their sets and limits. The page of bp-filter says what each one measures.

Gopher: Rae et al. 2021, arXiv 2112.11446, section A1.1 and table A1. C4: Raffel et al. 2020, JMLR 21/140,
section 2.2. mC4: Xue et al. 2021, arXiv 2010.11934, section 3.1. FineWeb: Penedo et al. 2024, arXiv
2406.17557, section 3.5. Limits and details the papers leave open are those of datatrove 0.10.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """A rule of a set: a text breaks it with a value beyond the limit (`least`: below it, else above)."""

    name: str
    set: str
    least: bool
    default: float

    @property
    def family(self) -> str:
        """Return the set as reason codes name it."""
        return "gopher" if self.set.startswith("gopher") else self.set


class Parameter(NamedTuple):
    """A number or switch that shapes rules of a set and breaks nothing by itself."""

    name: str
    set: str
    default: int | bool


TOP_NGRAMS = (2, 3, 4)
DUPLICATE_NGRAMS = (5, 6, 7, 8, 9, 10)

# In the order in which they are judged.
_RULES = (
    Rule("min_doc_words", "gopher-quality", True, 50),
    Rule("max_doc_words", "gopher-quality", False, 100_000),
    Rule("min_avg_word_length", "gopher-quality", True, 3),
    Rule("max_avg_word_length", "gopher-quality", False, 10),
    Rule("max_symbol_word_ratio", "gopher-quality", False, 0.1),
    Rule("max_bullet_lines_ratio", "gopher-quality", False, 0.9),
    Rule("max_ellipsis_lines_ratio", "gopher-quality", False, 0.3),
    Rule("min_alpha_words_ratio", "gopher-quality", True, 0.8),
    Rule("min_stop_words", "gopher-quality", True, 2),
    Rule("dup_para_frac", "gopher-repetition", False, 0.3),
    Rule("dup_para_char_frac", "gopher-repetition", False, 0.2),
    Rule("dup_line_frac", "gopher-repetition", False, 0.3),
    Rule("dup_line_char_frac", "gopher-repetition", False, 0.2),
    *(
        Rule(f"top_{n}_gram_char_frac", "gopher-repetition", False, limit)
        for n, limit in zip(TOP_NGRAMS, (0.2, 0.18, 0.16))
    ),
    *(
        Rule(f"dup_{n}_gram_char_frac", "gopher-repetition", False, limit)
        for n, limit in zip(DUPLICATE_NGRAMS, (0.15, 0.14, 0.13, 0.12, 0.11, 0.1))
    ),
    Rule("lorem_ipsum", "c4", False, 0),
    Rule("curly_bracket", "c4", False, 0),
    Rule("min_num_sentences", "c4", True, 5),
    Rule("min_paragraphs", "c4-paragraph", True, 3),
    Rule("line_punct_thr", "fineweb", True, 0.12),
    Rule("short_line_thr", "fineweb", False, 0.67),
    Rule("char_duplicates_ratio", "fineweb", False, 0.01),
    Rule("new_line_ratio", "fineweb", False, 0.3),
)

RULES: dict[str, Rule] = {rule.name: rule for rule in _RULES}

_PARAMETERS = (
    Parameter("min_top_occurrences", "gopher-repetition", 1),
    Parameter("min_words_per_line", "c4", 3),
    Parameter("max_word_length", "c4", 1000),
    Parameter("terminal_punctuation", "c4", True),
    Parameter("javascript", "c4", True),
    Parameter("policy", "c4", True),
    Parameter("citations", "c4", True),
    Parameter("min_paragraph_len", "c4-paragraph", 200),
    Parameter("short_line_length", "fineweb", 30),
)

PARAMETERS: dict[str, Parameter] = {parameter.name: parameter for parameter in _PARAMETERS}

SETS: dict[str, tuple[str, ...]] = {
    name: tuple(rule.name for rule in _RULES if rule.set in members)
    for name, members in {
        "gopher": ("gopher-quality", "gopher-repetition"),
        "gopher-quality": ("gopher-quality",),
        "gopher-repetition": ("gopher-repetition",),
        "c4": ("c4",),
        "c4-paragraph": ("c4-paragraph",),
        "fineweb": ("fineweb",),
    }.items()
}
