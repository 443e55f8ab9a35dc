"""What a finished run shows: loss.png and report.html.

Neither is what the run was for: one that cannot be made is a note in events.jsonl, never a failed run.
"""

from __future__ import annotations

import os
from typing import Any

from bptools.core.errors import BpError
from bptools.core.output import write_file
from bptools.training.events import encode
from bptools.training.run_directory import EVENTS, RunDirectory

PLOT = "loss.png"
REPORT = "report.html"


def write_reports(run: RunDirectory, plan: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Write the files and return the names of those that could be made."""
    made = []
    for name, content in ((PLOT, _plot), (REPORT, _report)):
        try:
            data = content(run, plan, result)
            if data:
                write_file(run.file(name), data)
                made.append(name)
        except Exception as error:  # a run of hours is worth more than its picture
            what = str(error) if isinstance(error, BpError) else f"{type(error).__name__}: {error}"
            _note(run, f"{name} could not be made: {what}")
    return made


def _plot(run: RunDirectory, plan: dict[str, Any], result: dict[str, Any]) -> bytes:
    from bptools.training.curves import read_curves
    from bptools.training.loss_plot import loss_png

    curves = read_curves(run.path, result.get("eval_loss_before"))
    return loss_png(curves, os.path.basename(os.path.abspath(run.path))) if curves.has("loss") else b""


def _report(run: RunDirectory, plan: dict[str, Any], result: dict[str, Any]) -> bytes:
    from bptools.training.report_html import report_html
    from bptools.training.training import packages

    return report_html(run, plan, result, packages()).encode("utf-8")


def _note(run: RunDirectory, message: str) -> None:
    try:
        with open(run.file(EVENTS), "ab", buffering=0) as events:
            events.write(encode({"event": "note", "message": message}))
    except OSError:
        pass
