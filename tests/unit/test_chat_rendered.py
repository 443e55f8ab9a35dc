"""What --text renders comes back as the same record, whatever its shape."""

from __future__ import annotations

from typing import Any

import pytest

from bptools.chat import Converter, Options, convert

USER = {"role": "user", "content": "q <|im_end|>", "name": "Ann"}
SHORT = {"role": "user", "content": "Go on"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
RECORDS: list[dict[str, Any]] = [
    {"messages": [USER, {"role": "assistant", "content": "a", "weight": 0}], "id": 1},
    {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}], "tools": TOOLS},
    {"prompt": [USER], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]},
    {"prompt": [USER], "completion": [{"role": "assistant", "content": "a", "weight": 1}], "label": True, "id": 2},
    {"prompt": [USER], "completion": [{"role": "assistant", "content": "a"}], "label": False, "tools": TOOLS},
    {"prompt": [USER], "completion": [{"role": "assistant", "content": "a"}], "label": False, "bp": {"ppl": 2.5}},
    {"prompt": [], "chosen": [USER, {"role": "assistant", "content": "a"}], "rejected": [SHORT, {"role": "assistant", "content": "b"}]},
    {"prompt": [SHORT], "chosen": [USER, {"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b", "weight": 0}]},
    {"prompt": [SHORT], "chosen": [USER], "rejected": [{"role": "user", "content": "z"}], "tools": TOOLS},
    {"prompt": [], "completion": [SHORT, {"role": "assistant", "content": "a"}], "label": True},
    {"prompt": [], "completion": [USER], "label": False, "tools": TOOLS},
    {"prompt": [SHORT], "completion": [USER, {"role": "assistant", "content": "a", "tool_calls": [CALL]}], "label": True},
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids="-".join)
@pytest.mark.parametrize("on_markup", ["escape", "keep"])
def test_rendered_and_read_back(record: dict[str, Any], on_markup: str) -> None:
    rendered = Converter(Options(text=True, on_markup=on_markup))(record)
    assert Converter(Options())(rendered) == record


def test_fields_come_back_in_the_order_of_the_page() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}, "index": 0}
    turn = {"role": "assistant", "content": "", "tool_calls": [call], "name": "n", "reasoning_content": "Hm.", "weight": 1}  # fmt: skip
    made = convert(convert({"messages": [SHORT, turn]}, text=True))["messages"][1]
    assert list(made) == list(turn) and made == turn
    assert list(made["tool_calls"][0]) == list(call)


def test_a_foreign_answer_that_repeats_its_prompt() -> None:
    prompt = "<|im_start|>user\nq<|im_end|>\n"
    made = convert({
        "prompt": prompt,
        "chosen": prompt + "<|im_start|>assistant\na<|im_end|>\n",
        "rejected": prompt + "<|im_start|>assistant\nb<|im_end|>\n",
    })  # fmt: skip
    assert made["prompt"] == [{"role": "user", "content": "q"}]
    assert made["chosen"] == [{"role": "assistant", "content": "a"}]


def test_rendered_speakers_with_other_names() -> None:
    turns = "<|im_start|>human\nq<|im_end|>\n", "<|im_start|>gpt\na<|im_end|>\n"
    made = convert({"prompt": turns[0], "completion": turns[1], "label": True})
    assert [made["prompt"][0]["role"], made["completion"][0]["role"]] == ["user", "assistant"]
    strange = {"prompt": "<|im_start|>zork\nq<|im_end|>\n", "completion": turns[1], "label": True}
    assert convert(strange)["prompt"] == [{"role": "user", "content": strange["prompt"]}]


@pytest.mark.parametrize(("label", "verdict"), [(1, True), (0, False), ("false", False), (True, True)])
def test_a_label_beside_prompt_and_completion(label: object, verdict: bool) -> None:
    made = convert({"prompt": "q", "completion": "a", "label": label})
    assert made["label"] is verdict
    assert convert(made) is made
    assert "messages" in convert({"prompt": "q", "completion": "a", "label": 2})


def test_calls_and_reasoning_without_a_content_key() -> None:
    turn = {"role": "assistant", "tool_calls": [CALL]}
    made = convert({"messages": [{"role": "user", "content": "q"}, turn]})
    assert made["messages"][1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    turn = {"role": "assistant", "reasoning_content": "Hm."}
    made = convert({"messages": [{"role": "user", "content": "q"}, turn]})
    assert made["messages"][1] == {"role": "assistant", "content": "", "reasoning_content": "Hm."}
