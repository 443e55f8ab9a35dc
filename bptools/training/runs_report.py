"""What `bptools runs` writes: runs as a table or as JSON, runs side by side, and what pruning removes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from bptools.core.errors import BpError, UsageError
from bptools.core.messages import Messages, printable
from bptools.core.sizes import parse_duration, shown_time
from bptools.training.runs import Run, choose, differences, find_runs, holds_plan, moment, read_run, readable

if TYPE_CHECKING:
    from bptools.training.pruning import Pruning


def default_folder() -> str:
    """Return where runs are kept when nothing else is said: BP_RUNS, else runs."""
    return os.environ.get("BP_RUNS") or "runs"


def listed(folder: str | None, as_json: bool, messages: Messages) -> str:
    """Return the runs of a folder, or the one run that it is. Raises InputError for a named one not there."""
    runs = _runs(folder, messages)
    for run in runs:
        if run.detail:
            messages.warn(f"'{run.path}' is damaged: {run.detail}")
    if as_json:
        return "".join(orjson.dumps(run.as_json()).decode() + "\n" for run in runs)
    return runs_text(runs) if runs else ""


def _runs(folder: str | None, messages: Messages) -> list[Run]:
    where = folder or default_folder()
    if holds_plan(where):
        return [read_run(where)]
    if folder is None and not os.path.exists(where):
        messages.info(f"there is no folder '{where}' yet; bp-train makes it, BP_RUNS names another")
        return []
    runs = find_runs(where)
    if not runs:
        messages.info(f"there are no runs in '{where}'")
    return runs


def compared(names: list[str], as_json: bool, messages: Messages) -> str:
    """Return in what runs differ; a first name that is a folder but no run is where the others are.

    Raises InputError, UsageError.
    """
    folder = default_folder()
    if names and os.path.isdir(names[0]) and not holds_plan(names[0]):
        folder, names = names[0], names[1:]
    if len(names) < 2:
        raise UsageError("--compare takes two runs or more: bptools runs --compare RUN RUN")
    paths = [choose(folder, name) for name in names]
    rows = differences(paths)
    if not rows:
        messages.info("the runs do not differ")
        return ""
    if not as_json:
        return differences_text(paths, rows)
    shown = [readable(os.path.basename(os.path.abspath(path))) for path in paths]
    return "".join(
        orjson.dumps({"name": name, "runs": shown, "values": values}).decode() + "\n" for name, values in rows
    )


def pruning_of(
    prune: bool, keep: int | None, older_than: str | None, unfinished: bool, dry_run: bool
) -> Pruning | None:
    """Return which runs the options of --prune name, None without it. Raises UsageError."""
    named = keep is not None or older_than is not None or unfinished
    if not prune:
        if named or dry_run:
            raise UsageError("--keep, --older-than, --unfinished and --dry-run belong to --prune")
        return None
    if not named:
        raise UsageError(
            "--prune removes what --keep N, --older-than 30d or --unfinished name; give one of them"
        )
    from bptools.training.pruning import Pruning

    age = None if older_than is None else parse_duration("--older-than", older_than)
    return Pruning(keep, age, unfinished)


def pruned(
    folder: str | None, wanted: Pruning, dry_run: bool, as_json: bool, messages: Messages
) -> tuple[str, BpError | None]:
    """Remove runs, or only say which; return (what went, the first failure).

    One that cannot be removed is said and does not keep the others. Raises InputError, UsageError.
    """
    from bptools.training.pruning import mend_latest, prunable, remove

    where = folder or default_folder()
    if holds_plan(where):
        raise UsageError(f"--prune takes a folder of runs; '{where}' is a run")
    runs = _runs(folder, messages)
    gone: list[Run] = []
    failed: BpError | None = None
    for run in prunable(runs, wanted):
        try:
            if not dry_run:
                remove(run)
            gone.append(run)
        except BpError as error:
            if failed is not None:
                messages.warn(str(error))
            failed = failed or error
    if not dry_run and gone:
        mend_latest(where, [run for run in runs if run not in gone])
    if runs:
        what = "would be removed" if dry_run else "removed"
        total = size_text(sum(run.size for run in gone))
        messages.info(f"{len(gone)} of {len(runs)} runs {what}, {total}")
    lines = [orjson.dumps(run.as_json()).decode() if as_json else printable(run.path) for run in gone]
    return "".join(f"{line}\n" for line in lines), failed


def differences_text(paths: list[str], rows: list[tuple[str, list[Any]]]) -> str:
    """Return them side by side, as lines for a person."""
    head = ["", *(os.path.basename(os.path.abspath(path)) for path in paths)]
    return aligned([head, *([name, *map(_shown, values)] for name, values in rows)], set())


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 48 else text[:45] + "..."


def runs_text(runs: list[Run]) -> str:
    """Return runs as lines for a person, losses in nats per token, the time in the local zone."""
    head = [
        "NAME",
        "STATE",
        "METHOD",
        "MODEL",
        "RECORDS",
        "STEPS",
        "LOSS",
        "EVALUATION",
        "TIME",
        "SIZE",
        "WHEN",
    ]
    rows = [head]
    for run in runs:
        done = run.state == "finished"
        steps = str(run.step) if done or run.steps is None else f"{run.step}/{run.steps}"
        before = f"{run.eval_loss_before:.4f} -> " if run.eval_loss_before is not None else ""
        rows.append(
            [
                run.name,
                run.state,
                run.method or "-",
                _short(run.model or "-"),
                _shown(run.records),
                steps,
                f"{run.final_loss:.4f}" if run.final_loss is not None else "-",
                f"{before}{run.eval_loss:.4f}" if run.eval_loss is not None else "-",
                "-" if run.seconds is None else shown_time(run.seconds),
                size_text(run.size),
                moment(run.time).astimezone().strftime("%Y-%m-%d %H:%M"),
            ]
        )
    return aligned(rows, {4, 5, 6, 8, 9})


def _short(model: str) -> str:
    name = os.path.basename(model.rstrip("/")) or model
    return name if len(name) <= 28 else name[:25] + "..."


def size_text(size: int) -> str:
    """Return a size with the unit that fits: 812 B, 96.1K, 1.5G."""
    value, units = float(size), ["K", "M", "G", "T"]
    if size < 1024:
        return f"{size} B"
    unit = ""
    while value >= 1000 and units:
        value, unit = value / 1024, units.pop(0)
    return f"{value:.1f}{unit}"


def aligned(rows: list[list[str]], right: set[int]) -> str:
    """Return rows as columns; those in `right` end together instead of beginning together."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = (
        "  ".join(
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )
    return "".join(f"{line}\n" for line in lines)
