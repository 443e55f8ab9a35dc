"""What a word that nobody knows was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(given: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return `; did you mean 'NAME'?` for the most similar of the known names, else `otherwise`.

    Case does not count, - and _ are one, and nothing in front; the name is returned as it is known.
    """
    from difflib import get_close_matches

    folded = {_folded(name): name for name in sorted(known)}
    close = get_close_matches(_folded(given), folded, 1, 0.65)
    return f"; did you mean '{folded[close[0]]}'?" if close else otherwise


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").lstrip("_")
