"""A bp-detect report as a table for people."""

from __future__ import annotations

import io
import os
import shutil
from typing import Any


def draw(report: dict[str, Any]) -> str:
    """Return the report as text, coloured only when standard output is a terminal that wants it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    coloured = os.isatty(1) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if os.isatty(1) else 100
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=coloured,
        no_color=not coloured,
        highlight=False,
        legacy_windows=False,
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(report):
        table.add_row(name, Text(_printable(value)))
    console.print(Text(_printable(str(report["source"])), style="bold underline"))
    console.print(table)
    return "".join(line.rstrip() + "\n" for line in buffer.getvalue().split("\n"))


def _rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("container", _container(report)), ("records", _records(report))]
    rows += [("formats", _formats(report))]
    rows += [("shapes", _shares(report["shapes"], report["judged"]))]
    fields = (
        f"{name} ({'/'.join(entry['types'])}, {entry['count']:,})" for name, entry in report["fields"].items()
    )
    left_out = report.get("fields_left_out")
    more = f", and {left_out:,} more" if left_out else ""
    rows += [("fields", ", ".join(fields) + more), ("roles", _plain(report["roles"]))]
    rows += [(name, _spread(report[name])) for name in ("turns", "chars", "tokens")]
    system = report["system_prompts"]
    if system["records"]:
        rows.append(("system prompts", f"{system['records']:,} records, {system['distinct']:,} distinct"))
        rows += [("", f"{entry['count']:,} x {entry['text']}") for entry in system["top"]]
    rows.append(("notes", _plain(report["notes"])))
    for problem in report["problems"]:
        rows.append(("problem", _problem(problem, report)))
    return [(name, value) for name, value in rows if value]


_ODD = ("not utf-8", "crlf", "mixed")  # what is worth a word in the table


def _container(report: dict[str, Any]) -> str:
    parts = [report["container"]]
    if report["compression"]:
        parts.append(report["compression"])
    if report["bytes"] is not None:
        parts.append(f"{report['bytes']:,} bytes")
    encoding = report["encoding"] or {}
    parts += ["BOM"] * bool(encoding.get("bom")) + ["NUL bytes"] * bool(encoding.get("nul"))
    parts += [encoding[name] for name in ("encoding", "newlines") if encoding.get(name) in _ODD]
    return ", ".join(parts)


def _records(report: dict[str, Any]) -> str:
    if report["records"] == report["judged"]:
        return f"{report['records']:,}, all judged"
    if report["records"] is not None:
        return f"{report['records']:,}, {report['judged']:,} judged ({report['sample']})"
    about = f"about {report['estimated_records']:,}, " if report.get("estimated_records") else ""
    return f"{about}{report['judged']:,} judged ({report['sample']})"


def _formats(report: dict[str, Any]) -> str:
    """Return the formats with their shares of the judged records; of a spread sample, of all."""
    if "estimated_formats" not in report:
        return _shares(report["formats"], report["judged"])
    return "about " + _shares(report["estimated_formats"], report["estimated_records"])


def _shares(counts: dict[str, int], total: int) -> str:
    return ", ".join(
        f"{name} {count:,} ({100 * count / max(total, 1):.1f} %)" for name, count in counts.items()
    )


def _plain(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _spread(values: dict[str, float] | None) -> str:
    if values is None:
        return ""
    return ", ".join(f"{name} {value:,}" for name, value in values.items())


def _problem(problem: dict[str, Any], report: dict[str, Any]) -> str:
    """Return one problem; of a spread sample with about how many of all records have it."""
    about = ""
    if "estimated_problems" in report:
        count, total = report["estimated_problems"][problem["reason"]], report["estimated_records"]
        about = f" (about {count:,} in all, {100 * count / max(total, 1):.1f} %)"
    where = ""
    if problem.get("lines"):
        where += "; line " + ", ".join(map(str, problem["lines"]))
    if problem.get("offsets"):
        where += "; offset " + ", ".join(map(str, problem["offsets"]))
    return f"{problem['count']:,} x {problem['reason']}{about}: {problem['detail']}{where}"


def _printable(text: str) -> str:
    from bptools.core.messages import printable

    return printable(text)
