"""What is compared of a record: the key that ContentKeys makes, and the texts, in every format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.chat import Options
from bptools.chat.formats import PARTS
from bptools.chat.identity import ContentKeys
from bptools.chat.view import Views
from bptools.core.records import Drop, Record, Reject, dumps, loads
from bptools.quality.dedup.content import Content, Exact, Seen

quick = settings(max_examples=200, deadline=None)
USER, ASSISTANT = {"role": "user", "content": "Hi  You"}, {"role": "assistant", "content": "Yes\n"}
SYSTEM = {"role": "system", "content": "Be brief"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"function": {"name": "f", "arguments": {"n": 2**70}}}],
}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
FORMATS: list[Any] = [
    {"messages": [USER, ASSISTANT]},
    {"messages": [USER, ASSISTANT], "id": 7, "bp": {"ppl": 2}},
    {"messages": [SYSTEM, USER, ASSISTANT]},
    {"messages": [{"content": "Hi  You", "role": "user"}, ASSISTANT]},
    {"messages": [USER, ASSISTANT, USER]},
    {"messages": [ASSISTANT]},
    {"messages": [SYSTEM]},
    {"messages": [SYSTEM, USER]},
    {"messages": [{**USER, "weight": 0}, {**ASSISTANT, "name": "x"}]},
    {"messages": [USER, CALL, {"role": "tool", "content": "4"}, ASSISTANT], "tools": TOOLS},
    {"messages": [USER, {**ASSISTANT, "reasoning_content": "So"}]},
    {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "Yes\n"}]}]},
    {"messages": [{"role": "user", "content": "\ud800"}, ASSISTANT]},
    {"messages": [{"role": "Human", "content": "Hi  You"}, {"role": "bot", "content": "Yes\n"}]},
    {"messages": "no list"},
    {"messages": []},
    {"messages": [USER, None]},
    {"messages": [USER, {"role": "assistant"}]},
    {"messages": [USER, {"role": "assistant", "content": 5}]},
    {"instruction": "Hi  You", "input": "", "output": "Yes\n", "id": 1},
    {"conversations": [{"from": "human", "value": "Hi  You"}, {"from": "gpt", "value": "Yes\n"}]},
    {"prompt": "Hi  You", "completion": "Yes\n"},
    {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [{"role": "assistant", "content": "No"}]},
    {"prompt": "Hi", "chosen": "Yes", "rejected": "Yes"},
    {"prompt": [USER], "completion": [ASSISTANT], "label": True},
    {"prompt": [USER], "completion": [ASSISTANT], "label": False},
    {"text": "Hi  You"},
    {"text": "<|im_start|>user\nHi  You<|im_end|>\n<|im_start|>assistant\nYes\n<|im_end|>\n"},
    {"question": "How many?", "answer": 2**70},
    {"what": "is it"},
    {},
]  # fmt: skip
MODES: list[tuple[str, Exact]] = [
    (on, exact)
    for on in ("all", "user", "assistant", "system", "bp.ppl", "messages")
    for exact in ("content", "normalized", "raw")
]

texts = st.sampled_from(["", " ", "\u3000", "a", "A", " a", "b\n", "\ud800", "é", 5, None])
turns = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["user", "assistant", "system", "tool", "human", "poet", None]),
        "content": texts,
    },
    optional={"weight": st.just(0), "reasoning_content": texts, "tool_calls": st.just(CALL["tool_calls"])},
)
chats = st.fixed_dictionaries(
    {"messages": st.lists(turns, max_size=4)},
    optional={"id": st.integers(0, 3), "tools": st.just(TOOLS), "chosen": st.just("x"), "n": st.just(2**64)},
)
plain = st.builds(
    lambda contents: {"messages": [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 3, contents)]},
    st.lists(texts, max_size=6),
)  # fmt: skip
records = st.sampled_from(FORMATS) | chats | plain


def line_of(record: Record) -> bytes:
    return json.dumps(record).encode() + b"\n"


def read(lines: list[bytes]) -> list[Record]:
    return [loads(line) for line in lines]  # type: ignore[misc]


def facts(seen: Seen) -> list[Any]:
    objections = {row: (type(why), why.args) for row, why in seen.objections.items()}
    return [seen.digests[:], seen.texts[:], seen.absent[:], objections]


def key_of(record: Record, content: Content, line: bytes | None = None) -> bytes | None:
    """Return the key of a record, None where it has none."""
    seen = content.look([line_of(record) if line is None else line], [record])
    assert seen.keys.tobytes() == seen.digests[0]
    return None if seen.absent else seen.digests[0]


def text_of(record: Record, on: str = "all") -> str:
    (text,) = Content(Views(), on, near=True).look([line_of(record)], [record]).texts
    return text


@quick
@given(records)
def test_keys_are_content_keys(record: Record) -> None:
    compare_with_content_keys(record)


@pytest.mark.parametrize("record", FORMATS)
def test_keys_of_formats_are_content_keys(record: Record) -> None:
    compare_with_content_keys(record)


def compare_with_content_keys(record: Record) -> None:
    line = line_of(record)
    (record,) = read([line])
    content = Content(Views(), near=True)
    seen = Seen()
    taken = content.take([line], seen)
    if taken:
        assert facts(seen) == facts(content.look([line], [record]))
    else:  # what only the slower parser reads
        assert "\\ud800" in str(record)
        assert facts(seen) == facts(Seen())
        seen = content.look([line], [record])
    try:
        expected = ContentKeys().key(line, record)
    except (Reject, Drop) as why:
        assert seen.absent == [0]
        assert (type(seen.objections[0]), seen.objections[0].args) == (type(why), why.args)
        return
    assert not seen.objections
    assert content.ident(line, record) == expected.to_bytes(16, "big")
    if seen.absent:
        shape, several = Views().made(record)
        assert shape != "text"
        turns = [turn for made in several for name in PARTS[shape] for turn in made[name]]
        assert not any(
            turn["content"].strip()
            or turn.get("tool_calls")
            or str(turn.get("reasoning_content") or "").strip()
            for turn in turns
        )
    else:
        assert seen.digests == [expected.to_bytes(16, "big")]


@quick
@given(st.lists(records | st.sampled_from([b"broken\n", b"[1]\n", b"\n"]), max_size=8), st.sampled_from(MODES), st.booleans())  # fmt: skip
def test_lines_and_records_look_alike(items: list[Any], mode: tuple[str, Exact], near: bool) -> None:
    lines = [item if type(item) is bytes else line_of(item) for item in items]
    content = Content(Views(), *mode, near)
    before = line_of(FORMATS[0])
    seen = content.look([before], read([before]))
    start = facts(seen)
    if not content.take(lines, seen):
        assert facts(seen) == start
        assert any(type(item) is bytes or "\\ud800" in str(item) for item in items)
        return
    one_by_one = content.look([before], read([before]))
    for line, record in zip(lines, read(lines)):
        content.look([line], [record], one_by_one)
    assert facts(seen) == facts(one_by_one)
    assert len(seen.digests) == 1 + len(lines)
    assert len(seen.texts) == (1 + len(lines) if near else 0)
    assert len(seen.keys) == len(seen.digests)


def test_copies_in_other_formats_are_copies() -> None:
    content = Content(Views(), near=True)
    same = [FORMATS[number] for number in (0, 1, 3, 8, 11, 13, 19, 20, 21, 27)]
    seen = content.look(list(map(line_of, same)), same)
    assert len({*seen.digests}) == 1
    assert {*seen.texts} == {"Hi  You\nYes\n"}
    others = [record for record in FORMATS if record not in same]
    assert not {*content.look(list(map(line_of, others)), others).digests} & {*seen.digests}


def test_integers_over_64_bits_are_told_apart() -> None:
    lines = [line_of({"messages": [USER, {**CALL, "tool_calls": [{"function": {"name": "f", "arguments": {"n": 2**70 + n}}}]}]}) for n in (0, 1, 0)]  # fmt: skip
    one, two, three = Content(Views()).look(lines, read(lines)).digests
    assert one == three != two
    lines = [line_of({"n": {"m": [2**70 + n]}}) for n in (0, 1)]
    one, two = Content(Views(), "n.m").look(lines, read(lines)).digests
    assert one != two


@pytest.mark.parametrize(
    ("on", "record"),
    [
        ("all", {"messages": [{"role": "user", "content": " "}, {"role": "assistant", "content": "\u3000"}]}),
        ("all", {"text": " \n"}),
        ("all", {"prompt": [{"role": "user", "content": ""}], "completion": [{"role": "assistant", "content": ""}], "label": True}),
        ("system", FORMATS[0]),
        ("user", {"messages": [{"role": "user", "content": "\t"}, ASSISTANT]}),
        ("user", {"text": ""}),
        ("bp.ppl", {"bp": {"ppl": None}}),
        ("bp.ppl", {"bp": 3}),
        ("x", {"x": " "}),
        ("x", {"x": []}),
        ("x", {"x": {}}),
    ],
)  # fmt: skip
def test_without_content_there_is_no_key(on: str, record: Record) -> None:
    for exact in ("content", "normalized"):
        content = Content(Views(), on, exact, near=True)
        seen = content.look([line_of(record)], [record])
        assert (seen.absent, seen.objections, seen.texts) == ([0], {}, [""])
        assert facts(seen)[:3] == facts_of_line(content, record)[:3]
    assert key_of(record, Content(Views(), on, "raw")) is not None


def facts_of_line(content: Content, record: Record) -> list[Any]:
    seen = content.fresh()
    assert content.take([line_of(record)], seen)
    return facts(seen)


def test_normalized_is_without_case_and_space() -> None:
    content, exact = Content(Views(), exact="normalized"), Content(Views())
    base = key_of({"messages": [USER, ASSISTANT]}, content)
    alike = {"messages": [{"role": "user", "content": "\thi YOU"}, {"role": "assistant", "content": "YES"}]}
    assert key_of(alike, content) == base
    assert key_of(alike, exact) != key_of({"messages": [USER, ASSISTANT]}, exact)
    assert key_of({"instruction": "hi you", "output": "yes"}, content) == base
    for other in (
        {"messages": [{"role": "user", "content": "HiYou"}, ASSISTANT]},
        {"messages": [{"role": "system", "content": "Hi You"}, ASSISTANT]},
        {"messages": [USER, {**ASSISTANT, "tool_calls": CALL["tool_calls"]}]},
        {"messages": [USER, {**ASSISTANT, "reasoning_content": "So"}]},
        {"messages": [USER, ASSISTANT], "tools": TOOLS},
        {"text": "hi you yes"},
    ):
        assert key_of(other, content) != base
    thought = {"messages": [USER, {**ASSISTANT, "reasoning_content": "So  IT"}]}
    assert key_of(thought, content) == key_of({"messages": [USER, {**ASSISTANT, "reasoning_content": "so it"}]}, content)  # fmt: skip
    pair = {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [{"role": "assistant", "content": "No"}]}
    shouted = {**pair, "rejected": [{"role": "assistant", "content": " NO "}]}
    assert key_of(pair, content) == key_of(shouted, content)
    swapped = {**pair, "chosen": pair["rejected"], "rejected": pair["chosen"]}
    assert key_of(pair, content) != key_of(swapped, content)
    field = Content(Views(), "x.y", "normalized")
    assert key_of({"x": {"y": {"k": ["A  b", 1]}}}, field) == key_of({"x": {"y": {"k": ["a B", 1]}}}, field)
    assert key_of({"x": {"y": {"K": ["a b", 1]}}}, field) != key_of({"x": {"y": {"k": ["a b", 1]}}}, field)


def test_selected_turns_alone_count() -> None:
    content = Content(Views(), "user")
    base = key_of({"messages": [USER, ASSISTANT]}, content)
    assert base is not None
    assert key_of({"messages": [SYSTEM, USER, {"role": "assistant", "content": "No"}]}, content) == base
    assert key_of(FORMATS[22], content) == base
    assert key_of({"messages": [USER, ASSISTANT, USER]}, content) != base
    calls = Content(Views(), "assistant")
    assert key_of({"messages": [USER, CALL]}, calls) not in (
        None,
        key_of({"messages": [USER, ASSISTANT]}, calls),
    )
    assert key_of({"text": "x"}, content) == key_of({"text": "x"}, Content(Views()))


def test_texts_are_those_of_user_and_assistant_or_selected() -> None:
    talk = {"messages": [SYSTEM, USER, {**CALL, "content": "f"}, {"role": "tool", "content": "4"}, ASSISTANT]}
    assert text_of(talk) == "Hi  You\nf\nYes\n"
    assert text_of({"messages": [SYSTEM, USER, ASSISTANT]}) == "Hi  You\nYes\n"
    assert text_of(talk, "system") == "Be brief"
    assert text_of(talk, "assistant") == "f\nYes\n"
    assert text_of(FORMATS[22]) == "Hi  You\nYes\n\nNo"
    assert text_of({"text": "x"}, "user") == "x"
    assert text_of({"x": {"y": "a"}}, "x.y") == "a"
    assert text_of({"x": [1, "b"]}, "x") == '[1,"b"]'


def test_the_raw_line_counts_whole() -> None:
    content = Content(Views(), exact="raw")
    assert key_of({}, content, b'{"what":1}\n') != key_of({}, content, b'{"what": 1}\n')
    record = {"what": "é"}
    seen = content.look([None, dumps(record)], [record, record])
    assert seen.digests[0] == seen.digests[1]
    (why,) = content.look([None], [{"what": "\ud800"}]).objections.values()
    assert why.args[0] == "bad-unicode"


def test_fields_may_change_from_line_to_line() -> None:
    turns = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    made: list[dict[str, Any]] = [
        {"messages": turns}, {"messages": turns, "id": 1}, {"id": 1, "messages": turns},
        {"messages": turns, "tools": tools}, {"tools": tools, "messages": turns}, {"messages": turns},
        {"id": 1, "text": "c"}, {"messages": turns, "id": 1}, {"messages": turns, "id": 1, "x": 2},
        {"messages": turns, "x": 2}, {"text": "c"}, {},
    ]  # fmt: skip
    for items in (made, made[::-1], [item for pair in zip(made, made[::-1]) for item in pair]):
        raws = [dumps(item) for item in items]
        content = Content(Views(), near=True)
        seen = content.fresh()
        assert content.take(raws, seen)
        alone = [Content(Views(), near=True).look([raw], [item]) for raw, item in zip(raws, items)]
        assert seen.digests == [digest for each in alone for digest in each.digests]
        assert seen.texts == [text for each in alone for text in each.texts]
        assert [row for row, each in enumerate(alone) if each.absent] == seen.absent


def test_what_fits_no_shape_is_refused_unless_a_field_is_selected() -> None:
    record = {"what": "is it", "bp": {"x": 1}}
    assert key_of(record, Content(Views(), "what")) is not None
    assert [*Content(Views()).look([None], [record]).objections] == [0]
    assert not Content(Views(), exact="raw").look([None], [record]).objections
    tie = Content(Views()).look(
        [None], [{"conversation_a": [USER, ASSISTANT], "conversation_b": [USER, SYSTEM], "winner": "tie"}]
    )
    assert [type(why) for why in tie.objections.values()] == [Drop]
    assert tie.absent == [0]
    content = Content(Views(), "what")
    assert content.ident(None, record) == content.ident(None, {"what": "is it", "bp": 5})
    assert content.ident(None, record) != content.ident(None, {"what": "it is"})
    found = [content.field_found]
    for each in ({"other": 1}, record):
        key_of(each, content)
        found.append(content.field_found)
    assert found == [None, False, True]


def test_names_of_columns_and_roles_are_heeded() -> None:
    mapped = Content(Views(Options(field_map={"instruction": "q", "output": "a"})))
    assert key_of({"q": "Hi  You", "a": "Yes\n"}, mapped) == key_of(FORMATS[0], Content(Views()))
    swapped = Content(Views(Options(role_map={"user": "assistant", "assistant": "user"})))
    line = line_of({"messages": [ASSISTANT, USER]})
    seen = swapped.fresh()
    assert swapped.take([line], seen)
    turned = {"messages": [{**USER, "content": "Yes\n"}, {**ASSISTANT, "content": "Hi  You"}]}
    assert seen.digests == [key_of(turned, Content(Views()))]
