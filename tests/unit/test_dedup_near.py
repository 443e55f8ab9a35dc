"""Near-duplicates against what they are defined as: words, shingles, signatures, bands, verdicts."""

from __future__ import annotations

import random
import sys
import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.quality.dedup import spelling
from bptools.quality.dedup.bands import BandTable
from bptools.quality.dedup.minhash import Permutations, band_checks, bands_for, exported
from bptools.quality.dedup.near import NearIndex
from bptools.quality.dedup.profile import Profiler
from bptools.quality.dedup.sets import distinct, similarities
from bptools.quality.dedup.shingles import grams
from bptools.quality.dedup.words import hash_words, packed

SINGLE = "\u0e01\u0e34\u3042\u30a2\u4e2d\u6587\U00020000\uff71"
ALPHABET = "abcXYZ019 _-,.\0\né\u0301İßΣς’ÀЖж𐐀ẞKÅ\udc80" + SINGLE


def is_single(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in spelling._SINGLE) and (
        unicodedata.category(character)[0] in "LMN"
    )


def words_of(text: str) -> list[str]:
    """Return the words of a text as the page defines them, character by character."""
    found, word = [], ""
    for character in text.lower():
        single = is_single(character)
        part = (
            not single
            and character.isalnum()
            and not any(first <= ord(character) <= last for first, last in spelling._SINGLE)
        )
        if part:
            word += character
            continue
        if word:
            found.append(word)
            word = ""
        if single:
            found.append(character)
    return [*found, word] if word else found


def shingles_of(text: str, n: int = 5) -> set[tuple[str, ...]]:
    words = words_of(text)
    if len(words) < n:
        return {tuple(words)} if words else set()
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)}


def jaccard(left: set[Any], right: set[Any]) -> float:
    return len(left & right) / len(left | right) if left or right else 0.0


class Names:
    """Remembers the hash of each word, so that words from different calls are compared."""

    def __init__(self) -> None:
        self.hashes: dict[str, int] = {}

    def check(self, texts: list[str]) -> None:
        hashes, offsets = hash_words(packed(texts))
        for number, text in enumerate(texts):
            words = words_of(text)
            mine = hashes[offsets[number] : offsets[number + 1]].tolist()
            assert len(mine) == len(words), (text, words)
            for word, value in zip(words, mine):
                assert self.hashes.setdefault(word, value) == value, (text, word)

    def finish(self) -> None:
        assert len(set(self.hashes.values())) == len(self.hashes)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(ALPHABET, max_size=40), min_size=1, max_size=8))
def test_words_are_those_of_the_definition(texts: list[str]) -> None:
    names = Names()
    names.check(texts)
    names.check(["\n".join(texts)])
    names.finish()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=30), min_size=1, max_size=5))
def test_words_of_any_characters(texts: list[str]) -> None:
    names = Names()
    names.check(texts)
    names.finish()


def test_long_words_differ_by_any_byte() -> None:
    words = {"a" * length for length in range(1, 60)} | {"a" * 30 + "b" + "a" * rest for rest in range(20)}
    hashes, _ = hash_words(packed([" ".join(sorted(words))]))
    assert len(set(hashes.tolist())) == len(words)


def test_lower_case_is_not_hard_any_more() -> None:
    """Texts with hard characters are lower-cased by Python and looked at again: that must come to an end."""
    for code in range(0x80, sys.maxunicode + 1):
        kind, _ = spelling._look(code)
        if kind == spelling._HARD:
            for character in chr(code).lower():
                assert ord(character) < 0x80 or spelling._look(ord(character))[0] != spelling._HARD, hex(code)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_shingles_are_distinct_where_runs_of_words_are(n: int) -> None:
    chance = random.Random(n)
    texts = [" ".join(chance.choices("abcdef", k=chance.randrange(30))) for _ in range(300)]
    made = grams(packed(texts), n)
    hashes, offsets = distinct((made.hashes, made.offsets))
    names: dict[tuple[str, ...], set[int]] = {}
    for number, text in enumerate(texts):
        mine = set(hashes[offsets[number] : offsets[number + 1]].tolist())
        assert len(mine) == offsets[number + 1] - offsets[number] == len(shingles_of(text, n))
        for shingle in shingles_of(text, n):
            names.setdefault(shingle, mine)
            names[shingle] = names[shingle] & mine
    assert all(names.values())  # the hash of a shingle is in every text that has it


