"""bp-filter as a whole, in this process: whatever the options and records, the counts add up."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bptools.commands.filter import app
from bptools.core.cli import call

WORDS = [
    "a",
    "the",
    "king",
    "of",
    "counted",
    "words",
    "…",
    "#",
    "hi!",
    "12",
    "日本",
    " ",
    "\n",
    "be",
    "and",
    "x" * 40,
]
contents = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
roles = st.sampled_from(["user", "assistant", "assistant", "system", "tool"])
turns = st.lists(st.fixed_dictionaries({"role": roles, "content": contents}), max_size=6)
records = st.one_of(
    st.fixed_dictionaries({"messages": turns, "score": st.sampled_from([0.1, 0.5, None, 3, 2**70])}),
    st.fixed_dictionaries({"instruction": contents, "output": contents, "source": st.sampled_from("abc")}),
    st.fixed_dictionaries({"text": contents, "bp": st.just({"drop": [{"reason": "old"}]})}),
    st.fixed_dictionaries({"prompt": contents, "chosen": contents, "rejected": contents}),
    st.just({"nothing": "known"}),
    st.just("{broken"),
)
lines = st.lists(records, max_size=25)
CONDITIONS = [
    ["--min-tokens", "3"], ["--max-tokens", "20"], ["--min-chars", "5"], ["--max-chars", "90"], ["--min-turns", "2"],
    ["--max-turns", "4"], ["--require-assistant"], ["--alternating"], ["--ends-with", "assistant"],
    ["--no-empty-turns"], ["--keep-match", "[a-z]"], ["--drop-match", "king of"], ["--range", "score=0.2:2"],
    ["--where", "source!=a"], ["--rules", "gopher-repetition,min_stop_words"], ["--rules", "c4,fineweb"],
    ["--on", "assistant"], ["--on", "source"], ["--drop-marked"],
]  # fmt: skip
SHAPES = [["--redact", "email,key,ip"], ["--sample", "5"], ["--sample", "40%"], ["--shuffle"], ["--order", "tokens"], ["--limit", "4"]]  # fmt: skip
conditions = st.lists(st.sampled_from(CONDITIONS), max_size=4, unique_by=lambda option: option[0])
shapes = st.lists(st.sampled_from(SHAPES), max_size=3, unique_by=lambda option: option[0]).filter(
    lambda chosen: not {"--shuffle", "--order"} <= {option[0] for option in chosen}
)
quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def flat(options: list[list[str]]) -> list[str]:
    return [word for option in options for word in option]


def write(path: Path, items: list[Any]) -> None:
    path.write_text("".join((item if type(item) is str else json.dumps(item)) + "\n" for item in items))


def run(folder: Path, source: Path, *options: str) -> tuple[list[bytes], dict[str, Any]]:
    """Run bp-filter with a report; rejects are tolerated."""
    out, report = folder / "out", folder / "report"
    more = ["-q", "--max-rejects", "100%", "-o", str(out), "--report", str(report)]
    assert call(app, "bp-filter", [str(source), *options, *more]) == 0
    return out.read_bytes().split(b"\n")[:-1], orjson.loads(report.read_bytes())


def without_marks(line: bytes) -> Any:
    record = json.loads(line)
    notes = record.get("bp", {}).get("drop")
    if notes is not None:
        record["bp"]["drop"] = [note for note in notes if note["reason"] == "old"]
        if not record["bp"]["drop"]:
            del record["bp"]["drop"]
        if not record["bp"]:
            del record["bp"]
    return record


@quick
@given(lines, conditions, shapes)
def test_counts_add_up_and_nothing_is_lost(
    items: list[Any], chosen: list[list[str]], shaped: list[list[str]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in.jsonl"
        write(source, items)
        kept, dropped = folder / "dropped", folder / "rejects"
        options = ["--dropped", str(kept), "--rejects", str(dropped), *flat(chosen), *flat(shaped)]
        out, report = run(folder, source, *options)
        assert report["in"] == report["out"] + report["dropped"] + report["rejected"]
        assert len(out) == report["out"]
        assert len(kept.read_bytes().split(b"\n")) - 1 == report["dropped"] == sum(report["drops"].values())
        assert len(dropped.read_bytes().split(b"\n")) - 1 == report["rejected"]
        if ["--limit", "4"] not in shaped:
            assert report["in"] == len(items)
        if not shaped:
            assert [json.loads(line) for line in out] == [
                item for item in items if type(item) is dict and item in [json.loads(line) for line in out]
            ]


@quick
@given(lines, conditions, st.sampled_from([[], ["--sample", "5"], ["--sample", "40%"]]))
def test_tagging_and_dropping_agree(items: list[Any], chosen: list[list[str]], sample: list[str]) -> None:
    chosen = [option for option in chosen if option != ["--drop-marked"]]
    items = [item for item in items if type(item) is not dict or "bp" not in item]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, tagged = folder / "in.jsonl", folder / "tagged.jsonl"
        write(source, items)
        dropping, report = run(folder, source, *flat(chosen), *sample)
        everything, tag_report = run(folder, source, *flat(chosen), *sample, "--tag")
        assert tag_report["drops"] == report["drops"]
        assert [without_marks(line) for line in everything] == [
            item for item in items if type(item) is dict and (item in map(without_marks, everything))
        ]
        tagged.write_bytes(b"".join(line + b"\n" for line in everything))
        left, second = run(folder, tagged, "--drop-marked")
        assert left == dropping
        assert second["drops"] == report["drops"]


@quick
@given(lines, conditions)
def test_first_reasons_are_those_of_all_reasons(items: list[Any], chosen: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "in.jsonl"
        write(source, items)
        first, report = run(folder, source, *flat(chosen))
        thorough, all_report = run(folder, source, *flat(chosen), "--dropped", str(folder / "dropped"))
        assert first == thorough
        assert report["drops"] == all_report["drops"]
        assert report["rejects"] == all_report["rejects"]


chats = st.lists(st.integers(0, 400), unique=True, min_size=1, max_size=60)


def chat(number: object, **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": f"Q{number}"}, {"role": "assistant", "content": "A"}],
        **more,
    }


def sides(folder: Path, items: list[dict[str, Any]], *options: str) -> dict[str, str]:
    source, out = folder / "in.jsonl", folder / "sets"
    write(source, items)
    options = ("--split", "train=8,val=1,test=1", "--out-dir", str(out), *options)
    assert call(app, "bp-filter", ["-q", str(source), *options]) == 0
    return {
        json.loads(line)["messages"][0]["content"]: file.stem
        for file in out.glob("*.jsonl")
        for line in file.read_bytes().split(b"\n")[:-1]
    }


@quick
@given(chats, chats, st.randoms())
def test_a_split_is_stable_when_data_grows_or_is_reordered(
    old: list[int], new: list[int], chance: Any
) -> None:
    with tempfile.TemporaryDirectory() as name:
        before = sides(Path(name), [chat(number) for number in old])
        grown = [chat(number, id=chance.random(), bp={"ppl": 1}) for number in {*old, *new}]
        chance.shuffle(grown)
        after = sides(Path(name), grown)
        assert {question: after[question] for question in before} == before


def test_copies_and_groups_stay_together(tmp_path: Path) -> None:
    from bptools.chat.identity import ContentKeys

    originals = [chat(number) for number in range(100)]
    keys = ContentKeys()
    copies = [chat(1000 + number, bp={"dup_of": f"{keys.key(None, item):032x}"}) for number, item in enumerate(originals)]  # fmt: skip
    found = sides(tmp_path, originals + copies)
    assert set(found.values()) == {"train", "val", "test"}
    assert all(found[f"Q{number}"] == found[f"Q{1000 + number}"] for number in range(100))
    grouped = sides(
        tmp_path, [chat(number, topic=number % 7) for number in range(100)], "--group-by", "topic"
    )
    assert len({(number % 7, grouped[f"Q{number}"]) for number in range(100)}) == 7


@pytest.mark.parametrize("order", [[], ["--shuffle"], ["--order", "tokens", "--limit", "150"]], ids=" ".join)
def test_redaction_moves_no_record_to_another_side(order: list[str], tmp_path: Path) -> None:
    from bptools.chat.identity import ContentKeys

    keys = ContentKeys()
    originals = [chat(f"{number} q{number}@example.com") for number in range(100)]
    copies = [chat(f"{1000 + number} x@y.com", bp={"dup_of": f"{keys.key(None, item):032x}"}) for number, item in enumerate(originals)]  # fmt: skip
    plain = sides(tmp_path, originals + copies)
    expected = {question.split()[0]: side for question, side in plain.items()}
    redacted = sides(tmp_path, originals + copies, "--redact", "email", *order)
    assert all(question.endswith(" [EMAIL]") for question in redacted)
    assert len(redacted) == (150 if "--limit" in order else 200)
    assert {question.split()[0]: side for question, side in redacted.items()}.items() <= expected.items()
    assert all(expected[f"Q{number}"] == expected[f"Q{1000 + number}"] for number in range(100))
    people = [chat(number, who=f"q{number % 40}@example.com") for number in range(100)]
    by_who = sides(tmp_path, people, "--group-by", "who")
    assert sides(tmp_path, people, "--group-by", "who", "--redact", "email", *order).items() <= by_who.items()


@pytest.mark.parametrize(
    ("field", "value"), [("l", {"l": None}), ("m.l", {"m": {"l": None}}), ("m.l", {"m.l": None})]
)
def test_null_is_a_value_to_split_by_at_any_depth(
    field: str, value: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "sets"
    write(source, [{"text": "a", **value}])
    assert call(app, "bp-filter", [str(source), "--split-by", field, "--out-dir", str(out)]) == 0
    assert [file.name for file in out.glob("*.jsonl")] == ["null.jsonl"]
    assert "no record has" not in capfd.readouterr().err


def test_a_record_keeps_its_key_in_every_format() -> None:
    from bptools.chat.identity import ContentKeys

    keys = ContentKeys()
    one = keys.key(None, {"instruction": "Q", "input": "", "output": "A", "id": 1})
    assert one == keys.key(
        None, {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
    )
    assert one == keys.key(
        None, {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}
    )
    assert one == keys.key(
        None,
        {
            "messages": [
                {"content": "Q", "role": "user", "weight": 0},
                {"content": "A", "role": "assistant"},
            ],
            "bp": {},
        },
    )
    assert one != keys.key(None, {"messages": [{"role": "user", "content": "Q"}]})
    big = b'{"messages":[{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"n":%d}}}]}]}'
    first, second = (keys.key(big % number, orjson.loads(big % number)) for number in (2**64 + 1, 2**64 + 2))
    assert first != second


def test_a_damaged_archive_is_told_at_its_end_and_not_before(tmp_path: Path, capfd: Any) -> None:
    import gzip
    import random

    noise = random.Random(1)
    text = b"".join(b'{"text":"%x"}\n' % noise.getrandbits(4000) for _ in range(200))
    source = tmp_path / "cut.jsonl.gz"
    source.write_bytes(gzip.compress(text)[:-2000])
    assert call(app, "bp-filter", [str(source), "--limit", "2", "--strict", "-o", str(tmp_path / "out")]) == 0
    assert "Traceback" not in (said := capfd.readouterr().err) and "Exception" not in said
    assert call(app, "bp-filter", [str(source), "-o", str(tmp_path / "all")]) == 65
    assert "truncated-gzip" in capfd.readouterr().err


def test_a_folder_has_its_place_in_the_ledger(tmp_path: Path, monkeypatch: Any) -> None:
    source, ledger = tmp_path / "in.jsonl", tmp_path / "ledger"
    write(source, [chat(number) for number in range(20)])
    monkeypatch.setenv("BP_LEDGER", str(ledger))
    options = ["-q", str(source), "--split", "a=1,b=1", "--out-dir", str(tmp_path / "sets")]
    assert call(app, "bp-filter", options) == 0
    (entry,) = ledger.iterdir()
    noted = orjson.loads(entry.read_bytes())
    made = orjson.loads((tmp_path / "sets" / "manifest.json").read_bytes())
    assert noted["files"] == made["files"] and noted["inputs"] == made["inputs"]
    assert sum(file["records"] for file in made["files"].values()) == 20


def test_an_output_beside_the_manifest_of_another_is_refused(tmp_path: Path, capfd: Any) -> None:
    out = str(tmp_path / "out")
    assert call(app, "bp-filter", ["-o", out, "--report", out + ".manifest.json", str(tmp_path)]) == 2
    assert "manifest" in capfd.readouterr().err
