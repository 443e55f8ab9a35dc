"""Splits that never move a record, and file names that never collide."""

from __future__ import annotations

import json
import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bptools.core.errors import UsageError
from bptools.quality.sample import Share, unit
from bptools.quality.split import MISSING, Sides, file_name, group_key, parse_split

KEYS = st.integers(0, 2**128 - 1)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(alphabet=st.characters()),  # lone surrogates too
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("train=.9,val=.1", [("train", 0.9), ("val", 0.1)]),
        ("train=90%,val=10%", [("train", 0.9), ("val", 0.1)]),
        ("train=8,val=1,test=1", [("train", 0.8), ("val", 0.1), ("test", 0.1)]),
        (" a = 0.5 , b = .5 ", [("a", 0.5), ("b", 0.5)]),
        ("all=1", [("all", 1.0)]),
        ("all=1.0", [("all", 1.0)]),
        ("a=.33333333333,b=.33333333333,c=.33333333334", None),
        ("a=33.3%,b=66.7%", None),
    ],
)
def test_what_a_split_may_be(text: str, parts: list[tuple[str, float]] | None) -> None:
    found = parse_split(text)
    assert math.fsum(share for _, share in found) == pytest.approx(1, abs=1e-15)
    if parts is not None:
        assert [name for name, _ in found] == [name for name, _ in parts]
        assert [share for _, share in found] == pytest.approx([share for _, share in parts], abs=1e-15)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("train=.9,val=.2", "add up to 1.1, not 1"),
        ("train=.9", "add up to 0.9"),
        ("a=.333,b=.333,c=.333", "add up to 0.999"),
        ("train=90%,val=20%", "add up to 110, not 100"),
        ("train=8,val=.1", "mixes whole numbers .* and fractions"),
        ("train=80%,val=.2", "mixes percentages .* and fractions"),
        ("train=1,val=0", "'val' is 0"),
        ("a=.5,a=.5", "two parts named 'a'"),
        ("a=.5,A=.5", "two parts named 'A'"),
        ("=1", "no name"),
        ("a/b=1", "file name"),
        (".a=1", "file name"),
        ("../a=1", "file name"),
        ("con=1", "file name"),
        ("_missing=1", "file name"),
        ("a", "no part"),
        ("", "no part"),
        ("a=1,", "no part"),
        ("a=-1", "no part"),
        ("a=nan", "no part"),
        ("a=1e3", "no part"),
        ("a=1=2", "no part"),
        ("a=٣", "no part"),
        ("a=" + "9" * 5000, "no part"),
    ],
)
def test_what_a_split_may_not_be(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"^--split .*{why}"):
        parse_split(text)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=6), KEYS, st.integers())
def test_every_record_has_a_side(weights: list[int], key: int, seed: int) -> None:
    parts = parse_split(",".join(f"p{place}={weight}" for place, weight in enumerate(weights)))
    assert Sides(parts, seed).side(key) in {name for name, _ in parts}


@given(st.lists(KEYS), st.randoms(use_true_random=False), st.integers())
def test_neither_order_nor_growth_moves_a_record(keys: list[int], chance: object, seed: int) -> None:
    parts = [("train", 0.8), ("val", 0.1), ("test", 0.1)]
    half = Sides(parts, seed)
    before = {key: half.side(key) for key in keys[: len(keys) // 2]}
    shuffled = list(keys)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    later = Sides(parts, seed)
    after = {key: later.side(key) for key in shuffled}
    assert before.items() <= after.items()


def test_other_shares_move_only_what_is_between_the_borders() -> None:
    old = Sides([("train", 0.9), ("val", 0.1)], 3)
    new = Sides([("train", 0.8), ("val", 0.2)], 3)
    longer = Sides([("train", 0.9), ("val", 0.05), ("test", 0.05)], 3)
    moved = 0
    for key in range(20_000):
        if old.side(key) != new.side(key):
            assert (old.side(key), new.side(key)) == ("train", "val")
            moved += 1
        assert longer.side(key) == old.side(key) or (old.side(key), longer.side(key)) == ("val", "test")
    assert abs(moved - 2000) < 5 * math.sqrt(20_000 * 0.1 * 0.9)


def test_shares_are_met() -> None:
    sides = Sides(parse_split("train=8,val=1,test=1"), 0)
    seen = {"train": 0, "val": 0, "test": 0}
    for key in range(50_000):
        seen[sides.side(key)] += 1
    for name, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
        assert abs(seen[name] - 50_000 * share) < 5 * math.sqrt(50_000 * share * (1 - share))


def test_a_sample_is_split_like_the_whole() -> None:
    sample, sides = Share(0.1, 42), Sides([("train", 0.9), ("val", 0.1)], 42)  # the same seed
    taken = [key for key in range(50_000) if sample.takes(key)]
    val = sum(sides.side(key) == "val" for key in taken)
    assert abs(val - len(taken) * 0.1) < 5 * math.sqrt(len(taken) * 0.09)


def test_the_sides_are_fixed() -> None:
    # what was a validation record once is one for ever
    sides = Sides([("train", 0.5), ("val", 0.5)], 42)
    assert "".join(sides.side(key)[0] for key in range(24)) == "tvttttvvttvvvvtvtvvvvtvv"
    assert unit(1, 42) != unit(1, 43)


@given(JSON)
@example(2**64)
@example("\ud800")
@example({"b": "\ud800", "a": [2**64, None, {}, []]})
def test_every_value_has_a_group(value: object) -> None:
    key = group_key(value)
    assert 0 <= key < 1 << 128
    assert group_key(json.loads(json.dumps(value))) == key


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(alphabet=st.characters())), min_size=2))
def test_the_order_of_fields_does_not_matter(value: dict[str, object]) -> None:
    assert group_key(dict(reversed(value.items()))) == group_key(value)
    assert group_key([value, {"x": value}]) == group_key([dict(reversed(value.items())), {"x": value}])


