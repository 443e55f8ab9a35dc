"""What bp-dedup does with its options."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bptools.core.errors import UsageError
from bptools.core.sizes import parse_duration
from bptools.quality.dedup.content import Content, Exact
from bptools.quality.dedup.crew import Crew
from bptools.quality.dedup.findings import Findings
from bptools.quality.dedup.grouped import GroupedIndex
from bptools.quality.dedup.limited import Room, settle_within
from bptools.quality.dedup.near import NearIndex
from bptools.quality.dedup.originals import Originals
from bptools.quality.dedup.preferring import Preference, settle_preferred
from bptools.quality.dedup.recorded import RecordedKnown
from bptools.quality.dedup.running import Run, look_ahead, stream, windows_of

if TYPE_CHECKING:
    from bptools.chat.view import Views
    from bptools.core.pipeline import Pipeline
    from bptools.quality.dedup.indexed import Indexed
    from bptools.quality.dedup.profile import Profiler
    from bptools.quality.dedup.signatures import SignatureWriter


@dataclass(frozen=True)
class Wanted:
    """The options of bp-dedup as plain values."""

    exact: Exact
    on: str
    minhash: bool
    threshold: float
    ngram: int
    prefer: str
    against: list[str]
    index: str | None
    wait: str | None
    max_memory: str | None
    jobs: int
    signatures: str | None
    seed: int


def run(pipe: Pipeline, views: Views, wanted: Wanted) -> None:
    """Drop the duplicates of a stream."""
    _check(pipe, wanted)
    settings = pipe.settings
    room = Room(wanted.max_memory, wanted.jobs)
    preference = Preference(wanted.prefer) if wanted.prefer != "first" else None
    texts = wanted.minhash or (preference is not None and preference.by_text)
    detailed = settings.tag or settings.explain or settings.dropped is not None
    idents = any((wanted.index, wanted.signatures, settings.report))
    content = Content(views, wanted.on, wanted.exact, texts, private=not (detailed or idents))
    profiler: Profiler | None = None
    near: NearIndex | None = None
    if wanted.minhash:
        from bptools.quality.dedup.profile import Profiler as _Profiler

        profiler = _Profiler(wanted.threshold, wanted.ngram, wanted.seed, wanted.signatures is not None)
        if room.for_bands is None:
            near = NearIndex(wanted.threshold, profiler.bands)
        else:
            near = GroupedIndex(wanted.threshold, profiler.bands, room.for_bands)
    known = RecordedKnown(near)
    pipe.resources.callback(known.close)
    originals = Originals(
        known,
        content,
        wanted.threshold,
        detailed,
        explain=settings.explain,
        idents=idents,
    )
    indexed = _open_index(pipe, wanted, known, originals)
    windows = windows_of(pipe, content, wanted.minhash, room.for_bands is not None)
    if indexed is not None:
        windows = indexed.open(windows)
    if wanted.against:
        from bptools.quality.dedup.against import read_against

        read_against(pipe, wanted.against, content, profiler, known, originals)
    if indexed is not None:
        indexed.begin()
    first = len(known)
    signatures = _signatures(pipe, wanted, near)
    crew = Crew(profiler, wanted.jobs) if profiler is not None else None
    if crew is not None:
        pipe.resources.callback(crew.close)
    ahead = look_ahead(pipe, windows, content, known, crew)
    findings = Findings(wanted.threshold if wanted.minhash else None)
    decided = Run(pipe, content, known, originals, findings)
    if preference is not None:
        settle_preferred(pipe, decided, known, ahead, preference, room)
    elif room.for_bands is not None:
        settle_within(pipe, decided, known, ahead, room)
    else:
        stream(pipe, decided, ahead)
    if signatures is not None and near is not None:
        signatures.write(near, originals, first)
    if settings.report is not None:
        pipe.report_fields["duplicates"] = findings.as_json(originals, pipe.refused)
    warning = findings.warning()
    if warning is not None:
        pipe.messages.warn(warning)
    if preference is not None and preference.found is False:
        pipe.messages.warn(f"no record has a number in '{preference.field}', which --prefer names")
    if content.field_found is False:
        pipe.messages.warn(f"no record has the field '{wanted.on}' that --on names")


def _signatures(pipe: Pipeline, wanted: Wanted, near: NearIndex | None) -> SignatureWriter | None:
    if wanted.signatures is None or near is None:
        return None
    from bptools.quality.dedup.signatures import SignatureWriter

    writer = SignatureWriter(pipe.open_also("--signatures", wanted.signatures), wanted.seed)
    pipe.resources.callback(writer.close)
    near.when_kept.append(writer.keep)
    return writer


def _open_index(pipe: Pipeline, wanted: Wanted, known: RecordedKnown, originals: Originals) -> Indexed | None:
    """Open the index of a run and have the run added to it when it ends well."""
    if wanted.index is None:
        return None
    from bptools.quality.dedup.indexed import Indexed
    from bptools.quality.dedup.store import IndexStore

    settings: dict[str, object] = {"exact": wanted.exact, "on": wanted.on, "minhash": wanted.minhash}
    if known.near is not None:
        settings |= {"threshold": wanted.threshold, "ngram": wanted.ngram, "seed": wanted.seed}
        settings["bands"] = known.near.bands
    settings["prefer"] = wanted.prefer
    wait = parse_duration("--wait", wanted.wait) if wanted.wait is not None else 0.0
    indexed = Indexed(IndexStore(wanted.index, settings, wait), known, originals)
    pipe.resources.callback(indexed.close)
    if known.near is not None:
        known.near.when_kept.append(indexed.keep)
    pipe.when_done = indexed.commit
    return indexed


def _check(pipe: Pipeline, wanted: Wanted) -> None:
    """Refuse options that make no sense together, and warn of those without effect. Raises UsageError.

    What asks for something that there will not be (a file, a limit) is refused; what only tunes is not.
    """
    if not wanted.on.strip():
        raise UsageError("--on is empty; name all, user, assistant, system, tool or a field")
    if not 0 < wanted.threshold <= 1:
        raise UsageError(f"--threshold {wanted.threshold} is no similarity from 0.05 to 1")
    _check_against(pipe.settings.sources, wanted.against)
    if wanted.signatures is not None and pipe.settings.limit is not None:
        raise UsageError("--signatures are of a whole input; cut it with --slice, not with --limit")
    if not wanted.minhash:
        pipe.warn_of_unused(("--threshold", "--ngram", "--jobs", "--seed"), "--minhash")
        if wanted.signatures is not None:
            raise UsageError("--signatures are those of --minhash; give it too")
        if wanted.max_memory is not None:
            raise UsageError("--max-memory is for --minhash; without it a record always takes 26 bytes")
    if wanted.index is None:
        if wanted.wait is not None:
            raise UsageError("--wait is for --index; give it too")
        return
    if wanted.max_memory is not None:
        raise UsageError("--index has all its entries in memory; --max-memory cannot hold")
    if pipe.settings.limit is not None:
        raise UsageError("--index adds a whole input; cut it with --slice, not with --limit")


def _check_against(sources: list[str], against: list[str]) -> None:
    """Refuse to compare a source with itself: nothing would be left. Raises UsageError."""
    for name in against:
        if name == "-" and (not sources or "-" in sources):
            raise UsageError("standard input cannot be both the source and --against; name a file for one")
        for source in sources:
            if name == source or os.path.realpath(name) == os.path.realpath(source):
                raise UsageError(f"'{name}' is the source and --against: nothing would be left of it")
