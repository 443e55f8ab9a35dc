"""A trace as a tree for a person, and as JSON."""

from __future__ import annotations

import re
import shlex
from typing import Any

from bptools.core.messages import printable as _readable
from bptools.core.report import by_count
from bptools.core.trace.graph import Trace
from bptools.core.trace.stages import File, Stage, Table

_TEE, _CORNER, _BAR = "├─ ", "└─ ", "│  "
_HASH = 12
_UNSAID = {"quiet", "no-progress", "log-format", "verbose", "show-rows", "wait", "line-buffered"}
"""Options that change what is said and not what is made."""
_NOT_PASSED_ON = {"output", "out-dir", "runs", "name", "adapter"}  # shown as files of the tree
_STATES = {
    "unchanged": "unchanged",
    "changed": "changed since",
    "missing": "not there any more",
}


def as_text(trace: Trace) -> str:
    """Return the tree: what was made above, what it was made of below."""
    lines: list[str] = []
    shown: set[str] = set()
    # (file, what its first line begins with, what the lines under it begin with)
    pending: list[tuple[File, str, str]] = [(trace.artifact, "", "")]
    while pending:
        file, first, rest = pending.pop()
        own = trace.parts if file is trace.artifact else []
        lines.append(first + _file_line(file, own))
        lines += [f"{rest}   {_file_line(part, [])}" for part in own if part.state in ("changed", "missing")]
        stage = file.maker
        if stage is None:
            continue
        again = stage.key in shown
        under = rest + (_BAR if not again and (stage.inputs or not stage.whole) else "   ")
        lines += [f"{under}passed unchanged by {_command(one)}: {_counts(one)}" for one in file.passed]
        if again:
            lines.append(f"{under}{stage.command} [{trace.stages.index(stage) + 1}], see above")
            continue
        shown.add(stage.key)
        number = f"[{trace.stages.index(stage) + 1}] " if _is_shared(trace, stage) else ""
        lines.append(f"{under}{number}{_command(stage)}")
        lines += [f"{under}{line}" for line in _facts(stage, file)]
        if not stage.whole:
            lines.append(f"{rest}{_CORNER}unknown origin: what it read is not listed")
        last = len(stage.inputs) - 1
        for index in range(last, -1, -1):
            ends = index == last
            pending.append(
                (stage.inputs[index], rest + (_CORNER if ends else _TEE), rest + ("   " if ends else _BAR))
            )
    return "".join(line.rstrip() + "\n" for line in lines)


def _is_shared(trace: Trace, stage: Stage) -> bool:
    users = [file for other in trace.stages for file in other.inputs if file.maker is stage]
    return len(users) + (trace.artifact.maker is stage) > 1


def _file_line(file: File, parts: list[File]) -> str:
    facts = []
    if parts:
        sizes = [part.bytes for part in parts if part.bytes is not None]
        facts = [f"{len(parts)} files" if len(parts) > 1 else "1 file", f"{sum(sizes):,} bytes"]
        states = {part.state for part in parts}
        if states == {"unchanged"}:
            facts.append("unchanged")
    else:
        if file.bytes is not None:
            facts.append(f"{file.bytes:,} bytes")
        if file.sha256 is not None:
            facts.append(file.sha256[:_HASH])
        if file.revision is not None:
            commit = re.fullmatch("[0-9a-f]{40}", file.revision)  # offline it is what was asked for
            facts.append(f"commit {file.revision[:_HASH]}" if commit else f"revision {file.revision}")
        if not file.complete:
            facts.append("read in part")
        if file.state in _STATES:
            facts.append(_STATES[file.state])
        if file.maker is None and file.state == "stream" and file.bytes != 0:
            facts.append("unknown origin")
    if file.link == "name":
        facts.append("joined by its name alone")
    if file.others:
        facts.append(f"made alike by {file.others} other {'runs' if file.others > 1 else 'run'}")
    option = f"{file.option} " if file.option else ""
    return f"{option}{_readable(file.name)}  {', '.join(facts)}" if facts else option + _readable(file.name)


def _command(stage: Stage) -> str:
    """Return the command with the options that were chosen, as they would be typed."""
    words = [stage.command]
    for name, entry in stage.settings.items():
        if name in _UNSAID | _NOT_PASSED_ON:
            continue
        values = entry["value"] if isinstance(entry.get("value"), list) else [entry.get("value")]
        words += [
            f"--{name}" if value is True else f"--{name} {shlex.quote(_typed(value))}" for value in values
        ]
        origin = str(entry.get("origin", ""))
        if origin not in ("command line", ""):
            words[-1] += f" ({origin})"
    return _readable(" ".join(words))


def _typed(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={item}" for name, item in value.items())
    if value is False:
        return "off"
    return str(value)


def _counts(stage: Stage) -> str:
    counts = stage.counts
    shown = f"{counts.get('in', 0):,} in, {counts.get('out', 0):,} out"
    for name, reasons in (("dropped", "drops"), ("rejected", "rejects")):
        why = counts.get(reasons)
        listed = f" ({by_count(why)})" if isinstance(why, dict) and why else ""
        shown += f", {counts.get(name, 0):,} {name}{listed}"
    written = counts.get("written", counts.get("out"))
    return shown + (f"; {written:,} lines written" if written != counts.get("out") else "")


def _facts(stage: Stage, file: File) -> list[str]:
    """Return what else is told of a stage, a line each."""
    lines = [_counts(stage)] if stage.counts else []
    training = stage.training
    if training:
        model = str(training.get("model", "a model"))
        if training.get("revision"):
            model += f"@{str(training['revision'])[:_HASH]}"
        counted = [
            f"{training.get('records', 0):,} records and {training.get('held_out', 0):,} held out",
            f"{training.get('steps', 0):,} step{'s' if training.get('steps') != 1 else ''}",
        ]
        lines.append(f"{training.get('method', 'training')} of {_readable(model)}, {', '.join(counted)}")
        before, after = training.get("eval_loss_before"), training.get("eval_loss")
        if isinstance(after, float):
            came = f"{before:.4f} -> " if isinstance(before, float) else ""
            lines.append(f"evaluation loss {came}{after:.4f}")
    if len(stage.made) > 1 and not training and file.option is None:
        lines.append(f"{len(stage.made)} files were made")
    return lines


def as_json(trace: Trace) -> Table:
    """Return {artifact, verified, files, stages}; `made_by` is the place of a stage in `stages`, from 0."""
    numbers = {stage.key: number for number, stage in enumerate(trace.stages)}

    def shown(file: File) -> Table:
        return {
            "name": _readable(file.name),
            "option": file.option,
            "bytes": file.bytes,
            "sha256": file.sha256,
            "revision": file.revision,
            "complete": file.complete,
            "path": _readable(file.path) if file.path is not None else None,
            "state": file.state,
            "made_by": numbers[file.maker.key] if file.maker is not None else None,
            "link": file.link if file.maker is not None else None,
            "passed_by": [run(stage) for stage in file.passed],
            "others": file.others,
        }

    def run(stage: Stage) -> Table:
        return {
            "command": stage.command,
            "version": stage.version,
            "manifest": _readable(stage.manifest),
            "settings": stage.settings,
            "counts": stage.counts,
            "training": stage.training,
        }

    return {
        "artifact": shown(trace.artifact),
        "verified": trace.verified,
        "files": [shown(part) for part in trace.parts],
        "stages": [
            {**run(stage), "inputs": [shown(file) for file in stage.inputs], "whole": stage.whole}
            for stage in trace.stages
        ],
    }
