"""Files hashed again: are they still what was recorded?"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from bptools.core.errors import InputError
from bptools.core.streams import reason_of

if TYPE_CHECKING:
    from bptools.core.trace.graph import Trace

_BLOCK = 1 << 20


def sha256_of(path: str, most: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `most` bytes. Raises InputError."""
    digest = hashlib.sha256()
    left = most
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK if left is None else min(_BLOCK, left)):
                digest.update(block)
                left = None if left is None else left - len(block)
    except OSError as error:
        raise InputError(f"cannot read '{path}': {reason_of(error)}") from None
    return digest.hexdigest()


def verify_files(trace: Trace) -> None:
    """Hash what lies on disk and say of each file whether it changed. Raises InputError."""
    from bptools.core.trace.graph import WEIGHTS

    hashed: dict[tuple[str, int | None], str] = {}
    for file in trace.files():
        if file.state != "there" or file.path is None or file.sha256 is None:
            continue
        path = os.path.join(file.path, WEIGHTS) if os.path.isdir(file.path) else file.path
        place = (os.path.realpath(path), None if file.complete else file.bytes)
        if place not in hashed:
            hashed[place] = sha256_of(path, place[1])
        file.state = "unchanged" if hashed[place] == file.sha256 else "changed"
    trace.verified = True
