"""What bp-filter does with its options as plain values: make a sieve, mix sources, run, show figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bptools.chat.view import Views
from bptools.core.errors import UsageError
from bptools.core.pipeline import Enough, Judge
from bptools.core.records import Drop, Record, Reject
from bptools.core.report import by_count
from bptools.quality.fields import Range, parse_where
from bptools.quality.length import Length
from bptools.quality.sieve import Sieve
from bptools.quality.structure import Structure

if TYPE_CHECKING:
    from bptools.core.intake import Intake, Item
    from bptools.core.pipeline import Pipeline
    from bptools.quality.measures import Measures
    from bptools.quality.redact import Redactor
    from bptools.quality.shaping import Shaping


def sieve(
    views: Views,
    structure: Mapping[str, Any],
    length: Mapping[str, int | None],
    tokenizer: str | None,
    keep_match: Sequence[str],
    drop_match: Sequence[str],
    ranges: Sequence[str],
    wheres: Sequence[str],
    drop_marked: bool,
    languages: str | None,
    language_score: float,
    rules: Sequence[str],
    thorough: bool,
) -> Sieve:
    """Return the sieve that options ask for. Raises UsageError, InputError, MissingExtra."""
    if not views.on.strip():
        raise UsageError("--on is empty; name all, user, assistant, system, tool or a field")
    loaded = None
    if tokenizer is not None:
        if length["min_tokens"] is None and length["max_tokens"] is None:
            raise UsageError("--tokenizer counts for --min-tokens and --max-tokens; give one of them")
        from bptools.chat.tokenizer import load_tokenizer
        from bptools.models.hub import tokenizer_file

        loaded = load_tokenizer(tokenizer_file(tokenizer))
    language = rule_set = None
    if languages is not None:
        from bptools.quality.language import Language

        language = Language(_items(languages), language_score)
    if rules:
        from bptools.quality.rules import parse_rules

        rule_set = parse_rules(list(rules))
    return Sieve(
        views,
        Structure(**structure),
        Length(**length, tokenizer=loaded),
        [Range(text) for text in ranges],
        parse_where(wheres),
        keep_match,
        drop_match,
        language,
        rule_set,
        drop_marked,
        thorough,
    )


def mix(intake: Intake, how: str, until: Literal["all", "first"]) -> None:
    """Have the sources read in turn or by weight. Raises UsageError, of weights when reading begins."""
    if how == "concat":
        if until == "first":
            raise UsageError("--mix-until first needs --mix round-robin or weights")
        return
    from bptools.quality.mix import interleave, parse_mix

    def schedule(sources: Sequence[Iterator[Item]]) -> Iterator[Item]:
        found = parse_mix(how, len(sources))
        weights = None if isinstance(found, str) else found
        return (item for _, item in interleave(sources, weights, until))

    intake.schedule = schedule


def check(
    orders: Mapping[str, object],
    reverse: bool,
    splits: Mapping[str, object],
    out_dir: str | None,
    output: str,
    group_by: str | None,
) -> None:
    """Refuse options that exclude each other, and one without the other that it needs. Raises UsageError."""
    if reverse and not orders["--order"]:
        raise UsageError("--reverse turns --order round; give it too")
    ordered = [name for name, value in orders.items() if value]
    given = [name for name, value in splits.items() if value is not None]
    for names in (ordered, given):
        if len(names) > 1:
            raise UsageError(f"{names[0]} and {names[1]} exclude each other")
    if given and out_dir is None:
        raise UsageError(f"{given[0]} writes several files; name their folder with --out-dir")
    if out_dir is not None and not given:
        raise UsageError(f"--out-dir needs one of {', '.join(splits)}")
    if out_dir is not None and output != "-":
        raise UsageError("--out-dir and -o exclude each other")
    if "--chunks" in given and not ordered:
        raise UsageError("--chunks cuts an ordered set; it needs --order or --shuffle")
    if group_by is not None and "--split" not in given:
        raise UsageError("--group-by keeps the groups of --split together")
    for name, field in {**orders, **splits, "--group-by": group_by}.items():
        if type(field) is str and not field.strip():
            raise UsageError(f"{name} is empty; name a field")


def warn_of_unused(pipe: Pipeline, given: Mapping[str, object]) -> None:
    """Warn of options that have no effect; `given` are the values of those that others are for."""
    drawn = ("--sample", "--shuffle", "--split")
    for needed, options in (
        (("--redact",), ("--phone-region",)),
        (("--language",), ("--min-language-score",)),
        (drawn, ("--seed",)),
    ):
        if not any(given[name] for name in needed):
            pipe.warn_of_unused(options, " or ".join(filter(None, (", ".join(needed[:-1]), needed[-1]))))


def redactor(kinds: str, region: str) -> Redactor:
    """Return the redactor for a list of kinds. Raises UsageError, MissingExtra."""
    from bptools.quality.redact import Redactor

    wanted = _items(kinds)
    if not wanted:
        raise UsageError("--redact names nothing to redact; choose from email, phone, key, ip")
    return Redactor(wanted, region)


def run(pipe: Pipeline, sieve: Sieve, shaping: Shaping | None) -> None:
    """Judge and shape every record, measuring what is bounded where a report is asked for."""
    judge = sieve.fastest()
    measures = None
    if pipe.settings.report is not None:
        from bptools.quality.measures import Measures

        measures = Measures(sieve)
        judge = _measured(judge, measures)
    try:
        if shaping is None:
            pipe.sift(judge)
        else:
            pipe.sift(judge, shaping.keep, shaping.keep_marked)
    finally:
        if measures is not None:
            pipe.report_fields["distributions"] = measures.as_json()
    absent = sieve.absent()
    if shaping is not None:
        shaping.finish()
        absent += shaping.absent()
    _warn_of_absent(pipe, absent)


def show_stats(pipe: Pipeline, sieve: Sieve) -> None:
    """Judge and measure every record, and write figures in place of records; nothing is kept or dropped."""
    from bptools.quality.measures import Measures

    sieve.thorough = True
    measures = Measures(sieve, everything=True)
    reasons: dict[str, int] = {}

    def judge(raw: bytes | None, record: Record) -> Drop | Reject | None:
        why = sieve.judge(raw, record)
        if isinstance(why, Drop):
            for note in why.notes():
                reasons[note["reason"]] = reasons.get(note["reason"], 0) + 1
        return why

    def count(line: bytes, record: Record) -> None:
        pipe.counts.out += 1
        if pipe.counts.out == pipe.settings.limit:
            raise Enough

    pipe.sift(_measured(judge, measures), count)
    pipe.report_fields["distributions"] = measures.as_json()
    pipe.report_fields["reasons"] = dict(sorted(reasons.items()))
    lines = [f"{pipe.counts.read} records, {pipe.counts.out} would pass"]
    if reasons:
        lines.append(f"reasons: {by_count(reasons)}")
    for line in [*lines, "", *measures.lines()]:
        pipe.write_line(line.encode("utf-8", "backslashreplace") + b"\n")
    _warn_of_absent(pipe, sieve.absent())


def _warn_of_absent(pipe: Pipeline, absent: Sequence[tuple[str, str]]) -> None:
    """Say when no record had the field that an option names: it may be a slip of the pen."""
    for option, field in absent:
        number = option in ("--range", "--order")
        found = f"a number in '{field}', which" if number else f"the field '{field}' that"
        pipe.messages.warn(f"no record has {found} {option} names")


def _measured(judge: Judge, measures: Measures) -> Judge:
    def measure(raw: bytes | None, record: Record) -> Drop | Reject | None:
        measures.add(raw, record)
        return judge(raw, record)

    return measure


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]
