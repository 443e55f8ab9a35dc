"""Fuzz every reader and the conversion behind it: no traceback, no hang, no lost record."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable
from typing import Any

from bptools.chat import FORMATS, Converter, Options, as_conversation, detect
from bptools.chat.profile import Profile
from bptools.core.errors import InputError
from bptools.core.records import Drop, Reject, dumps, dumps_report, loads
from bptools.core.sources.base import ReadOptions, Source
from bptools.core.sources.opening import make_reader
from bptools.core.streams import CountingFile, Input, RawStream, decompressed
from tests.chaos.judges import Judges

TOKENS = [
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\n\n", b'"', b"\\",
    b"{", b"}", b"[", b"]", b",", b":", b"[[[[", b'{"a":' * 40, b"NaN", b"-Infinity", b"1e400", b"null", b"true",
    b"18446744073709551617", b"-9223372036854775809", b"0.1e-7", b'"messages"', b'"role"', b'"content"', b'"from"',
    b'"value"', b"<|im_start|>", b"<|im_end|>", b"\n\nHuman:", b"\n\nAssistant:", b"[INST]", b"<think>", b"</think>",
    b"### Response:", b"\xe2\x80\xa8", "\U0001f600".encode(), b'"tool_calls"', b'"arguments":"{', b"PAR1",
    b'"chosen"', b'"rejected"', b'"label":true', b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"'", b";", b"\t", b"```\n",
]  # fmt: skip


def seeds() -> list[tuple[str, bytes]]:
    """Return (name, bytes) of well-formed little sources of every container and shape."""
    records: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello <|im_end|>"}]},
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}], "id": 2**64 + 1},
        {"conversations": [{"from": "function_call", "value": '{"name":"f","arguments":{"x":1}}'}], "tools": "[]"},
        {"instruction": "add", "input": "1 2", "output": "3", "score": 0.5},
        {"prompt": "p", "chosen": "c", "rejected": "r"},
        {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
        {"prompt": "p", "completion": "c", "label": True},
        {"text": "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nyo<|im_end|>\n"},
        {"text": "<s>[INST] <<SYS>>\nbe\n<</SYS>>\n\nhi [/INST] yo </s>"},
        {"text": "plain words and no more"},
        {"question": "q", "answer": "a"},
        {"instruction": "i", "output": "o", "history": [["a", "b"]]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]}]},
    ]  # fmt: skip
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerows([["instruction", "output"], ["a\nb", 'say "x"'], ["", "nan"], ["c", "d"]])
    made: list[tuple[str, bytes]] = [
        ("a.jsonl", lines),
        ("b.json", json.dumps(records).encode()),
        ("c.json", json.dumps(records, indent=2).encode()),
        ("d.json", json.dumps(records[0], indent=2).encode()),
        ("e.csv", table.getvalue().encode()),
        ("f.txt", b"One paragraph.\n\nAnother one\nof two lines.\n\n\n```\ncode\n\n```\n"),
        ("<stdin>", lines[:300]),
    ]
    made += [(f"{index}.jsonl", json.dumps(record).encode()) for index, record in enumerate(records)]
    made.append(("g.jsonl.gz", gzip.compress(lines, mtime=0)))
    try:
        from backports.zstd import compress

        made.append(("h.jsonl.zst", compress(lines)))
    except ImportError:
        pass
    try:
        import pyarrow
        import pyarrow.parquet

        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"instruction": ["a", None], "output": ["b", "c"]}), buffer)
        made.append(("i.parquet", buffer.getvalue()))
    except ImportError:
        pass
    return made


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to six little accidents."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        where = chance.randrange(len(changed) + 1)
        kind = chance.randrange(7)
        if kind == 0 and changed:
            changed[where % len(changed)] = chance.randrange(256)
        elif kind == 1:
            del changed[where : where + chance.choice([1, 1, 3, 20])]
        elif kind == 2:
            changed[where:where] = changed[max(0, where - chance.randrange(40)) : where]
        elif kind == 3:
            del changed[where:]
        elif kind == 4:
            changed[where:where] = bytes(chance.randrange(256) for _ in range(chance.randrange(8)))
        else:
            changed[where:where] = chance.choice(TOKENS)
    return bytes(changed)


class BytesStream(RawStream):
    """Bytes in memory as a raw stream."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._head = data

    def _read_some(self, count: int) -> bytes:
        return b""


