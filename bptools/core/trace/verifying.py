"""Files hashed again: are they still what was recorded?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bptools.core.errors import InputError
from bptools.core.hashing import sha256_of
from bptools.core.streams import reason_not_read

if TYPE_CHECKING:
    from bptools.core.trace.graph import Trace


def digest_of(path: str, most: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `most` bytes. Raises InputError."""
    try:
        return sha256_of(path, most)
    except OSError as error:
        raise InputError(f"cannot open '{path}': {reason_not_read(error)}") from None


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
            hashed[place] = digest_of(path, place[1])
        file.state = "unchanged" if hashed[place] == file.sha256 else "changed"
    trace.verified = True
