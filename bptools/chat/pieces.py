"""Text records cut into pieces while everything else passes: the conversion that --chunk adds to."""

from __future__ import annotations

from collections.abc import Callable

from bptools.chat.chunks import Offsets, chunk
from bptools.core.records import Record


def cutting(
    change: Callable[[Record], Record | list[Record]],
    size: int,
    unit: str,
    overlap: int,
    offsets: Offsets | None = None,
) -> Callable[[Record], Record | list[Record]]:
    """Return `change` with text records cut into pieces of `size` units, with `bp.chunk` and `bp.chunks`.

    A text that fits is one piece and passes as it is.
    """

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
        made = result if type(result) is list else [result]
        cut = [piece for item in made for piece in (pieces(item) if _is_text(item) else [item])]  # type: ignore[arg-type]
        return cut[0] if len(cut) == 1 else cut  # type: ignore[return-value]

    return changed


def _is_text(record: Record) -> bool:
    return type(record.get("text")) is str and "messages" not in record and "chosen" not in record
