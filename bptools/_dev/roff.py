"""Blocks of a page as man(7) source: the same bytes whatever the locale, the terminal and the Python."""

from __future__ import annotations

import re

from bptools._dev.markup import Block, Listing, Literal, Paragraph

WIDTH = 78  # of source lines; mandoc asks for 80
_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
_EMPHASIS = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|(?P<reference>\b(?:bp-[a-z]+|bptools(?:-jsonl)?)\(\d\))"
    r"|(?P<option>(?<![\w/-])--[a-z][a-z0-9-]*)"
)


def escape(text: str) -> str:
    """Return text that roff shows as it is, copyable: no typographic quotes or hyphens."""
    pieces = []
    for character in text:
        if character in _SPECIAL:
            pieces.append(_SPECIAL[character])
        elif ord(character) < 128:
            pieces.append(character)
        else:
            pieces.append(f"\\[u{ord(character):04X}]")
    return "".join(pieces)


def bold(text: str) -> str:
    """Return literal text in bold."""
    return rf"\fB{escape(text)}\fR"


def italic(text: str) -> str:
    """Return literal text in italics: what the user replaces."""
    return rf"\fI{escape(text)}\fR"


def inline(text: str) -> str:
    """Return a text with its `code`, --options and page(1) references in bold."""
    pieces, end = [], 0
    for match in _EMPHASIS.finditer(text):
        pieces.append(escape(text[end : match.start()]))
        if reference := match["reference"]:
            name, bracket, section = reference.partition("(")
            pieces.append(bold(name) + bracket + section)
        else:
            pieces.append(bold(match["code"] or match["option"]))
        end = match.end()
    return "".join(pieces) + escape(text[end:])


def filled(roff: str) -> list[str]:
    """Return roff text as source lines of at most WIDTH characters, broken at blanks only."""
    lines: list[str] = []
    for word in roff.split():
        if lines and len(lines[-1]) + 1 + len(word) <= WIDTH:
            lines[-1] += " " + word
        else:
            lines.append(word)
    return [guarded(line) for line in lines]


def guarded(line: str) -> str:
    """Return a line that roff does not take for a request."""
    return r"\&" + line if line.startswith((".", "'")) else line


def blocks(content: list[Block]) -> list[str]:
    """Return the source lines of a section's blocks."""
    lines: list[str] = []
    for number, block in enumerate(content):
        if isinstance(block, Paragraph):
            lines += ([".PP"] if number else []) + filled(inline(block.text))
        elif isinstance(block, Listing):
            for name, words in block.items:
                lines += item(bold(name.replace("`", "")), inline(words))
        elif isinstance(block, Literal):
            lines += ([".PP"] if number else []) + [".RS 4", ".EX"]
            lines += [guarded(escape(line)) for line in block.lines]
            lines += [".EE", ".RE"]
    return lines


def item(name: str, words: str) -> list[str]:
    """Return an entry of a list: a name, already set, and what is said of it."""
    return [".TP", guarded(name), *filled(words)]
