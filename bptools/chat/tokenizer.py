"""A tokenizer by name: a tokenizer.json, a folder that holds one, or a model of the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from bptools.core.errors import InputError, MissingExtra, Unavailable


def load_tokenizer(name: str) -> Any:
    """Return a `tokenizers.Tokenizer` that neither truncates nor pads.

    name: a path, else OWNER/MODEL[@REVISION] on the hub, of which only tokenizer.json is fetched.
    Raises InputError if it is not there or cannot be read, MissingExtra without the package, Unavailable if
    the hub does not answer.
    """
    path = Path(name)
    if path.is_dir():
        path = path / "tokenizer.json"
    if not path.is_file():
        if path.exists() or name.count("/") != 1 or name.startswith((".", "/", "~")):
            raise InputError(f"{name}: no tokenizer.json there; name the file or a folder that holds it")
        path = Path(_from_hub(name))
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


def _from_hub(name: str) -> str:
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
    except ImportError:
        raise MissingExtra("huggingface_hub", "train") from None
    model, _, revision = name.partition("@")
    try:
        return str(hf_hub_download(model, "tokenizer.json", revision=revision or None))
    except (RepositoryNotFoundError, EntryNotFoundError):
        raise InputError(
            f"{name}: neither a file here nor a model with a tokenizer.json on the hub"
        ) from None
    except Exception as error:
        reason = " ".join(str(error).lower().split())[:200]
        raise Unavailable(f"cannot fetch the tokenizer of '{name}': {reason}") from None
