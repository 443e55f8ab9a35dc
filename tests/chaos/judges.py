"""What bp-filter does to a record, on records that went through an accident."""

from __future__ import annotations

import importlib.util
from typing import Any

from bptools.chat.identity import ContentKeys
from bptools.chat.view import Views
from bptools.core.records import Drop, Reject, dumps, loads, mark_dropped
from bptools.quality import Length, Range, Sieve, Structure, parse_rules, parse_where
from bptools.quality.difficulty import difficulty
from bptools.quality.measures import Measures
from bptools.quality.redact import KINDS, Redactor
from bptools.quality.split import file_name, group_key


class Judges:
    """Judges every record in several ways that must agree."""

    def __init__(self) -> None:
        structure = Structure(2, 6, ("assistant",), True, "assistant", True)
        length = Length(min_chars=2, max_tokens=30)
        more: dict[str, Any] = {
            "ranges": [Range("score=0:1")],
            "wheres": parse_where(["id!=18446744073709551617"]),
            "drop_match": ["x[y]"],
            "rules": parse_rules(["gopher", "c4", "c4-paragraph", "fineweb"]),
        }
        self.pairs = [
            (Sieve(structure=structure), Sieve(structure=structure, thorough=True)),
            (Sieve(length=length), Sieve(length=length, thorough=True)),
            (
                Sieve(Views(on="assistant"), structure, length, **more),
                Sieve(Views(on="assistant"), structure, length, **more, thorough=True),
            ),
        ]
        self.fastest = [(first.fastest(), second) for first, second in self.pairs]
        self.measures = Measures(self.pairs[2][0], everything=True)
        kinds = KINDS if importlib.util.find_spec("phonenumbers") else ("email", "key", "ip")
        self.redactor = Redactor(kinds)
        self.keys = ContentKeys()

    def judge(self, line: bytes | None, record: dict[str, Any]) -> None:
        """Judge, measure, key and redact one record. Raises AssertionError where two ways disagree."""
        for quick, thorough in self.fastest:
            one, other = quick(line, record), thorough.judge(line, record)
            assert type(one) is type(other), (one, other)
            assert one is None or one.reason == other.reason, (one, other)  # type: ignore[union-attr]
            if isinstance(other, Drop):
                self._mark(line, record, other)
        self.measures.add(line, record)
        difficulty(repr(record))
        for value in record.values():
            assert 0 <= group_key(value) < 1 << 128
            assert len(file_name(value).encode()) <= 100
        try:
            assert 0 <= self.keys.key(line, record) < 1 << 128
            self._redact(line, record)
        except (Reject, Drop) as why:
            assert why.reason

    def _mark(self, line: bytes | None, record: dict[str, Any], why: Drop) -> None:
        try:
            marked = mark_dropped(line if line is not None else dumps(record), record, why)
        except Reject:
            return
        assert marked.count(b"\n") == 1
        assert loads(marked)["bp"]["drop"][-1]["reason"]  # type: ignore[index]
        assert why.explained()

    def _redact(self, line: bytes | None, record: dict[str, Any]) -> None:
        clean = self.redactor.record(record, line)
        if clean is not record:
            written = dumps(clean)
            again = loads(written)
            assert self.redactor.record(again, written) is again, "not all was found at once"  # type: ignore[arg-type]
