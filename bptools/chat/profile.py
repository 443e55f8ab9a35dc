"""What a set of records looks like: the counts behind a bp-detect report."""

from __future__ import annotations

from typing import Any

from bptools.chat.convert import Converter, Options
from bptools.chat.formats import conversation_of
from bptools.chat.tokens import approximate_tokens
from bptools.core.records import Drop, Record, Reject, dumps

SHOWN_PLACES = 10
SHOWN_FIELDS = 40
COUNTED_FIELDS = 1000
_CUT = 200
_TYPES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}


class Problem:
    """One kind of reject: how often, for how many of the source, where first."""

    __slots__ = ("count", "detail", "lines", "offsets", "stood_for")

    def __init__(self, detail: str) -> None:
        self.count = 0
        self.stood_for = 0.0
        self.detail = detail
        self.lines: list[int] = []
        self.offsets: list[int] = []


class Profile:
    """Judges records one by one and sums up. Memory does not grow with their number, except for one
    number per record under --full (lengths, for the percentiles).
    """

    def __init__(self, options: Options | None = None) -> None:
        self._convert = Converter(options or Options())
        self.judged = 0
        self.convertible = 0
        self.formats: dict[str, int] = {}
        self.stood_for = 0.0  # records that the judged ones stand for
        self.estimated_formats: dict[str, float] = {}  # the same by format
        self.shapes: dict[str, int] = {}
        self.fields: dict[str, tuple[list[int], dict[str, int]]] = {}
        self.roles: dict[str, int] = {}
        self.turns: list[int] = []
        self.chars: list[int] = []
        self.tokens: list[int] = []
        self.system: dict[str, int] = {}
        self.with_system = 0
        self.problems: dict[str, Problem] = {}
        self.example: Record | None = None
        self.last_reject = Reject("")

    @property
    def notes(self) -> dict[str, int]:
        """Repairs and oddities the conversion met."""
        return self._convert.notes

    def add(
        self,
        record: Record,
        line: int | None,
        offset: int | None = None,
        raw: bytes | None = b"",
        weight: float = 1.0,
    ) -> str:
        """Judge one record and return its format.

        `raw` is its line, None where it has none: then bp-chatml writes it anew whatever it is. `weight`
        says how many records of the source it stands for.
        """
        self.judged += 1
        self.stood_for += weight
        self._count_fields(record)
        if self.example is None:
            self.example = shortened(record)
        self._convert.reader.format = "unknown"  # a reject may come before there is another
        try:
            converted = self._convert(record)
            if raw is None or (converted is not record and (b"\\ud" in raw or b"\\uD" in raw)):
                for item in converted if isinstance(converted, list) else [converted]:
                    dumps(item)  # half a surrogate pair shows only where it has to be written
        except Reject as why:
            self.problem(why, line, offset, weight)
        except Drop:
            self.convertible += 1
        else:
            self.convertible += 1
            for item in converted if isinstance(converted, list) else [converted]:
                self._count_content(item)
        found = self._convert.format
        self.formats[found] = self.formats.get(found, 0) + 1
        self.estimated_formats[found] = self.estimated_formats.get(found, 0.0) + weight
        self._count_roles(record)
        return found

    def refuse(self, why: Reject, line: int | None, offset: int | None = None, weight: float = 1.0) -> None:
        """Take note of a line that is no record."""
        self.judged += 1
        self.stood_for += weight
        self.problem(why, line, offset, weight)

    def problem(self, why: Reject, line: int | None, offset: int | None, weight: float = 1.0) -> None:
        """Take note of a reject and its place."""
        self.last_reject = why
        found = self.problems.setdefault(why.reason, Problem(why.detail))
        found.count += 1
        found.stood_for += weight
        if line is not None and len(found.lines) < SHOWN_PLACES:
            found.lines.append(line)
        elif line is None and offset is not None and len(found.offsets) < SHOWN_PLACES:
            found.offsets.append(offset)

    def problems_by_weight(self) -> list[tuple[str, Problem]]:
        """Return the problems, the most frequent in the source first, then as they were met."""
        return sorted(self.problems.items(), key=lambda entry: -entry[1].stood_for)

    def _count_fields(self, record: Record) -> None:
        for name, value in record.items():
            counted = self.fields.get(name)
            if counted is None:
                if len(self.fields) >= COUNTED_FIELDS:  # a set whose keys are data; the report shows 40
                    continue
                counted = self.fields[name] = ([0], {})
            counted[0][0] += 1
            kind = _TYPES.get(type(value), "null")
            counted[1][kind] = counted[1].get(kind, 0) + 1

    def _count_roles(self, record: Record) -> None:
        for turns in record.values():
            if type(turns) is not list:
                continue
            for turn in turns:
                if type(turn) is not dict:
                    break
                role = turn.get("role", turn.get("from"))
                if type(role) is str and (role in self.roles or len(self.roles) < 100):
                    self.roles[role] = self.roles.get(role, 0) + 1

    def _count_content(self, item: Record) -> None:
        shape = self._convert.shape
        messages = conversation_of(shape, item)
        self.shapes[shape] = self.shapes.get(shape, 0) + 1
        text = "\n".join(message["content"] for message in messages) if shape != "text" else item["text"]
        self.chars.append(len(text))
        self.tokens.append(approximate_tokens(text))
        if messages:
            self.turns.append(len(messages))
            if messages[0]["role"] == "system":
                self.with_system += 1
                prompt = messages[0]["content"]
                if prompt in self.system or len(self.system) < 10_000:
                    self.system[prompt] = self.system.get(prompt, 0) + 1

    def as_json(self) -> dict[str, Any]:
        """Return the part of the report that speaks of records."""
        weights = self.estimated_formats
        left_out = max(0, len(self.fields) - SHOWN_FIELDS)
        return {
            "judged": self.judged,
            "convertible": self.convertible,
            "format": min(weights, key=lambda name: (-weights[name], name), default=None),
            "formats": _by_count(self.formats),
            "shapes": _by_count(self.shapes),
            "fields": self._fields_as_json(),
            **({"fields_left_out": left_out} if left_out else {}),
            "roles": _by_count(self.roles),
            "turns": spread(self.turns),
            "chars": spread(self.chars),
            "tokens": spread(self.tokens),
            "system_prompts": self._system_as_json(),
            "notes": _by_count(self.notes),
            "problems": [_problem_as_json(reason, found) for reason, found in self.problems_by_weight()],
            "example": self.example,
        }

    def _fields_as_json(self) -> dict[str, Any]:
        ordered = sorted(self.fields.items(), key=lambda entry: -entry[1][0][0])[:SHOWN_FIELDS]
        return {name: {"count": count[0], "types": types} for name, (count, types) in ordered}

    def _system_as_json(self) -> dict[str, Any]:
        top = sorted(self.system.items(), key=lambda entry: -entry[1])[:3]
        return {
            "records": self.with_system,
            "distinct": len(self.system),
            "top": [{"count": count, "text": shortened(text)} for text, count in top],
        }


