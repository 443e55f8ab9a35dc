"""Halves of surrogate pairs, which JSON can spell (\\ud800) and no tokenizer takes."""

from __future__ import annotations

import json
from typing import TypeVar

Value = TypeVar("Value")
REFUSALS = (TypeError, UnicodeEncodeError)
"""What a tokenizer raises that is given one."""


def with_whole_pairs(value: Value) -> Value:
    """Return a JSON value with a question mark for each half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(text)  # type: ignore[no-any-return]
