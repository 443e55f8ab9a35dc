"""FineWeb's rules (Penedo et al. 2024, arXiv 2406.17557, section 3.5): lines that do not read like prose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bptools.quality.rules.page import Page, repeated_parts
from bptools.quality.words import TERMINALS


def fineweb_values(
    page: Page, chosen: Mapping[str, float], parameters: Mapping[str, int]
) -> Iterator[tuple[str, float]]:
    """Yield (rule, value) for the chosen rules, in datatrove's order; ("empty", 0) for white space alone."""
    text = page.text
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if not lines:
        yield "empty", 0
        return
    if "line_punct_thr" in chosen:
        yield "line_punct_thr", sum(line[-1] in TERMINALS for line in lines) / len(lines)
    if "short_line_thr" in chosen:
        short = parameters["short_line_length"]
        yield "short_line_thr", sum(len(line) <= short for line in lines) / len(lines)
    breaks = text.count("\n")
    if "char_duplicates_ratio" in chosen:
        yield "char_duplicates_ratio", repeated_parts(lines)[1] / (len(text) - breaks)
    if "new_line_ratio" in chosen:
        yield "new_line_ratio", breaks and breaks / len(page.words)
