"""Why a record does not pass: the form that every judge of this package answers in."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """A reason code, the value that was measured and the limit it broke; both JSON values."""

    reason: str
    value: object
    limit: object
