"""Chunks are exact parts of the text, within their size, and nothing is lost between them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.chat import chunks
from bptools.chat.chunks import approximate_tokens, chunk, load_offsets, parse_size
from bptools.core.errors import InputError

pieces = st.sampled_from([
    "word", "two words", " ", "\n", "\n\n", "\r\n\r\n", "\t", "```", "~~~", "```py\nx = 1\n\n\ny = 2\n```\n", "    indented",
    "漢字", "かな", "ไทยก็", "한국어", "e\u0301", "\U0001f600", "\u2028", "\x85", "\x00", "a" * 300, "1234", "-- ;;", "\ud800",
])  # fmt: skip
texts = st.lists(st.one_of(pieces, st.text(max_size=8)), max_size=25).map("".join)
sizes = st.integers(1, 12).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


def by_character(text: str) -> list[tuple[int, int]]:
    return [(at, at + 1) for at in range(len(text))]


def words(text: str) -> int:
    return len(chunks._words().findall(text))


@settings(max_examples=400, deadline=None)
@given(texts, st.integers(1, 12), st.sampled_from(chunks.UNITS), st.sampled_from([None, by_character]))
def test_without_overlap_the_chunks_are_the_text(text, size, unit, offsets):
    found = chunk(text, size, unit, offsets=offsets)
    assert "".join(found) == text
    assert all(found)


@settings(max_examples=400, deadline=None)
@given(texts, sizes, st.sampled_from(chunks.UNITS), st.sampled_from([None, by_character]))
def test_with_overlap_chunks_are_parts_in_order_that_cover_all(text, size_and_overlap, unit, offsets):
    size, overlap = size_and_overlap
    covered = at = 0
    for piece in chunk(text, size, unit, overlap, offsets):
        at = text.index(piece, at) if not covered else at
        start = max((s for s in range(covered + 1) if text.startswith(piece, s)), default=-1)
        assert start >= 0  # begins no later than where the last one ended
        covered = max(covered, start + len(piece))
    assert covered == len(text)


@settings(max_examples=300, deadline=None)
@given(texts, sizes)
def test_word_chunks_hold_their_size_and_repeat_the_overlap(text, size_and_overlap):
    size, overlap = size_and_overlap
    found = chunk(text, size, "words", overlap)
    all_words = chunks._words().findall(text)
    counts = [words(piece) for piece in found]
    assert counts[:-1] == [size] * (len(found) - 1) if found else not text
    for number, piece in enumerate(found):
        begin = number * (size - overlap)
        assert chunks._words().findall(piece) == all_words[begin : begin + size]


def test_words_of_scripts_without_spaces():
    assert chunk("漢字とかな mix", 3, "words") == ["漢字と", "かな mix"]
    assert chunk("กำลังไป", 2, "words")[0] == "กำ"  # sara am is a letter of its own, marks stay with theirs
    assert chunk("a b  c\n\nd", 2, "words") == ["a b  ", "c\n\nd"]


def test_indentation_stays_with_its_line():
    assert chunk("if x:\n    y = 1\n", 2, "words") == ["if x:\n", "    y = ", "1\n"]


def test_paragraphs_and_fences():
    code = "```py\na = 1\n\n\nb = 2\n```"
    text = f"One\nline\n\n  two\n \n\n{code}\n\nlast\n"
    assert chunk(text, 1, "paragraphs") == ["One\nline\n\n", "  two\n \n\n", f"{code}\n\n", "last\n"]
    assert chunk(text, 2, "paragraphs", 1) == [
        "One\nline\n\n  two\n \n\n", f"  two\n \n\n{code}\n\n", f"{code}\n\nlast\n",
    ]  # fmt: skip
    assert chunk("~~~~\na\n\n~~~\n\nb\n~~~~\n\nc", 1, "paragraphs") == ["~~~~\na\n\n~~~\n\nb\n~~~~\n\n", "c"]
    assert chunk("```\nopen\n\nnever closed", 1, "paragraphs") == ["```\nopen\n\n", "never closed"]


def test_tokens_by_offsets_are_exact_and_ignore_special_tokens():
    spans = [(0, 0), (0, 2), (2, 5), (5, 6), (5, 6), (6, 8), (0, 0)]
    assert chunk("abcdefgh", 2, "tokens", offsets=lambda text: spans) == ["abcde", "f", "gh"]
    assert chunk("abcdef", 2, "tokens", 1, by_character) == ["ab", "bc", "cd", "de", "ef"]


def test_estimated_tokens_stay_near_the_size_and_cut_giant_words():
    prose = "The quick brown fox jumps over the lazy dog, and then it sleeps.\n" * 200
    found = chunk(prose, 100, "tokens")
    assert all(70 <= approximate_tokens(piece) <= 115 for piece in found[:-1])
    assert all(piece.endswith((" ", "\n")) for piece in found)
    assert len(chunk("x1" * 5000, 50, "tokens")) > 50


@pytest.mark.parametrize(("text", "least", "most"), [
    ("", 0, 0), ("a", 1, 1), ("Hello, world!", 3, 5), ("漢字漢字漢字", 3, 6), ("12345", 4, 5), ("Привет, как дела?", 5, 9),
    ("The committee will meet again on Thursday to discuss the remaining questions.", 11, 17), ("\ud800", 1, 3),
])  # fmt: skip
def test_estimates(text, least, most):
    assert least <= approximate_tokens(text) <= most


@settings(max_examples=200, deadline=None)
@given(texts)
def test_an_estimate_never_exceeds_the_bytes(text):
    assert 0 <= approximate_tokens(text) <= len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(("text", "size"), [
    ("512tokens", (512, "tokens")), ("200words", (200, "words")), ("3 paragraphs", (3, "paragraphs")),
    ("200", (200, "words")), ("1paragraph", (1, "paragraphs")), (" 64Tokens ", (64, "tokens")),
])  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "tokens", "0words", "-3", "2.5words", "10chars", "٣words"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match=r"size|unit|small"):
        parse_size(text)


@pytest.mark.parametrize("arguments", [(0, "words"), (5, "words", 5), (5, "words", -1), (5, "lines")])
def test_impossible_chunks_are_refused(arguments):
    with pytest.raises(ValueError):
        chunk("a b", *arguments)


def test_a_tokenizer_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        load_offsets(str(tmp_path))


def test_chunks_by_a_real_tokenizer(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.train_from_iterator(
        ["the cat sat on the mat and ran " * 20],
        tokenizers.trainers.BpeTrainer(
            vocab_size=300,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    model.save(str(tmp_path / "tokenizer.json"))
    offsets = load_offsets(str(tmp_path))
    text = "the cat sat on the mat.\n\nĞ漢字 \U0001f600 and ran  "
    found = chunk(text, 4, "tokens", offsets=offsets)
    assert "".join(found) == text
    assert [model.encode(piece).tokens for piece in found[:2]] == [
        model.encode(text).tokens[:4],
        model.encode(text).tokens[4:8],
    ]
    for text in ("the \ud83d cat sat", "\ude00 the cat", "the cat \ud83d"):  # half a surrogate pair
        found = chunk(text, 2, "tokens", offsets=offsets)
        assert "".join(found) == text and len(found) > 1
        assert offsets(text) == offsets(re.sub("[\ud800-\udfff]", "\ufffd", text))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="not a tokenizer"):
        load_offsets(str(tmp_path))
