"""Scores that were computed once: a table on disk, by what was asked of which model.

cache = ScoreCache("scores/", {"model": "nano", "weights": "9f2c...", "dtype": "float32"})
known = cache.get(keys)          # [nats, or None]
cache.put(missing, nats)         # all of them or none, at once

SQLite keeps it: several runs may share a folder, and what a killed one wrote is whole.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from typing import Any

import orjson

from bptools.core.errors import OutputError, ReadWriteError
from bptools.core.streams import reason_of

_VERSION = 1
_AT_ONCE = 500  # keys in one question
_WAIT_SECONDS = 60.0  # for another run that is writing


class ScoreCache:
    """The scores of one model in a folder that may hold those of many. Raises OutputError, ReadWriteError."""

    def __init__(self, folder: str, identity: dict[str, Any]) -> None:
        """`identity` is what a score depends on beside the tokens; `model` in it names the file."""
        line = orjson.dumps({"version": _VERSION, **identity}, option=orjson.OPT_SORT_KEYS)
        stem = re.sub(r"[^\w.-]+", "-", str(identity.get("model", "model")))[:60]
        self.path = os.path.join(folder, f"{stem}-{hashlib.sha256(line).hexdigest()[:16]}.sqlite")
        self.found = self.scored = 0
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot create the cache '{folder}': {reason_of(error)}") from None
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                self._table = self._opened(line.decode())
                return
            except sqlite3.Error as error:
                # while another run begins or ends the journal, SQLite does not wait by itself
                if "locked" not in str(error) or time.monotonic() > until:
                    raise self._failure(error) from None
            time.sleep(0.02)

    def _opened(self, identity: str) -> sqlite3.Connection:
        table = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
        try:
            table.execute("PRAGMA journal_mode=WAL")
            table.execute("PRAGMA synchronous=NORMAL")  # a power cut may lose the last batches, no more
            table.execute("CREATE TABLE IF NOT EXISTS scorer (identity TEXT PRIMARY KEY)")
            table.execute("INSERT OR IGNORE INTO scorer VALUES (?)", (identity,))
            table.execute(
                "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, nats REAL NOT NULL) WITHOUT ROWID"
            )
        except sqlite3.Error:
            table.close()
            raise
        return table

    def get(self, keys: Sequence[bytes]) -> list[float | None]:
        """Return the nats that are known of each key."""
        found: dict[bytes, float] = {}
        try:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                found.update(
                    self._table.execute(f"SELECT key, nats FROM scores WHERE key IN ({marks})", part)
                )
        except sqlite3.Error as error:
            raise self._failure(error) from None
        self.found += sum(key in found for key in keys)
        return [found.get(key) for key in keys]

    def put(self, keys: Sequence[bytes], nats: Sequence[float]) -> None:
        """Add scores; what is there stays as it is, so that a run that is repeated says the same."""
        try:
            self._table.execute("BEGIN IMMEDIATE")
            self._table.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?)", zip(keys, nats))
            self._table.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failure(error) from None
        self.scored += len(keys)

    def close(self) -> None:
        """Let others have it; nothing is lost without."""
        self._table.close()

    def _failure(self, error: sqlite3.Error) -> ReadWriteError:
        fix = "; delete it to begin anew" if type(error) is sqlite3.DatabaseError else ""  # no database
        return ReadWriteError(f"cannot use the cache '{self.path}': {str(error).lower()}{fix}")
