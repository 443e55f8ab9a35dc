"""Every family of formats, one sample each: what it is called, what it becomes, and that this is stable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bptools.chat import Converter, convert, detect


def u(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def a(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def s(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


TOOL = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": TOOL}
QA = [u("Why?"), a("Because.")]
TURNS = [u("One?"), a("1"), u("Two?"), a("2")]

CHAT: list[tuple[str, str, dict[str, Any], list[dict[str, Any]]]] = [
    # name, format, record, messages
    ("messages", "messages", {"messages": QA}, QA),
    ("content first", "messages", {"messages": [{"content": "Why?", "role": "user"}, a("Because.")]}, QA),
    ("role names", "messages", {"messages": [{"role": "Human ", "content": "Why?"}, {"role": "MODEL", "content": "Because."}]}, QA),
    ("developer", "messages", {"messages": [{"role": "developer", "content": "S"}, *QA]}, [s("S"), *QA]),
    ("conversation field", "messages", {"conversation": TURNS}, TURNS),
    ("dialog speaker text", "messages", {"dialog": [{"speaker": "user", "text": "Why?"}, {"speaker": "bot", "text": "Because."}]}, QA),
    ("weak field data", "messages", {"data": QA}, QA),
    ("trace", "messages", {"agent_trace": QA}, QA),
    ("contents with parts", "messages", {"contents": [{"role": "user", "parts": [{"text": "Why?"}]}, {"role": "model", "parts": [{"text": "Because."}]}], "systemInstruction": {"parts": [{"text": "S"}]}}, [s("S"), *QA]),
    ("author object", "messages", {"messages": [{"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["Why?"]}}, a("Because.")]}, QA),
    ("columns", "messages", {"conversation": {"role": ["user", "assistant"], "content": ["Why?", "Because."]}}, QA),
    ("JSON text", "messages", {"messages": json.dumps(QA)}, QA),
    ("Python text", "sharegpt", {"conversations": "[{'from': 'human', 'value': 'Why?'}, {'from': 'gpt', 'value': 'Because.'}]"}, QA),
    ("list of JSON texts", "messages", {"messages": [json.dumps(turn) for turn in QA]}, QA),
    ("system beside messages", "messages", {"messages": QA, "system": "S"}, [s("S"), *QA]),
    ("empty system", "messages", {"messages": QA, "system": ""}, QA),
    ("sharegpt", "sharegpt", {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}, QA),
    ("sharegpt system", "sharegpt", {"conversations": [{"from": "system", "value": "S"}, {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}, [s("S"), *QA]),
    ("sharegpt system beside", "sharegpt", {"system": "S", "conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]}, [s("S"), *QA]),
    ("sharegpt weight", "sharegpt", {"conversations": [{"from": "human", "value": "Why?", "weight": 0.0}, {"from": "gpt", "value": "Because.", "weight": 1.0}]}, [{**QA[0], "weight": 0.0}, {**QA[1], "weight": 1.0}]),
    ("bing, chatgpt", "sharegpt", {"conversations": [{"from": "user", "value": "Why?"}, {"from": "bing", "value": "Because."}]}, QA),
    ("alpaca", "alpaca", {"instruction": "Add.", "input": "1, 2", "output": "3"}, [u("Add.\n\n1, 2"), a("3")]),
    ("alpaca no input", "alpaca", {"instruction": "Why?", "input": "<noinput>", "output": "Because."}, QA),
    ("alpaca response", "alpaca", {"instruction": "Why?", "input": "", "response": "Because."}, QA),
    ("alpaca upper", "alpaca", {"INSTRUCTION": "Why?", "RESPONSE": "Because."}, QA),
    ("alpaca system", "alpaca", {"instruction": "Why?", "input": "", "output": "Because.", "system": "S"}, [s("S"), *QA]),
    ("alpaca only input", "alpaca", {"instruction": "", "input": "Why?", "output": "Because."}, QA),
    ("alpaca empty answer", "alpaca", {"instruction": "Why?", "output": ""}, [u("Why?"), a("")]),
    ("dolly", "alpaca", {"instruction": "Add.", "context": "1, 2", "response": "3"}, [u("Add.\n\n1, 2"), a("3")]),
    ("alpaca number", "alpaca", {"instruction": "Add.", "output": 3}, [u("Add."), a("3")]),
    ("natural instructions", "alpaca", {"definition": "Add.", "inputs": "1, 2", "targets": "3"}, [u("Add.\n\n1, 2"), a("3")]),
    ("one instance", "alpaca", {"instruction": "Add.", "instances": [{"input": "1, 2", "output": "3"}]}, [u("Add.\n\n1, 2"), a("3")]),
    ("history", "history", {"instruction": "Two?", "input": "", "output": "2", "history": [["One?", "1"]]}, TURNS),
    ("history of turns", "history", {"instruction": "Two?", "output": "2", "history": [{"from": "human", "value": "One?"}, {"from": "gpt", "value": "1"}]}, TURNS),
    ("history in other letters", "history", {"Instruction": "Two?", "Output": "2", "Chat History": [["One?", "1"]]}, TURNS),
    ("empty history", "alpaca", {"instruction": "Why?", "input": "", "output": "Because.", "history": []}, QA),
    ("orca", "orca", {"system_prompt": "S", "question": "Why?", "response": "Because."}, [s("S"), *QA]),
    ("system input output", "orca", {"system": "S", "input": "Why?", "output": "Because."}, [s("S"), *QA]),
    ("prompt completion", "prompt-completion", {"prompt": "Why?", "completion": "Because."}, QA),
    ("prompt response", "prompt-completion", {"prompt": "Why?", "response": "Because."}, QA),
    ("prompt chosen", "prompt-completion", {"prompt": "Why?", "chosen": "Because."}, QA),
    ("conversational completion", "prompt-completion", {"prompt": [u("Why?")], "completion": [a("Because.")]}, QA),
    ("hh prompt", "prompt-completion", {"prompt": "\n\nHuman: One?\n\nAssistant: 1\n\nHuman: Two?\n\nAssistant:", "completion": "2"}, TURNS),
    ("input messages", "prompt-completion", {"input": [u("Why?")], "output": "Because.", "reasoning": "on"}, QA),
    ("input output", "prompt-completion", {"input": "Why?", "output": "Because."}, QA),
    ("inputs targets", "prompt-completion", {"inputs": "Why?", "targets": "Because."}, QA),
    ("article", "prompt-completion", {"article": "Why?", "summary": "Because."}, QA),
    ("document", "prompt-completion", {"document": "Why?", "summary": "Because."}, QA),
    ("highlights", "prompt-completion", {"article": "Why?", "highlights": "Because."}, QA),
    ("two agents", "prompt-completion", {"message_1": "Why?", "message_2": "Because."}, QA),
    ("human bot", "prompt-completion", {"Human": "Why?", "Assistant": "Because."}, QA),
    ("user bot", "prompt-completion", {"user": "Why?", "bot": "Because."}, QA),
    ("counselling", "prompt-completion", {"Context": "Why?", "Response": "Because."}, QA),
    ("question answer", "question-answer", {"question": "Why?", "answer": "Because."}, QA),
    ("problem solution", "question-answer", {"problem": "Why?", "solution": "Because.", "answer": "short"}, QA),
    ("query response", "question-answer", {"query": "Why?", "response": "Because."}, QA),
    ("thoughts", "question-answer", {"Question": "Why?", "Complex_CoT": "Hm.", "Response": "Because."}, [u("Why?"), a("Because.", reasoning_content="Hm.")]),
    ("question context", "question-answer", {"question": "Add.", "context": "1, 2", "answer": "3"}, [u("Add.\n\n1, 2"), a("3")]),
    ("question Context of turns", "question-answer", {"question": "Why?", "answer": "Because.", "Context": [u("One?"), a("1")]}, QA),
    ("several answers", "question-answer", {"question": "Why?", "answer": ["Because.", "So."]}, QA),
    ("strings", "turns", {"id": "7", "data": ["One?", "1", "Two?", "2"]}, TURNS),
    ("conversation strings", "turns", {"conversations": ["Why?", "Because."]}, QA),
    ("bench turns", "turns", {"question_id": 81, "turns": ["One?", "Two?"]}, [u("One?"), u("Two?")]),
    ("pairs", "turns", {"conversation": [["One?", "1"], ["Two?", "2"]]}, TURNS),
    ("role pairs", "messages", {"conversation": [["user", "Why?"], ["assistant", "Because."]]}, QA),
    ("input output turns", "turns", {"conversation": [{"input": "One?", "output": "1"}, {"input": "Two?", "output": "2"}]}, TURNS),
    ("human assistant turns", "turns", {"conversation": [{"human": "One?", "assistant": "1"}, {"human": "Two?", "assistant": "2"}]}, TURNS),
    ("single keys", "turns", {"conversation": [{"human": "Why?"}, {"bot": "Because."}]}, QA),
    ("history alone", "turns", {"history": [["One?", "1"], ["Two?", "2"]]}, TURNS),
    ("moss text", "turns", {"plain_text": "[Human]: Why?<eoh> [MOSS]: Because.<eoa> "}, QA),
    ("numbered turns", "keyed-turns", {"chat": {"turn_1": {"Human": "<|Human|>: Why?<eoh>\n", "MOSS": "<|MOSS|>: Because.<eom>\n"}}}, QA),
    ("prompt only", "prompt-only", {"prompt": "Why?"}, [u("Why?")]),
    ("instruction only", "prompt-only", {"instruction": "Add.", "input": "1, 2"}, [u("Add.\n\n1, 2")]),
    ("prompt messages only", "prompt-only", {"prompt": [s("S"), u("Why?")]}, [s("S"), u("Why?")]),
    ("null answer", "prompt-only", {"prompt": "Why?", "response": None}, [u("Why?")]),
    ("chatml", "text:chatml", {"text": "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nBecause.<|im_end|>\n"}, QA),
    ("guanaco", "text:human-assistant", {"text": "### Human: Why?### Assistant: Because."}, QA),
    ("llama 2", "text:llama2", {"text": "<s>[INST] Why? [/INST] Because. </s>"}, QA),
]  # fmt: skip


@pytest.mark.parametrize(("name", "format", "record", "messages"), CHAT, ids=[case[0] for case in CHAT])
def test_chat(name: str, format: str, record: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    before = json.dumps(record)
    detection = detect(record)
    assert (detection.format, detection.shape, detection.reason) == (format, "chat", "")
    out = convert(record)
    assert out["messages"] == messages
    assert convert(out) is out
    assert json.dumps(record) == before


def test_canonical_record_is_the_same_object() -> None:
    for record in (
        {"messages": TURNS},
        {"id": 1, "messages": [s("S"), *TURNS], "tools": [WRAPPED], "x": {"y": [1]}},
    ):
        assert convert(record) is record


def test_other_fields_stay_in_order_and_used_ones_go() -> None:
    record = {
        "id": 7,
        "instruction": "Why?",
        "source": {"a": 1},
        "input": "",
        "output": "Because.",
        "bp": {"n": 1},
    }
    out = convert(record)
    assert list(out) == ["messages", "id", "source", "bp"]
    assert out == {"messages": QA, "id": 7, "source": {"a": 1}, "bp": {"n": 1}}


def test_messages_win_over_the_prompt_beside_them() -> None:
    record = {"prompt": "Why?", "prompt_id": "7", "messages": QA}
    assert convert(record) is record


def test_a_field_in_the_way_of_a_shape_is_kept_aside() -> None:
    record = {"messages": "a note", "question": "Why?", "answer": "Because."}
    assert convert(record) == {"messages": QA, "bp": {"kept": {"messages": "a note"}}}


def test_tools_and_calls() -> None:
    record = {
        "conversations": [
            {"from": "human", "value": "1 + 1?"},
            {"from": "function_call", "value": '{"name": "add", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "2"},
            {"from": "gpt", "value": "2."},
        ],
        "tools": json.dumps([TOOL]),
    }
    out = convert(record)
    assert out == {
        "messages": [
            u("1 + 1?"),
            a("", tool_calls=[call("add", {"x": 1})]),
            {"role": "tool", "content": "2"},
            a("2."),
        ],
        "tools": [WRAPPED],
    }
    assert detect(record).format == "sharegpt"


def test_a_call_that_is_no_json_stays_text() -> None:
    converter = Converter()
    out = converter(
        {"conversations": [{"from": "human", "value": "x"}, {"from": "function_call", "value": "add(1)"}]}
    )
    assert out["messages"] == [u("x"), a("add(1)")]  # type: ignore[call-overload]
    assert converter.notes["call-kept-as-text"] == 1


def test_openai_calls_stay_as_found() -> None:
    calls = [{"id": "c1", **call("add", '{"x": 1}')}]
    messages = [
        u("?"),
        a("", tool_calls=calls),
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
        a("2"),
    ]
    record = {"messages": messages, "tools": [WRAPPED]}
    assert convert(record) is record
    assert convert(record, tool_args="object")["messages"][1]["tool_calls"][0]["function"]["arguments"] == {
        "x": 1
    }


def test_legacy_function_call_and_null_fields() -> None:
    messages = [
        {**u("?"), "tool_calls": None, "name": None},
        {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}},
        {"role": "function", "name": "add", "content": "2"},
    ]
    out = convert({"messages": messages, "functions": [TOOL], "tools": None})
    assert out["messages"] == [
        u("?"),
        a("", tool_calls=[call("add", "{}")]),
        {"role": "tool", "content": "2", "name": "add"},
    ]
    assert out["tools"] == [WRAPPED]


@pytest.mark.parametrize("tools", ["", "[]", [], None, "  "])
def test_empty_tools_go(tools: object) -> None:
    assert convert({"messages": QA, "tools": tools}) == {"messages": QA}


def test_text_under_tools_stays() -> None:
    record = {"messages": QA, "tools": "a hammer"}
    assert convert(record) is record


def test_tool_query() -> None:
    record = {
        "id": 1,
        "query": "1 + 1?",
        "answers": '[{"name": "add", "arguments": {"x": 1}}]',
        "tools": json.dumps([TOOL]),
    }
    assert detect(record).format == "tool-query"
    assert convert(record) == {
        "messages": [u("1 + 1?"), a("", tool_calls=[call("add", {"x": 1})])],
        "tools": [WRAPPED],
        "id": 1,
    }


def test_moss_turn_with_command() -> None:
    turn = {
        "Human": "<|Human|>: 1 + 1?<eoh>\n",
        "Inner Thoughts": "<|Inner Thoughts|>: Reckon.<eot>\n",
        "Commands": '<|Commands|>: Calculate("1+1")<eoc>\n',
        "Tool Responses": '<|Results|>:\nCalculate("1+1") => 2\n<eor>\n',
        "MOSS": "<|MOSS|>: 2<eom>\n",
    }
    out = convert({"meta_instruction": "S", "num_turns": 1, "chat": {"turn_1": turn}})
    assert out == {
        "messages": [
            s("S"),
            u("1 + 1?"),
            a("", reasoning_content="Reckon.", tool_calls=[call("Calculate", {"input": "1+1"})]),
            {"role": "tool", "content": 'Calculate("1+1") => 2'},
            a("2"),
        ],
        "num_turns": 1,
    }


def test_content_parts() -> None:
    parts = [
        {"type": "reasoning", "value": "Hm."},
        {"type": "text", "value": "So. "},
        {"type": "text", "text": "There."},
        {"type": "tool_call", "value": '{"name": "add", "arguments": {}}'},
    ]
    out = convert({"messages": [u("?"), {"role": "assistant", "content": parts, "loss_weight": 1.0}]})
    expected = a("So. There.", reasoning_content="Hm.", weight=1.0, tool_calls=[call("add", {})])
    assert out["messages"] == [u("?"), expected]


def test_anthropic_blocks() -> None:
    messages = [
        u("1 + 1?"),
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "add", "input": {"x": 1}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "2"}]},
        a("2"),
    ]
    assert convert({"messages": messages})["messages"] == [
        u("1 + 1?"),
        a("", tool_calls=[{"id": "c1", **call("add", {"x": 1})}]),
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
        a("2"),
    ]


@pytest.mark.parametrize(
    ("flags", "weight"),
    [({"train": False}, 0), ({"train": True}, 1), ({"training": False}, 0), ({"masked": True}, 0), ({"weight": True}, 1),
     ({"loss_weight": 0.5}, 0.5), ({"train": False, "weight": 1}, 0)],
)  # fmt: skip
def test_weights(flags: dict[str, Any], weight: float) -> None:
    out = convert({"messages": [u("?"), a("!", **flags, train_detail=[1])]})
    assert out["messages"][1] == a("!", weight=weight, train_detail=[1])
    assert type(out["messages"][1]["weight"]) is type(weight)


@pytest.mark.parametrize("field", ["reasoning", "thinking", "reasoning_content"])
def test_reasoning_fields(field: str) -> None:
    assert convert({"messages": [u("?"), a("!", **{field: "Hm."})]})["messages"][1] == a(
        "!", reasoning_content="Hm."
    )


def test_instances_give_a_record_each() -> None:
    record = {
        "id": "t",
        "instruction": "Add.",
        "instances": [{"input": "1", "output": "2"}, {"input": "", "output": "0"}],
    }
    made = Converter().many(record)
    assert made == [
        {"messages": [u("Add.\n\n1"), a("2")], "id": "t"},
        {"messages": [u("Add."), a("0")], "id": "t"},
    ]


REFUSED = [
    ({}, "unknown", "unknown-format"),
    ({"foo": 1, "bar": "x"}, "unknown", "unknown-format"),
    ({"messages": []}, "unknown", "empty-conversation"),
    ({"messages": [u("x"), {"role": "xyz", "content": "y"}]}, "messages", "unknown-role"),
    ({"messages": [u("x"), {"content": "y"}]}, "messages", "missing-field"),
    ({"messages": [u("x"), {"role": "user"}]}, "messages", "missing-field"),
    ({"messages": [{"role": "user", "content": {"a": 1}}]}, "messages", "bad-type"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "messages", "multimodal"),
    ({"messages": QA, "images": ["a.png"]}, "messages", "multimodal"),
    ({"input_ids": [1, 2], "labels": [1, 2]}, "unsupported", "tokenized"),
    ({"segments": [{"text": "a", "label": True}]}, "unsupported", "unsupported"),
    ({"prompt": "x", "output": {"a": 1}}, "unknown", "bad-type"),
]  # fmt: skip


@pytest.mark.parametrize(("record", "format", "reason"), REFUSED)
def test_refused(record: dict[str, Any], format: str, reason: str) -> None:
    detection = detect(record)
    assert (detection.format, detection.reason) == (format, reason)
    assert detection.detail


def test_unknown_role_says_how_to_name_it() -> None:
    record = {"messages": [u("x"), {"role": "xyz", "content": "y"}]}
    assert detect(record).detail == "role 'xyz' in message 2; --role-map xyz=user says what it is"
    assert convert(record, role_map={"xyz": "assistant"})["messages"] == [u("x"), a("y")]


def test_oddities_are_counted_not_refused() -> None:
    converter = Converter()
    for messages in ([a("x"), u("y")], [u("x"), u("y"), a("")], [u("x"), s("S"), a("y")]):
        record = {"messages": messages}
        assert converter(record) is record
    assert converter.notes == {
        "starts-with-assistant": 1, "ends-with-user": 1, "same-role-twice": 1, "empty-content": 1, "system-later": 1,
    }  # fmt: skip


@pytest.mark.parametrize("field", ["text", "content", "raw_content", "passage", "code"])
def test_plain_text(field: str) -> None:
    record = {"id": 1, field: "Once upon a time."}
    out = convert(record)
    assert detect(record)[:2] == ("text", "text")
    assert out["text"] == "Once upon a time." and out["id"] == 1 and (field == "text") == (out is record)


def test_integers_over_64_bits_survive_in_cells() -> None:
    record = {
        "messages": QA,
        "tools": '[{"name": "f", "parameters": {"maximum": 123456789012345678901234567890}}]',
    }
    assert convert(record)["tools"][0]["function"]["parameters"]["maximum"] == 123456789012345678901234567890