def test_different_values_are_different_groups() -> None:
    values = [
        None,
        True,
        False,
        0,
        1,
        1.5,
        "",
        "1",
        "null",
        [],
        [1],
        [[1]],
        [1, 2],
        {},
        {"1": 1},
        "a",
        "A",
        2**70,
    ]
    values += [
        {"a": 2**70},
        {"a": [2**70]},
        [{"a": 2**70}],
        {"a": 2**70, "b": 1},
        ["\ud800"],
        "\ud800",
        "\\ud800",
    ]
    values += [[2**70, ""], [2**70, [""]], ["a,b", 2**70], ["a", "b", 2**70], [str(2**70)]]
    assert len({group_key(value) for value in values}) == len(values)
    assert group_key(1.0) != group_key(1)


@given(KEYS)
def test_a_content_key_is_itself(key: int) -> None:
    assert group_key(f"{key:032x}") == key


def test_what_is_no_content_key() -> None:
    for text in ("A" * 32, "a" * 31, "a" * 33, "g" * 32, " " + "a" * 31, "٣" * 32, "a" * 31 + "\n"):
        assert group_key(text) != group_key(text.lower()) or text == text.lower()
        assert group_key(text) != int("a" * 32, 16)


def test_nesting_beyond_the_stack_is_no_error() -> None:
    deep: object = 2**70
    for _ in range(20 * sys.getrecursionlimit()):
        deep = [deep]
    assert group_key(deep) == group_key([deep][0]) != group_key([deep])
    assert file_name(deep).startswith("_")


NAMES = {
    "Python": "Python",
    "C++": "C++",
    "zh-Hant": "zh-Hant",
    "a b": "a b",
    "日本語": "日本語",
    "é": "é",
    "e\u0301": "e%CC%81",
    "a/b": "a%2Fb",
    "..": "%2E%2E",
    ".bashrc": "%2Ebashrc",
    "x.": "x%2E",
    "x ": "x%20",
    " x": "%20x",
    "100%": "100%25",
    'a\\b:c*d?e"f<g>h|i': "a%5Cb%3Ac%2Ad%3Fe%22f%3Cg%3Eh%7Ci",
    "a\nb\x00": "a%0Ab%00",
    "\u202egpj": "%E2%80%AEgpj",
    "con": "%63on",
    "NUL.txt": "%4EUL.txt",
    "com0": "%63om0",
    "COM¹": "%43OM¹",
    "console": "console",
    "": "_empty",
    "_empty": "%5Fempty",
    "\ud800": "%ED%A0%80",
    "x" * 100: "x" * 100,
}


@pytest.mark.parametrize(("value", "name"), NAMES.items())
def test_names_of_text(value: str, name: str) -> None:
    assert file_name(value) == name


def test_names_of_the_rest() -> None:
    assert [file_name(value) for value in (5, -1.5, 2**70, True, False, None, MISSING)] == (
        ["5", "-1.5", str(2**70), "true", "false", "null", "_missing"]
    )
    assert file_name({"a": 1, "b": 2}) == file_name({"b": 2, "a": 1}) != file_name({"a": 1})
    assert file_name([]) != file_name({})
    assert file_name("2024") == file_name(2024)


AWKWARD = st.text(st.sampled_from("aA.%_- /\\:\ncon1é\u0301e\ud800日~25F"), max_size=60)


@given(st.one_of(st.text(alphabet=st.characters()), AWKWARD, AWKWARD.map(lambda text: text * 9)))
def test_names_are_safe(text: str) -> None:
    import unicodedata

    name = file_name(text)
    assert 0 < len(name.encode()) <= 100
    assert unicodedata.is_normalized("NFC", name)
    assert not set(name) & {*'/\\:*?"<>|', *map(chr, range(32)), "\x7f"}
    assert name[0] not in ". "
    assert name[-1] not in ". "
    assert name.split(".")[0].rstrip().upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}
    assert name[0] != "_" or text == ""


@given(AWKWARD, AWKWARD)
@example("a/b", "a%2Fb")
@example("", "_empty")
@example("é", "e\u0301")
@example("é" * 60, "e\u0301" * 60)
@example("/" * 34, "/" * 35)
@example("con", "%63on")
def test_two_texts_never_share_a_name(first: str, second: str) -> None:
    import unicodedata

    names = [file_name(text) for text in (first, second)]
    assert (names[0] == names[1]) == (first == second)
    composed = [unicodedata.normalize("NFC", name) for name in names]
    assert (composed[0] == composed[1]) == (first == second)


def test_long_texts_share_no_name() -> None:
    texts = [
        "x" * 101,
        "x" * 102,
        "日" * 34,
        "日" * 35,
        "%" * 50,
        "%" * 51,
        "x" * 59 + "/" * 50,
        "x" * 58 + "/" * 50,
    ]
    names = [file_name(text) for text in texts]
    assert len(set(names)) == len(texts)
    assert all(len(name.encode()) <= 100 for name in names)
    assert names[0].startswith("x" * 60 + "%-")
    assert names[6].startswith("x" * 59 + "%-")  # no half of an escape
    assert names[0] == file_name("x" * 101)
