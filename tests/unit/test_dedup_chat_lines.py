"""Lines that are taken by their shape: nothing is taken that orjson refuses, and keys are those of all ways."""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import orjson
import pytest

from bptools.chat import Options
from bptools.chat.view import Views
from bptools.core.records import Record, Reject, loads
from bptools.quality.dedup import chat_lines
from bptools.quality.dedup.chat_lines import ChatLines, pair_key
from bptools.quality.dedup.content import Content, Seen

pytest.importorskip("msgspec")

USER, ASSISTANT = (
    {"role": "user", "content": 'Hi\n"You"'},
    {"role": "assistant", "content": "Yé\ud83d\ude00s"},
)
SYSTEM, TOOL = {"role": "system", "content": "Be\tbrief"}, {"role": "tool", "content": "4"}
ODD = [
    b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\\ud800", b"\\ud800\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\q",
    b"\\u12", b"\\u12G4", b"\\u0000", b"\\u00e9", b"\\/", b"\x00", b"\x01", b"\t", b"\x7f", b"\\", b'"', b"\\\\", b'\\"', b"{", b"}", b"[",
    b"]", b",", b":", b" ", b"\r", b"\x0b", b"\xa0", b"\xc2\xa0", b"\xe3\x80\x80", b"\xef\xbb\xbf", b"NaN", b"Infinity", b"-", b"+1", b"01",
    b"1.", b".5", b"1e999", b"-1e999", b"1e-999", b"1" * 30, b"1" * 400, b"1" * 5000, b"9223372036854775808", b"-9223372036854775809",
    b"1.5", b"-0", b"null", b"true", b"nul", b"{}", b"[]", b'"a"', b"[" * 2000, b'{"a":' * 300, b'"role":"tool"', b'"content":"x"',
    b'"content":5', b'"role":"user",', b'"id":1,', b'"messages":[],', b'"mess\\u0061ges":[]', b"/**/", b"''", b'{"a":[1]}', b'{"a":1,"a":"b"}',
    b'{"\xff":1}', b'[1,"\\ud800"]', b"[1,]", b"\xe2\x80\xa8", b"\\b", b"\\f",
]  # fmt: skip
BASES: list[Record] = [
    {"messages": [USER, ASSISTANT], "id": 7},
    {"messages": [USER, ASSISTANT]},
    {"id": "x", "messages": [SYSTEM, USER, ASSISTANT, USER, ASSISTANT]},
    {"messages": [USER, TOOL, ASSISTANT], "bp": {"ppl": 2.5, "tokens": 7}, "tags": ["a", 1, None, True]},
    {"messages": [ASSISTANT, USER], "n": -1.5e3},
    {"messages": [{"content": "a b", "role": "user"}], "id": None},
]


