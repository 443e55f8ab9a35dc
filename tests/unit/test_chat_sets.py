"""Shapes of well-known sets: comparisons with their verdicts, ranked answers, choices, passages, trees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bptools.chat import Converter, convert, detect
from bptools.core.records import Drop, Reject


def u(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def a(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


PAIR = {"prompt": [u("Why?")], "chosen": [a("good")], "rejected": [a("bad")]}

VERDICTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"prompt": "Why?", "response_0": "bad", "response_1": "good"},
        {"better_response_id": 1, "safer_response_id": 0},
    ),
    ({"prompt": "Why?", "response_1": "good", "response_2": "bad"}, {"preference_strength": -3}),
    ({"context": [u("Why?")], "response1": "bad", "response2": "good"}, {"overall_preference": 2}),
    (
        {"conversation_a": [u("Why?"), a("good")], "conversation_b": [u("Why?"), a("bad")]},
        {"model_a": "x", "winner": "model_a", "judge": "j", "turn": 1},
    ),
    (
        {"prompt": '["Why?"]', "response_a": '["bad"]', "response_b": '["good"]'},
        {"winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0},
    ),
    ({"history": "Why?", "human_ref_A": "good", "human_ref_B": "bad"}, {"labels": 1, "score_A": 9}),
    ({"instruction": "Why?", "output_1": "bad", "output_2": "good"}, {"preference": 2, "annotator": "z"}),
]


@pytest.mark.parametrize(("record", "verdict"), VERDICTS, ids=[next(iter(case[1])) for case in VERDICTS])
def test_the_verdict_of_a_comparison_stays(record: dict[str, Any], verdict: dict[str, Any]) -> None:
    out = convert({**record, **verdict})
    assert out == {**PAIR, **verdict}
    assert convert(out) is out


def test_a_verdict_named_like_a_part_of_the_record_is_kept_aside() -> None:
    record = {"instruction": "Why?", "output_1": "good", "output_2": "bad", "preference": 1, "chosen": "A"}
    out = convert(record)
    assert out == {**PAIR, "preference": 1, "bp": {"kept": {"chosen": "A"}}}
    assert convert(out) is out


def test_answers_to_several_turns_are_interleaved() -> None:
    record = {
        "prompt": json.dumps(["One?", "Two?"]),
        "response_a": json.dumps(["1", "3"]),
        "response_b": json.dumps(["1", None]),
        "winner": "model_a",
    }
    assert convert(record) == {
        "prompt": [u("One?"), a("1"), u("Two?")],
        "chosen": [a("3")],
        "rejected": [a("")],
        "winner": "model_a",
    }
    lists = {key: json.loads(value) if key != "winner" else value for key, value in record.items()}
    assert convert(lists) == convert(record)


def test_texts_that_only_begin_like_lists_are_texts() -> None:
    record = {"prompt": "[1] Why?", "response_a": '["a"]', "response_b": "b", "winner": "b"}
    assert convert(record) == {
        "prompt": [u("[1] Why?")],
        "chosen": [a("b")],
        "rejected": [a('["a"]')],
        "winner": "b",
    }


@pytest.mark.parametrize(
    ("preference", "better"), [(1, "x"), (2, "y"), (1.2, "x"), (1.93, "y"), (2.0, "y"), ("1", "x")]
)
def test_numbered_preferences(preference: float, better: str) -> None:
    record = {
        "instruction": "Why",
        "input": "so?",
        "output_1": "x",
        "output_2": "y",
        "preference": preference,
    }
    out = convert(record)
    assert out["prompt"] == [u("Why\n\nso?")]
    assert out["chosen"] == [a(better)]
    assert out["preference"] == preference


@pytest.mark.parametrize("preference", [0, 1.5])
def test_a_draw_between_numbered_outputs_is_dropped(preference: float) -> None:
    with pytest.raises(Drop) as drop:
        convert({"instruction": "Why?", "output_1": "x", "output_2": "y", "preference": preference})
    assert drop.value.reason == "tie"


def test_other_fields_of_a_request_are_kept() -> None:
    request = {
        "messages": [u("Why?")],
        "tools": [],
        "parallel_tool_calls": True,
        "temperature": 0.5,
        "id": 2,
        "system": "S",
    }
    answers = {"preferred_output": [a("good")], "non_preferred_output": [a("bad")]}
    out = convert({"id": 1, "input": request, **answers})
    assert out == {
        **PAIR,
        "id": 1,
        "input": {"id": 2, "system": "S"},
        "parallel_tool_calls": True,
        "temperature": 0.5,
    }
    assert convert(out) is out
    out = convert({"input": {"messages": [u("Why?")], "prompt": "p"}, **answers})
    assert out == {**PAIR, "bp": {"kept": {"prompt": "p"}}}
    assert convert(out) is out


TREE = {"text": "Why?", "role": "prompter", "replies": [{"text": "So.", "role": "assistant", "replies": []}]}


@pytest.mark.parametrize(
    ("record", "telling"),
    [
        ({"message_tree_id": "1", "tree_state": "ready", "prompt": TREE}, "tree"),
        (
            {
                "instruction": "Why?",
                "models": ["m"],
                "completions": [{"response": "So.", "overall_score": 7}],
            },
            "completions",
        ),
        ({"prompt": "Why?", "completions": ["So.", "It is."], "labels": [True, False]}, "step"),
    ],
)
def test_answers_without_a_shape_are_refused(record: dict[str, Any], telling: str) -> None:
    assert detect(record).format == "unsupported"
    with pytest.raises(Reject) as reject:
        convert(record)
    assert reject.value.reason == "unsupported"
    assert telling in reject.value.detail


def test_instances_are_still_records() -> None:
    out = convert({"instruction": "Add", "instances": [{"input": "1 2", "output": "3"}]})
    assert out["messages"] == [u("Add\n\n1 2"), a("3")]


@pytest.mark.parametrize(
    "record",
    [
        {"question": "Why?", "choices": ["a", "good"], "answer": 1, "subject": "s"},
        {"question": "Why?", "choices": ["a", "good"], "answer": "B"},
        {"question": "Why?", "choices": {"text": ["good", "b"], "label": ["A", "B"]}, "answerKey": "A"},
    ],
)
def test_the_right_choice_is_the_answer(record: dict[str, Any]) -> None:
    assert detect(record).format == "question-answer"
    out = convert(record)
    assert out["messages"] == [u("Why?"), a("good")]
    assert {key: out[key] for key in out if key != "messages"} == {
        key: value for key, value in record.items() if key != "question"
    }
    assert convert(out) is out


@pytest.mark.parametrize("answer", [-1, 2])
def test_a_question_without_the_right_choice_is_refused(answer: int) -> None:
    with pytest.raises(Reject) as reject:
        convert({"question": "Why?", "choices": ["a", "b"], "answer": answer})
    assert reject.value.reason == "missing-field"


def test_an_answer_that_is_no_number_of_a_choice_is_the_answer() -> None:
    for record in (
        {"question": "3 + 4?", "choices": ["6", "7"], "answer": 7},
        {"question": "3 + 4?", "choices": ["6", "7"], "answer": "7"},
    ):
        assert convert(record)["messages"] == [u("3 + 4?"), a("7")]


def test_a_passage_with_its_question() -> None:
    answers = {"text": ["good", "good one"], "answer_start": [3, 3]}
    record = {"id": "1", "context": "A text.", "question": "Why?", "answers": answers}
    out = convert(record)
    assert out == {"messages": [u("A text.\n\nWhy?"), a("good")], "id": "1", "answers": answers}
    assert convert(out) is out
    with pytest.raises(Reject) as reject:
        convert({**record, "answers": {"text": [], "answer_start": []}})
    assert reject.value.reason == "missing-field"


def test_ranked_answers_give_the_best_and_the_worst() -> None:
    answers = [{"answer": "so so", "rank": 2}, {"answer": "good", "rank": 1.0}, {"answer": "bad", "rank": 7}]
    record = {"prompt": "\n\nHuman: Why?\n\nAssistant: ", "answers": answers, "turns": 1}
    assert detect(record)[:2] == ("preference", "preference")
    out = convert(record)
    assert out == {**PAIR, "answers": answers, "turns": 1}
    assert convert(out) is out
    with pytest.raises(Drop):
        convert({"prompt": "Why?", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 1}]})


def test_the_authors_of_posts_are_no_roles() -> None:
    posts = [
        {"author": "Sam", "text": "good", "pm_score": 3},
        {"author": "Kim", "text": "bad", "pm_score": 1},
    ]
    converter = Converter()
    with pytest.raises(Reject) as reject:
        converter({"qid": 1, "question": "Why?", "answers": posts})
    assert reject.value.reason != "unknown-role"
    assert convert({"messages": [{"author": "user", "text": "x"}, {"author": "bot", "text": "y"}]})[
        "messages"
    ] == [u("x"), a("y")]