def test_signatures_are_those_of_datasketch_2() -> None:
    """The arithmetic of its scheme affine32 in Python integers, and one signature that it made itself."""
    made = grams(packed(["the quick brown fox jumps over the lazy dog"]), 5)
    permutations = Permutations(120, 1)
    (signature,) = permutations.signatures(made).T.tolist()
    values = exported(np.unique(made.hashes)).tolist()
    assert signature == [
        min((a * fmix32(value) + b) % 2**32 for value in values)
        for a, b in zip(permutations.a.tolist(), permutations.b.tolist())
    ]
    # MinHash(num_perm=4, seed=7, hashfunc=int) of datasketch 2.0.0, updated with 1, 2, 3 and 2**32 - 1
    known = np.array([fmix32(value) for value in (1, 2, 3, 2**32 - 1)], np.uint32)
    four = Permutations(4, 7)
    signed = [
        min((a * h + b) % 2**32 for h in known.tolist()) for a, b in zip(four.a.tolist(), four.b.tolist())
    ]
    assert signed == [2547923837, 65463561, 565219314, 352626988]


def fmix32(value: int) -> int:
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        value = ((value ^ (value >> shift)) * factor) % 2**32
    return value ^ (value >> 16)


def test_bands_follow_the_threshold() -> None:
    assert [bands_for(threshold) for threshold in (0.5, 0.6, 0.7, 0.8, 0.9)] == [
        (40, 3), (30, 4), (20, 6), (15, 8), (9, 13),
    ]  # fmt: skip
    for percent in range(5, 101):
        bands, rows = bands_for(percent / 100)
        assert bands * rows <= 120
        assert 1 - (1 - (percent / 100) ** rows) ** bands >= 0.9


def test_a_check_is_of_its_band_alone() -> None:
    signatures = np.arange(240, dtype=np.uint32).reshape(120, 2)
    checks = band_checks(signatures, 20, 6)
    signatures[6:12] += np.uint32(1)
    changed = band_checks(signatures, 20, 6) != checks
    assert changed[1].all() and not np.delete(changed, 1, axis=0).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1 << 8, 1 << 13, 1 << 18, 1 << 32]))
def test_a_table_is_a_dictionary_that_keeps_the_first(seed: int, most: int) -> None:
    """Few different checks crowd into few buckets: what finds no slot there goes aside."""
    chance = np.random.default_rng(seed)
    table, wanted, number = BandTable(0.5), dict[int, int](), 0
    for _ in range(12):
        checks = chance.integers(1, most, chance.integers(1, 3000), dtype=np.uint64).astype(np.uint32)
        found, slots = table.find(checks)
        assert found.tolist() == [wanted.get(check, -1) for check in checks.tolist()]
        new = np.flatnonzero(found < 0)
        ids = np.arange(number, number + len(new))
        table.insert(checks[new], ids, slots[new])
        for check, name in zip(checks[new].tolist(), ids.tolist()):
            wanted.setdefault(check, name)
        number += len(new)
    everything = np.array(list(wanted), np.uint32)
    assert table.find(everything)[0].tolist() == list(wanted.values())


def planted(count: int, seed: int) -> list[str]:
    """Return texts of which many are edited copies of earlier ones, some of them several times over."""
    chance = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(400)]
    texts: list[list[str]] = []
    for _ in range(count):
        if texts and chance.random() < 0.6:
            words = list(chance.choice(texts[-40:]))
            for _ in range(chance.choice([0, 0, 1, 1, 2, 3, 6])):
                words[chance.randrange(len(words))] = chance.choice(vocabulary)
        else:
            words = chance.choices(vocabulary, k=chance.randrange(1, 90))
        texts.append(words)
    return [" ".join(words) for words in texts]


