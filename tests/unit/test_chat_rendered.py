"""What --text renders comes back as the same record, whatever its shape."""

from __future__ import annotations

from typing import Any

import pytest

from bptools.chat import Converter, Options, convert

USER = {"role": "user", "content": "q <|im_end|>", "name": "Ann"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
RECORDS: list[dict[str, Any]] = [
    {"messages": [USER, {"role": "assistant", "content": "a", "weight": 0}], "id": 1},
    {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}], "tools": TOOLS},
    {"prompt": [USER], "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]},
    {"prompt": [USER], "completion": [{"role": "assistant", "content": "a", "weight": 1}], "label": True, "id": 2},
    {"prompt": [USER], "completion": [{"role": "assistant", "content": "a"}], "label": False, "tools": TOOLS},
    {"prompt": [USER], "completion": [{"role": "assistant", "content": "a"}], "label": False, "bp": {"ppl": 2.5}},
]  # fmt: skip


@pytest.mark.parametrize("record", RECORDS, ids="-".join)
@pytest.mark.parametrize("on_markup", ["escape", "keep"])
def test_rendered_and_read_back(record: dict[str, Any], on_markup: str) -> None:
    rendered = Converter(Options(text=True, on_markup=on_markup))(record)
    assert Converter(Options())(rendered) == record


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
