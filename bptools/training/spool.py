"""Records of any source and format -> the spool that a run trains on, with hashes and where each came from.

The pipeline of the data commands reads, converts, rejects and counts; its output is the spool, which appears
whole or not at all. A record that stays goes to the training or the evaluation part by a hash of its content:
with more data it never changes sides.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bptools.core.errors import DataError, UsageError
from bptools.core.hashing import canonical_json, xxh3_64
from bptools.core.output import AtomicFile
from bptools.core.records import Drop, Record, Reject, dumps
from bptools.training.run_directory import EVALUATION, PLACES, RECORDS

if TYPE_CHECKING:
    from bptools.chat import Options
    from bptools.core.pipeline import Pipeline

_CONTENT = ("messages", "tools", "text", "prompt", "chosen", "rejected", "completion", "label")
_SPLIT_SEED = 1  # fixed: sides never change


@dataclass
class Spooled:
    """What was read. Hashes are of the lines written; `shapes` counts the records by what they are."""

    records: int = 0
    evaluation: int = 0
    records_sha256: str = ""
    evaluation_sha256: str = ""
    shapes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0


def evaluation_share(text: str) -> tuple[float, int]:
    """Read `2%`, `.02`, `100` or `0`: (share of the records, most of them). Raises UsageError.

    A number of records is drawn as a tenth of them is, until there are so many.
    """
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        number = -1.0
    if number >= 1 and number.is_integer() and not text.endswith("%"):
        return 0.1, int(number)
    if not 0 <= number < 0.9:
        raise UsageError(
            f"--eval-split '{text}' is no share below 90 % and no number of records; write 2% or 100"
        )
    return number, 200


class Spool:
    """Writes converted records into a folder: `add` each, then `close`."""

    def __init__(self, folder: str, share: float, most: int, place_of: Any) -> None:
        self._folder = folder
        self._share = share
        self._most = most
        self._place_of = place_of
        self._files = {name: AtomicFile(os.path.join(folder, name)) for name in (RECORDS, EVALUATION, PLACES)}
        self._digests = {name: hashlib.sha256() for name in (RECORDS, EVALUATION)}
        for name, digest in self._digests.items():
            self._files[name].hash_with(digest)
        self.spooled = Spooled()
        self._held_out: set[int] = set()  # at most `most` of them

    def into_evaluation(self) -> None:
        """Take all records from here on for the evaluation part."""
        self._share, self._most = 1.0, 1 << 62

    def add(self, record: Record, shape: str) -> None:
        """Take a record of a shape. Raises Reject for what cannot be written."""
        line = dumps(record)
        spooled = self.spooled
        spooled.shapes[shape] = spooled.shapes.get(shape, 0) + 1
        if self._share and self._is_evaluation(record):
            self._files[EVALUATION].write(line)
            spooled.evaluation += 1
            return
        self._files[RECORDS].write(line)
        self._files[PLACES].write(f"{self._place_of()}\n".encode("utf-8", "surrogateescape"))
        spooled.records += 1
        spooled.bytes += len(line)

    def _is_evaluation(self, record: Record) -> bool:
        key = canonical_json({name: record[name] for name in _CONTENT if name in record})
        place = xxh3_64(key, _SPLIT_SEED)
        if place in self._held_out:  # a copy of what is held out must not be trained on
            return True
        if self.spooled.evaluation >= self._most or place >= self._share * 2.0**64:
            return False
        if self._share < 1:
            self._held_out.add(place)
        return True

    def close(self) -> Spooled:
        """Put the files in their places. Raises ReadWriteError."""
        for file in self._files.values():
            file.commit()
        self.spooled.records_sha256 = self._digests[RECORDS].hexdigest()
        if self.spooled.evaluation:
            self.spooled.evaluation_sha256 = self._digests[EVALUATION].hexdigest()
        return self.spooled

    def abort(self) -> None:
        """Forget everything."""
        for file in self._files.values():
            file.abort()


def fill(pipe: Pipeline, spool: Spool, reading: Options, most: int | None) -> None:
    """Read all records of a pipeline into a spool, at most `most` of them."""
    from bptools.chat import Converter, as_conversation

    converter = Converter(reading)
    pipe.intake.coerce = as_conversation
    taken = 0
    for raw, record in pipe:
        try:
            made = converter(record)
            if made is not record and raw is not None:
                made = converter.exactly(raw, record, made)
            for each in made if isinstance(made, list) else [made]:
                spool.add(each, converter.shape)
                taken += 1
            pipe.counts.out += 1
        except (Reject, Drop) as why:
            pipe.settle(why, raw, record)
        if most is not None and taken >= most:
            return


def only_shape(spooled: Spooled) -> str:
    """Return the one shape that all records have. Raises DataError for none and for several."""
    if not spooled.shapes:
        raise DataError(
            "no record to train on; name a source that holds chats, texts, preferences or rated answers"
        )
    if len(spooled.shapes) > 1:
        counted = ", ".join(f"{count} {shape}" for shape, count in sorted(spooled.shapes.items()))
        raise DataError(f"records of several shapes in one run: {counted}; bp-chatml --to makes them one")
    return next(iter(spooled.shapes))
