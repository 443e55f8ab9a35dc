"""Going on after broken JSON: where does the next element start?

Two ways, in this order. Brackets and quotes alone: a value with a bad literal, comma or escape still
closes where it should. Else the look of the file: the next text that opens like the broken element did
(same indentation if it stood on its own line, same first key) and that decodes.
"""

from __future__ import annotations

import json
import re

NEEDS_MORE = -1
MISMATCH = -2

_TOKEN = re.compile(r'\\.|["{}\[\],\n]', re.DOTALL)
_OPENING = re.compile(r'([{\[])(?:[ \t\r\n]*("(?:[^"\\\n]|\\.){0,200}")[ \t\r\n]*:)?')
_FOLLOW = re.compile(r"[ \t\r\n]*([^ \t\r\n])?")
_PAIRS = {"}": "{", "]": "["}


class Skipper:
    """Finds the end of one value that may be broken; can be fed again when more text has come.

    A raw newline ends a string, since valid JSON has none inside: one quote too many costs a line.
    """

    __slots__ = ("_at", "_in_string", "_stack")

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._in_string = False
        self._at = 0  # scanned so far, relative to the value's start

    def feed(self, text: str, start: int) -> int:
        """Return the index behind the value that starts at `start`, NEEDS_MORE or MISMATCH.

        `start` must be the same value's start in every call, `text` the same text or more of it.
        """
        stack = self._stack
        in_string = self._in_string
        at = start + self._at
        for match in _TOKEN.finditer(text, at):
            token = match.group()
            at = match.end()
            if in_string:
                if token == '"' or token == "\n":
                    in_string = False
            elif token == '"':
                in_string = True
            elif not stack and match.start() > start:
                if token[0] != "\\":
                    return match.start()
            elif token == "{" or token == "[":
                stack.append(token)
            elif token == "}" or token == "]":
                if not stack:
                    return at  # a stray closing bracket is a value of its own
                if stack.pop() != _PAIRS[token]:
                    return MISMATCH
                if not stack:
                    return at
        if not text.endswith("\\"):
            at = len(text)
        self._at = at - start
        self._in_string = in_string
        return NEEDS_MORE

    def forget(self, count: int) -> None:
        """Note that `count` scanned characters behind the start were cut out of the text."""
        self._at -= count


def plausible_end(text: str, end: int) -> bool:
    """Say whether a value may end here: by what follows it."""
    match = _FOLLOW.match(text, end)
    follows = match.group(1) if match else None
    return follows in (",", "]", "{", "[") if follows else True


def opening_pattern(text: str, gap_start: int, start: int, before: object) -> re.Pattern[str]:
    """Return what an element's start looks like, by the one at `start` and the value `before` it.

    `text[gap_start:start]` is the space in front of it. Group 1 of a match begins at the element.
    """
    gap = text[gap_start:start]
    newline = gap.rfind("\n")
    indentation = re.escape(gap[newline:]) if newline >= 0 else ""
    match = _OPENING.match(text, start)
    opener, key = match.groups() if match else (None, None)
    keys = {key} if key else set()
    if type(before) is dict and before:
        first = next(iter(before))
        keys |= {json.dumps(first), json.dumps(first, ensure_ascii=False)}
    if keys:
        some_key = "|".join(map(re.escape, sorted(keys)))
        return re.compile(indentation + rf"(\{{[ \t\r\n]*(?:{some_key})[ \t\r\n]*:)")
    return re.compile((indentation or r",[ \t\r\n]*") + (rf"({re.escape(opener)})" if opener else r"([{\[])"))
