"""What is said of the records that others are copies of: their content keys, and where they stand."""

from __future__ import annotations

import math
import os

from bptools.core.records import Drop, Record
from bptools.core.window import Window
from bptools.quality.dedup.content import Content
from bptools.quality.dedup.known import Known

EXACT = "exact-duplicate"
NEAR = "near-duplicate"
_PLAIN = {True: Drop(EXACT), False: Drop(NEAR)}


class Originals:
    """The kept records by id. `detailed`: what is dropped says of which; else nothing is remembered of them.

    Content keys take 16 bytes a record where copies are not found by them (--on, --exact); places, for
    --explain, about 100.
    """

    def __init__(
        self,
        known: Known,
        content: Content,
        threshold: float,
        detailed: bool,
        explain: bool,
        idents: bool = False,
    ) -> None:
        self._known = known
        self._content = content
        self._threshold = threshold
        self._detailed = detailed
        self._explain = explain
        self._keys = bytearray() if (detailed or idents) and not content.keys_are_idents else None
        self._places: list[str] = []
        self._against: dict[int, str] = {}
        self.of_index = 0  # ids below are of earlier runs

    def add_earlier(self, keys: bytes, count: int) -> None:
        """Note records of earlier runs, by their content keys."""
        if self._keys is not None:
            self._keys += keys
        if self._explain:
            self._places += [""] * count
        self.of_index += count

    def add_beside(self, records: list[tuple[bytes | None, Record]]) -> None:
        """Note records that are known but not in the stream, (line, record), in the order of their ids."""
        if self._keys is not None:
            for raw, record in records:
                self._keys += self._content.ident(raw, record)
        if self._explain:
            self._places += [""] * len(records)

    def add(self, window: Window, rows: list[int]) -> None:
        """Note rows of a window that are kept, in the order of their ids."""
        if self._keys is not None:
            for row in rows:
                self._keys += self._content.ident(window.raws[row], window.record(row))
        if self._explain:
            self._places += [window.place(row) for row in rows]

    def add_later(self, window: Window, rows: list[int], ids: list[int]) -> None:
        """Note rows of a window that are kept, whatever their ids are; all ids are given out by now."""
        if self._keys is not None:
            self._keys += bytes(16 * len(self._known) - len(self._keys))
            for row, number in zip(rows, ids):
                ident = self._content.ident(window.raws[row], window.record(row))
                self._keys[16 * number : 16 * number + 16] = ident
        if self._explain:
            self._places += [""] * (len(self._known) - len(self._places))
            for row, number in zip(rows, ids):
                self._places[number] = window.place(row)

    def idents_from(self, first: int) -> bytes:
        """Return the content keys from an id on, 16 bytes each; none where `Known` has them."""
        return b"" if self._keys is None else bytes(self._keys[16 * first :])

    @property
    def noting(self) -> bool:
        """Whether anything is noted of what is kept."""
        return self._keys is not None or self._explain

    def add_against(self, number: int, place: str) -> None:
        """Note where the record with an id stands in what is compared against."""
        self._against.setdefault(number, place)

    def origin(self, number: int) -> str:
        """Return where a record is from: stream, against or index."""
        if number in self._against:
            return "against"
        return "index" if number < self.of_index else "stream"

    def key(self, number: int) -> str:
        """Return the content key of a record, 32 hexadecimal digits."""
        if self._keys is None:
            return self._known.hex(number)
        return self._keys[16 * number : 16 * number + 16].hex()

    def place(self, number: int) -> str:
        """Return FILE:LINE of a record, empty if it was not noted."""
        if number in self._against:
            return self._against[number]
        return self._places[number] if number < len(self._places) else ""

    def drop(self, number: int, jaccard: float) -> Drop:
        """Return why a copy of a record goes; `jaccard` is NaN for exact copies."""
        exact = math.isnan(jaccard)
        if not self._detailed:
            return _PLAIN[exact]
        origin = self.origin(number)
        added: Record = {"dup_of": self.key(number), "jaccard": None if exact else round(jaccard, 4)}
        added["dup_in"] = None if origin == "stream" else origin
        place = self.place(number)
        name, _, line = place.rpartition(":")
        added["dup_at"] = f"{os.path.basename(name)}:{line}" if origin == "against" else None
        if exact:
            reason, value, limit, shown = EXACT, None, None, ""
        else:
            reason, value, limit = NEAR, added["jaccard"], self._threshold
            shown = f", jaccard {added['jaccard']}"
        of = place or ("a record of the index" if origin == "index" else added["dup_of"])
        return Drop(reason, value, limit, added=added, explanation=f"of {of}{shown}")
