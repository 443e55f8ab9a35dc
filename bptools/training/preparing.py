"""Before anything heavy: tokenizer, template, tokens, and the facts that a person wants to see first."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from bptools.core.errors import DataError
from bptools.training.job import Job
from bptools.training.rows import IGNORED, Counts, NothingLeft, RowMaker, read_records, write_rows
from bptools.training.run_directory import EVALUATION, PLACES, RECORDS, ROWS

_SHOWN_CHARACTERS = 2_000


@dataclass
class Prepared:
    """What a trainer needs but the model. Data sets are rows, or blocks for pretraining."""

    tokenizer: Any
    template: Any
    renderer: Any
    train: Any
    evaluation: Any
    counts: Counts
    rows_per_step: int  # that make the effective batch: with packing a row holds several records


def prepare(job: Job) -> Prepared:
    """Tokenize all records. Raises DataError where none is left or the template cannot say what is learnt."""
    os.makedirs(job.run.file(ROWS), exist_ok=True)
    prepared = _blocks(job) if job.settings.method == "pretrain" else _rows(job)
    job.emit("preflight", **facts(job, prepared))
    return prepared


def _rows(job: Job) -> Prepared:
    from datasets import Dataset

    from bptools.models import Renderer, load_tokenizer, resolve_template

    settings = job.settings
    folder = settings.tokenizer or job.model_folder or ""
    tokenizer = load_tokenizer(folder, settings.trust_remote_code)
    template = resolve_template(tokenizer, settings.chat_template, folder)
    tokenizer.chat_template = template.text
    renderer = Renderer(tokenizer, template, settings.template_kwargs)
    parts: dict[str, Any] = {}
    counts: dict[str, Counts] = {}
    for part, records in (("train", RECORDS), ("eval", EVALUATION)):
        path = job.run.file(records)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            continue
        maker = RowMaker(settings, renderer)
        arrow = job.run.file(ROWS, f"{part}.arrow")
        counts[part] = maker.counts
        try:
            write_rows(arrow, maker.rows(read_records(path)))
        except NothingLeft:
            if part == "train":
                raise DataError(_why_none(maker.counts, settings.max_length or 0)) from None
        if part == "eval" and maker.counts.refused:
            job.emit("note", message=f"of the records held out {_refused(maker.counts)}")
        if not maker.counts.rows:
            continue
        parts[part] = Dataset.from_file(arrow)
    train, per_step = parts["train"], settings.batch_size or 1
    if settings.packing:
        train, per_step = pack(train, counts["train"], settings.max_length or 1, per_step)
    return Prepared(tokenizer, template, renderer, train, parts.get("eval"), counts["train"], per_step)


def pack(rows: Any, counts: Counts, length: int, batch: int) -> tuple[Any, int]:
    """Return (rows packed by TRL's best fit, how many of them hold `batch` records on average).

    So a step learns from as many records packed as unpacked, and the learning rate means the same. Where the
    records of a whole batch are shorter than `length`, rows are packed to what they take.
    """
    from trl.data_utils import pack_dataset

    wanted = max(counts.longest, -(-batch * counts.tokens // counts.rows))
    packed = pack_dataset(rows, min(length, wanted), "bfd", {})
    return packed, max(1, round(batch * len(packed) / len(rows)))


def _blocks(job: Job) -> Prepared:
    from bptools.models import Renderer, load_tokenizer, resolve_template
    from bptools.models.templates import family_text
    from bptools.training import pretraining

    settings = job.settings
    if settings.tokenizer:
        tokenizer = load_tokenizer(settings.tokenizer)
    else:
        tokenizer = pretraining.train_tokenizer(_texts(job.run.file(RECORDS)), settings.vocabulary)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = family_text("chatml")
    template = resolve_template(tokenizer, settings.chat_template)
    length = settings.max_length or 512
    parts: dict[str, Any] = {}
    counts = Counts()
    for part, records in (("train", RECORDS), ("eval", EVALUATION)):
        path = job.run.file(records)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            continue
        tokens = pretraining.tokens_file(job.run.file(ROWS), part)
        written, texts = pretraining.write_tokens(tokens, _texts(path), tokenizer)
        if part == "eval" and written < length:
            continue
        parts[part] = pretraining.Blocks(tokens, length)
        if part == "train":
            counts.records, counts.tokens, counts.trained = texts, written, written
            counts.rows, counts.longest = len(parts[part]), length
    renderer, per_step = Renderer(tokenizer, template), settings.batch_size or 1
    return Prepared(tokenizer, template, renderer, parts["train"], parts.get("eval"), counts, per_step)


def _texts(path: str) -> Any:
    for record in read_records(path):
        yield record["text"]


def _why_none(counts: Counts, length: int) -> str:
    said = (
        [f"{counts.too_long} are longer than {length} tokens (--max-length, --long)"]
        if counts.too_long
        else []
    )
    if counts.untrained:
        said.append(f"{counts.untrained} have no token that is learnt (no assistant turn within reach?)")
    if counts.refused:
        said.append(_refused(counts))
    return f"none of {counts.records} records is left to train on: {'; '.join(said)}"


def _refused(counts: Counts) -> str:
    return f"{counts.refused} cannot be rendered ({counts.refusal})"


def facts(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Return what preflight says: counts, template, where the turn ends, one decoded row."""
    counts = prepared.counts
    said: dict[str, Any] = asdict(counts) | {
        "share": counts.share,
        "template": prepared.template.name,
        "turn_end": prepared.template.turn_end,
        "missing": list(prepared.template.missing),
        "device": job.device,
        "dtype": job.dtype,
        "evaluation": 0 if prepared.evaluation is None else len(prepared.evaluation),
        "untrained_places": places(job, counts.untrained_at),
        "refused_places": places(job, counts.refused_at),
    }
    if job.settings.method == "pretrain":
        said["vocabulary"] = len(prepared.tokenizer)
        return said
    wanted = int(job.plan.get("show_rows", 1))
    rows = [prepared.train[index] for index in range(min(wanted, len(prepared.train)))]
    said["rows_shown"] = [shown(prepared.tokenizer, row) for row in rows]
    return said


def shown(tokenizer: Any, row: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return a row as [(text, whether it is learnt)], decoded token by token, runs of one kind joined."""
    if "input_ids" in row:
        pairs = [(token, label != IGNORED) for token, label in zip(row["input_ids"], row["labels"])]
    else:
        answer = row.get("chosen_ids") or row.get("completion_ids") or []
        pairs = [(token, False) for token in row["prompt_ids"]] + [(token, True) for token in answer]
    runs: list[tuple[list[int], bool]] = []
    for token, learnt in pairs:
        if runs and runs[-1][1] == learnt:
            runs[-1][0].append(token)
        else:
            runs.append(([token], learnt))
    return [(tokenizer.decode(tokens)[:_SHOWN_CHARACTERS], learnt) for tokens, learnt in runs]


def places(job: Job, numbers: list[int]) -> list[str]:
    """Return FILE:LINE of records, by their numbers in the spool."""
    if not numbers:
        return []
    wanted = set(numbers)
    try:
        with open(job.run.file(PLACES), encoding="utf-8", errors="surrogateescape") as file:
            return [line.rstrip("\n") for number, line in enumerate(file) if number in wanted]
    except OSError:
        return [f"record {number + 1}" for number in numbers]
