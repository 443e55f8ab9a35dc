"""A tokenizer that is on the disk; `models.hub.tokenizer_file` finds those of models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bptools.core.errors import InputError, MissingExtra


def load_tokenizer(name: str) -> Any:
    """Return a `tokenizers.Tokenizer` that neither truncates nor pads.

    name: a tokenizer.json, or a folder that holds it. Raises InputError if it is not there or cannot be read,
    MissingExtra without the package.
    """
    path = Path(name)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        raise InputError(f"{name}: no tokenizer.json there; name the file, its folder, or a model")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("tokenizers", "train") from None
    try:
        loaded: Any = Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises plain Exception
        raise InputError(f"{path}: not a tokenizer that can be read: {str(error).lower()}") from None
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


_SURROGATE = re.compile("[\ud800-\udfff]")


def encodable(text: str) -> str:
    """Return a text that a tokenizer can take: one U+FFFD for each lone surrogate, so that offsets hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text)
    return text
