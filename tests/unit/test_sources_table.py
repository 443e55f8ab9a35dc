"""Rows become records; a bad row costs itself."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.sources.base import ReadOptions
from bptools.core.sources.table import TableReader, TabReader


def read(data: bytes, container: str = "csv", **options: Any) -> tuple[list, list, TableReader]:
    """Return (records with their lines, rejects, the reader)."""
    rejects: list[tuple[int, str, bytes]] = []
    reader = (TabReader if container == "tsv" else TableReader)(
        io.BufferedReader(io.BytesIO(data)),  # type: ignore[arg-type]
        ReadOptions(**options),
        lambda line, why, raw: rejects.append((line, why.reason, raw)),
    )
    return [(reader.line, record) for _, record in reader], rejects, reader


def test_quoting_newlines_bom_crlf_and_lines() -> None:
    records, rejects, reader = read(
        b'\xef\xbb\xbfinstruction,output\r\n"a, ""b""","x\r\ny"\r\n\r\n,\r\nlast,\xc3\xa9', container="csv"
    )
    assert records == [
        (2, {"instruction": 'a, "b"', "output": "x\r\ny"}),
        (6, {"instruction": "last", "output": "é"}),
    ]
    assert rejects == [] and reader.blank == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_by_the_header(delimiter: str) -> None:
    text = (
        delimiter.join(["question", "answer"])
        + "\n"
        + delimiter.join(["a", "b" + ";,|"[: delimiter == "\t"]])
        + "\n"
    )
    assert read(text.encode())[0][0][1]["question"] == "a"


def test_absent_cells() -> None:
    records, rejects, reader = read(b'a,b,c\n1,,nan\nNaN,None,NA\n2\n3,4,5,,\n,"",\n')
    assert [r for _, r in records] == [
        {"a": "1", "c": "nan"},  # the name of a grandmother as well as of no number: text stays
        {"a": "NaN", "b": "None", "c": "NA"},
        {"a": "2"},
        {"a": "3", "b": "4", "c": "5"},
    ]
    assert rejects == [] and reader.blank == 1


def test_names_that_come_twice_or_are_empty() -> None:
    records, _, _ = read(b"a,a,,a_2,a\n1,2,3,4,5\n")
    assert records == [(2, {"a": "1", "a_3": "2", "column_3": "3", "a_2": "4", "a_4": "5"})]


def test_bad_rows_cost_themselves() -> None:
    records, rejects, _ = read(b'a,b\n1,2,3\n4,\xff\n5,"x"y\n6,7\n8,"q\n9,10\n11,12\n')
    assert [r["a"] for _, r in records] == ["5", "6", "9", "11"]
    assert records[0][1] == {"a": "5", "b": "xy"}
    assert rejects == [
        (2, "bad-columns", b"1,2,3\n"), (3, "invalid-utf8", b"4,\xff\n"), (6, "invalid-csv", b'8,"q\n'),
    ]  # fmt: skip


def test_unclosed_quote_before_other_quotes() -> None:
    records, rejects, _ = read(b'a,b\n1,"open\n2,"shut"\n3,"x\ny"\n')
    assert [r for _, r in records] == [{"a": "2", "b": "shut"}, {"a": "3", "b": "x\ny"}]
    assert rejects == [(2, "invalid-csv", b'1,"open\n')]


def test_tsv_with_plain_quotes() -> None:
    records, rejects, _ = read(b'a\tb\n"Hi\tthere\n1\t"quoted\ttab"\n2\t3\n', container="tsv")
    assert rejects == []
    assert [r for _, r in records] == [
        {"a": '"Hi', "b": "there"},
        {"a": "1", "b": "quoted\ttab"},
        {"a": "2", "b": "3"},
    ]


def test_too_long() -> None:
    records, rejects, _ = read(b"a,b\n1,2\n" + b"x" * 5000 + b",3\n4,5\n", max_record_bytes=1000)
    assert [r for _, r in records] == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert [(line, why) for line, why, _ in rejects] == [(3, "too-long")]


def test_header_that_is_not_utf8_and_only_a_header() -> None:
    records, rejects, _ = read(b"a,b\xff\n1,2\n")
    assert records == [(2, {"a": "1", "b\ufffd": "2"})] and rejects[0][1] == "invalid-utf8"
    assert read(b"a,b\n")[0] == [] and read(b"")[0] == [] and read(b"\n\n")[0] == []


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)


@given(st.lists(st.tuples(cells, cells, cells), max_size=6), st.sampled_from([",", ";", "\t", "|"]))
@settings(max_examples=200, deadline=None)
def test_what_csv_writes_is_read(rows: list, delimiter: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(["prompt", "completion", "id"])
    writer.writerows(rows)
    records, rejects, _ = read(text.getvalue().encode())
    expected = [{n: c for n, c in zip(["prompt", "completion", "id"], row) if c} for row in rows]
    assert rejects == []
    assert [record for _, record in records] == [row for row in expected if row]


@given(
    st.lists(
        st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"\xff", b"\xc3\xa9", b"\x00", b" ", b"\t", b'""']),
        max_size=40,
    ),
    st.sampled_from(["csv", "tsv"]),
    st.sampled_from([1 << 20, 10, 3]),
)
@settings(max_examples=600, deadline=None)
def test_any_bytes_no_traceback(parts: list[bytes], container: str, limit: int) -> None:
    data = b"a,b\n" + b"".join(parts)
    records, rejects, _ = read(data, container, max_record_bytes=limit)
    kept = b"".join(raw for _, _, raw in rejects) + repr(records).encode()
    assert kept.count(b"a") >= data[4:].count(b"a") if limit > 10 else True


def test_hostile_quotes_take_linear_time() -> None:
    for unit in (b'"abc\n', b'a,"\n', b'"', b'""\n', b'"a""\n', b'a,"b\nc,""\n'):
        read(b"a,b\n" + unit * (300_000 // len(unit)))