def _problem_as_json(reason: str, found: Problem) -> dict[str, Any]:
    entry: dict[str, Any] = {"reason": reason, "count": found.count, "detail": found.detail}
    if found.lines:
        entry["lines"] = found.lines
    if found.offsets:
        entry["offsets"] = found.offsets
    return entry


def spread(values: list[int]) -> dict[str, float] | None:
    """Return min, median, mean, p90 and max; None of nothing."""
    if not values:
        return None
    import statistics

    ordered = sorted(values)
    median = statistics.median(ordered)
    return {
        "min": ordered[0],
        "median": int(median) if median == int(median) else median,
        "mean": round(sum(ordered) / len(ordered), 1),
        "p90": ordered[-(-9 * len(ordered) // 10) - 1],  # the nearest rank
        "max": ordered[-1],
    }


def shortened(value: Any, depth: int = 0) -> Any:
    """Return the value with long strings and lists cut, for showing."""
    if type(value) is str and len(value) > _CUT:
        return value[:_CUT] + f"... ({len(value)} characters)"
    if type(value) is list and depth < 4:
        cut = [shortened(item, depth + 1) for item in value[:6]]
        return [*cut, f"... ({len(value)} items)"] if len(value) > 6 else cut
    if type(value) is dict and depth < 4:
        return {key: shortened(item, depth + 1) for key, item in list(value.items())[:40]}
    return value if depth < 4 else "..."


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
