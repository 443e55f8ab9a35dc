"""Content decides what a stream is; a suffix only where the bytes leave it open."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bptools.core.errors import InputError
from bptools.core.sources.sniff import encoding_facts, json_layout, sniff

ROW = {"instruction": "Say hi", "input": "", "output": "hi, {x} [y]"}
LINES = "".join(json.dumps(row) + "\n" for row in [ROW] * 3)
TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]

CASES = [
    ("jsonl", LINES, ["a.jsonl", "a.json", "a.txt", "a.md", "<stdin>", "a.ndjson.gz", "a.csv"]),
    ("jsonl", json.dumps(ROW), ["a.jsonl", "a.json", "<stdin>", "a.txt"]),
    ("jsonl", "\n \n" + LINES, ["a.jsonl", "<stdin>"]),
    ("jsonl", LINES.replace("\n", "\r\n"), ["a.jsonl", "<stdin>"]),
    ("jsonl", LINES[5:], ["a.jsonl", "<stdin>", "a.txt"]),
    ("jsonl", "{broken\n" + LINES, ["a.jsonl", "<stdin>", "a.json", "a.txt"]),
    ("jsonl", '{"a": \n' + LINES, ["a.jsonl", "<stdin>", "a.json"]),
    ("jsonl", '{"a": "x\n' + LINES, ["a.jsonl", "<stdin>", "a.json"]),
    ("jsonl", '{"text": "' + "x" * 70000, ["a.jsonl", "<stdin>", "a.json"]),
    ("jsonl", json.dumps(TURNS) + "\n" + json.dumps(TURNS) + "\n", ["a.jsonl", "a.json", "<stdin>"]),
    ("jsonl", json.dumps(TURNS) + "\n", ["a.jsonl", "a.json", "<stdin>"]),
    ("jsonl", '["a", "b"]\n["c", "d"]\n', ["a.jsonl", "a.json", "<stdin>"]),
    ("jsonl", "", ["a.jsonl", "a.json", "<stdin>"]),
    ("jsonl", "some prose\nand more of it\n", ["a.jsonl", "<stdin>", "a.json"]),
    ("json-array", json.dumps([ROW, ROW]), ["a.json", "a.jsonl", "<stdin>", "a.txt"]),
    ("json-array", json.dumps([ROW, ROW], indent=2), ["a.json", "a.jsonl", "<stdin>", "a.txt"]),
    ("json-array", json.dumps([ROW] * 2000, indent=2)[:65536], ["a.json", "a.jsonl", "<stdin>", "a.txt"]),
    ("json-array", "[\n" + json.dumps(ROW)[:20], ["a.json", "<stdin>"]),
    ("json-array", "[" + json.dumps(ROW) + ', {"a": oops}]', ["a.json", "<stdin>"]),
    ("json-array", '[{"a": oops}, {"a": 1}]', ["a.json", "<stdin>"]),
    ("json-array", '[["q", "a"], ["q", "a"]]', ["a.json", "<stdin>"]),
    ("json-array", '["one text", "another"]', ["a.json", "<stdin>"]),
    ("json-array", "[]", ["a.json", "a.jsonl", "<stdin>"]),
    ("json-array", "[", ["a.json", "<stdin>"]),
    ("json-array", json.dumps([ROW]) + "\n" + json.dumps([ROW]) + "\n", ["a.json", "<stdin>"]),
    ("json", json.dumps(ROW, indent=2), ["a.json", "a.jsonl", "<stdin>"]),
    ("json", json.dumps(ROW, indent=2) * 3, ["a.json", "a.jsonl", "<stdin>"]),
    ("json", json.dumps({"a": "x" * 50, "b": list(range(90000))}, indent=2)[:65536], ["a.json", "<stdin>"]),
    ("json", '{"a": 1}, {"a": 2}', ["a.json", "<stdin>"]),
    ("json", '{"a": 1},\n{"a": 2}\n', ["a.json", "<stdin>", "a.jsonl"]),
    ("json", '{"a": 1}{"a": 2}', ["a.json", "<stdin>"]),
    ("json", json.dumps(TURNS, indent=1), ["a.json"]),
    ("csv", "instruction,output\nhi,there\n", ["a.csv", "<stdin>", "a.dat"]),
    ("csv", "question;answer;x\r\nhi;there;\r\n", ["a.csv", "<stdin>"]),
    ("csv", "Prompt,Completion\n", ["<stdin>"]),
    ("csv", "foo,bar\n1,2\n", ["a.csv", "a.csv.gz"]),
    ("csv", '"[x]","y"\n1,2\n', ["a.csv"]),
    ("tsv", "instruction\toutput\nhi\tthere\n", ["a.tsv", "<stdin>"]),
    ("text", "instruction,output\nhi,there\n", ["a.txt", "a.md"]),
    ("text", "[Scene 1]\nEnter a ghost.\n", ["a.txt", "a.md"]),
    ("text", "[1] A footnote\n[2] Another\n", ["a.txt"]),
    ("text", '["quoted" words] begin\n', ["a.txt"]),
    ("text", "{curly} prose\n", ["a.txt"]),
    ("text", '{"a": 1}\nwas the first line,\nand then came prose\n', ["a.txt", "a.md"]),
    ("text", "", ["a.txt"]),
    ("parquet", "PAR1\x15\x04", ["a.parquet", "<stdin>", "a.jsonl"]),
]


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(("container", "text", "name"), [(c, t, n) for c, t, ns in CASES for n in ns])
def test_containers(container: str, text: str, name: str, bom: str) -> None:
    if container == "parquet" and bom:
        return
    assert sniff((bom + text).encode(), name) == container


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_wide_encodings_are_refused_with_the_fix(encoding: str) -> None:
    with pytest.raises(
        InputError, match=r"cannot read 'a.csv': it is UTF-(16|32).*; iconv -f UTF-(16|32)\S* -t UTF-8"
    ):
        sniff(LINES.encode(encoding), "a.csv")


@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.txt", "<stdin>", "a.csv"]))
def test_any_bytes(head: bytes, name: str) -> None:
    try:
        found = sniff(head, name)
    except InputError:
        return
    assert found in ("jsonl", "json", "json-array", "csv", "tsv", "parquet", "text")


@pytest.mark.parametrize("opening", ["[", "{", '{"a":', '["', "[{"])
def test_hostile_heads(opening: str) -> None:
    assert sniff((opening * 65536).encode()[:65536], "<stdin>") in ("jsonl", "json", "json-array")


def test_encoding_facts() -> None:
    assert encoding_facts(b"\xef\xbb\xbfa\r\nb\r\n") == {
        "bom": True, "encoding": "ascii", "newlines": "crlf", "nul": False,
    }  # fmt: skip
    assert encoding_facts("é\nb\r\n\0".encode())["newlines"] == "mixed"
    assert encoding_facts("é".encode()[:1])["encoding"] == "utf-8"  # cut, not broken
    assert encoding_facts(b"\xff\xff\xff\xffabc")["encoding"] == "not utf-8"


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"What is it?\nHello, you\n", "text"),
        (b"", "text"),
        (b'{"text": "a"}\n', "jsonl"),
        (b"{broken\n", "jsonl"),
        (b"no record\n" + b'{"text": "a"}\n' * 3, "jsonl"),
        (b"id,text\n1,Hello\n", "csv"),
    ],
)
def test_what_begins_like_no_container_is_what_the_command_says(head: bytes, found: str) -> None:
    assert sniff(head, "<stdin>", "text") == found
    assert sniff(head, "<stdin>") == (found if found != "text" else "jsonl")


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ('[{"a":1}] garbage\n', "json-array"),
        (' [{"a":1}]\n garbage\n', "json-array"),
        ('[{"role":"user","content":"a"}] garbage\n', "json"),
        ('{"a":1} garbage\n', "json"),
        ("garbage\n", "json"),
        ("", "json"),
    ],
)
def test_what_is_said_to_be_json(text: str, layout: str) -> None:
    assert json_layout(text.encode(), "a.txt") == layout
