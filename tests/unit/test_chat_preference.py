"""Preference and rated records: where the prompt ends, and what becomes of everything beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bptools.chat import Converter, convert, detect
from bptools.chat.hh import split
from bptools.core.records import Drop


def u(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def a(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


S = {"role": "system", "content": "S"}
GOOD, BAD = [a("good")], [a("bad")]
PAIR = {"prompt": [u("Why?")], "chosen": GOOD, "rejected": BAD}
WITH_SYSTEM = {**PAIR, "prompt": [S, u("Why?")]}

VERDICTS = {"better_response_id", "overall_preference", "winner", "labels"}
PREFERENCES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("strings", {"prompt": "Why?", "chosen": "good", "rejected": "bad"}, PAIR),
    ("orca", {"system": "S", "question": "Why?", "chosen": "good", "rejected": "bad"}, WITH_SYSTEM),
    ("alpaca", {"instruction": "Why", "input": "so?", "chosen": "good", "rejected": "bad"}, {**PAIR, "prompt": [u("Why\n\nso?")]}),
    ("a message each", {"conversations": [{"from": "human", "value": "Why?"}], "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}}, PAIR),
    ("messages as prompt", {"messages": [u("Why?")], "chosen": "good", "rejected": "bad"}, PAIR),
    ("whole conversations", {"chosen": [S, u("Why?"), *GOOD], "rejected": [S, u("Why?"), *BAD]}, WITH_SYSTEM),
    ("whole conversations beside the prompt", {"prompt": "Why?", "chosen": [u("Why?"), *GOOD], "rejected": [u("Why?"), *BAD]}, PAIR),
    ("as JSON", {"prompt": "Why?", "chosen": json.dumps(GOOD), "rejected": json.dumps(BAD)}, PAIR),
    ("messages fields", {"chosen_messages": [u("Why?"), *GOOD], "rejected_messages": [u("Why?"), *BAD]}, PAIR),
    ("request", {"input": {"messages": [u("Why?")]}, "preferred_output": GOOD, "non_preferred_output": BAD}, PAIR),
    ("first is better", {"prompt": "Why?", "response_0": "good", "response_1": "bad", "better_response_id": 0}, PAIR),
    ("second is better", {"prompt": "Why?", "response_0": "bad", "response_1": "good", "better_response_id": 1}, PAIR),
    ("strength", {"context": [u("Why?")], "response1": "bad", "response2": "good", "overall_preference": 2}, PAIR),
    ("arena", {"conversation_a": [u("Why?"), *BAD], "conversation_b": [u("Why?"), *GOOD], "winner": "model_b"}, PAIR),
    ("forum", {"history": "Why?", "human_ref_A": "good", "human_ref_B": "bad", "labels": 1}, PAIR),
    ("stack exchange", {"question": "Why?", "response_j": "good", "response_k": "bad"}, PAIR),
    ("history", {"history": [["One?", "1"]], "instruction": "Why?", "chosen": "good", "rejected": "bad"}, {**PAIR, "prompt": [u("One?"), a("1"), u("Why?")]}),
    ("History", {"History": [["One?", "1"]], "prompt": "Why?", "chosen": "good", "rejected": "bad"}, {**PAIR, "prompt": [u("One?"), a("1"), u("Why?")]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record", "expected"), PREFERENCES, ids=[case[0] for case in PREFERENCES])
def test_preference(name: str, record: dict[str, Any], expected: dict[str, Any]) -> None:
    assert detect(record)[:3] == ("preference", "preference", "")
    out = convert(record)
    assert {key: value for key, value in out.items() if key not in VERDICTS} == expected
    assert list(out)[:3] == ["prompt", "chosen", "rejected"]
    assert convert(out) is out


def test_transcripts_are_split_at_the_turn() -> None:
    start = "\n\nHuman: One?\n\nAssistant: 1\n\nHuman: Two?\n\nAssistant:"
    record = {"chosen": start + " It is two.", "rejected": start + " It is three."}
    assert detect(record).format == "hh-rlhf"
    assert convert(record) == {
        "prompt": [u("One?"), a("1"), u("Two?")],
        "chosen": [a("It is two.")],
        "rejected": [a("It is three.")],
    }


def test_an_empty_answer_is_kept_and_counted() -> None:
    converter = Converter()
    out = converter({"chosen": "\n\nHuman: x\n\nAssistant:", "rejected": "\n\nHuman: x\n\nAssistant: y"})
    assert out == {"prompt": [u("x")], "chosen": [a("")], "rejected": [a("y")]}
    assert converter.notes == {"empty-content": 1}


def test_pairs_with_different_prompts_keep_what_follows() -> None:
    record = {
        "chosen": "\n\nHuman: x\n\nAssistant: y\n\nHuman: p\n\nAssistant: 1",
        "rejected": "\n\nHuman: x\n\nAssistant: y\n\nHuman: q\n\nAssistant: 2",
    }
    assert convert(record) == {
        "prompt": [u("x"), a("y")],
        "chosen": [u("p"), a("1")],
        "rejected": [u("q"), a("2")],
    }


def test_chosen_and_rejected_win_over_messages() -> None:
    whole = [u("Why?"), *GOOD]
    record = {
        "prompt": "Why?",
        "prompt_id": "7",
        "chosen": whole,
        "rejected": [u("Why?"), *BAD],
        "messages": whole,
    }
    assert convert(record) == {**PAIR, "prompt_id": "7", "messages": whole}


def test_a_prompt_that_the_conversations_do_not_say_is_kept_aside() -> None:
    record = {"prompt": "Templated: Why?", "chosen": [u("Why?"), *GOOD], "rejected": [u("Why?"), *BAD]}
    assert convert(record) == {**PAIR, "bp": {"kept": {"prompt": "Templated: Why?"}}}


def test_a_tie_is_dropped() -> None:
    with pytest.raises(Drop) as drop:
        convert({"conversation_a": [u("x"), a("y")], "conversation_b": [u("x"), a("z")], "winner": "tie"})
    assert drop.value.reason == "tie"


def test_without_a_rejected_answer_it_is_a_chat() -> None:
    assert convert({"prompt": "x", "chosen": "y", "rejected": None})["messages"] == [u("x"), a("y")]


@given(st.lists(st.text(alphabet="ab \n", max_size=6), min_size=2, max_size=6))
def test_splitting_loses_nothing(texts: list[str]) -> None:
    names = ("Human", "Assistant")
    transcript = "".join(f"\n\n{names[number % 2]}: {text}" for number, text in enumerate(texts))
    messages = split(transcript)
    assert messages is not None
    assert [message["content"] for message in messages] == texts


RATED = {"prompt": [u("x")], "completion": [a("y")], "label": True}


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "x", "completion": "y", "label": True},
        {"prompt": "x", "completion": "y", "label": "True"},
        {"prompt": [u("x")], "completion": [a("y")], "label": True},
        {"messages": [u("x"), a("y")], "label": True},
        {"instruction": "x", "input": "", "output": "y", "kto_tag": True},
        {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}], "kto_tag": True},
    ],
)
def test_rated(record: dict[str, Any]) -> None:
    assert detect(record) == ("kto", "rated", "", "")
    out = convert(record)
    assert out == RATED
    assert convert(out) is out


def test_a_label_that_is_no_verdict_stays() -> None:
    record = {"messages": [u("x"), a("y")], "label": 3}
    assert convert(record) is record
    assert convert({"text": "fine", "label": True}) == {"text": "fine", "label": True}


def test_rated_keeps_a_completion_of_several_messages() -> None:
    record = {"prompt": [u("x")], "completion": [a("y"), u("z"), a("w")], "label": False}
    assert convert(record) is record
