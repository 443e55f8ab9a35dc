"""What a stream is compared against: the records of other sources, all of them known before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bptools.core.errors import DataError
from bptools.core.intake import Intake
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.records import Drop, Record, Reject
from bptools.core.report import Counts
from bptools.quality.dedup.content import Content, Seen
from bptools.quality.dedup.known import Known
from bptools.quality.dedup.originals import Originals

if TYPE_CHECKING:
    from bptools.core.pipeline import Pipeline
    from bptools.quality.dedup.profile import Profiler

_AT_ONCE = 1024  # records


def read_against(
    pipe: Pipeline,
    sources: list[str],
    content: Content,
    profiler: Profiler | None,
    known: Known,
    originals: Originals,
) -> int:
    """Have the records of sources known; return how many there are.

    Near-duplicates among them are all kept: what is like one of them need not be like the other. Raises
    InputError, and DataError at the first line that cannot be read: it might be what should be found.
    """
    settings = pipe.settings
    how = PipelineSettings(
        sources=sources,
        output="",
        input_format=settings.input_format,
        split_on=settings.split_on,
        text_field=settings.text_field,
        field_map=settings.field_map,
    )
    counts = Counts()

    def refuse(line: int, why: Reject, raw: bytes) -> None:
        refuse_record(f"{intake.source.name}:{line}", why)

    intake = Intake(how, counts, pipe.messages, refuse, hashing=False)
    intake.coerce = pipe.intake.coerce
    read: list[tuple[bytes | None, Record]] = []
    seen, places = Seen(), []
    content.passing_marked = False  # nothing of these goes out, so that nothing can be lost with them
    for raws, records in intake.batches():
        for row in range(len(records)):
            intake.locate(row)
            places.append(intake.place)
        counts.read += len(records)
        read += zip(raws, records)
        seen = content.look(raws, records, seen)
        for row, why in seen.objections.items():
            refuse_record(places[row], why)
        if len(places) >= _AT_ONCE:
            _add(seen, places, read, profiler, known, originals)
            seen, places, read = Seen(), [], []
    content.passing_marked = True
    _add(seen, places, read, profiler, known, originals)
    return counts.read


def refuse_record(place: str, why: Reject | Drop) -> None:
    """Raise DataError for a record of --against that cannot be read."""
    detail = f": {why.detail}" if isinstance(why, Reject) and why.detail else ""
    raise DataError(f"{place}: {why.reason}{detail}; --against needs every record of it")


def _add(
    seen: Seen,
    places: list[str],
    read: list[tuple[bytes | None, Record]],
    profiler: Profiler | None,
    known: Known,
    originals: Originals,
) -> None:
    rows = np.delete(np.arange(len(places)), seen.absent)
    keys = seen.keys[rows]
    ids, first = known.keys.place(keys)
    new = np.flatnonzero(ids < 0)
    leads = new[first[new] == new]
    if profiler is not None and known.near is not None:
        known.near.add(profiler.profile([seen.texts[row] for row in rows[leads].tolist()]))
    ids[leads] = known.keys.add(keys[leads]) + np.arange(len(leads))
    ids[new] = ids[first[new]]
    originals.add_beside([read[row] for row in rows[leads].tolist()])
    for number, row in zip(ids.tolist(), rows.tolist()):
        originals.add_against(number, places[row])
