"""The short ways return what the general readers return, for plain records and for those that are nearly plain."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.chat.reader import RecordReader
from bptools.core.records import Drop, Reject

TEXTS = st.sampled_from(
    [
        *(
            "hi",
            "hello there",
            "",
            " ",
            " hi",
            "\n",
            "Human: a",
            "\n\nHuman: a",
            "\n\nAssistant: b",
            "[1]",
            "{}",
        ),
        *(
            '[{"role": "user", "content": "x"}]',
            "<think>a</think>b",
            "# Title",
            "<|im_start|>user\nhi<|im_end|>\n",
        ),
        *(
            "### Instruction:\nhi\n\n### Response:\n",
            "a\n\nAssistant: b",
            "\n\nHuman:\n\nAssistant:",
            "é",
            "on",
        ),
    ]
)
ODD: Any = st.sampled_from(
    [None, 1, 1e30, True, [], {}, ["a"], {"a": "b"}, [{"type": "text", "text": "x"}], [{}]]
)
VALUES = st.one_of(*[TEXTS] * 8, ODD)


def mostly(value: str, *others: Any) -> Any:
    return st.sampled_from([value] * 12 + list(others))


@st.composite
def turns(draw: Any) -> Any:
    named, said = draw(st.sampled_from([("role", "content"), ("from", "value")]))
    roles = draw(
        st.sampled_from([("user", "assistant"), ("human", "gpt"), ("user", "user"), ("gpt", "human")])
    )
    made: list[Any] = [{named: "system", said: draw(VALUES)}] if draw(st.integers(0, 5)) == 0 else []
    for number in range(draw(st.integers(0, 5))):
        role = draw(mostly(roles[number % 2], "system", "tool", "stranger", None, 3, "human"))
        turn = {named: role, said: draw(VALUES)}
        odd = draw(st.integers(0, 40))
        if odd == 0:
            turn["weight"] = draw(ODD)
        elif odd == 1:
            del turn[said]
        made.append(turn if odd != 2 else draw(ODD))
    return made


@st.composite
def canonical(draw: Any, last: str) -> Any:
    spoken = ("user", "assistant") * 3
    start = draw(st.integers(0, 5)) if last == "user" else 5
    names = [
        *["system"] * draw(st.integers(0, 1)),
        *spoken[start if last == "assistant" else start // 2 * 2 : 5],
    ]
    if last == "assistant":
        names = ["assistant"]
    return [{"role": name, "content": draw(mostly("said", "", " ", None))} for name in names]


@st.composite
def transcripts(draw: Any) -> Any:
    said = st.sampled_from([" a", " b c", "a", " ", "", "  a", " a\n", " a\n\nb", "\n\nHuman: x"])
    text = draw(mostly("", " ", "\n"))
    for number in range(draw(st.sampled_from([0, 1, 2, 2, 4, 4]))):
        text += ("\n\nHuman:", "\n\nAssistant:")[number % 2] + draw(said)
    text = text[: -len(" a")] if draw(st.integers(0, 20)) == 0 else text
    start = text + "\n\nHuman:" + draw(said) if draw(st.integers(0, 3)) else text
    return [start + "\n\nAssistant:" + draw(said), draw(mostly(start, text)) + "\n\nAssistant:" + draw(said)]


def answers() -> Any:
    return st.one_of(VALUES, canonical("assistant"), turns())


@st.composite
def records(draw: Any) -> dict[str, Any]:
    kind = draw(st.integers(0, 6))
    record: dict[str, Any]
    if kind == 0:
        record = {draw(st.sampled_from(["messages", "conversations"])): draw(turns())}
    elif kind == 1:
        record = {"messages": [*draw(canonical("user")), *draw(canonical("assistant"))]}
    elif kind == 2:
        record = dict(zip(("chosen", "rejected"), draw(transcripts())))
    elif kind == 3:
        record = {"prompt": draw(TEXTS), "chosen": draw(VALUES), "rejected": draw(VALUES)}
    elif kind == 4:
        record = {"prompt": draw(canonical("user")), "chosen": draw(answers()), "rejected": draw(answers())}
    elif kind == 5:
        prompt = draw(st.one_of(TEXTS, canonical("user")))
        label = draw(st.sampled_from([True, False, True, False, "true", 1, None]))
        record = {"prompt": prompt, "completion": draw(answers()), "label": label}
    else:
        record = {"instruction": draw(VALUES), "input": draw(VALUES), "output": draw(VALUES)}
    for name in draw(st.lists(st.sampled_from(OTHERS), max_size=2)):
        record.setdefault(name, draw(VALUES))
    keys = draw(st.permutations(list(record))) if draw(st.booleans()) else list(record)
    return {key: record[key] for key in keys}


OTHERS = [
    "id",
    "id",
    "score",
    "system",
    "tools",
    "images",
    "context",
    "history",
    "input",
    "Prompt",
    "bp",
    "label",
]
OTHERS += ["system_prompt", "question", "text", "messages", "chosen", "prompt"]


def outcome(reader: RecordReader, read: Any, record: dict[str, Any]) -> tuple[object, ...]:
    before = orjson.dumps(record)
    try:
        out = read(record)
        result: object = (out is record, orjson.dumps(out))
    except (Reject, Drop) as why:
        result = (type(why), why.args)
    assert orjson.dumps(record) == before
    return result, reader.format, reader.shape, reader.notes


def same(record: dict[str, Any], role_map: dict[str, str] | None = None) -> tuple[object, ...]:
    quick, general = RecordReader(role_map), RecordReader(role_map)
    plan = general.plan(tuple(record))
    expected = outcome(general, lambda record: general.read_by(record, plan), record)
    found = outcome(quick, quick.read, record)
    assert found == expected
    return found


@settings(max_examples=1500, deadline=None)
@given(records(), st.sampled_from([None, None, None, {"user": "assistant"}, {"stranger": "user"}]))
def test_a_short_way_leads_to_the_same_place(record: dict[str, Any], role_map: dict[str, str] | None) -> None:
    same(record, role_map)


RENDERED = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"


@pytest.mark.parametrize("prompt", [" ", "\t", "hi", "User: hi", "a [INST] b [/INST]"])
@pytest.mark.parametrize("bp", [None, {}, {"chatml": {}}, {"chatml": {"prompt": {}}, "ppl": 1}, {"ppl": 3}])
@pytest.mark.parametrize("answer", [RENDERED, "<|im_start|>user\nhi<|im_end|>\n", "<b>yo</b>", "yo"])
def test_answers_that_are_rendered_themselves(prompt: str, bp: object, answer: str) -> None:
    for record in (
        {"prompt": prompt, "chosen": answer, "rejected": answer},
        {"prompt": prompt, "chosen": "yo", "rejected": answer},
        {"prompt": prompt, "completion": answer, "label": True},
    ):
        same(record)
        same({**record, "bp": bp})


HI, YO = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}
PLAIN = [
    {"messages": [HI, YO], "id": 1},
    {"messages": [{"role": "system", "content": "s"}, HI, YO, HI, YO]},
    {"id": 1, "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]},
    {"conversations": [{"from": "user", "value": "hi"}, {"from": "assistant", "value": "yo"}], "system": "s"},
    {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:e"},
    {"prompt": "p", "chosen": "c", "rejected": "r", "score": 0.5},
    {"prompt": [HI], "chosen": [YO], "rejected": [{"role": "assistant", "content": "no"}]},
    {"prompt": [HI, YO, HI], "completion": [YO], "label": True},
    {"prompt": "p", "completion": "c", "label": False, "id": 7},
    {"instruction": "add", "input": "1 2", "output": "3"},
]  # fmt: skip


@pytest.mark.parametrize("record", PLAIN, ids=",".join)
def test_plain_records_take_the_short_way(record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = same(record)
    reader = RecordReader()

    def general(record: dict[str, Any], plan: object) -> None:
        raise AssertionError("the general readers were asked")

    monkeypatch.setattr(reader, "read_by", general)
    assert outcome(reader, reader.read, record) == expected


def test_a_list_that_is_not_only_strings_is_looked_at_again() -> None:
    reader = RecordReader()
    reader.read(dict(PLAIN[2]))
    assert reader.plain == "conversations"
    reader.read({"messages": [HI, YO], "conversations": [1e30]})
    assert reader.plain != "conversations"
