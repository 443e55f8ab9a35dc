"""What is this record? Judged by the very readers that convert it: the answer is what bp-chatml would do."""

from __future__ import annotations

from typing import NamedTuple

from bptools.chat.reader import RecordReader
from bptools.core.records import Drop, Record, Reject


class Detection(NamedTuple):
    """The format of a record and the shape it becomes; why bp-chatml would refuse it, if it would."""

    format: str
    shape: str
    reason: str = ""
    detail: str = ""


class Detector:
    """Names the formats of records; remembers what field names mean from one record to the next."""

    def __init__(self, reader: RecordReader | None = None) -> None:
        self.reader = reader if reader is not None else RecordReader()

    def __call__(self, record: Record) -> Detection:
        """Return what a record is. Never raises for what a record may hold."""
        reader = self.reader
        reader.format, reader.shape = "unknown", ""
        try:
            reader.read(record)
        except Reject as reject:
            known = reader.format != "unknown"
            format = "unsupported" if reject.reason in _UNSUPPORTED and not known else reader.format
            return Detection(format, reader.shape, reject.reason, reject.detail)
        except Drop:
            pass
        return Detection(reader.format, reader.shape)


_UNSUPPORTED = ("multimodal", "tokenized", "unsupported")


def detect(record: Record) -> Detection:
    """Return the format and shape of one record.

    >>> detect({"instruction": "Add.", "input": "1, 2", "output": "3"})
    Detection(format='alpaca', shape='chat', reason='', detail='')
    """
    return Detector()(record)
