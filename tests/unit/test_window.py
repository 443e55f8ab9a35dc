"""Windows: settling them is sifting, whatever their size, and nothing waits for input that is yet to come."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.errors import BpError
from bptools.core.pipeline import Pipeline
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.records import Drop, Record, Reject, loads, mark_dropped
from bptools.core.streams import CountingFile
from bptools.core.window import Window

Verdict = Drop | Reject | None
quick = settings(max_examples=150, deadline=None)


def judge(raw: bytes | None, record: Record) -> Verdict:
    """Do with a record what it says."""
    if record.get("v") == "drop":
        return Drop("old", 1, 2, added={"dup_of": "x", "jaccard": None})
    return Reject("bad", "as it says") if record.get("v") == "reject" else None


class Values:
    """A Looker that sees what `judge` says of records, lines or parsed ones."""

    def fresh(self) -> list[Verdict]:
        return []

    def take(self, lines: list[bytes], seen: list[Verdict]) -> bool:
        try:
            records = list(map(orjson.loads, lines))
        except ValueError:
            return False
        if not all(type(record) is dict for record in records):
            return False
        self.look(lines, records, seen)
        return True

    def look(self, raws: Any, records: Any, seen: list[Verdict]) -> None:
        seen += map(judge, raws, records)


def by_sifting(pipe: Pipeline) -> None:
    pipe.sift(judge)


def by_windows(size: int, looking: bool = False, ahead: int = 0) -> Callable[[Pipeline], None]:
    def settle(pipe: Pipeline, window: Window) -> bool:
        seen = window.seen if looking else list(map(judge, window.raws, window.records))
        assert len(seen) == len(window)
        return pipe.settle_window(window, seen)

    def run(pipe: Pipeline) -> None:
        waiting: list[Window] = []
        for window in pipe.windows(size, Values() if looking else None):
            assert window.raws or window.refused or window.pause
            waiting.append(window)
            while waiting and (len(waiting) > ahead or window.pause):
                if not settle(pipe, waiting.pop(0)):
                    break
        for window in waiting:
            settle(pipe, window)

    return run


def outcome(folder: Path, sources: list[str], run: Callable[[Pipeline], None], **options: Any) -> list[Any]:
    """Return all that a run leaves behind: lines, side files, counts, messages, and the error it ends with."""
    dropped, rejects = folder / "dropped", folder / "rejects"
    lines: list[bytes] = []
    messages: list[bytes] = []
    error = ""
    chosen = PipelineSettings(
        sources=sources, output="-", dropped=str(dropped) if options.pop("keep_dropped", True) else None,
        rejects=str(rejects), **options,
    )  # fmt: skip
    with patch("bptools.core.messages.write_stderr", messages.append):
        pipe = Pipeline("bp-x", chosen)
        try:
            with pipe:
                pipe.write_line = lines.append  # type: ignore[assignment]
                run(pipe)
        except BpError as why:
            error = f"{type(why).__name__}: {why}"
    counts = pipe.counts.as_json("bp-x", "")
    if chosen.strict and error:
        del counts["blank"]  # that of all that was read, whoever reads ahead
    sides = [path.read_bytes() if path.exists() else b"" for path in (dropped, rejects)]
    return [b"".join(lines), sides, counts, messages, error]


LINES = [
    b'{"v":"keep","n":%d}', b'{"v":"keep"}', b'{"v":"drop"}', b'{"v":"reject"}', b"broken", b"", b"[1]",
    b'{"v":"keep","s":"\\ud800"}', b'{"v":"drop","s":"\\ud800","bp":{"jaccard":0.5}}', b'{"v":"keep"}\r',
    b'\xff{"a":1}', b'{"v":"keep","long":"' + b"x" * 3000 + b'"}',
]  # fmt: skip
lines = st.lists(st.sampled_from(LINES + LINES[:1] * 10), max_size=30)
options = st.fixed_dictionaries(
    {},
    optional={
        "tag": st.just(True),
        "explain": st.just(True),
        "keep_dropped": st.just(False),
        "strict": st.just(True),
        "limit": st.integers(1, 8),
        "skip": st.integers(0, 10),
        "max_rejects": st.just("100%"),
    },
)


@quick
@given(
    lines, lines, st.sampled_from(["", "c.json", "d.csv", "utf16.jsonl", "e.gz"]), options,
    st.sampled_from([1, 60, 1 << 20]), st.booleans(), st.integers(0, 3),
)  # fmt: skip
def test_settling_windows_is_sifting(
    first: list[bytes],
    second: list[bytes],
    between: str,
    chosen: dict[str, Any],
    size: int,
    looking: bool,
    ahead: int,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbered = [line % number if b"%d" in line else line for number, line in enumerate(first)]
        (folder / "a.jsonl").write_bytes(b"\n".join(numbered))
        (folder / "b.jsonl").write_bytes(b"\xef\xbb\xbf" + b"".join(line + b"\n" for line in second))
        (folder / "c.json").write_bytes(b'[{"v":"keep","s":"\\ud800"},3,\n{"v":"drop"},{"v":"keep"}]')
        (folder / "d.csv").write_bytes(b"v,n\nkeep,1\n,\ndrop,2\nkeep,3,4\nkeep,5\n")
        (folder / "e.gz").write_bytes(gzip.compress(b'{"v":"keep"}\n{"v":"drop"}\n{"v":"keep"}\n' * 9)[:-12])
        sources = [str(folder / each) for each in ("a.jsonl", between, "b.jsonl") if each]
        (folder / "utf16.jsonl").write_bytes('{"v":"keep"}\n'.encode("utf-16"))  # which ends the run
        sifted = outcome(folder, sources, by_sifting, **chosen)
        assert outcome(folder, sources, by_windows(size, looking, ahead), **chosen) == sifted


def test_windows_hold_what_was_asked_for(tmp_path: Path) -> None:
    line = b'{"v":"keep","x":"' + b"x" * 80 + b'"}\n'
    (tmp_path / "a.jsonl").write_bytes(line * 5000)
    with Pipeline("bp-x", PipelineSettings(sources=[str(tmp_path / "a.jsonl")], output=os.devnull, quiet=True)) as pipe:  # fmt: skip
        sizes = []
        for window in pipe.windows(100_000):
            sizes.append(sum(len(raw or b"") for raw in window.raws))
            pipe.settle_window(window, [None] * len(window))
    assert sum(sizes) == 5000 * len(line)
    assert all(100_000 <= size < 200_000 for size in sizes[:-1])


@pytest.mark.parametrize("looking", [False, True])
def test_each_record_has_its_place(tmp_path: Path, looking: bool) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"n":1}\n\n{"n":2}\nbroken\n{"n":3}\n{"n":4}\n')
    (tmp_path / "b.json").write_bytes(b'[{"n":5},\n\n{"n":6}]')
    (tmp_path / "c.jsonl").write_bytes(b'{"n":7}\n{"n":8}\n')
    sources = [str(tmp_path / name) for name in ("a.jsonl", "b.json", "c.jsonl")]
    for skip in (0, 3):
        asked = PipelineSettings(sources=sources, output=os.devnull, quiet=True, max_rejects="1", skip=skip)
        with Pipeline("bp-x", asked) as pipe:
            found: list[tuple[int, str]] = []
            windows = list(pipe.windows(1 << 20, Values() if looking else None))
            for window in windows:
                found += [
                    (window.record(row)["n"], window.place(row).rpartition("/")[2])
                    for row in range(len(window))
                ]
                for name, first, last in window.sources():
                    assert {window.at(row)[0] for row in range(first, last)} == {name}
            for window in windows:
                pipe.settle_window(window, [None] * len(window))
        assert found == [
            (1, "a.jsonl:1"), (2, "a.jsonl:3"), (3, "a.jsonl:5"), (4, "a.jsonl:6"), (5, "b.json:1"),
            (6, "b.json:3"), (7, "c.jsonl:1"), (8, "c.jsonl:2"),
        ][skip:]  # fmt: skip


def objects(data: bytes) -> list[Any]:
    """Return the objects on the complete lines."""
    found = []
    for line in data[: data.rfind(b"\n") + 1].split(b"\n"):
        with contextlib.suppress(ValueError):
            found.append(orjson.loads(line))
    return [value for value in found if type(value) is dict]


A = b'{"v":1}\n'


@pytest.mark.parametrize(("ahead", "size"), [(0, 1 << 20), (1, 1 << 20), (1, 1)])
@pytest.mark.parametrize("first", [b"", A * 3])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([A], A),
        ([A + b"\n\n"], A),
        ([A + b"broken\n"], A),
        ([A, b"\r\n", b"[]\n"], A),
        ([A * 9000], A),
        ([A + b'{"w'], b'":2}\n'),
        ([A, b'{"w', b'":1, "'], b'x":2}\n{"x":3}\n'),
        ([A, b"\nbroken\n" + A + A], A),
    ],
)
def test_nothing_waits_for_what_is_yet_to_come(
    tmp_path: Path, before: list[bytes], after: bytes, ahead: int, size: int, first: bytes
) -> None:
    """A pipe pauses, maybe amid a line; all before is settled, also what a reader of more windows holds back."""
    fifo, file = tmp_path / "pipe", tmp_path / "file.jsonl"
    os.mkfifo(fifo)
    file.write_bytes(first)
    early = objects(first) + objects(b"".join(before))
    seen: list[Any] = []
    file_seen, all_seen = threading.Event(), threading.Event()
    in_time: list[bool] = []

    def write() -> None:
        if first:
            in_time.append(file_seen.wait(20))
        with open(fifo, "wb", buffering=0) as pipe:
            for part in before:
                pipe.write(part)
            in_time.append(all_seen.wait(20))
            pipe.write(after)

    writer = threading.Thread(target=write)
    writer.start()
    asked = PipelineSettings(sources=[str(file), str(fifo)], output=os.devnull, quiet=True, max_rejects="9")
    with patch("bptools.core.messages.write_stderr", lambda data: None), Pipeline("bp-x", asked) as pipe:
        waiting: list[Window] = []
        for window in pipe.windows(size):
            waiting.append(window)
            while waiting and (window.pause or len(waiting) > ahead):
                settled = waiting.pop(0)
                pipe.settle_window(settled, [None] * len(settled))
                seen += settled.records
            if seen == objects(first):
                file_seen.set()
            if seen == early:
                all_seen.set()
        assert not waiting
    writer.join()
    assert all(in_time)
    assert seen == objects(first) + objects(b"".join(before) + after)


def test_the_end_of_a_terminal_is_said_once() -> None:
    leader, follower = os.openpty()
    try:
        os.write(leader, A + b"\x04")  # Ctrl-D
        with CountingFile(follower, close=False) as file:
            assert file.line_at_hand()
            assert file.read(len(A)) == A
            assert not file.line_at_hand()
            assert file.read(100) == b""
    finally:
        os.close(leader)
        os.close(follower)


def test_what_is_added_goes_under_bp() -> None:
    why = Drop("near", 0.8, 0.7, added={"dup_of": "k", "jaccard": 0.8, "dup_in": None}, explanation="of x:1")
    line = b'{"a":12345678901234567890123,"bp":{"dup_in":"index","x":1,"drop":[]}}\n'
    marked = mark_dropped(line, loads(line), why)  # type: ignore[arg-type]
    assert marked == (
        b'{"a":12345678901234567890123,"bp":{"x":1,"drop":[{"reason":"near","value":0.8,"limit":0.7}],'
        b'"dup_of":"k","jaccard":0.8}}\n'
    )
    assert why.explained() == ["near: of x:1"]
    assert Drop("near", 0.8, 0.7, [("old", 1, None)]).explained() == ["near: 0.8, limit 0.7", "old: 1"]
    odd = Drop("near", added={"dup_at": "caf\udce9:1"})
    assert mark_dropped(b"{}\n", {}, odd).endswith(b'"dup_at":"caf?:1"}}\n')
