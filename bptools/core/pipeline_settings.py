"""The shared options of a data command, as plain values."""

from __future__ import annotations

from typing import Any


class PipelineSettings:
    """The shared options of a data command, as plain values."""

    __slots__ = (
        "config_files", "dropped", "explain", "field_map", "input_format", "limit", "line_buffered",
        "log_json", "max_rejects", "otherwise", "output", "progress", "quiet", "rejects", "report",
        "resolved", "skip", "slice", "sources", "split_on", "strict", "tag", "text_field", "verbose",
    )  # fmt: skip

    def __init__(self, **values: Any) -> None:
        self.sources: list[str] = []
        self.output = "-"
        self.input_format: str | None = None
        self.split_on = "file"
        self.otherwise = "jsonl"  # the container of what shows none; text where prompts are read
        self.text_field: str | None = None
        self.field_map: dict[str, str] = {}
        self.skip = 0
        self.slice: str | None = None
        self.limit: int | None = None
        self.rejects: str | None = None
        self.max_rejects = "0"
        self.strict = False
        self.dropped: str | None = None
        self.tag = False
        self.explain = False
        self.report: str | None = None
        self.line_buffered = False
        self.quiet = False
        self.verbose = False
        self.log_json = False
        self.progress = True
        self.resolved: dict[str, Any] = {}  # every option with its origin, for the manifest
        self.config_files: list[str] = []  # that were read
        for name, value in values.items():
            setattr(self, name, value)
