"""Any JSON object in: a record out, or a refusal with a reason. Never another exception, never a changed argument."""

from __future__ import annotations

import copy

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bptools.chat import Converter, Detector, Options
from bptools.chat import fields as names
from bptools.chat.formats import FORMATS
from bptools.core.records import Drop, Reject

_TOP = sorted(
    {
        *names.CONVERSATION, *names.SYSTEM, *names.TOOLS, *names.MEDIA, *names.REASONING, *names.LABELS, *names.INPUT,
        *names.TEXT, *names.PROMPT_ONLY, *names.HISTORY, "output", "response", "answer", "completion", "chosen",
        "rejected", "chosen_messages", "rejected_messages", "response_0", "response_1", "better_response_id", "winner",
        "conversation_a", "conversation_b", "bp", "id", "instances", "Question", "INSTRUCTION", "plain_text", "role",
        "input_ids", "answers", "preferred_output", "non_preferred_output", "output_1", "output_2", "preference", "choices",
        "answerKey", "response_a", "response_b", "completions", "labels",
    }
)  # fmt: skip
_TURN = ["role", "content", "from", "value", "speaker", "text", "tool_calls", "function_call", "name", "weight", "train",
         "reasoning_content", "thinking", "loss_weight", "masked", "human", "assistant", "input", "output", "type", "x",
         "Human", "MOSS", "Commands", "Inner Thoughts", "parts"]  # fmt: skip
_WORDS = st.sampled_from(
    [
        "", " ", "user", "human", "gpt", "assistant", "system", "tool", "function_call", "observation", "xyz", "hi",
        "\n\nHuman: a\n\nAssistant: b", "\n\nHuman: a\n\nAssistant: c", "\n\nHuman: a\n\nAssistant:", "<think>x</think>y",
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n", "[INST] a [/INST] b", "a\\nb",
        "### Human: a### Assistant: b", '{"name": "f", "arguments": {"a": 1}}', '[{"role": "user", "content": "x"}]',
        '[{"name": "f"}]', "[]", "{}", "true", "model_a", "tie", "text", "image_url", "<|im_end|>", "function", "None",
        "[{'from': 'human', 'value': 'x'}]", "[Human]: a<eoh> [MOSS]: b<eoa>", "\ud800",
    ]
)  # fmt: skip
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-2, 1e20), _WORDS, st.text(max_size=5)
)
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(_TURN), st.text(max_size=3)), inner, max_size=4),
    ),
    max_leaves=10,
)
_turn = st.one_of(
    st.fixed_dictionaries({"role": _WORDS, "content": _values}, optional=dict.fromkeys(_TURN[4:16], _values)),
    st.fixed_dictionaries({"from": _WORDS, "value": _WORDS}),
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": _WORDS}
    ),
    _values,
)
_value = st.one_of(_values, st.lists(_turn, max_size=4))
_records = st.one_of(
    st.dictionaries(st.sampled_from(_TOP), _value, max_size=6),
    st.dictionaries(st.one_of(st.sampled_from(_TOP), st.text(max_size=4)), _value, max_size=6),
)
_options = st.fixed_dictionaries(
    {},
    optional={
        "to": st.sampled_from(["auto", "chat", "preference", "rated", "text"]),
        "system": st.sampled_from(["S", ""]),
        "system_default": st.just("D"),
        "unescape": st.booleans(),
        "reasoning": st.sampled_from(["keep", "drop", "split", "inline"]),
        "tool_args": st.sampled_from(["object", "string"]),
        "text": st.booleans(),
        "on_markup": st.sampled_from(["escape", "drop", "keep"]),
        "eos": st.just("</s>"),
        "instruct_template": st.sampled_from(["alpaca", "{instruction}|{output}"]),
        "text_field": st.sampled_from(["text", "output"]),
        "field_map": st.just({"instruction": "output", "output": "id"}),
        "role_map": st.just({"xyz": "user"}),
    },
)
_fuzz = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


def well_formed(record: dict, shape: str) -> bool:
    """Return whether a record is of a shape, as messages or as text."""
    fields = {
        "chat": ["messages"],
        "preference": ["prompt", "chosen", "rejected"],
        "rated": ["prompt", "completion"],
    }
    names = fields.get(shape, ["text"])
    if all(type(record.get(name)) is str for name in names):
        return True
    return all(
        message["role"] in ("system", "user", "assistant", "tool") and type(message["content"]) is str
        for name in names
        for message in record[name]
    )


@_fuzz
@given(_records)
def test_auto_is_stable(record: dict) -> None:
    converter = Converter()
    before = copy.deepcopy(record)
    try:
        out = converter(record)
    except (Reject, Drop):
        assert repr(record) == repr(before)
        return
    assert repr(record) == repr(before)
    assert converter.format in FORMATS
    for one in out if type(out) is list else [out]:
        kept = copy.deepcopy(one)
        again = converter(one)
        assert again is one, (record, one, again)
        assert repr(one) == repr(kept)


@_fuzz
@given(_records, _options)
def test_any_object_with_any_options(record: dict, options: dict) -> None:
    converter = Converter(Options(**options))
    before = copy.deepcopy(record)
    try:
        made = converter.many(record)
    except Reject as reject:
        assert reject.reason and reject.detail
    except Drop as drop:
        assert drop.reason in ("tie", "markup", "label-false")
    else:
        assert made and all(well_formed(one, converter.shape) for one in made)
        assert converter.shape in ("chat", "preference", "rated", "text")
    assert repr(record) == repr(before)


@_fuzz
@given(_records)
@example({"messages": []})
@example({})
def test_detection_is_what_conversion_does(record: dict) -> None:
    detection = Detector()(record)
    converter = Converter()
    try:
        converter.many(record)
    except Reject as reject:
        assert (detection.reason, detection.detail) == (reject.reason, reject.detail)
    except Drop:
        assert detection.reason == "" and detection.shape == "preference"
    else:
        assert detection == (converter.format, converter.shape, "", "")
        assert FORMATS[detection.format]
    assert detection.format in FORMATS


@pytest.mark.parametrize(
    "value", [None, True, 1, 1.5, "", "x", [], {}, [None], [[]], [{}], [1], ["a"], {"a": 1}]
)
@pytest.mark.parametrize("key", _TOP)
def test_every_field_with_every_kind_of_value(key: str, value: object) -> None:
    for record in ({key: value}, {key: value, "output": "x"}, {key: value, "rejected": "x", "chosen": "y"}):
        try:
            Converter().many(record)
        except (Reject, Drop) as why:
            assert why.reason
