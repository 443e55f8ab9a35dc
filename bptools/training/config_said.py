"""One thing that a configuration file says, where it says it, and how to complain about it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bptools.core.errors import ConfigError


class Said(NamedTuple):
    """`shown: value` in the file `path`. key: its name without a table around it."""

    path: str
    key: str
    shown: str
    value: Any

    def origin(self, option: str) -> str:
        """Return where it stands, with the key unless that is the option's own name."""
        return self.path if self.shown.replace("-", "_") == option else f"{self.path} ({self.shown})"

    def refuse(self, why: str) -> ConfigError:
        """Return the error that says why this cannot be followed."""
        return ConfigError(f"{self.path}: {self.shown}: {word(self.value)}: {why}")

    def truth(self) -> bool:
        """Read on and off. Raises ConfigError."""
        if isinstance(self.value, bool):
            return self.value
        text = str(self.value).lower()
        if text in ("true", "yes", "on", "1"):
            return True
        if text in ("false", "no", "off", "0"):
            return False
        raise self.refuse("true or false")

    def number(self) -> float:
        """Read a number. Raises ConfigError."""
        try:
            number = math.nan if isinstance(self.value, bool) else float(self.value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.refuse("a number")
        return number

    def whole(self, least: int = 1) -> int:
        """Read a whole number of at least `least`. Raises ConfigError."""
        number = self.number()
        if number != int(number) or number < least:
            raise self.refuse(f"a whole number from {least}")
        return int(number)

    def words(self) -> list[str]:
        """Read a list, or a text with commas."""
        if isinstance(self.value, (list, tuple)):
            return [str(entry).strip() for entry in self.value]
        return [entry.strip() for entry in str(self.value).split(",") if entry.strip()]


class Atom(NamedTuple):
    """What an option shall be, by what was said."""

    value: Any
    said: Said


def word(value: Any) -> str:
    """Return a value as a file would have it."""
    import json

    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def disagree(one: Said, other: Said) -> ConfigError:
    """Return the error for two keys of which only one can hold."""
    return ConfigError(
        f"{one.path}: '{one.shown}: {word(one.value)}' and '{other.shown}: {word(other.value)}' disagree"
        + ("" if other.path == one.path else f" (the second in {other.path})")
    )
