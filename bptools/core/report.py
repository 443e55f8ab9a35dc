"""Counts that add up: in = out + dropped + rejected, for the last line on stderr and for --report."""

from __future__ import annotations

from typing import Any


class Counts:
    """What happened to the records of one run."""

    __slots__ = ("blank", "dropped", "drops", "notes", "out", "read", "rejected", "rejects", "split")

    def __init__(self) -> None:
        self.read = 0  # records and rejected lines, blank lines not counted
        self.out = 0  # records that went out, as they were or changed
        self.split = 0  # lines written beyond one per record, where one record becomes several
        self.dropped = 0
        self.rejected = 0
        self.blank = 0
        self.drops: dict[str, int] = {}  # by reason
        self.rejects: dict[str, int] = {}  # by reason
        self.notes: dict[str, int] = {}  # what was met or repaired, by name

    @property
    def written(self) -> int:
        """Lines written."""
        return self.out + self.split

    def drop(self, reason: str) -> None:
        """Count a record that was removed on purpose."""
        self.dropped += 1
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def reject(self, reason: str) -> None:
        """Count a line that is no usable record."""
        self.rejected += 1
        self.rejects[reason] = self.rejects.get(reason, 0) + 1

    def summary(self) -> str:
        """Return the last line on stderr."""
        line = f"{self.read} in, {self.out} out, {self.dropped} dropped, {self.rejected} rejected"
        if self.split:
            line += f"; {self.written} lines written"
        return line

    def as_json(self, command: str, version: str) -> dict[str, Any]:
        """Return the report: the counts under the names of bptools-jsonl(5)."""
        return {
            "command": command,
            "version": version,
            "in": self.read,
            "out": self.out,
            "dropped": self.dropped,
            "rejected": self.rejected,
            "blank": self.blank,
            "written": self.written,
            "drops": dict(sorted(self.drops.items())),
            "rejects": dict(sorted(self.rejects.items())),
            "notes": dict(sorted(self.notes.items())),
        }


def by_count(counts: dict[str, int]) -> str:
    """Return `12 invalid-json, 3 not-object`, most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ordered)
