"""The light markup of page texts, read into sections and blocks.

    TITLE            a line in capitals at column 0 begins a section
    Words ...        lines at column 0: a paragraph, filled; a blank line ends it
        code         an indented block: literal, line by line
        name  words  an indented block in which every line at its left edge is a name, two or more blanks and
                     words that hold no two blanks in a row: a list; deeper lines continue the words above

`code` between backquotes is set bold, so are --options and page(1) references. In EXAMPLES every indented
block is literal. Long names fit a list too: only the gap counts, not the column. A table of three columns
stays literal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_ITEM = re.compile(r"(\S.*?)  +(\S.*)")


class Paragraph(NamedTuple):
    """Words to fill."""

    text: str


class Literal(NamedTuple):
    """Lines to keep, their common indentation taken away."""

    lines: tuple[str, ...]


class Listing(NamedTuple):
    """Names and what is said of each."""

    items: tuple[tuple[str, str], ...]


Block = Paragraph | Literal | Listing


class PageError(Exception):
    """A page text that cannot be used; the message names page and fault."""


def is_title(line: str) -> bool:
    """Say whether a line begins a section: the rule of bptools/core/pages.py."""
    return bool(line) and line == line.upper() and line[0].isalpha()


def parse(text: str, page: str) -> dict[str, list[Block]]:
    """Return {title: blocks} in the order of the text. Raises PageError."""
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip()
        if "\t" in line:
            raise PageError(f"{page}:{number}: a tab; pages are indented with blanks")
        if is_title(line):
            if line in sections:
                raise PageError(f"{page}:{number}: a second section {line}")
            current = sections.setdefault(line, [])
        elif current is not None:
            current.append(line)
        elif line:
            raise PageError(f"{page}:{number}: text before the first section")
    return {title: _blocks(lines, literal=title == "EXAMPLES") for title, lines in sections.items()}


def _blocks(lines: list[str], literal: bool) -> list[Block]:
    blocks: list[Block] = []
    group: list[str] = []
    for line in [*lines, ""]:
        # a block ends at a blank line, and where text turns into an indented block or back
        if group and (not line or line.startswith(" ") != group[0].startswith(" ")):
            blocks.append(_block(group, literal))
            group = []
        if line:
            group.append(line)
    return _joined(blocks)


def _block(group: list[str], literal: bool) -> Block:
    if not group[0].startswith(" "):
        return Paragraph(" ".join(group))
    items = None if literal else _items(_dedented(group))
    return Listing(tuple(items)) if items else Literal(tuple(group))


def _dedented(lines: Sequence[str]) -> list[str]:
    edge = min(len(line) - len(line.lstrip()) for line in lines if line)
    return [line[edge:] for line in lines]


def _items(lines: list[str]) -> list[tuple[str, str]] | None:
    """Return the list that the lines are, or None when they are none."""
    items: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith(" "):
            if not items or "  " in line.strip():
                return None
            items[-1] = (items[-1][0], f"{items[-1][1]} {line.strip()}")
            continue
        match = _ITEM.fullmatch(line)
        if match is None or "  " in match[2]:
            return None
        items.append((match[1], match[2]))
    return items


def _joined(blocks: list[Block]) -> list[Block]:
    """Join literal blocks that only a blank line parts, as in a script, and take their indentation away."""
    joined: list[Block] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if isinstance(block, Literal) and isinstance(last, Literal):
            joined[-1] = Literal((*last.lines, "", *block.lines))
        else:
            joined.append(block)
    return [Literal(tuple(_dedented(one.lines))) if isinstance(one, Literal) else one for one in joined]
