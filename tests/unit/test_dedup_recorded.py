"""bp-dedup in two passes: which one stays is a matter of order, and order is all that differs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bptools.commands.dedup import app
from bptools.core.cli import call
from bptools.core.errors import UsageError
from bptools.core.window import Window
from bptools.quality.dedup import preferring, running
from bptools.quality.dedup.content import Seen
from bptools.quality.dedup.keys import keys_of
from bptools.quality.dedup.preferring import Preference
from bptools.quality.dedup.recorded import RecordedKnown

Item = dict[str, Any]
Run = Callable[..., list[Item]]

WORDS = [f"word{number}" for number in range(300)]
RULES: dict[str, Callable[[Item], Any]] = {
    "last": lambda item: -item["id"],
    "longest": lambda item: -len(item["messages"][0]["content"] + item["messages"][1]["content"]),
    "best:meta.score": lambda item: -item["meta"]["score"] if "score" in item["meta"] else 1e9,
}


def chat(number: int, text: str, chance: random.Random) -> Item:
    asked, _, said = text.partition(" ")
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    meta = {"score": chance.choice([1, 2, 2.5, -3])} if chance.random() < 0.8 else {}
    return {"messages": turns, "id": number, "meta": meta}


def copies(count: int, seed: int) -> list[Item]:
    """Records of which most are copies of others, exact or near the threshold."""
    chance = random.Random(seed)
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(8, 40))) for _ in range(count // 10)]
    made = []
    for number in range(count):
        draw = chance.random()
        words = chance.choice(texts).split()
        if draw < 0.02:
            words = ["?", "!" * chance.randint(1, 3)]  # contents without a word
        elif draw < 0.6:
            for _ in range(chance.randint(1, 3)):
                words[chance.randrange(len(words))] = chance.choice(WORDS)
            if chance.random() < 0.5:
                texts.append(" ".join(words))
        made.append(chat(number, " ".join(words), chance))
        if draw > 0.97:
            made[-1]["messages"] = [{"role": "user", "content": " "}, {"role": "assistant", "content": ""}]
    return made


@pytest.fixture
def dedup(tmp_path: Path) -> Run:
    def run(items: list[Item], *options: str) -> list[Item]:
        source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        source.write_text("".join(json.dumps(item) + "\n" for item in items))
        assert call(app, "bp-dedup", ["-q", str(source), "-o", str(out), *options]) == 0
        return [json.loads(line) for line in out.read_text().splitlines()]

    return run


@pytest.mark.parametrize("prefer", RULES)
@pytest.mark.parametrize(
    "options",
    [[], ["--minhash"], ["--minhash", "--on", "assistant"], ["--on", "user"], ["--exact", "normalized"]],
    ids=" ".join,
)
def test_it_is_the_stream_in_another_order(
    dedup: Run, monkeypatch: pytest.MonkeyPatch, prefer: str, options: list[str]
) -> None:
    monkeypatch.setattr(running, "NEAR_BYTES", 20_000)
    monkeypatch.setattr(preferring, "_AT_ONCE", 70)
    items = copies(900, 1)
    rule = RULES[prefer]
    if prefer == "longest" and "assistant" in options:
        rule = lambda item: -len(item["messages"][1]["content"])  # noqa: E731
    if prefer == "longest" and "user" in options:
        rule = lambda item: -len(item["messages"][0]["content"])  # noqa: E731
    if prefer == "longest":  # the text has a line break between the turns, and only that of words counts
        items = [item for item in items if item["messages"][0]["content"] != " "]
    permuted = sorted(items, key=rule)
    wanted = dedup(permuted, "--tag", *options)
    found = dedup(items, "--tag", "--prefer", prefer, *options)
    assert [item["id"] for item in found] == [item["id"] for item in items]
    assert found == sorted(wanted, key=lambda item: item["id"])
    assert 50 < sum("bp" in item for item in found) < 890
    kept = dedup(items, "--prefer", prefer, *options)
    assert kept == [item for item in found if "bp" not in item]


def test_the_recorded_way_is_the_stream_where_the_order_is_that_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "NEAR_BYTES", 10_000)
    source = tmp_path / "in.jsonl"
    lines = [json.dumps(item) for item in copies(600, 2)]
    for place, line in [(0, ""), (0, "{broken"), (30, "[]"), (31, '{"unknown": 1}'), (300, ""), (301, "{")]:
        lines.insert(place, line)
    source.write_text("\n".join(lines) + "\n")

    def everything(*options: str) -> list[Any]:
        files = [tmp_path / name for name in ("out", "report", "dropped", "rejects")]
        more = ["--max-rejects", "50%", "--explain", "--on", "assistant"]
        names = ["-o", *map(str, files[:1])]
        for file in files[1:]:
            names += [f"--{file.name}", str(file)]
        assert call(app, "bp-dedup", ["--minhash", str(source), *names, *more, *options]) == 0
        return [*(file.read_bytes() for file in files), capfd.readouterr().err]

    for options in [[], ["--tag"], ["--limit", "1"], ["--limit", "100"]]:
        wanted = everything(*options)
        with monkeypatch.context() as patch:
            patch.setattr(Preference, "order", lambda self: np.arange(self._count, dtype=np.uint32))
            assert everything(*options, "--prefer", "last") == wanted


def test_what_is_said_of_the_one_that_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [{"text": "Same.", "n": n, "by": by} for n, by in enumerate("aba")]
    Path("x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert call(app, "bp-dedup", ["x.jsonl", "--explain", "--prefer", "last"]) == 0
    shown = capfd.readouterr()
    assert json.loads(shown.out) == lines[2]
    assert shown.err.splitlines()[:2] == [
        "bp-dedup: x.jsonl:1: dropped: exact-duplicate: of x.jsonl:3",
        "bp-dedup: x.jsonl:2: dropped: exact-duplicate: of x.jsonl:3",
    ]


@pytest.mark.parametrize("text", ["", "Last", "best", "best:", "longest:x", "last:", "first:", "best score"])
def test_what_no_preference_is(text: str) -> None:
    with pytest.raises(UsageError, match="none of first, last, longest, best:FIELD"):
        Preference(text)


def order_of(text: str, records: list[Item], texts: list[str] | None = None) -> list[int]:
    preference = Preference(text)
    for first in range(0, len(records), 2):
        window, seen = Window(), Seen()
        window.records = records[first : first + 2]
        window.raws = [None] * len(window.records)
        seen.texts = (texts or [])[first : first + 2]
        preference.note(window, seen)
    found: list[int] = preference.order().tolist()
    return found


def test_orders() -> None:
    values: list[Any] = [
        1, None, 2**53, 2**53 + 1, 2.0**53, True, "9", 2**64 - 1, 2**64 - 2, -(2**63), -(2**63) + 1, 10**400,
        -(10**400), 1e308, -1e308, 0, -0.0, 0.5,
    ]  # fmt: skip
    records = [{"a": {"b": value}} for value in values] + [{"a": 5}, {"a.b": 3}]
    numbers = [value if type(value) in (int, float) else None for value in values] + [None, 3]

    def key(place: int) -> tuple[bool, int | float]:
        value = numbers[place]
        return value is None, 0 if value is None else -value

    wanted = sorted(range(len(records)), key=key)
    assert order_of("best:a.b", records) == wanted
    assert order_of("last", records) == list(range(len(records)))[::-1]
    assert order_of("longest", records[:5], ["ab", "", "abc", "xy", "é" * 3]) == [2, 4, 0, 3, 1]
    assert order_of("longest", []) == order_of("best:x", []) == order_of("last", []) == []


def test_contents_are_known_by_number_and_by_id() -> None:
    known = RecordedKnown(None)
    keys = keys_of([bytes([number]) * 16 for number in range(6)])
    assert known.judge(keys[[0, 1, 0]], None, None).owner.tolist() == [-1, -1, 0]
    known.begin()
    numbers = known.place(keys[[4, 1, 3, 3, 5, 4]], None, None)
    assert numbers.tolist() == [2, 1, 3, 3, 4, 2]
    known.end()
    assert len(known) == 2
    assert known.judge_recorded(numbers[[4, 3, 1]]).owner.tolist() == [-1, -1, 1]
    found = known.judge_recorded(numbers[[0, 2, 5, 0, 4]])
    assert found.owner.tolist() == [-1, 3, 4, 4, 2]
    assert np.isnan(found.jaccard).tolist() == [False, True, True, True, True]
    assert known.hex(2) == "05" * 16 and known.hex(4) == "04" * 16 and known.hex(1) == "01" * 16
    assert (known.keys_from(1) == keys[[1, 5, 3, 4]]).all()
    assert known.ids(numbers).tolist() == [4, 1, 3, 3, 2, 4]
    known.close()
