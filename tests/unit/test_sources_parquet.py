"""Rows of a Parquet file become JSON records, without what Arrow invents."""

from __future__ import annotations

import datetime
import decimal
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bptools.core.sources.base import ReadOptions, Source
from bptools.core.sources.parquet import ParquetReader
from bptools.core.streams import open_input

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def read(stream: Any) -> tuple[list, list]:
    rejects: list[tuple[int, str, bytes]] = []
    reader = ParquetReader(
        stream, ReadOptions(), lambda line, why, raw: rejects.append((line, why.reason, raw))
    )
    return [(reader.line, record) for _, record in reader], rejects


def written(table: Any, **options: Any) -> bytes:
    target = io.BytesIO()
    parquet.write_table(table, target, **options)
    return target.getvalue()


def stream(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]


class Forward(io.RawIOBase):
    """A stream that only goes forward, as a pipe does."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


ROWS = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "name": "t", "content": None}], "n": 1},
    {"messages": [], "n": None, "x": 2.5},
    {"messages": None, "x": float("nan")},
]
CLEAN = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "name": "t"}], "n": 1},
    {"messages": [], "x": 2.5},
    {},
]


def test_rows_without_what_arrow_invents() -> None:
    table = pyarrow.Table.from_pylist(ROWS, schema=None)
    table = pyarrow.Table.from_pylist([{**row} for row in ROWS], schema=pyarrow.schema([
        ("messages", pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string()),
                                                   ("name", pyarrow.string())]))),
        ("n", pyarrow.int64()), ("x", pyarrow.float64()),
    ]))  # fmt: skip
    for options in ({}, {"row_group_size": 1}):
        records, rejects = read(stream(written(table, **options)))
        assert rejects == []
        assert [(number, {k: v for k, v in record.items() if v == v}) for number, record in records] == [
            (1, CLEAN[0]), (2, CLEAN[1]), (3, CLEAN[2]),
        ]  # fmt: skip


def test_types_that_json_lacks() -> None:
    table = pyarrow.table(
        {
            "d": [datetime.date(2024, 2, 29)],
            "t": [datetime.datetime(2024, 2, 29, 1, 2, 3)],
            "z": pyarrow.array([decimal.Decimal("1.50")], pyarrow.decimal128(5, 2)),
            "b": [b"\xc3\xa9"],
            "c": [b"\xff\x00"],
            "m": pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            "e": pyarrow.array(["x"]).dictionary_encode(),
            "f": [[1.0, float("inf")]],
            "u": pyarrow.array([2**64 - 1], pyarrow.uint64()),
        }
    )
    records, _ = read(stream(written(table)))
    assert records == [
        (
            1,
            {
                "d": "2024-02-29", "t": "2024-02-29T01:02:03", "z": "1.50", "b": "é", "c": {"bytes": "/wA="},
                "m": {"k": 1}, "e": "x", "f": [1.0, None], "u": 2**64 - 1,
            },
        )
    ]  # fmt: skip
    json.dumps(records, allow_nan=False)


@pytest.mark.parametrize("kind", ["file", "pipe", "gzip"])
def test_files_pipes_and_archives(tmp_path: Path, kind: str) -> None:
    data = written(pyarrow.table({"a": list(range(5000))}), row_group_size=700)
    if kind == "pipe":
        records, rejects = read(io.BufferedReader(Forward(data)))
    else:
        import gzip

        path = tmp_path / "x.parquet"
        path.write_bytes(gzip.compress(data) if kind == "gzip" else data)
        opened = open_input(Source("x", str(path)))
        assert opened.raw.look(65536)[:4] == b"PAR1"
        records, rejects = read(opened.stream)
        opened.close()
    assert rejects == [] and records == [(n + 1, {"a": n}) for n in range(5000)]


def test_text_that_is_not_utf8_costs_its_row() -> None:
    bad = pyarrow.array([b"a", b"\xff", b"b"]).view(pyarrow.string())
    records, rejects = read(stream(written(pyarrow.table({"text": bad}))))
    assert records == [(1, {"text": "a"}), (3, {"text": "b"})]
    assert rejects == [(2, "invalid-utf8", b"\xff")]


def test_a_broken_row_group_costs_itself() -> None:
    table = pyarrow.table({"a": [str(n) * 50 for n in range(300)]})
    data = bytearray(written(table, row_group_size=100, compression="zstd", use_dictionary=False))
    middle = parquet.ParquetFile(io.BytesIO(data)).metadata.row_group(1).column(0).data_page_offset
    data[middle : middle + 40] = b"\xff" * 40
    records, rejects = read(stream(bytes(data)))
    assert [number for number, _ in records] == [*range(1, 101), *range(201, 301)]
    assert [(number, why) for number, why, _ in rejects] == [(101, "corrupt-parquet")]


GOOD = written(pyarrow.table({"a": [1, 2, 3], "s": ["x", "yy", None], "l": [[1], [], None]}))


@example(noise=b"\x81", start=209, stop=0)
@given(st.binary(max_size=60), st.integers(0, len(GOOD)), st.integers(0, len(GOOD)))
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_no_traceback(noise: bytes, start: int, stop: int) -> None:
    data = GOOD[:start] + noise + GOOD[max(stop, start) :]
    records, rejects = read(stream(data))
    assert records or rejects
