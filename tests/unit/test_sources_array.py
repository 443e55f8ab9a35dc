"""A streamed JSON array gives what json.loads gives, in any layout and window; broken elements cost only themselves."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.sources.array import ArrayReader, JsonReader
from bptools.core.sources.base import ReadOptions


def read(
    data: bytes, window: int = 0, reader: type[JsonReader] = ArrayReader, **options: Any
) -> tuple[list, list]:
    """Return (records with their lines, rejects) of the bytes."""
    rejects: list[tuple[int, str, bytes]] = []

    def reject(line: int, why: Any, raw: bytes) -> None:
        rejects.append((line, why.reason, raw))

    stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    source = reader(stream, ReadOptions(**options), reject)
    if window:
        source.window = window
    records = [(source.line, record) for _, record in source]
    return records, rejects


def values(data: bytes, **options: Any) -> list:
    records, rejects = read(data, **options)
    assert rejects == []
    return [record for _, record in records]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(), json_values, max_size=5)
styles = st.fixed_dictionaries(
    {
        "indent": st.sampled_from([None, 0, 1, 4, "\t"]),
        "ensure_ascii": st.booleans(),
        "separators": st.sampled_from([None, (",", ":"), (" , ", " : ")]),
    }
)


def encode(value: object, style: dict) -> bytes:
    return json.dumps(value, **style).encode("utf-8", "surrogatepass")


@given(st.lists(objects, max_size=6), styles, st.integers(1, 80))
@settings(max_examples=300, deadline=None)
def test_equals_json_loads(rows: list, style: dict, window: int) -> None:
    text = json.dumps(rows, **style)
    try:
        data = text.encode()
    except UnicodeEncodeError:  # a lone surrogate, not escaped
        return
    assert values(data, window=window) == json.loads(data)


@given(st.lists(objects, max_size=6), styles, st.integers(1, 80), st.sampled_from(["\n", " ", "", ",\n"]))
@settings(max_examples=200, deadline=None)
def test_values_one_after_another(rows: list, style: dict, window: int, between: str) -> None:
    try:
        data = between.join(json.dumps(row, **style) for row in rows).encode()
    except UnicodeEncodeError:
        return
    assert values(data, window=window, reader=JsonReader) == rows


@given(st.lists(objects, min_size=1, max_size=6), st.sampled_from([None, 2]), st.integers(1, 80))
@settings(max_examples=100, deadline=None)
def test_line_is_where_the_element_starts(rows: list, indent: int | None, window: int) -> None:
    data = json.dumps(rows, indent=indent).encode()
    records, _ = read(data, window)
    lines = data.decode().split("\n")
    assert [line for line, _ in records] == sorted(line for line, _ in records)
    for line, record in records:
        assert "{" in lines[line - 1]
        if indent:
            assert lines[line - 1].startswith("  {") and (record == {}) == lines[line - 1].startswith("  {}")


@given(st.binary(max_size=300), st.integers(1, 40), st.sampled_from([ArrayReader, JsonReader]))
@settings(max_examples=400, deadline=None)
def test_any_bytes_no_traceback(data: bytes, window: int, reader: type[JsonReader]) -> None:
    check_account(data, window, reader)


json_soup = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            '"',
            "\\",
            "\n",
            " ",
            '"a"',
            '{"a":',
            "1",
            "1e",
            "-",
            "NaN",
            "1e400",
            "tru",
            "true",
            "\\u12",
            '{"a":1}',
            '{"a":[1,{"b":"x"}]}',
            "é",
            "😀",
            "9" * 30,
            "9" * 4400,
            "\ufeff",
            "\x00",
        ]
    ),
    max_size=40,
).map("".join)


@given(json_soup, st.integers(1, 40), st.sampled_from([ArrayReader, JsonReader]))
@settings(max_examples=1000, deadline=None)
def test_json_like_soup_is_accounted_for(text: str, window: int, reader: type[JsonReader]) -> None:
    check_account(text.encode(), window, reader)
    check_account(b"[" + text.encode(), window, reader)


def check_account(data: bytes, window: int, reader: type[JsonReader]) -> None:
    """Every byte is in a record, in a reject, or is a bracket, comma or space between them."""
    records, rejects = read(data, window, reader)
    pieces = sorted([r[2] for r in rejects], key=len, reverse=True)
    for piece in pieces:
        assert piece in data
    letters = sum(byte not in b" \t\r\n,[]" for byte in data.removeprefix(b"\xef\xbb\xbf"))
    kept = sum(byte not in b" \t\r\n,[]" for piece in pieces for byte in piece)
    if not records:
        assert letters == kept
    assert kept <= letters


pieces = st.lists(
    st.sampled_from(
        ['{"k%d":%d}', '{"k%d":[%d,{"m":[]}]}', "[", "]", "{", "}", ",", ":", '"', "x", "\n", "\n  ", '"s":', "\\", "é",
         '{"k%d":x%d}', '{"k%d":NaN,"z":%d}', '{"k%d":"\n%d"}', '{"k%d":%d', '"k%d":"%d"}', "\udcff"]
    ),
    max_size=30,
)  # fmt: skip


@given(pieces, st.integers(1, 60), st.sampled_from([ArrayReader, JsonReader]), st.sampled_from([1 << 20, 40]))
@settings(max_examples=1500, deadline=None)
def test_every_byte_is_in_a_record_or_in_a_reject(
    parts: list[str], window: int, reader: type[JsonReader], limit: int
) -> None:
    text = "".join(part % (n, n) if "%" in part else part for n, part in enumerate(parts))
    data = b"[" + text.encode("utf-8", "surrogateescape")
    records, rejects = read(data, window, reader, max_record_bytes=limit)

    def letters(piece: bytes) -> int:
        return sum(byte not in b" \t\r\n,[]" for byte in piece)

    kept = sum(letters(raw) for _, _, raw in rejects)
    passed = sum(
        letters(json.dumps(r, ensure_ascii=False, separators=(",", ":")).encode()) for _, r in records
    )
    assert kept + passed == letters(data)


GOOD = [{"a": n, "m": [{"r": "u", "c": "x"}, {"r": "v", "c": "y"}]} for n in range(6)]
FAULTS = {
    "bad literal": lambda s: s.replace('"a": 3', '"a": oops'),
    "NaN": lambda s: s.replace('"a": 3', '"a": NaN'),
    "too large": lambda s: s.replace('"a": 3', '"a": 1e999'),
    "bad escape": lambda s: s.replace('"a": 3', '"a": "\\q"'),
    "raw newline": lambda s: s.replace('"a": 3', '"a": "x\ny"'),
    "missing comma": lambda s: s.replace('"a": 3,', '"a": 3'),
    "one quote too many": lambda s: s.replace('"a": 3', '"a": "5" tall"'),
    "two quotes too many": lambda s: s.replace('"a": 3', '"a": "say "hi" now"'),
    "quote missing": lambda s: s.replace('"a": 3', '"a": "three'),
    "bracket missing": lambda s: s.replace('"a": 3', '"z": [1, 2, "a": 3'),
    "no value": lambda s: s.replace('"a": 3,', '"a":,'),
}


@pytest.mark.parametrize("indent", [2, None])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("window", [7, 64, 1 << 18])
def test_a_broken_element_costs_only_itself(fault: str, indent: int | None, window: int) -> None:
    text = json.dumps(GOOD, indent=indent)
    broken = FAULTS[fault](text)
    assert broken != text
    records, rejects = read(broken.encode(), window)
    assert [record["a"] for _, record in records] == [0, 1, 2, 4, 5]
    assert len(rejects) == 1
    line, reason, raw = rejects[0]
    assert reason == ("non-finite" if fault in ("NaN", "too large") else "invalid-json")
    assert raw.startswith(b"{") and raw.endswith(b"}") and raw.decode() in broken
    assert line == broken[: broken.index(raw.decode())].count("\n") + 1


@pytest.mark.parametrize("window", [5, 1 << 18])
def test_last_element_broken_and_array_closed(window: int) -> None:
    records, rejects = read(b'[{"a": 1}, {"a": oops}\n]\n', window)
    assert [r for _, r in records] == [{"a": 1}]
    assert rejects == [(1, "invalid-json", b'{"a": oops}')]


@pytest.mark.parametrize("window", [1, 5, 1 << 18])
@pytest.mark.parametrize("cut", range(3, 38))
def test_cut_off_anywhere(cut: int, window: int) -> None:
    data = b'[{"a": "x"},\n {"a": [1, 2, {"b": 1}]}]'[:cut]
    records, rejects = read(data, window)
    assert len(rejects) == 1 and rejects[0][1] == "truncated"
    assert len(records) == (cut >= 11) + (cut >= 37)
    if len(records) == 1 and cut > 14:
        assert rejects[0][0] == 2 and rejects[0][2] == data[14:].rstrip(b" ,")


def test_invalid_utf8_rejects_that_element_only() -> None:
    data = (
        b'[{"a": "\xc3\xa9"}, {"a": "\xff"}, {"a": "\xe2\x82"}, {"a": "\xed\xa0\x80"}, {"a": "\xe2\x82\xac"}]'
    )
    for window in (1, 2, 3, 9, 1000):
        records, rejects = read(data, window)
        assert [r["a"] for _, r in records] == ["é", "€"]
        assert [(why, raw) for _, why, raw in rejects] == [
            ("invalid-utf8", b'{"a": "\xff"}'),
            ("invalid-utf8", b'{"a": "\xe2\x82"}'),
            ("invalid-utf8", b'{"a": "\xed\xa0\x80"}'),
        ]


def test_elements_that_are_no_objects() -> None:
    for window in (1, 4, 1000):
        records, rejects = read(b'[1, "two", null, [3], {"a": 4}, 55.5e1, true]', window)
        assert [r for _, r in records] == [{"a": 4}]
        assert [raw for _, _, raw in rejects] == [b"1", b'"two"', b"null", b"[3]", b"55.5e1", b"true"]
        assert {why for _, why, _ in rejects} == {"not-object"}


def test_coercion_makes_records() -> None:
    reader = ArrayReader(
        io.BufferedReader(io.BytesIO(b'["x", ["y"], 3]')),  # type: ignore[arg-type]
        ReadOptions(),
        lambda line, why, raw: None,
        lambda value: {"text": value} if type(value) is str else None,
    )
    assert list(reader) == [(None, {"text": "x"})]


@pytest.mark.parametrize("window", [1, 3, 1000])
def test_tolerant_commas_bom_and_several_arrays(window: int) -> None:
    data = b'\xef\xbb\xbf [,{"a":1},,{"a":2} {"a":3},]\r\n[{"a":4}][]\n'
    assert values(data, window=window) == [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}]


def test_trailing_data_is_rejected() -> None:
    for window in (1, 1000):
        records, rejects = read(b'[{"a":1}]\njunk', window)
        assert len(records) == 1
        assert b"".join(raw for _, _, raw in rejects) == b"junk"
        assert {why for _, why, _ in rejects} == {"trailing-data"}
        assert rejects[0][0] == 2


def test_integers_over_64_bits_and_surrogates_stay() -> None:
    big = 12345678901234567890123
    assert values(b'[{"a": %d, "b": "\\ud800"}]' % big) == [{"a": big, "b": "\ud800"}]


def test_deep_nesting_is_a_record_or_a_reject() -> None:
    deep = b'{"a":' + b"[" * 990 + b"]" * 990 + b"}"
    deeper = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for window in (50, 1 << 18):
        records, rejects = read(b"[" + deep + b", " + deeper + b', {"b": 1}]', window)
        assert len(records) == 2 and records[-1][1] == {"b": 1}
        assert [(why, raw) for _, why, raw in rejects] == [("too-deep", deeper)]


@pytest.mark.parametrize("window", [10, 1 << 18])
def test_too_long_elements(window: int) -> None:
    rows = [{"a": "x" * 10}, {"a": ["é" * 3000, {"b": "]}"}]}, {"a": "y"}]
    data = json.dumps(rows, ensure_ascii=False).encode()
    records, rejects = read(data, window, max_record_bytes=1000)
    assert [r for _, r in records] == [rows[0], rows[2]]
    assert [(why, raw) for _, why, raw in rejects] == [
        ("too-long", json.dumps(rows[1], ensure_ascii=False).encode())
    ]


@pytest.mark.parametrize(
    "unit",
    [
        "[",
        '"',
        '{"a":',
        "},{",
        "{",
        "[{",
        '{"a":[',
        "\\",
        '{"a":"',
        "x",
        "x,",
        '{"a":x},',
        '{"a":x,',
        "]",
        "[]",
        "\n{",
        '{"a":1,{',
        '{"k":[0,',
        '{"k":["' + "y" * 2000 + '",',
        '{"k":x},{"k":1,"z":"}',
    ],
)
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    size = 200_000
    data = b"[" + (unit * (size // len(unit))).encode()
    started = time.process_time()
    _, rejects = read(data)
    assert time.process_time() - started < 5
    assert max((len(raw) for _, _, raw in rejects), default=0) <= size + 1