def judged(texts: list[str], sizes: list[int], threshold: float = 0.7) -> tuple[list[int], list[float]]:
    """Return the owner and the similarity of each text, given in windows of these sizes, over and over."""
    profiler = Profiler(threshold)
    index = NearIndex(threshold, profiler.bands)
    owners: list[int] = []
    similar: list[float] = []
    first = turn = 0
    seen: dict[str, int] = {}
    while first < len(texts):
        part = texts[first : first + sizes[turn % len(sizes)]]
        first, turn = first + len(part), turn + 1
        twins = np.array([seen.setdefault(text, len(seen)) for text in part])
        found = index.match(profiler.profile(part), twins)
        owners += found.owner.tolist()
        similar += np.nan_to_num(found.jaccard, nan=2.0).tolist()
    index.close()
    return owners, similar


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
def test_what_is_dropped_is_similar_to_a_kept_one_and_little_is_missed(threshold: float) -> None:
    texts = planted(600, 3)
    owners, similar = judged(texts, [64], threshold)
    sets = [shingles_of(text) for text in texts]
    kept: list[int] = []
    missed = found = 0
    for number, (owner, value) in enumerate(zip(owners, similar)):
        best = max((jaccard(sets[number], sets[other]) for other in kept), default=0.0)
        if owner >= 0:
            true = jaccard(sets[number], sets[kept[owner]])
            assert true == 1.0 if value == 2.0 else true == pytest.approx(value)
            assert true >= threshold
            found += 1
        else:
            missed += best >= threshold and bool(sets[number])
            kept.append(number)
    assert found > 100
    assert missed <= 0.03 * (found + missed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 90), min_size=1, max_size=4))
def test_windows_are_as_one_after_the_other(seed: int, sizes: list[int]) -> None:
    texts = planted(160, seed)
    # exact copies beyond a window are the keys' business; here they are near ones of similarity 1
    assert judged(distinct_texts(texts), sizes) == judged(distinct_texts(texts), [1])


def distinct_texts(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def test_twins_of_a_window_are_exact_copies_of_the_kept_one() -> None:
    texts = ["one two three four five six", "something else that is said here", "one two three four five six"]
    owners, similar = judged([*texts, texts[1]], [4])
    assert owners == [-1, -1, 0, 1]
    assert similar == [0.0, 0.0, 2.0, 2.0]


def test_texts_without_words_are_like_nothing() -> None:
    profiler = Profiler(0.7)
    index = NearIndex(0.7, profiler.bands)
    found = index.match(profiler.profile(["", "?!", "...", "word"]), np.array([-1, -1, -1, -1]))
    assert found.owner.tolist() == [-1] * 4
    index.close()


def test_similarities_are_those_of_sets() -> None:
    chance = random.Random(1)
    left = [sorted(chance.sample(range(50), chance.randrange(0, 30))) for _ in range(200)]
    right = [sorted(chance.sample(range(50), chance.randrange(0, 30))) for _ in range(200)]
    found = similarities(ragged(left), ragged(right)).tolist()
    assert found == [jaccard(set(one), set(other)) for one, other in zip(left, right)]


def ragged(sets: list[list[int]]) -> tuple[Any, Any]:
    counts = np.array([len(each) for each in sets])
    hashes = np.array([value for each in sets for value in each], np.uint32)
    return hashes, np.concatenate(([0], np.cumsum(counts)))


def test_the_profile_does_not_depend_on_the_texts_around() -> None:
    texts = [*planted(50, 5), "é" * 5, "日本語", "x" * 200_000]
    profiler = Profiler(0.7)
    whole = profiler.profile(texts)
    for number, text in enumerate(texts):
        alone = profiler.profile([text])
        assert (alone.checks[:, 0] == whole.checks[:, number]).all()
