"""Lines that are no records: reported with file and line, counted, kept, tolerated up to a limit."""

from __future__ import annotations

from typing import Any

from bptools.core.errors import DataError, UsageError
from bptools.core.messages import Messages
from bptools.core.output import Output
from bptools.core.records import Reject, dumps_report
from bptools.core.report import Counts, by_count

SHOWN = 20


class Tolerance:
    """What --max-rejects allows: a number of records, or a share of those read."""

    __slots__ = ("count", "percent")

    def __init__(self, text: str) -> None:
        self.count: int | None = None
        self.percent: float | None = None
        try:
            if text.strip().endswith("%"):
                self.percent = float(text.strip()[:-1])
                valid = 0 <= self.percent <= 100
            else:
                self.count = int(text)
                valid = self.count >= 0
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(f"--max-rejects '{text}' is no number of records and no percentage such as 1%")

    def exceeded(self, counts: Counts) -> bool:
        """Say whether more was rejected than is tolerated."""
        if self.count is not None:
            return counts.rejected > self.count
        return counts.rejected * 100 > (self.percent or 0.0) * counts.read


class RejectLog:
    """Where rejects go."""

    def __init__(
        self, messages: Messages, counts: Counts, tolerance: Tolerance, kept: Output | None, strict: bool
    ) -> None:
        self._messages = messages
        self._counts = counts
        self._tolerance = tolerance
        self._kept = kept
        self._strict = strict
        self._quiet = False

    def judge_quietly(self) -> None:
        """Count and keep, without a message each, and tolerate any number."""
        self._quiet = True

    def add(self, name: str, line: int | None, why: Reject, raw: bytes, offset: int | None = None) -> None:
        """Report one reject, by its line or the byte it begins at. Raises DataError under --strict."""
        self._counts.reject(why.reason)
        place = f"{name}:{line}" if line is not None else f"{name}: at byte {offset}"
        where = f"{place}: {why.reason}" + (f": {why.detail}" if why.detail else "")
        if self._kept is not None:
            self._kept.write(dumps_report(kept_reject(name, line, why, raw, offset)))
        if self._strict:
            raise DataError(where)
        if self._quiet:
            return
        if self._counts.rejected <= SHOWN:
            self._messages.warn(where)
        elif self._counts.rejected == SHOWN + 1:
            self._messages.warn("more rejects follow; only their counts are shown")

    def finish(self) -> DataError | None:
        """Say what the first messages did not. Returns the error when too much was rejected."""
        counts = self._counts
        if self._quiet:
            return None
        if counts.rejected > SHOWN:
            self._messages.warn(f"rejects by reason: {by_count(counts.rejects)}")
        if not self._tolerance.exceeded(counts):
            return None
        where = "--rejects FILE keeps them" if self._kept is None else f"they are in {self._kept.name}"
        return DataError(
            f"{counts.rejected} of {counts.read} records rejected; "
            f"--max-rejects {counts.rejected} tolerates them, {where}"
        )


def kept_reject(
    name: str, line: int | None, why: Reject, raw: bytes, offset: int | None = None
) -> dict[str, Any]:
    """Return the record that --rejects keeps; bytes that are not UTF-8 come along in base64."""
    kept: dict[str, Any] = {"file": name, "line": line}
    if line is None:
        kept["offset"] = offset
    kept.update(reason=why.reason, detail=why.detail)
    raw = raw[:-1] if raw.endswith(b"\n") else raw
    try:
        kept["raw"] = raw.decode("utf-8")
    except UnicodeDecodeError:
        import base64

        kept["raw"] = raw.decode("utf-8", "replace")
        kept["raw_base64"] = base64.b64encode(raw).decode("ascii")
    return kept
