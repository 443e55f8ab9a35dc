"""What a finished run shows: loss.png and report.html."""

from __future__ import annotations

from typing import Any

from bptools.training.run_directory import RunDirectory


def write_reports(run: RunDirectory, plan: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Write the files and return their names."""
    return []
