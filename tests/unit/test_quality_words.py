"""English text to words and sentences: what spaCy's blank English tokenizer answers, without it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bptools.quality import words as module
from bptools.quality.word_exceptions import exceptions
from bptools.quality.word_pieces import is_address, split_chunk
from bptools.quality.words import SYMBOLS, count_oddities, count_sentences, words

# Right sides are spaCy 3.8's answers (spacy.blank("en")), recorded.
SPLITS = {
    "Hello, world!": "Hello , world !",
    "I don't can't won't shan't": "I do n't ca n't wo n't sha n't",
    "It's he's she'd they'll we've I'm": "It 's he 's she 'd they 'll we 've I 'm",
    "couldn't've I'd've": "could n't 've I 'd 've",
    "don\u2019t it\u2019s": "do n\u2019t it \u2019s",
    "cannot gonna dont its well": "can not gon na do nt its well",
    "Mr. Smith, Dr. Who vs. e.g. i.e. a.m.": "Mr. Smith , Dr. Who vs. e.g. i.e. a.m.",
    "U.S. U.K. Ph.D. etc.": "U.S. U.K. Ph.D. etc .",
    "at 9am, 10p.m. and 13pm": "at 9 am , 10 p.m. and 13pm",
    "the dog's bone, dogs' bones": "the dog 's bone , dogs ' bones",
    "well-known state-of-the-art x--y a\u2014b": "well - known state - of - the - art x -- y a \u2014 b",
    "5km 10kg 100% $5.99 US$30 20\u00b0C.": "5 km 10 kg 100 % $ 5.99 US$ 30 20 \u00b0 C .",
    "3+4=7 5-3 x=y 1,000 a,b 10:30": "3 + 4=7 5 - 3 x = y 1,000 a , b 10:30",
    "and/or he/she 24/7 w/o": "and/or he / she 24/7 w/o",
    "wait... what... ....": "wait ... what ... ....",
    "end.Start end.start": "end . Start end.start",
    '("quoted," she said.)': '( " quoted , " she said . )',
    "see http://example.com/a?b=c, www.foo.org.": "see http://example.com/a?b=c , www.foo.org .",
    "mail me@example.com!": "mail me@example.com !",
    ":) :-( <3 ^_^ (8)": ":) :-( <3 ^_^ ( 8)",
    "Great\U0001f600\U0001f600 job": "Great \U0001f600 \U0001f600 job",
    "snake_case __init__ #tag @user": "snake_case _ _ init _ _ # tag @user",
    "- item * item \u2022 item": "- item * item \u2022 item",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002": "\u4f60\u597d\uff0c\u4e16\u754c \u3002",
    "Mr.Smith's C++ and C#": "Mr. Smith 's C++ and C #",
    "f(x) {a: [1, 2]}": "f(x ) { a : [ 1 , 2 ] }",
    "1st 2nd 90s '90s": "1st 2nd 90s ' 90s",
    "5m/s, 30m/s\u00b2": "5 m/s , 30m / s\u00b2",
}


@pytest.mark.parametrize("text", SPLITS)
def test_words_are_those_of_the_reference(text: str) -> None:
    assert words(text) == SPLITS[text].split(" ")


def test_white_space_of_every_kind_separates_and_is_no_word() -> None:
    assert words("a\tb\n\nc\u00a0d\u2003e\x1cf \r\n") == ["a", "b", "c", "d", "e", "f"]
    assert words("") == words(" \n\t") == []


@given(st.text())
def test_nothing_is_lost_or_added(text: str) -> None:
    found = words(text)
    assert "".join(found) == "".join(text.split())
    assert all(found)


@given(
    st.lists(st.sampled_from([*".,-'\"()!?:;/@#$%&+=_\u2019\u2026 ", "..", "--", "5", "km", "a", "B", "Mr."]))
)
def test_a_chunk_is_split_alike_cold_and_warm(parts: list[str]) -> None:
    text = "".join(parts)
    assert [piece for chunk in text.split() for piece in split_chunk(chunk)] == words(text) == words(text)


def test_exceptions_are_put_together_from_their_parts() -> None:
    table = exceptions()
    assert all("".join(parts) == written for written, parts in table.items())
    assert len(table) == 1343
    assert max(map(len, table)) == 12  # what word_pieces looks up at most
    assert all(words(written) == list(parts) for written, parts in table.items())


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("example.com", True),
        ("example.com:8080/path?q", True),
        ("https://a.b.co.uk/x", True),
        ("user:pass@host.org", True),
        ("8.8.8.8/x", True),
        ("192.168.0.1/x", False),
        ("10.0.0.1", False),
        ("300.1.1.1", False),
        ("1.5", False),
        ("lower.Upper", False),
        ("-a.com", False),
        ("a..com", False),
        ("a.com:1", False),
        ("a.c", False),
        ("nodot", False),
        ("@host.org", False),
    ],
)
def test_addresses(text: str, answer: bool) -> None:
    assert is_address(text) is answer


@pytest.mark.parametrize(
    "chunk",
    [
        "x" * 1_000_000,
        "!" * 300_000,
        "." * 1_000_000,
        "a-" * 150_000,
        "a@b." * 100_000,
        "(:" * 100_000,
        "a.B" * 100_000,
        "'s" * 150_000,
        "\u4e2d\u3002" * 150_000,
        "\ud800" * 100_000,
    ],
)
def test_long_chunks_are_split_in_time(chunk: str) -> None:
    assert "".join(split_chunk(chunk)) == chunk  # quadratic work would take hours


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    table = module._Remembered(module.split_chunk)
    for number in range(1000):
        assert table[f"word{number}!"] == (f"word{number}", "!")
        assert len(table) <= 10
    for number in range(1000):
        assert table["x" * 100 + str(number)] == ("x" * 100 + str(number),)
        assert len(table._long) <= module._LONG_ONES
    assert len(table) <= 10


def _oddities(text: str) -> tuple[int, int, int]:
    symbols = [word for word in words(text) if all(char in SYMBOLS for char in word)]
    letterless = [word for word in words(text) if not any(char.isalpha() for char in word)]
    return len(symbols), sum(map(len, symbols)), len(letterless)


@given(st.text())
def test_oddities_are_counted_as_one_would(text: str) -> None:
    assert count_oddities(text.split()) == _oddities(text)


def test_oddities_of_words() -> None:
    # , 5 !!! are letterless; , and !!! (three words) are symbols; x5 is neither
    assert count_oddities(["Well,", "5", "x5", "wow!!!"]) == (4, 4, 5)
    assert count_oddities([]) == (0, 0, 0)


def test_oddities_of_a_text_too_long_for_the_packed_sum() -> None:
    text = "word, 5 " * 200_000
    assert count_oddities(text.split()) == _oddities(text) == (200_000, 200_000, 400_000)


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("", 1),
        ("One sentence.", 1),
        ("No stop", 1),
        ("One. Two.", 2),
        ("Is it? Yes! Good.", 3),
        ('He said "Stop." Then he left.', 2),
        ('"One." "Two."', 2),
        ("Mr. Smith left. He ran.", 2),
        ("Version 1.5 is out.", 1),
        ("Wait... what?", 1),
        ("End.Start of it.", 2),
        ("One. )", 1),
        ("One.  )", 2),  # white space beyond one blank is a word there
        ("One.\t)", 2),
        ("  One. Two.", 2),
        ("\u4f60\u597d\u3002 \u518d\u89c1\u3002", 2),
        ("... ... ...", 1),
        (". . a. b", 2),
    ],
)
def test_sentences(line: str, count: int) -> None:
    assert count_sentences(line) == count


@given(st.text())
def test_a_line_has_a_sentence_at_least_and_no_more_than_words(line: str) -> None:
    assert 1 <= count_sentences(line) <= max(1, 2 * len(words(line)))
