"""Five ways to spoil a text, and how well a score tells the spoilt from the clean."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Sequence

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_OTHER = "абцдефгхийклмнопярстувшжыз"
_SCRIPT = str.maketrans(_LATIN + _LATIN.upper(), _OTHER + _OTHER.upper())
_CONFUSED = {
    "l": "1",
    "o": "0",
    "m": "rn",
    "e": "c",
    "i": "j",
    "h": "b",
    "s": "5",
    "g": "q",
    "w": "vv",
    "a": "o",
}
_TAGS = ("div", "span", "td", "tr", "a", "li", "p", "b", "input", "script", "img", "ul")


def shuffled(text: str, choice: random.Random) -> str:
    """Return the words in random order."""
    words = text.split()
    choice.shuffle(words)
    return " ".join(words)


def misread(text: str, choice: random.Random) -> str:
    """Return the text with one character in seven misread, lost or doubled, as bad OCR does."""
    found = []
    for letter in text:
        chance = choice.random()
        if chance < 0.07:
            found.append(_CONFUSED.get(letter.lower(), choice.choice(_LATIN)))
        elif chance < 0.1:
            continue
        elif chance < 0.14:
            found.append(letter + choice.choice(".,'|~ -"))
        else:
            found.append(letter)
    return "".join(found)


def encoded(text: str, choice: random.Random) -> str:
    """Return as many characters of base64."""
    return base64.b64encode(choice.randbytes(len(text.encode()) * 3 // 4)).decode()


def markup(text: str, choice: random.Random) -> str:
    """Return as many characters of random tags with random attributes."""
    found = ""
    while len(found) < len(text):
        tag = choice.choice(_TAGS)
        value = f"{choice.getrandbits(32):x}"
        found += choice.choice((
            f'<{tag} class="{value}" id="{choice.randint(0, 9999)}">', f"</{tag}>", f"<{tag}/>",
            f'<{tag} style="{choice.choice(_LATIN)}:{choice.randint(0, 99)}px" href="/{value}">', "&nbsp;",
        ))  # fmt: skip
    return found[: len(text)]


def transliterated(text: str, choice: random.Random) -> str:
    """Return the text with its letters replaced by Cyrillic ones."""
    del choice
    return text.translate(_SCRIPT)


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "shuffled": shuffled,
    "ocr": misread,
    "base64": encoded,
    "markup": markup,
    "script": transliterated,
}


def area(clean: Sequence[float], spoilt: Sequence[float]) -> float:
    """Return the area under the ROC curve: how often a spoilt text scores above a clean one, ties half."""
    wins = sum((bad > good) + (bad == good) / 2 for bad in spoilt for good in clean)
    return wins / (len(clean) * len(spoilt))
