"""The table of keys does what a dictionary does."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.quality.dedup.keys import Array, KeyTable, keys_of

quick = settings(max_examples=200, deadline=None)
ODD = [0, 1, 1 << 64, (1 << 64) - 1, (1 << 128) - 1, (1 << 128) - (1 << 64), 0xABC, 0xABC << 64]
keys = st.lists(
    st.sampled_from(ODD)
    | st.integers(0, 40).map(lambda half: half << 64)  # the same in one half
    | st.integers(0, 40)
    | st.integers(0, (1 << 128) - 1),
    max_size=60,
)


def array_of(values: list[int]) -> Array:
    return keys_of([value.to_bytes(16, "big") for value in values])


@quick
@given(
    st.lists(st.tuples(st.sampled_from(["admit", "keep", "add", "find"]), keys), max_size=12), st.randoms()
)
def test_it_is_a_dictionary(steps: list[tuple[str, list[int]]], chance: random.Random) -> None:
    table, known = KeyTable(), dict[int, int]()
    for step, values in steps:
        asked = array_of(values)
        expected = [known.get(value, -1) for value in values]
        assert table.find(asked).tolist() == expected
        ids, first = table.place(asked)
        assert ids.tolist() == expected
        lead: dict[int, int] = {}
        for place, value in enumerate(values):
            lead.setdefault(value, place)
        assert [first[place] for place in range(len(values)) if ids[place] < 0] == [
            lead[value] for place, value in enumerate(values) if ids[place] < 0
        ]
        new = [place for place, value in enumerate(values) if value not in known and lead[value] == place]
        if step == "admit":
            ids, added = table.admit(asked)
            for place in new:
                known[values[place]] = len(known)
            assert ids.tolist() == [known[value] for value in values]
            assert np.flatnonzero(added).tolist() == new
        elif step != "find":  # some are not kept
            kept = [place for place in new if chance.random() < 0.7]
            places = np.array(kept, np.int64)
            number = table.keep(places) if step == "keep" else table.add(asked[places])
            assert number == len(known)
            for place in kept:
                known[values[place]] = len(known)
        assert len(table) == len(known)
    for value, number in known.items():
        assert int(table.hex(number), 16) == value
        assert table.hex(number) == f"{value:032x}"
        assert table.digest(number) == value.to_bytes(16, "big")
    assert table.copy_of_keys().tobytes() == b"".join(value.to_bytes(16, "big") for value in known)
    for number in (-1, len(known)):
        with pytest.raises(IndexError):
            int(table.hex(number), 16)


@pytest.mark.parametrize("size", [1, 37, 1000, 70_000])
def test_growing_loses_nothing(size: int) -> None:
    """The ids of 70,000 keys, of which a third come twice, do not depend on how many are given at a time."""
    chance = np.random.default_rng(1)
    drawn = chance.integers(0, 1 << 64, (47_000, 2), np.uint64)
    asked = drawn[chance.integers(0, len(drawn), 70_000)]
    if size == 1:
        asked = asked[:3000]
    table = KeyTable()
    ids = np.concatenate([table.admit(asked[at : at + size])[0] for at in range(0, len(asked), size)])
    known: dict[bytes, int] = {}
    assert ids.tolist() == [known.setdefault(key.tobytes(), len(known)) for key in asked]
    assert table.find(asked).tolist() == ids.tolist()
    assert (table.find(asked ^ np.uint64(1)) < 0).all()
    assert table.copy_of_keys(5, 9).tobytes() == b"".join(list(known)[5:9])


def test_many_keys_in_one_bucket_are_told_apart() -> None:
    values = list(range(2000))  # small numbers, all alike in the bits that choose the bucket
    asked = array_of([value << 64 for value in values])
    table = KeyTable()
    assert table.admit(asked)[0].tolist() == values
    assert table.find(asked).tolist() == values


def test_a_key_takes_less_than_32_bytes_at_the_worst_moment() -> None:
    """The index has just grown when it holds little more than half of what it may."""
    chance = np.random.default_rng(2)
    table, worst = KeyTable(), 0.0
    for _ in range(420):
        table.admit(chance.integers(0, 1 << 64, (1000, 2), np.uint64))
        if len(table) > 50_000:
            worst = max(worst, table.nbytes / len(table))
    assert 26 < worst < 29