class Lost(AssertionError):
    """A record that is neither written nor rejected."""


class Feeder:
    """Sends bytes through a reader and the conversion, as bp-chatml does, and checks that everything adds up."""

    def __init__(self) -> None:
        self.converters = [
            Converter(Options()),
            Converter(Options(text=True)),
            Converter(Options(to="chat", reasoning="split", tool_args="string")),
            Converter(Options(to="text", on_markup="keep")),
            Converter(Options(reasoning="inline", tool_args="object", unescape=True, system_default="s")),
        ]
        self.profile = Profile()
        self.judges = Judges()
        self.counts = {"inputs": 0, "records": 0, "rejects": 0}

    def feed(self, name: str, data: bytes, options: ReadOptions, which: int) -> None:
        """Read and convert one input. Raises whatever should never be raised."""
        self.counts["inputs"] += 1
        rejected: list[Reject] = []

        def refuse(line: int, why: Reject, raw: bytes) -> None:
            assert why.reason and line >= 0
            rejected.append(why)

        raw, compression = decompressed(BytesStream(data))
        opened = Input(raw, _NO_FILE, compression)
        try:
            reader = make_reader(opened, Source(name, name), options, refuse, as_conversation)
        except InputError:  # UTF-16 and the like: refused whole, in one line
            self.counts["rejects"] += 1
            return
        convert = self.converters[which % len(self.converters)]
        read = 0
        for line, record in reader:
            read += 1
            assert reader.line >= 1
            assert line is None or (line.endswith(b"\n") and line.count(b"\n") == 1)
            self._convert(convert, line, record)
        if reader.container == "jsonl":
            self._check_lines(opened, data, compression, read + len(rejected) + reader.blank)
        elif reader.container == "json-array" and compression is None:
            _check_array(data, read + len(rejected))
        self.counts["records"] += read
        self.counts["rejects"] += len(rejected)

    def _convert(self, convert: Converter, line: bytes | None, record: dict[str, Any]) -> None:
        before = repr(record)
        assert detect(record).format in FORMATS
        self.profile.add(record, 1)
        try:
            result = convert(record)
            if line is not None:
                result = convert.exactly(line, record, result)
            for item in result if isinstance(result, list) else [result]:
                written = dumps(item)
                assert written.count(b"\n") == 1
                loads(written)
        except (Reject, Drop) as why:
            assert why.reason
        self.judges.judge(line, record)
        assert repr(record) == before, "the record was changed"

    def _check_lines(self, opened: Input, data: bytes, compression: str | None, accounted: int) -> None:
        if compression is not None:
            return
        body = data.removeprefix(b"\xef\xbb\xbf")
        lines = body.split(b"\n")
        expected = len(lines) - (lines[-1] == b"")
        if accounted != expected:
            raise Lost(f"{expected} lines, {accounted} accounted for")


def _check_array(data: bytes, accounted: int) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(value, list) and accounted < len(value):
        raise Lost(f"{len(value)} elements, {accounted} accounted for")


class _NoFile(CountingFile):
    def __init__(self) -> None:
        self.bytes_read, self.size, self.digest = 0, None, None


_NO_FILE: Any = _NoFile()


def fuzz(inputs: int, seed: int, tick: Callable[[int], None] = lambda done: None) -> dict[str, int]:
    """Feed that many mutated inputs and return the counts. Raises AssertionError with the input that broke it."""
    chance = random.Random(seed)
    feeder = Feeder()
    originals = seeds()
    for done in range(inputs):
        name, data = chance.choice(originals)
        hostile = (
            mutate(data, chance) if chance.random() < 0.97 else bytes(chance.randbytes(chance.randrange(200)))
        )
        split = chance.choice(["file", "paragraph", "line"])
        forced = chance.choice([None] * 12 + ["jsonl", "json", "csv", "tsv", "text"])
        if name.endswith(".parquet"):
            forced = None
        try:
            feeder.feed(name, hostile, ReadOptions(forced, split, 1 << 20), chance.randrange(100))
        except BaseException as error:
            raise AssertionError(
                f"seed {seed}, input {done}, {name}, {forced}: {error!r}: {hostile!r}"
            ) from error
        if done % 1000 == 0:
            tick(done)
    loads(dumps_report(feeder.profile.as_json()))
    return feeder.counts
