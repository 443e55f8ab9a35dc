"""The text of a command's man page, which --help quotes: one plain file per command in `commands/pages`.

A section begins with its title in capitals at column 0; its lines are indented by two spaces or not at all.
"""

from __future__ import annotations

import os

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "commands", "pages")


def page_path(name: str) -> str:
    """Return the file that holds a command's page."""
    return os.path.join(FOLDER, name + ".txt")


def section(name: str, title: str) -> str:
    """Return one section of a command's page, without its title. Empty when the page has none."""
    try:
        with open(page_path(name), encoding="utf-8") as file:
            lines = file.read().split("\n")
    except FileNotFoundError:
        return ""
    inside = False
    body: list[str] = []
    for line in lines:
        if line and line == line.upper() and line[0].isalpha():
            inside = line == title
        elif inside:
            body.append(line)
    return "\n".join(body).strip("\n")
