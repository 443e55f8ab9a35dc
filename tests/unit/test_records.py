"""Parsing and writing records: exact numbers, exact bytes, every refusal with its reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bptools.core.records import Reject, dumps, loads, reparse_exact, splice_bp

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON_VALUES, max_size=5)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":NaN}', "non-finite"),
        (b'{"a":-Infinity}', "non-finite"),
        (b'{"a":1e400}', "non-finite"),
        (b'{"a":' + b"9" * 5000 + b"}", "non-finite"),
        (b'{"a":"\xff"}', "invalid-utf8"),
        (b'{"a":"x\ny"}', "invalid-json"),
        (b'{"a":1} {"b":2}', "invalid-json"),
        (b'{"a":1,}', "invalid-json"),
        (b"", "invalid-json"),
        (b"[" * 100_000, "too-deep"),
        (b'{"a":' * 50_000, "too-deep"),
    ],
)
def test_refusals(line: bytes, reason: str) -> None:
    with pytest.raises(Reject) as refused:
        loads(line)
    assert refused.value.reason == reason
    assert refused.value.detail


def test_what_orjson_refuses_and_json_knows() -> None:
    assert loads(b'{"a":"\\ud800"}') == {"a": "\ud800"}
    with pytest.raises(Reject) as refused:
        dumps({"a": "\ud800"})
    assert refused.value.reason == "bad-unicode"


def test_integers_over_64_bits_are_kept() -> None:
    line = b'{"id":18446744073709551617,"x":{"y":[-9223372036854775809]}}\n'
    rounded = loads(line)
    assert isinstance(rounded, dict) and isinstance(rounded["id"], float)
    exact = reparse_exact(line, rounded)
    assert dumps(exact) == line


def test_deep_nesting_is_written_or_refused() -> None:
    value: object = 1
    for _ in range(500):
        value = {"a": value}
    assert json.loads(dumps({"deep": value})) == {"deep": value}
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Reject) as refused:
        dumps({"deep": value})
    assert refused.value.reason == "too-deep"


@given(OBJECTS)
def test_dumps_then_loads_is_the_same_record(record: dict[str, object]) -> None:
    try:
        line = dumps(record)
    except Reject as why:
        assert why.reason == "bad-unicode"
        return
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert reparse_exact(line, loads(line)) == record  # type: ignore[arg-type]


@given(OBJECTS, st.dictionaries(st.sampled_from(["ppl", "tokens", "format"]), st.integers(0, 9), min_size=1))
def test_splicing_keeps_every_other_byte(record: dict[str, object], added: dict[str, int]) -> None:
    record.pop("bp", None)
    try:
        line = json.dumps(record, ensure_ascii=True).encode() + b"\n"
        spliced = splice_bp(line, record, added)
    except Reject:
        return
    assert spliced.startswith(line[:-2])
    assert json.loads(spliced) == {**record, "bp": added}


def test_splicing_merges_an_existing_bp() -> None:
    line = b'{"id":18446744073709551617,"bp":{"ppl":2.5}}\n'
    record = loads(line)
    assert isinstance(record, dict)
    assert (
        splice_bp(line, record, {"tokens": 3}) == b'{"id":18446744073709551617,"bp":{"ppl":2.5,"tokens":3}}\n'
    )


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_reject(data: bytes) -> None:
    try:
        loads(data)
    except Reject as why:
        assert why.reason in {"invalid-json", "invalid-utf8", "non-finite", "too-deep"}
