"""Survey one source: which records to judge, and the report that bp-detect prints."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Any

from bptools.chat.profile import Profile
from bptools.core.records import Record, Reject, dumps_report, loads
from bptools.core.sources.base import BOM, not_object
from bptools.core.sources.sampling import HEAD_LINES, SPREAD_LINES, FileSample
from bptools.core.sources.sniff import encoding_facts

if TYPE_CHECKING:
    from bptools.chat.convert import Options
    from bptools.core.pipeline import Pipeline
    from bptools.core.sources.base import Reader

SAMPLE_RECORDS = HEAD_LINES + SPREAD_LINES


def survey(pipe: Pipeline, reader: Reader, full: bool, options: Options | None = None) -> dict[str, Any]:
    """Judge the source that `pipe` has opened and return its report. Counts what it judges in the pipe.

    --skip, --slice and --limit choose the records of each source that are judged.
    """
    report: dict[str, Any] = {"source": pipe.intake.source.name, "container": reader.container}
    report.update(_file_facts(pipe))
    profile = Profile(options)
    size = pipe.intake.input.file.size if pipe.intake.input is not None else None
    limit = pipe.settings.limit
    chosen = bool(pipe.intake.start or limit) or pipe.intake.stop is not None
    spread = size is not None and report["compression"] is None and reader.container == "jsonl"
    blank = pipe.counts.blank
    if spread and size is not None and not full and not chosen:
        sample = _judge_spread(pipe, profile, size)
        report["sample"] = "all" if sample.whole else "spread"
        report["records"] = profile.judged if sample.whole else sample.records
        if not sample.whole:
            report["estimated_records"] = round(profile.stood_for + sample.unseen)
            report["estimated_formats"] = {
                name: round(count) for name, count in sorted(profile.estimated_formats.items(), key=_largest)
            }
            report["estimated_problems"] = {
                reason: round(found.stood_for) for reason, found in profile.problems_by_weight()
            }
        report["blank"] = pipe.counts.blank - blank
    else:
        wanted = limit or (None if full or chosen else SAMPLE_RECORDS)
        whole = _judge_head(pipe, reader, profile, wanted, look=not chosen)
        report["sample"] = "slice" if chosen else "all" if whole else "head"
        report["records"] = profile.judged if whole and not chosen else None
        report["blank"] = reader.blank
    report.update(profile.as_json())
    return report


def _largest(entry: tuple[str, float]) -> tuple[float, str]:
    return -entry[1], entry[0]


def _judge_spread(pipe: Pipeline, profile: Profile, size: int) -> FileSample:
    assert pipe.intake.input is not None
    sample = FileSample(pipe.intake.input.file.fileno(), size)
    for place, line in sample:
        if place.offset == 0:
            line = line.removeprefix(BOM)
        try:
            value = loads(line)
        except Reject as why:
            if not line.strip():
                pipe.counts.blank += 1
                continue
            _count_refused(pipe, profile, why, line, place.line, place.offset, place.weight)
            continue
        record = value if type(value) is dict else pipe.intake.coerce(value)
        if record is None:
            _count_refused(pipe, profile, not_object(value), line, place.line, place.offset, place.weight)
        else:
            raw = line if record is value else None
            _judge(pipe, profile, record, raw, place.line, place.offset, place.weight)
    return sample


class _Enough(Exception):
    """The sample is full, and what is met now is a reject."""


def _judge_head(pipe: Pipeline, reader: Reader, profile: Profile, wanted: int | None, look: bool) -> bool:
    """Judge records in order. Returns whether the source ended.

    look: when all wanted ones are judged, see whether there is one more.
    """

    def refused(line: int, why: Reject, raw: bytes) -> None:
        if profile.judged == wanted:
            raise _Enough
        _count_refused(pipe, profile, why, raw, line, None)
        if profile.judged == wanted and not look:
            raise _Enough

    pipe.intake.refuse = refused
    try:
        for raw, record in islice(reader, pipe.intake.start, pipe.intake.stop):
            if profile.judged == wanted:
                return False
            _judge(pipe, profile, record, raw, reader.line, None)
            if profile.judged == wanted and not look:
                return False
    except _Enough:
        return False
    finally:
        pipe.intake.refuse = lambda line, why, raw: _count_refused(pipe, profile, why, raw, line, None)
    damage = pipe.intake.input.raw.damage if pipe.intake.input is not None else None
    if damage is not None and pipe.intake.input is not None:
        pipe.intake.refuse(reader.line, damage, b"")
        pipe.intake.input.raw.forget_damage()
    return True


def _judge(
    pipe: Pipeline,
    profile: Profile,
    record: Record,
    raw: bytes | None,
    line: int | None,
    offset: int | None,
    weight: float = 1.0,
) -> None:
    pipe.counts.read += 1
    convertible = profile.convertible
    profile.add(record, line, offset, raw, weight)
    if profile.convertible == convertible:
        place = (pipe.intake.source.name, line)
        pipe.note_reject(profile.last_reject, place, dumps_report(record) if raw is None else raw, offset)
    else:
        pipe.counts.out += 1


def _count_refused(
    pipe: Pipeline,
    profile: Profile,
    why: Reject,
    raw: bytes,
    line: int | None,
    offset: int | None,
    weight: float = 1.0,
) -> None:
    pipe.counts.read += 1
    profile.refuse(why, line, offset, weight)
    pipe.note_reject(why, (pipe.intake.source.name, line), raw, offset)


def _file_facts(pipe: Pipeline) -> dict[str, Any]:
    """Return compression, size and encoding of the opened source."""
    opened = pipe.intake.input
    if opened is None:
        return {"compression": None, "bytes": None, "encoding": None}
    facts = encoding_facts(opened.raw.look(64 << 10, enough=lambda _: True))
    final_newline: bool | None = None
    if opened.file.size and opened.compression is None:
        final_newline = os.pread(opened.file.fileno(), 1, opened.file.size - 1) == b"\n"
    return {
        "compression": opened.compression,
        "bytes": opened.file.size,
        "encoding": {**facts, "final_newline": final_newline},
    }
