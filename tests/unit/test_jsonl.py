"""The JSONL reader: every byte of the input is in a record, a reject or a blank line."""

from __future__ import annotations

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from bptools.core.records import Reject
from bptools.core.sources.base import ReadOptions
from bptools.core.sources.jsonl import JsonlReader


def read(data: bytes, limit: int = 1 << 20) -> tuple[list[bytes], list[tuple[int, str, bytes]], int]:
    rejects: list[tuple[int, str, bytes]] = []

    def refuse(line: int, why: Reject, raw: bytes) -> None:
        rejects.append((line, why.reason, raw))

    reader = JsonlReader(io.BufferedReader(io.BytesIO(data)), ReadOptions(max_record_bytes=limit), refuse)  # type: ignore[type-var]
    return [raw or b"" for raw, _ in reader], rejects, reader.blank


def test_lines_are_numbered_from_one_and_blank_ones_counted() -> None:
    raws, rejects, blank = read(b'\n{"a":1}\n \t\r\nx\n{"b":2}')
    assert raws == [b'{"a":1}\n', b'{"b":2}\n']
    assert [(line, reason) for line, reason, _ in rejects] == [(4, "invalid-json")]
    assert blank == 2


def test_separators_of_other_worlds_do_not_split_lines() -> None:
    line = json.dumps({"a": "x\u2028y\u0085z\x0b"}, ensure_ascii=False).encode() + b"\n"
    assert read(line)[0] == [line]


def test_long_lines_are_refused_and_reading_goes_on() -> None:
    raws, rejects, _ = read(b'{"a":"' + b"x" * 3_000_000 + b'"}\n{"b":1}\n', limit=1000)
    assert raws == [b'{"b":1}\n']
    assert [(line, reason, len(raw)) for line, reason, raw in rejects] == [(1, "too-long", 1001)]


def test_a_line_of_exactly_the_limit_is_read() -> None:
    line = b'{"a":1}\n'
    assert read(line * 2, limit=7)[0] == [line, line]


@given(
    st.lists(
        st.binary(max_size=40) | st.sampled_from([b'{"a":1}', b"[]", b" ", b"\xef\xbb\xbf{}"]), max_size=8
    )
)
def test_nothing_is_lost(lines: list[bytes]) -> None:
    data = b"\n".join(lines)
    raws, rejects, blank = read(data)
    expected = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert len(raws) + len(rejects) + blank == len(expected) - (expected[-1] == b"")
