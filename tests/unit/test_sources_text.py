"""Text is cut where asked and otherwise left as it is."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bptools.core.sources.base import ReadOptions
from bptools.core.sources.text import TextReader


def read(data: bytes, split_on: str, **options: Any) -> tuple[list, list, TextReader]:
    rejects: list[tuple[int, str, bytes]] = []
    reader = TextReader(
        io.BufferedReader(io.BytesIO(data)),  # type: ignore[arg-type]
        ReadOptions(split_on=split_on, **options),
        lambda line, why, raw: rejects.append((line, why.reason, raw)),
    )
    return [(reader.line, record["text"]) for _, record in reader], rejects, reader


SAMPLE = b"\xef\xbb\xbf  one \r\ntwo\n\n \t\nthree\n\n\nfo\xffur\n\nfive"


def test_lines() -> None:
    units, rejects, reader = read(SAMPLE, "line")
    assert units == [(1, "  one "), (2, "two"), (5, "three"), (10, "five")]
    assert rejects == [(8, "invalid-utf8", b"fo\xffur")] and reader.blank == 5


def test_paragraphs() -> None:
    units, rejects, _ = read(SAMPLE, "paragraph")
    assert units == [(1, "  one \r\ntwo"), (5, "three"), (10, "five")]
    assert rejects == [(8, "invalid-utf8", b"fo\xffur")]


def test_file_is_kept_as_it_is() -> None:
    units, _, _ = read(b"\xef\xbb\xbf\n a\r\n\n b \n", "file")
    assert units == [(1, "\n a\r\n\n b \n")]
    for data in (b"", b"\xef\xbb\xbf", b" \n\r\n"):
        for split_on in ("line", "paragraph", "file"):
            assert read(data, split_on)[:2] == ([], [])
    assert read(b"a\xff", "file")[1] == [(1, "invalid-utf8", b"a\xff")]


def test_too_long() -> None:
    data = b"a\n" + b"x" * 50 + b"\n\nb\n"
    assert read(data, "line", max_record_bytes=10)[:2] == ([(1, "a"), (4, "b")], [(2, "too-long", b"x" * 12)])
    units, rejects, _ = read(data, "paragraph", max_record_bytes=10)
    assert units == [(4, "b")] and [r[:2] for r in rejects] == [(1, "too-long")]
    units, rejects, _ = read(data, "file", max_record_bytes=10)
    assert units == [] and [r[:2] for r in rejects] == [(1, "too-long")]


@given(st.text(st.sampled_from("ab \n\ré"), max_size=60), st.integers(1, 30))
def test_nothing_but_space_is_lost(text: str, limit: int) -> None:
    data = text.encode()
    for split_on in ("line", "paragraph", "file"):
        units, rejects, _ = read(data, split_on)
        assert rejects == []
        assert "".join("".join(unit.split()) for _, unit in units) == "".join(text.split())
        units, rejects, _ = read(data, split_on, max_record_bytes=limit)
        assert all(len(unit.encode()) <= limit for _, unit in units)
        assert all(why == "too-long" for _, why, _ in rejects)


@given(st.binary(max_size=100), st.sampled_from(["line", "paragraph", "file"]))
def test_any_bytes(data: bytes, split_on: str) -> None:
    units, rejects, _ = read(data, split_on)
    kept = b"".join(unit.encode() for _, unit in units) + b"".join(raw for _, _, raw in rejects)
    body = data.removeprefix(b"\xef\xbb\xbf")
    assert sorted(kept.translate(None, b" \t\r\n\x0b\x0c")) == sorted(
        body.translate(None, b" \t\r\n\x0b\x0c")
    )
