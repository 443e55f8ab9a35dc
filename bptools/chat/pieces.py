"""Text records cut into pieces while everything else passes: the conversion that --chunk adds to."""

from __future__ import annotations

from collections.abc import Callable

from bptools.chat.chunks import Offsets, chunk
from bptools.chat.convert import Converter
from bptools.core.records import Record


def cutting(
    converter: Converter,
    size: int,
    unit: str,
    overlap: int,
    offsets: Offsets | None = None,
) -> Callable[[Record], Record | list[Record]]:
    """Return what the converter does with text records cut into pieces of `size` units.

    These have `bp.chunk` and `bp.chunks`; a text that fits is one piece and passes as it is.
    """
    change = converter.function()

    def pieces(record: Record) -> list[Record]:
        texts = chunk(record["text"], size, unit, overlap, offsets)
        if len(texts) < 2:
            return [record]
        own = record.get("bp")
        known = own if type(own) is dict else {}
        return [
            {**record, "text": text, "bp": {**known, "chunk": number, "chunks": len(texts)}}
            for number, text in enumerate(texts)
        ]

    def changed(record: Record) -> Record | list[Record]:
        result = change(record)
        if converter.shape != "text":  # field names do not tell: a text may have `messages`
            return result
        made: list[Record] = result if type(result) is list else [result]  # type: ignore[list-item]
        cut = [piece for item in made for piece in pieces(item)]
        return cut[0] if len(cut) == 1 else cut

    return changed
