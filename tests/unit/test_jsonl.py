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


class Pieces(io.RawIOBase):
    """A pipe whose writer pauses: each read gives one piece."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece = self.pieces.pop(0) if self.pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_batch_never_waits_for_more_than_has_arrived() -> None:
    pipe = Pieces(b'{"a":1}\n{"a":2}\n', b'{"a":3}\n{"a":4}\n{"b":', b'5}\n{"b":6}\n', b'{"c":7}')
    reader = JsonlReader(io.BufferedReader(pipe), ReadOptions(), lambda line, why, raw: None)
    left = []
    for raws, _ in reader.batches():
        left.append((b"".join(raw or b"" for raw in raws), len(pipe.pieces)))
    assert left[0] == (b'{"a":1}\n', 3)
    assert left[1] == (b'{"a":2}\n', 3)
    assert left[2] == (b'{"a":3}\n{"a":4}\n', 2)
    assert b"".join(data for data, _ in left) == b"".join(
        b'{"%s":%d}\n' % (b"aaaabbc"[n : n + 1], n + 1) for n in range(7)
    )


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


def test_the_limit_is_that_of_a_line_without_its_byte_order_mark() -> None:
    line = b'{"a":1}\n'
    assert read(b"\xef\xbb\xbf" + line * 2, limit=7)[0] == [line, line]
    raws, rejects, _ = read(b'\xef\xbb\xbf{"a":12}\n' + line, limit=7)
    assert (raws, [(number, reason) for number, reason, _ in rejects]) == ([line], [(1, "too-long")])