def mutated(line: bytes, random: random.Random) -> bytes:
    """Return a line with up to three changes."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        at, kind = random.randrange(len(line)), random.randrange(5)
        if kind == 0:
            line = line[:at] + random.choice(ODD) + line[at:]
        elif kind == 1:  # in place of a value
            ends = [place for place in range(at, len(line)) if line[place] in b',}]"'] or [at]
            line = line[:at] + random.choice(ODD) + line[ends[0] :]
        elif kind == 2:
            line = line[:at] + line[at + random.randrange(1, 4) :]
        elif kind == 3:
            line = line[:at] + bytes((random.randrange(256),)) + line[at + 1 :]
        else:  # a piece of it again
            end = random.randrange(at, len(line)) + 1
            line = line[:at] + line[at:end] + line[at:]
        line = line or b"{}"
    return line.replace(b"\n", b" ") + b"\n"


def lines_of(record: Record) -> list[bytes]:
    return [
        orjson.dumps(record),
        json.dumps(record).encode(),
        json.dumps(record, ensure_ascii=False, separators=(" ,", ": ")).encode("utf-8", "replace"),
    ]


def facts(seen: Seen) -> list[Any]:
    return [seen.digests, seen.texts, seen.absent, [*seen.objections]]


def compare(lines: list[bytes], private: bool) -> int:
    """Take lines one by one and hold each against the general way; return how many went the short one."""
    short = Content(Views(), near=True, private=private)
    long = Content(Views(), near=True, private=private)
    taken = 0
    chats = ChatLines(short._digest, True, private, short._is_chat)
    for line in lines:
        chats._pairs = private and taken % 3 > 0
        digests: list[bytes] = []
        texts: list[str] = []
        if not chats.take([line], 0, digests, texts):
            assert not digests and not texts
            try:
                chats.learn(line)
            except ValueError:
                continue
            if not chats.take([line], 0, digests, texts):
                continue
        taken += 1
        record = orjson.loads(line)  # raises if it was wrong to take it
        assert type(record) is dict
        assert facts(long.look([line], [record])) == [digests, texts, [], []], line
    return taken


@pytest.mark.parametrize("private", [True, False])
def test_what_is_taken_is_what_the_general_way_sees(private: bool) -> None:
    random_ = random.Random(5)
    bases = [line for record in BASES for line in lines_of(whole(record))]
    lines = [mutated(random_.choice(bases), random_) for _ in range(4000)]
    taken = compare(bases + lines, private)
    assert len(lines) / 8 < taken < len(lines)


def whole(record: Record) -> Record:
    """Return a record with its surrogate pairs joined."""
    made: Record = json.loads(json.dumps(record))
    return made


def test_every_character_is_written_as_orjson_writes_it() -> None:
    content = Content(Views())
    chats = ChatLines(content._digest, False, False, content._is_chat)
    codes = [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0x10FFFF]
    for first in range(0, len(codes), 512):
        text = "".join(map(chr, codes[first : first + 512]))
        messages = [{"role": "user", "content": "a" + text}]
        for line in lines_of({"messages": messages}):
            digests: list[bytes] = []
            chats.learn(line)
            assert chats.take([line], 0, digests, []) == 1
            assert digests == [content._digest(orjson.dumps(messages, option=orjson.OPT_SORT_KEYS))]


@pytest.mark.parametrize(
    "value", [2**63 - 1, -(2**63), 2**63, 10**400, 1e308, [[1]], {"a": {}}, "\ud800", [2**70]]
)
def test_other_fields_are_checked(value: Any) -> None:
    compare([json.dumps({"messages": [USER, ASSISTANT], "id": value}).encode() + b"\n"] * 2, True)


def test_batches_go_in_and_out_of_the_short_way() -> None:
    random_ = random.Random(7)
    rare = [
        b'{"text":"x"}',
        b'{"messages":[]}',
        b'{"instruction":"a","output":"b"}',
        b'{"messages":[{"role":"user","content":" "},{"role":"assistant","content":"b"}]}',
    ]
    usual = [line for record in BASES for line in lines_of(whole(record))]
    for private in (True, False):
        short = Content(Views(), near=True, private=private)
        for share in (0.0, 0.02, 0.5, 1.0, 0.0):
            for pool in (usual[:1], usual[:6], usual):
                lines = [
                    random_.choice(rare if random_.random() < share else pool) + b"\n" for _ in range(200)
                ]
                seen = short.fresh()
                assert short.take(lines, seen)
                long = Content(Views(), near=True, private=private)
                assert facts(seen) == facts(long.look(lines, list(map(orjson.loads, lines))))
                lines.append(b"broken\n")
                assert not short.take(lines, seen)
                assert len(seen.digests) == len(seen.texts) == 200


def test_private_keys_tell_as_much_apart() -> None:
    content = Content(Views(), private=True)
    assert not content.keys_are_idents
    assert Content(Views()).keys_are_idents

    def key(*turns: tuple[str, str], **others: Any) -> bytes:
        record = {"messages": [{"role": role, "content": text} for role, text in turns], **others}
        (digest,) = content.look([None], [record]).digests
        return digest

    base = key(("user", "a"), ("assistant", "b\nc"))
    assert base == key(("user", "a"), ("assistant", "b\nc"), id=5)
    others = [
        key(("user", "a\nb"), ("assistant", "c")),
        key(("assistant", "a"), ("user", "b\nc")),
        key(("user", "a"), ("user", "b\nc")),
        key(("user", "a"), ("assistant", "b\nc"), ("user", "")),
        key(("system", ""), ("user", "a"), ("assistant", "b\nc")),
        key(("user", "a"), ("assistant", "b\nc"), tools=[{"type": "function", "function": {"name": "f"}}]),
        key(("user", "a\nb\nc")),
    ]
    assert len({base, *others}) == 8
    alpaca = {"instruction": "a", "input": "", "output": "b\nc"}
    line = orjson.dumps(alpaca) + b"\n"
    seen = content.fresh()
    assert content.take([line], seen)
    assert seen.digests == [base] == content.look([line], [alpaca]).digests
    half = {"messages": [{"role": "user", "content": "\ud800"}, ASSISTANT]}
    assert len({*content.look([None] * 2, [half, {"messages": [USER, ASSISTANT]}]).digests}) == 2
    assert content.ident(None, alpaca) == Content(Views()).ident(None, alpaca) != base


def test_names_and_roles_that_were_changed_are_heeded() -> None:
    line = orjson.dumps({"messages": [whole(ASSISTANT), whole(USER)], "q": "x"}) + b"\n"
    for options in (
        Options(role_map={"user": "assistant", "assistant": "user"}),
        Options(field_map={"instruction": "q"}),
    ):
        content = Content(Views(options), near=True)
        seen = content.fresh()
        assert content.take([line], seen)
        assert facts(seen) == facts(content.look([line], [orjson.loads(line)]))


def test_without_msgspec_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [lines_of(whole(record))[0] + b"\n" for record in BASES]
    expected = Content(Views(), near=True, private=True).fresh()
    assert Content(Views(), near=True, private=True).take(lines, expected)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    seen = Content(Views(), near=True, private=True).fresh()
    assert Content(Views(), near=True, private=True).take(lines, seen)
    assert facts(seen) == facts(expected)


def test_pair_key_needs_whole_characters() -> None:
    with pytest.raises(UnicodeEncodeError):
        pair_key(Content(Views())._digest, "\ud800", "")
    assert chat_lines.readers(('a"b', "messages")) is None
    with pytest.raises(Reject):
        loads(b'{"messages":NaN}')
