"""The text that the shipped model learns from, and the reference models it is compared with."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest

from bptools._dev.nano import corrupt, dialogues, documents, grammar, judge, plain, problems, sources
from bptools._dev.nano.kneser import Trigram


def test_restructured_text_becomes_plain_paragraphs() -> None:
    text = (
        "Title\n=====\n\nA :ref:`link <target>` to ``code`` and *more*\nof the same.\n\n.. note::\n\n   Mind this.\n\n"
        ".. image:: a.png\n   :alt: none\n\n- first\n  point\n- second\n\n.. comment\n\n=== ===\na   b\n=== ===\n\nEnd_.\n"
    )
    assert plain.restructured(text) == [
        "Title", "A link to code and more of the same.", "Mind this.", "- first point", "- second", "End.",
    ]  # fmt: skip


def test_markdown_becomes_plain_paragraphs() -> None:
    text = (
        "# Head\n\nSee [this](http://x) and\n`that`.\n\n| a | b |\n\n```py\n"
        + "x = 1\n" * 20
        + "```\n\n* one\n* **two**\n"
    )
    assert plain.markdown(text) == ["Head", "See this and that.", "- one", "- two"]


def test_pages_become_plain_paragraphs() -> None:
    text = "<nav><p>no</p></nav><h1>Head¶</h1><p>One <b>two</b>\nthree.</p><ul><li><p>item</p></li></ul><pre>x</pre>"
    assert plain.hypertext(text) == ["Head", "One two three.", "- item"]


def test_docstrings_stop_before_parameters() -> None:
    words = "Says what it does, at some length, so that it is worth being read. " * 3
    assert plain.docstrings(f'def f(x):\n    """{words}\n\n    Args:\n        x: no\n    """\n') == [
        words.strip()
    ]
    assert plain.docstrings("def broken(:") == []


@pytest.mark.parametrize(
    "text",
    [
        "Copyright 2001 by somebody who wrote all of it.",
        "a | b ||| c === d",
        "0101 1010 2020 3030 4040.",
        "x",
    ],
)
def test_what_is_no_prose_is_left_out(text: str) -> None:
    assert documents.tidy(text) == ""


def test_documents_are_whole_paragraphs_of_bounded_length() -> None:
    found = [f"Paragraph {number} says something about the matter at hand." * 3 for number in range(200)]
    made = list(documents.documents(found, random.Random(1)))
    assert all(documents.SHORTEST <= len(text) <= documents.LONGEST for text in made)
    assert set("\n".join(made).split("\n")) <= set(found)


def test_a_paragraph_is_used_once_and_a_heading_needs_something_below() -> None:
    seen: set[bytes] = set()
    found = ["Some heading", "There are 3 ways to do a thing like this.", "Another heading"]
    assert list(documents.fresh(found, seen)) == found[:2]
    assert list(documents.fresh(["There are 4 ways to do a thing like this."], seen)) == []


def test_every_source_is_pinned_and_free() -> None:
    listed = sources.listed()
    assert len({source.label for source in listed}) == len(listed)
    for source in listed:
        assert re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert re.search("MIT|BSD|Apache|PSF", source.license)
        assert source.kind in {"sdist", "deb"}
    assert sum(source.held_out for source in listed) == 2


def test_a_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    source = sources.listed()[0]
    (tmp_path / source.file).write_bytes(b"other")
    with pytest.raises(ValueError, match="SHA-256"):
        sources.fetch(source, tmp_path)


def test_every_slot_has_words() -> None:
    lexicon = grammar.lexicon()
    talk = [template for turns in dialogues.blocks()[0] for _, template in turns]
    for template in itertools.chain(talk, *lexicon.rules.values()):
        assert template.count("(") == template.count(")")
        for name, _, column in re.findall(r"\{([A-Za-z_]+?)(\d?)(?:\.(\w+))?\}", template):
            if column:
                assert column in lexicon.tables[name][0]
            else:
                assert name in lexicon.rules or name == "listed"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a apple and  a unit.", "An apple and a unit."),
        ("it works. yes", "It works. Yes"),
        ("is it the a house?", "Is it a house?"),
    ],
)
def test_polish(raw: str, clean: str) -> None:
    assert grammar.polish(raw) == clean


def test_dialogues_are_the_same_for_the_same_seed_and_well_formed() -> None:
    made = list(dialogues.dialogues(400, 3))
    assert made == list(dialogues.dialogues(400, 3))
    assert made != list(dialogues.dialogues(400, 4))
    assert len({json.dumps(record) for record in made}) == 400
    for record in made:
        messages = record["messages"]
        assert isinstance(messages, list)
        roles = [turn["role"] for turn in messages if turn["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        for turn in messages:
            assert not re.search(r"[{}|]|\s{2}", turn["content"])
            if turn["role"] == "assistant":
                assert re.search(r"[.!?]['\"]?$", turn["content"])
                assert not dialogues.repeats(turn["content"])


def test_sums_are_right() -> None:
    choice = random.Random(5)
    for _ in range(300):
        _, answer = problems.problem(choice)
        for left, right in re.findall(r"(\d+ [-+*/] \d+) = \$?(\d+)", answer.replace("$", "")):
            one, sign, two = left.split()
            results = {"+": int(one) + int(two), "-": int(one) - int(two), "*": int(one) * int(two)}
            assert results.get(sign, int(one) // int(two)) == int(right)


def test_prose_has_no_open_slots() -> None:
    assert all(not re.search(r"[{}|]", str(record["text"])) for record in dialogues.prose(100, 0))


def test_questions_come_from_what_is_not_held_out(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    text = "A rooted forest is a disjoint union of rooted trees. To stop the main server, press the key twice and wait."
    path.write_text(
        json.dumps({"text": text}) + "\n" + json.dumps({"text": "A cat is a pet.", "held_out": True}) + "\n"
    )
    assert [subject for subject, _ in dialogues.questions(path)] == ["a rooted forest"]


def test_the_prompts_are_a_hundred_and_not_from_the_grammar() -> None:
    prompts = judge.PROMPTS.read_text(encoding="utf-8").splitlines()
    assert len(set(prompts)) == 100
    asked = {
        turn["content"]
        for record in dialogues.dialogues(3000, 0)
        for turn in record["messages"]  # type: ignore[attr-defined]
    }
    assert not asked & set(prompts)


def test_the_trigram_sums_to_one() -> None:
    choice = random.Random(2)
    texts = [[choice.choice((0, 0, 1, 2, 4)) for _ in range(choice.randint(1, 9))] for _ in range(40)]
    model = Trigram(texts, 6)
    every = np.arange(6)
    for first, second in itertools.product(range(7), range(7)):
        probabilities = model.probabilities(np.full(6, first), np.full(6, second), every)
        assert probabilities.min() > 0
        assert probabilities.sum() == pytest.approx(1)
    assert sum(2 ** -model.unigram_bits([token]) for token in range(6)) == pytest.approx(1)


def test_the_trigram_knows_what_it_has_seen() -> None:
    model = Trigram([[1, 2, 3, 4, 5]] * 5 + [[5, 4, 3, 2, 1], [1, 3, 5, 2, 4]], 6)
    assert model.bits([1, 2, 3, 4, 5]) < model.bits([4, 1, 5, 3, 2])
    assert model.bits([1, 2, 3, 4, 5]) < model.unigram_bits([1, 2, 3, 4, 5])


@pytest.mark.parametrize("kind", sorted(corrupt.KINDS))
def test_spoilt_text_is_another_text(kind: str) -> None:
    text = "The early bird catches the worm, and the second mouse gets the cheese."
    spoilt = corrupt.KINDS[kind](text, random.Random(0))
    assert spoilt != text
    assert 0.7 < len(spoilt) / len(text) < 1.4


def test_area() -> None:
    assert corrupt.area([1, 2], [3, 4]) == 1
    assert corrupt.area([1, 2], [1, 2]) == 0.5
