"""Amounts of memory and times, as options (`--max-memory 1.5G`, `--wait 10m`) and as they are shown."""

from __future__ import annotations

import re

from bptools.core.errors import UsageError

_SIZE = re.compile(r"(\d{1,18}\.?\d{0,18}|\.\d{1,18}) ?([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_DURATION = re.compile(r"(\d{1,18}\.?\d{0,18}|\.\d{1,18}) ?(s|m|h|d|)", re.ASCII | re.IGNORECASE)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(option: str, text: str) -> int:
    """Return the bytes of `1.5G`: K, M, G and T are powers of 1024, without one they are bytes.

    Raises UsageError.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} '{text}' is no size; write it as 500M or 1.5G")
    return int(float(found[1]) * 1024 ** " kmgt".index(found[2].lower() or " "))


def parse_duration(option: str, text: str) -> float:
    """Return the seconds of `30`, `30s`, `10m`, `2h` or `1d`. Raises UsageError."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{option} '{text}' is no duration; write it as 30, 10m or 2h")
    return float(found[1]) * _SECONDS[found[2].lower()]


def shown_size(size: int) -> str:
    """Return a size in whole mebibytes, rounded up, as it can be given: `96M`."""
    return f"{-(-size >> 20)}M"


def shown_time(seconds: float) -> str:
    """Return seconds as a clock has them, to whole ones: 0:12, 1:02:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def shown_duration(seconds: float) -> str:
    """Return seconds as a person says about how long it takes: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
