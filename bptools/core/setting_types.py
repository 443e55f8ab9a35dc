"""A value of a configuration file as its option takes it: `limit: 2.5` is no number of records."""

from __future__ import annotations

from typing import Any

from bptools.core.errors import ConfigError


class WrittenFloat(float):
    """A number whose spelling says more: the tag 1.10, the commit 1234e56."""

    text: str


def as_written(value: float, text: str) -> float:
    """Return a number that keeps how it is written if that says more, for an option that takes a text.

    That of a whole number does not: 1e9 is meant as a count or a size.
    """
    if str(value) == text or (value.is_integer() and abs(value) < 2**53):
        return value
    written = WrittenFloat(value)
    written.text = text
    return written


def as_option(parameter: Any, value: Any, origin: str) -> Any:
    """Return what a file says as the command line would have given it.

    An option that may be repeated takes a list, a table (`NAME=VALUE` each) or one value; others take one.
    What a text says is left to the option. Raises ConfigError.
    """
    if value is None:
        return None
    if getattr(parameter, "multiple", False) or getattr(parameter, "nargs", 1) == -1:
        items = value
        if isinstance(value, dict):
            try:
                items = [_pair(key, item) for key, item in value.items()]
            except (RecursionError, ValueError):
                raise _refused(parameter, "holds itself", origin) from None
        return [_text(parameter, item, origin) for item in (items if isinstance(items, list) else [items])]
    kind = getattr(parameter.type, "name", "")
    if isinstance(value, dict | list):
        raise _refused(parameter, f"takes one value, not a {_shape(value)}", origin)
    if kind.startswith("bool"):
        if not isinstance(value, bool | str):
            raise _refused(parameter, f"is true or false, not {value}", origin)
        return value
    if isinstance(value, str):
        return value
    if kind.startswith(("int", "float")):
        whole = kind.startswith("int")
        if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value % 1 != 0):
            shown = str(value).lower() if isinstance(value, bool) else value
            raise _refused(parameter, f"takes a {'whole ' if whole else ''}number, not {shown}", origin)
        return int(value) if whole else float(value)
    return _text(parameter, value, origin)


def _pair(key: Any, item: Any) -> str:
    """Return NAME=VALUE; what is no text as JSON, so that `false` is read as it was meant."""
    import json

    left, right = (part.text if isinstance(part, WrittenFloat) else part for part in (key, item))
    return f"{left}={right if isinstance(right, str) else json.dumps(right, ensure_ascii=False, default=str)}"


def _text(parameter: Any, value: Any, origin: str) -> str:
    """Return a text or a number as text; what else there is would be Python's spelling of it."""
    if isinstance(value, WrittenFloat):
        return value.text
    if isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        return str(value)
    if isinstance(value, dict | list):
        raise _refused(parameter, f"takes a text, not a {_shape(value)}", origin)
    shown = "null" if value is None else str(value).lower()
    raise _refused(parameter, f"takes a text, not {shown}; quote it", origin)


def _shape(value: Any) -> str:
    return "table" if isinstance(value, dict) else "list"


def _refused(parameter: Any, why: str, origin: str) -> ConfigError:
    return ConfigError(f"{origin}: {parameter.name.replace('_', '-')} {why}")
