"""Percentiles are exact, ties stay, groups are cut by themselves, and every record is accounted for."""

from __future__ import annotations

import json
import math
import random
import time
import tracemalloc
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.commands.filter import app as filter_app
from bptools.core.cli import call
from bptools.core.errors import UsageError
from bptools.quality.perplexity.cuts import Keep, Limits, percentiles
from bptools.quality.perplexity.cutting import Cut
from bptools.quality.perplexity.leaning import Leaning, is_code, script_of
from tests.unit.ppl_running import keep_models, lines, ppl

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "dog", "sun", "warm"]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_models(monkeypatch)


# percentiles

BOUNDS = ["5:95", "0:100", "2.5:97.5", "0.1:99.9", "33:34", "0:50", "50:100", "10:", ":90", "99:100", "0:1"]


def numpys(values: list[float], keep: str) -> tuple[float, float]:
    """Return what numpy says of the upper bound, and of the lower one where everything is turned round."""
    low, _, high = keep.partition(":")
    upper = np.percentile(values, float(high or 100), method="inverted_cdf")
    lower = -np.percentile([-value for value in values], 100 - float(low or 0), method="inverted_cdf")
    return float(lower), float(upper)


@pytest.mark.parametrize("keep", BOUNDS)
@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 39, 40, 100, 1000, 1001])
def test_percentiles_are_those_of_numpy(count: int, keep: str) -> None:
    source = random.Random(count)
    for ties in (False, True):
        values = [float(source.randrange(7)) if ties else source.lognormvariate(3, 1) for _ in range(count)]
        limits = Keep.parse(keep).limits(np.array(values))
        if keep != "0.1:99.9":  # numpy takes a tenth of a percent of 1000 for a little less than one
            assert (limits.low, limits.high) == numpys(values, keep)
        assert limits.records == count
        low, _, high = keep.partition(":")
        below = math.floor(count * Fraction(low or "0") / 100)
        above = math.floor(count * (100 - Fraction(high or "100")) / 100)
        cut = [value for value in values if limits.broken(value) is not None]
        if ties:
            assert len(cut) <= below + above
        else:
            assert sum(value < limits.low for value in cut) == below
            assert sum(value > limits.high for value in cut) == above


@given(
    st.lists(st.floats(0, 1e6) | st.sampled_from([1.0, 2.0, math.nan]), max_size=60),
    st.integers(0, 99),
    st.integers(1, 100),
)
@settings(max_examples=200, deadline=None)
def test_percentiles_of_anything_are_those_of_the_sorted_values(
    values: list[float], low: int, width: int
) -> None:
    high = min(100, low + width)
    found = percentiles(np.array(values), None, Keep(Fraction(low), Fraction(high)))
    scored = sorted(value for value in values if not math.isnan(value))
    if not scored:
        assert found == {}
        return
    first, last = len(scored) * low // 100, len(scored) - 1 - len(scored) * (100 - high) // 100
    if first > last:  # less than one record lies between
        return
    assert (found[0].low, found[0].high) == (scored[first], scored[last])


def test_groups_are_cut_by_themselves() -> None:
    source = random.Random(1)
    names = ["a", "b", "", "猫", "7"]
    groups = [source.choice(names) for _ in range(700)]
    values = [source.gauss(names.index(group) * 100, 5) for group in groups]
    states = [source.choice([0, 0, 0, 1, 2, 3]) for _ in groups]
    cut = Cut("ppl", keep="5:95", by="source")
    for group in groups:
        cut.note(group)
    cut.find(values, states)
    for name in names:
        mine = [v for v, g, state in zip(values, groups, states) if g == name and state == 0]
        low, high = numpys(mine, "5:95")
        dropped = [value for value in mine if cut.judge(value, name) is not None]
        assert dropped == [value for value in mine if not low <= value <= high]
    overall = numpys([value for value, state in zip(values, states) if state == 0], "5:95")
    said = cut.judge(1e9, "nobody")
    assert said is not None and said.limit == overall[1]
    groups_said = cut.as_json()["groups"]
    assert sorted(groups_said) == sorted([*names, "nobody"])  # of which one was cut
    assert groups_said["a"]["below"] + groups_said["a"]["above"] > 0


def test_values_that_cutoffs_do_not_know_are_counted_too(tmp_path: Path) -> None:
    file = tmp_path / "cutoffs.json"
    limits = {"low": 10.0, "high": 20.0, "records": 9}
    table = {"format": "bptools-cutoffs", "metric": "ppl", "scorer": None, "by": "src", "all": limits}
    file.write_text(json.dumps({**table, "groups": {"a": {**limits, "low": 5.0}, "b": limits}}))
    cut = Cut(cutoffs=str(file))
    for value, group in ((6.0, "a"), (6.0, "new"), (30.0, "new"), (30.0, "newer"), (15.0, "kept")):
        cut.judge(value, group)
    assert cut.as_json()["groups"] == {
        "a": {**limits, "low": 5.0, "below": 0, "above": 0}, "b": {**limits, "below": 0, "above": 0},
        "new": {**limits, "below": 1, "above": 1}, "newer": {**limits, "below": 0, "above": 1},
    }  # fmt: skip
    assert cut.described() == "within limits of each of 4 values of src; 1 below, 2 above"


def test_a_million_scores_are_cut_exactly_in_seconds_and_little_memory() -> None:
    count = 1_000_000
    generator = np.random.default_rng(0)
    made = np.round(generator.lognormal(3, 1, count), 4)  # with ties
    tracemalloc.start()
    values, states = array("d", made.tobytes()), array("B", bytes(count))
    for place in range(0, count, 1000):
        states[place] = 1
    cut = Cut("ppl", keep="5:95", by="source")
    for number in range(0, count, 4):
        for group in ("a", "b", "a", "a")[: count - number]:
            cut.note(group)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert 13 * count <= held < 17 * count  # a double, a byte and the number of the group, grown in steps
    started = time.process_time()
    cut.find(values, states)
    dropped = sum(cut.judge(value, "b") is not None for value in made[1::4].tolist())
    assert time.process_time() - started < 5
    scored = made[np.asarray(states) == 0]
    plain = Cut("ppl", keep="5:95")
    plain.find(values, states)
    upper = float(np.percentile(scored, 95, method="inverted_cdf"))
    lower = -float(np.percentile(-scored, 95, method="inverted_cdf"))
    assert plain.judge(upper) is None and plain.judge(lower) is None
    assert plain.judge(np.nextafter(upper, 1e9)) is not None
    assert plain.judge(np.nextafter(lower, 0)) is not None
    mine = made[1::4]
    low, high = numpys(mine.tolist(), "5:95")
    assert dropped == int(((mine < low) | (mine > high)).sum())


@pytest.mark.parametrize(
    "text", ["", "5", "a:b", "nan:95", "95:5", "5:5", "-1:95", "5:101", "5:95:99", "0x5:95", "1e400:"]
)
def test_what_are_no_percentiles_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--keep"):
        Keep.parse(text)


@pytest.mark.parametrize("text", ["", ":", "5", "a:b", "nan:95", "95:5", "5:95:99"])
def test_what_are_no_bounds_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--bounds"):
        Limits.parse(text)


def test_bounds_belong_to_what_is_kept() -> None:
    limits = Limits.parse("1.5:2")
    assert [limits.broken(value) for value in (1.4, 1.5, 2.0, 2.1)] == [1.5, None, None, 2.0]
    assert Limits.parse(":2").broken(-1e9) is None
    assert Limits.parse("-3:-1").broken(-2) is None
    assert Limits.parse("2:2").broken(2) is None


# records


def made(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return records of all kinds: scored, too few tokens, unscorable, and of several sources."""
    source = random.Random(seed)
    records: list[dict[str, Any]] = []
    for number in range(count):
        text = " ".join(source.choices(WORDS, k=source.randint(8, 14)))
        kind = source.random()
        if kind < 0.1:
            record: dict[str, Any] = {"text": ""}
        elif kind < 0.2:
            record = {"text": "one"}
        elif kind < 0.3:
            record = {"messages": [{"role": "user", "content": text}]}
        elif kind < 0.6:
            record = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}]}
        else:
            record = {"text": text}
        group = source.choice(["wiki", "wiki", "web", ["a", 1], 7, 7.5, "猫", None, ...])
        records.append({**record, "id": number, **({"source": group} if group is not ... else {})})
    return records


def kind_of(record: dict[str, Any]) -> str:
    bp = record["bp"]
    return "unscorable" if bp["ppl"] is None else "few" if bp.get("few") else "scored"


def group_of(record: dict[str, Any]) -> str:
    value = record.get("source")
    return (
        value if isinstance(value, str) else "" if value is None else json.dumps(value, separators=(",", ":"))
    )


def expected(scored: list[dict[str, Any]], metric: str, by: bool) -> set[int]:
    """Return the ids that 5:95 keeps, as the page says."""
    kept = {record["id"] for record in scored if kind_of(record) == "few"}
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in scored:
        if kind_of(record) == "scored":
            groups.setdefault(group_of(record) if by else "", []).append(record)
    for group in groups.values():
        values = sorted(record["bp"][metric] for record in group)
        out = len(values) * 5 // 100
        kept |= {r["id"] for r in group if values[out] <= r["bp"][metric] <= values[len(values) - 1 - out]}
    return kept


@pytest.mark.parametrize("count", [0, 1, 2, 19, 20, 21, 200])
def test_keep_cuts_what_the_page_says(count: int, tmp_path: Path) -> None:
    records = made(count) if count == 200 else [{**r, "text": f"{r['text']} dog" * 3} for r in texts(count)]
    scored = ppl(tmp_path, lines(*records))
    assert [record["id"] for record in scored] == [record["id"] for record in records]
    kept = ppl(tmp_path, lines(*records), "--keep", "5:95")
    assert {record["id"] for record in kept} == expected(scored, "ppl", False)
    assert kept == [record for record in scored if record["id"] in expected(scored, "ppl", False)]
    assert len(kept) == {0: 0, 1: 1, 2: 2, 19: 19, 20: 18, 21: 19}.get(count, len(kept))


def texts(count: int) -> list[dict[str, Any]]:
    source = random.Random(2)
    return [{"text": " ".join(source.choices(WORDS, k=9)), "id": number} for number in range(count)]


def test_what_is_all_the_same_stays(tmp_path: Path) -> None:
    same = [{"text": "one two three four five six seven eight", "id": number} for number in range(100)]
    assert len(ppl(tmp_path, lines(*same), "--keep", "5:95")) == 100
    other = {"text": "dog sun warm dog ten ten sun sun seven", "id": 100}
    assert len(ppl(tmp_path, lines(*same, other), "--keep", "5:95")) in (100, 101)


@pytest.mark.parametrize("metric", ["ppl", "bpb"])
@pytest.mark.parametrize("by", [False, True])
def test_cuts_of_groups_and_metrics_are_those_of_the_scores(metric: str, by: bool, tmp_path: Path) -> None:
    records = made(300)
    scored = ppl(tmp_path, lines(*records))
    report, dropped = tmp_path / "report.json", tmp_path / "dropped.jsonl"
    options = ["--by", "source"] if by else []
    kept = ppl(
        tmp_path, lines(*records), "--keep", "5:95", "--metric", metric, *options,
        "--report", str(report), "--dropped", str(dropped),
    )  # fmt: skip
    wanted = expected(scored, metric, by)
    assert [record["id"] for record in kept] == [record["id"] for record in records if record["id"] in wanted]
    gone = [json.loads(line) for line in dropped.read_text().splitlines()]
    assert sorted(record["id"] for record in [*kept, *gone]) == list(range(300))
    for record in gone:
        (why,) = record["bp"].pop("drop")
        assert record == scored[record["id"]]
        if kind_of(record) == "unscorable":
            assert (why["reason"], why["value"], why["limit"]) == ("unscorable", None, None)
        else:
            assert (why["reason"], why["value"]) == (metric, record["bp"][metric])
    said = json.loads(report.read_text())
    assert said["in"] == 300 and said["out"] == len(kept) and said["dropped"] == len(gone)
    found = said["perplexity"]
    kinds = [kind_of(record) for record in scored]
    assert [found[kind] for kind in ("scored", "few", "unscorable")] == [
        kinds.count(kind) for kind in ("scored", "few", "unscorable")
    ]
    assert found["tokens"] == sum(r["bp"]["tokens"] for r in scored if kind_of(r) == "scored")
    groups = found["cut"]["groups"]
    assert found["cut"]["metric"] == metric
    assert set(groups) == ({group_of(r) for r in scored if kind_of(r) == "scored"} if by else {""})
    assert sum(group["records"] for group in groups.values()) == found["scored"]
    cut = sum(group["below"] + group["above"] for group in groups.values())
    assert cut == sum(kind_of(record) == "scored" for record in gone)
    for name, group in groups.items():
        mine = [r["bp"][metric] for r in scored if kind_of(r) == "scored" and (not by or group_of(r) == name)]
        assert (group["low"], group["high"]) == numpys(mine, "5:95")


CUTS: list[list[str]] = [
    [], ["--keep", "10:90"], ["--keep", "10:90", "--by", "source"], ["--bounds", "380:420"], ["--metric", "bpb", "--bounds", ":5.5"],
]  # fmt: skip
SHARES: list[list[str]] = [
    [], ["--skip", "7"], ["--slice", "5:50"], ["--limit", "12"], ["--tag"], ["--tag", "--limit", "30"], ["--line-buffered"],
    ["--skip", "3", "--limit", "1"], ["--batch-tokens", "50"],
]  # fmt: skip


@pytest.mark.parametrize(
    ("cut", "share"),
    [(CUTS[number % 5], share) for number, share in enumerate([*SHARES, *SHARES[:5], *SHARES[:4]])],
    ids=" ".join,
)
def test_every_record_is_accounted_for(
    cut: list[str], share: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bptools.quality.perplexity.scoring._MOST_RECORDS", 16)
    monkeypatch.setattr("bptools.quality.perplexity.scoring._WINDOW_BYTES", 1 << 11)
    records = made(70)
    data = [json.dumps(record) for record in records]
    for place, bad in ((60, "{broken"), (50, '{"x": 1}'), (0, "[]"), (20, "")):
        data.insert(place, bad)
    tag = "--tag" in share
    files = {name: tmp_path / name for name in ("rejects", "dropped", "report")}
    if tag:  # --tag passes on what --dropped would keep, and refuses it
        del files["dropped"]
    out = ppl(
        tmp_path, "\n".join(data) + "\n", *cut, *share, "--max-rejects", "9",
        *(part for name, path in files.items() for part in (f"--{name}", str(path))),
    )  # fmt: skip
    said = json.loads(files["report"].read_text())
    rejects = [json.loads(line) for line in files["rejects"].read_text().splitlines()]
    dropped = [] if tag else [json.loads(line) for line in files["dropped"].read_text().splitlines()]
    assert said["in"] == said["out"] + said["dropped"] + said["rejected"]
    assert (said["out"], said["rejected"]) == (len(out), len(rejects))
    assert [record["id"] for record in out] == sorted(record["id"] for record in out)
    assert all(set(record["bp"]) >= {"ppl", "nll", "tokens", "bpb"} for record in [*out, *dropped])
    if tag:
        assert said["dropped"] == 0
    else:
        assert said["dropped"] == len(dropped) and not any("drop" in record["bp"] for record in out)
    if not cut:
        assert dropped == []
    if "--limit" in share:
        assert len(out) == int(share[-1])
        return
    whole = ppl(tmp_path, lines(*records), *cut)
    if not share or tag:  # otherwise percentiles are of other records
        assert [r["id"] for r in out if "drop" not in r["bp"]] == [r["id"] for r in whole]


def test_tagged_records_are_those_that_would_be_dropped(tmp_path: Path) -> None:
    data = lines(*made(80))
    for cut in CUTS[1:]:
        kept = ppl(tmp_path, data, *cut)
        tagged = tmp_path / "tagged.jsonl"
        tagged.write_bytes(ppl(tmp_path, data, *cut, "--tag", raw=True))
        out = tmp_path / "filtered.jsonl"
        assert call(filter_app, "bp-filter", [str(tagged), "--drop-marked", "-o", str(out)]) == 0
        assert [json.loads(line) for line in out.read_text().splitlines()] == kept


def test_a_line_that_cannot_be_written_is_a_reject_also_when_all_are_read_first(tmp_path: Path) -> None:
    words = "one two three four five six seven"
    half = tmp_path / "half.json"
    half.write_text(f'[{{"text":"{words}","n":"\\ud800"}},{{"text":"{words}"}},{{"text":"","n":"\\ud800"}}]')
    seen = []
    for cut in (
        [],
        ["--bounds", "1:"],
        ["--keep", "0:100"],
        ["--line-buffered"],
        ["--keep", "0:100", "--tag"],
    ):
        report = tmp_path / "report.json"
        out = ppl(tmp_path, half, *cut, "--report", str(report), "--max-rejects", "3")
        said = json.loads(report.read_text())
        seen.append((len(out), said["dropped"], said["rejected"]))
    assert seen == [(1, 0, 2)] * 5


def test_explanations_name_the_bound_and_what_is_missing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    records = lines(
        {"text": "one two three four five six seven"}, {"messages": [{"role": "user", "content": "Hi"}]}
    )
    for cut in (["--bounds", ":2"], ["--keep", "0:100"]):
        ppl(tmp_path, records, *cut, "--explain")
        said = capfd.readouterr().err
        assert "in.jsonl:2: dropped: unscorable" in said and "assistant" in said
        assert ("in.jsonl:1: dropped: ppl" in said) == (cut[0] == "--bounds")


def test_few_tokens_are_never_cut_and_part_of_no_percentile(tmp_path: Path) -> None:
    few = [{"text": "dog", "id": number} for number in range(50)]
    some = texts(20)
    kept = ppl(tmp_path, lines(*few, *some), "--keep", "5:95")
    assert len(kept) == 50 + 18
    assert len(ppl(tmp_path, lines(*few), "--bounds", ":1")) == 50
    eight = ppl(tmp_path, lines({"text": "猫猫猫猫"[:2] + "x"}, {"text": "猫猫xx"}))
    assert [(record["bp"]["tokens"], "few" in record["bp"]) for record in eight] == [(7, True), (8, False)]


def test_the_summary_warns_where_a_cut_takes_one_script_or_source(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    english = texts(80)
    greek = [{"text": f"Η γρήγορη αλεπού πηδάει {number}", "id": number} for number in range(20)]
    ppl(tmp_path, lines(*english, *greek), "--metric", "ppl", "--bounds", ":1")
    assert "records that were cut" not in capfd.readouterr().err  # everything was cut
    scored = ppl(tmp_path, lines(*english, *greek), "--metric", "bpb")
    split = sorted(record["bp"]["bpb"] for record in scored)
    low = max(r["bp"]["bpb"] for r in scored if r["text"][0] == "Η") < min(r["bp"]["bpb"] for r in scored if r["text"][0] != "Η")  # fmt: skip
    capfd.readouterr()
    bounds = f"{split[20]}:" if low else f":{split[79]}"
    kept = ppl(tmp_path, lines(*english, *greek), "--metric", "bpb", "--bounds", bounds)
    said = capfd.readouterr().err
    if not any(record["text"][0] == "Η" for record in kept):
        assert "20 of 20 records that were cut are in Greek script, and 20 % of all" in said


# what stays and what goes in a record


def test_bytes_stay_and_bp_is_spliced_in(tmp_path: Path) -> None:
    raw = (
        b' {"text" : "one two three four five six seven",  "n": 1.50, "big": 123456789012345678901234567890 }\r\n'
        b'{"messages":[{"role":"user","content":"Hi \\u00e9"},{"role":"assistant","content":"one two three"}],"bp":{"ppl":1,"few":true,"gain":-1,"tokens":0,"kept":[1, 2]},"z":null}'
    )
    for cut in ([], ["--keep", "0:100"], ["--line-buffered"]):
        one, two = ppl(tmp_path, raw, *cut, raw=True).splitlines()
        head, tail = one.split(b',"bp":')
        assert (
            head
            == b' {"text" : "one two three four five six seven",  "n": 1.50, "big": 123456789012345678901234567890 '
        )
        assert tail.endswith(b"}}")
        assert {**json.loads(two), "bp": 0} == {**json.loads(raw.splitlines()[1]), "bp": 0}
        bp = json.loads(two)["bp"]
        assert bp["kept"] == [1, 2] and bp["ppl"] > 100 and "gain" not in bp
        assert ("few" in bp) == (bp["tokens"] < 8)


def test_scores_of_an_earlier_run_are_replaced_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    once = ppl(tmp_path, ppl(tmp_path, lines(*made(30)), raw=True), raw=True)
    assert ppl(tmp_path, once, raw=True) == once
    with_gain = ppl(tmp_path, once, "--baseline", "nano", raw=True)
    assert b'"gain"' in with_gain
    assert [json.loads(line) for line in ppl(tmp_path, with_gain, raw=True).splitlines()] == [
        json.loads(line) for line in once.splitlines()
    ]


def test_every_format_is_scored_and_goes_out_as_it_is(tmp_path: Path) -> None:
    words = "one two three four five six seven"
    chat = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": words}]}
    (expected_score,) = ppl(tmp_path, lines(chat))
    same = [
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": words}]},
        {"instruction": "Hi", "output": words},
        {"prompt": "Hi", "completion": words},
        {"prompt": "Hi", "chosen": words, "rejected": "no"},
        {"question": "Hi", "answer": words},
    ]
    for record in same:
        (found,) = ppl(tmp_path, lines(record))
        assert found.pop("bp") == expected_score["bp"]
        assert found == record
    array_file = tmp_path / "records.json"
    array_file.write_text(json.dumps([chat, same[0]], indent=1))
    assert [r["bp"] for r in ppl(tmp_path, array_file)] == [expected_score["bp"]] * 2
    table = tmp_path / "table.csv"
    table.write_text(f"instruction,output,n\nHi,{words},1\n")
    (found,) = ppl(tmp_path, table)
    assert found == {"instruction": "Hi", "output": words, "n": "1", "bp": expected_score["bp"]}
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"instruction": ["Hi"] * 3, "output": [words] * 3}), tmp_path / "t.parquet")
    for cut in ([], ["--keep", "0:100"], ["--line-buffered"]):
        found = ppl(tmp_path, tmp_path / "t.parquet", *cut)
        assert [record["bp"] for record in found] == [expected_score["bp"]] * 3
    (tmp_path / "page.txt").write_text(words)
    (found,) = ppl(tmp_path, tmp_path / "page.txt", "--keep", "0:100")
    assert found["text"] == words and found["bp"]["tokens"] > 0


def test_order_and_scores_do_not_depend_on_how_much_is_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = made(60)
    seen = []
    for most, size in ((4096, 1 << 20), (1, 1 << 20), (7, 100), (40, 1 << 12)):
        monkeypatch.setattr("bptools.quality.perplexity.scoring._MOST_RECORDS", most)
        monkeypatch.setattr("bptools.quality.perplexity.scoring._WINDOW_BYTES", size)
        seen.append([ppl(tmp_path, lines(*records), *cut) for cut in ([], ["--keep", "10:90"])])
    for plain, cut in seen[1:]:
        assert [record["id"] for record in plain] == [record["id"] for record in seen[0][0]]
        assert [record["id"] for record in cut] == [record["id"] for record in seen[0][1]]
        for ours, theirs in zip(plain, seen[0][0]):
            assert ours["bp"]["nll"] == pytest.approx(theirs["bp"]["nll"], abs=1e-5)


@pytest.mark.parametrize("options", [[], ["--keep", "5:95"], ["--baseline", "nano"]], ids=" ".join)
def test_the_share_that_is_done_goes_up_to_all_of_it(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bptools.quality.perplexity import scoring

    seen: list[tuple[float | None, str]] = []
    tick = scoring._Work.tick

    def noted(work: scoring._Work, tokens: int) -> None:
        tick(work, tokens)
        seen.append(work.said())

    monkeypatch.setattr(scoring._Work, "tick", noted)
    for most in (4096, 20):
        monkeypatch.setattr(scoring, "_MOST_RECORDS", most)
        monkeypatch.setattr(scoring, "_WINDOW_BYTES", 1 << 10)
        seen.clear()
        ppl(tmp_path, lines(*texts(60)), "--batch-tokens", "100", *options)
        shares = [share for share, _ in seen]
        assert len(shares) > 5 and None not in shares
        assert shares == sorted(shares) and 0 < shares[0] < shares[-1] == 1.0
        assert all(words.endswith(" tokens/s") for _, words in seen)


# anything

TEXTS = [
    "",
    "a",
    " \n",
    "<|im_end|>",
    "\ud800",
    "\ufdd0",
    "\ufdd23\ufdd3",
    "one two three four five six",
    "{{ x }}",
    "猫" * 5,
    "\0",
]


def anything(source: random.Random, depth: int = 0) -> Any:
    kind = source.random()
    if kind < 0.5 or depth > 2:
        return source.choice(TEXTS)
    if kind < 0.6:
        return source.choice([None, True, 0, -1.5, 1e308, 2**70])
    if kind < 0.8:
        return [anything(source, depth + 1) for _ in range(source.randint(0, 3))]
    names = ["type", "text", "role", "content", "function", "name", "arguments", "weight"]
    return {source.choice(names): anything(source, depth + 1) for _ in range(source.randint(0, 3))}


def odd(source: random.Random) -> dict[str, Any]:
    def turn() -> dict[str, Any]:
        made = {
            "role": source.choice(["user", "assistant", "assistant", "system", "tool"]),
            "content": source.choice(TEXTS),
        }
        for name in ("content", "weight", "tool_calls", "name", "reasoning_content"):
            if source.random() < 0.1:
                made[name] = anything(source)
        return made

    record = source.choice(
        [
            {"messages": [turn() for _ in range(source.randint(0, 5))]},
            {"prompt": [turn()], "chosen": [turn()], "rejected": [turn()]},
            {"text": anything(source)},
            {"instruction": anything(source), "output": anything(source)},
            {"prompt": anything(source), "completion": anything(source), "label": anything(source)},
        ]
    )
    for name in ("tools", "bp", "source"):
        if source.random() < 0.2:
            record[name] = anything(source)
    return record


ANYHOW = [
    [],
    ["--on", "all"],
    ["--no-template", "--on", "user"],
    ["--keep", "5:95", "--by", "source"],
    ["--chat-template", "gemma", "--on", "all", "--line-buffered"],
]


@pytest.mark.parametrize("options", ANYHOW, ids=" ".join)
def test_whatever_comes_in_is_scored_or_rejected(options: list[str], tmp_path: Path) -> None:
    source, report = random.Random(len(options)), tmp_path / "report.json"
    data = "".join(json.dumps(odd(source)) + "\n" for _ in range(150))
    out = ppl(tmp_path, data, *options, "--report", str(report), "--max-rejects", "100%", "-q")
    said = json.loads(report.read_text())
    assert said["in"] == 150 == said["out"] + said["dropped"] + said["rejected"]
    assert len(out) > 20 and all("ppl" in record["bp"] for record in out)


# what a cut leans to


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Hello", "Latin"), ("Grüße ñ", "Latin"), ("Привет", "Cyrillic"), ("Η αλεπού", "Greek"), ("猫がとても好きです", "Japanese"),
        ("漢字", "Han"), ("안녕", "Hangul"), ("مرحبا", "Arabic"), ("שלום", "Hebrew"), ("नमस्ते", "Devanagari"), ("สวัสดี", "Thai"),
        ("123 !?", None), ("", None), ("Hello Привет мир", "Cyrillic"), ("x" * 2000 + "猫" * 3000, "Latin"),
    ],
)  # fmt: skip
def test_scripts_are_told_by_most_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


def test_code_is_told_by_its_lines() -> None:
    assert is_code("def f(x):\n    y = x + 1\n    return y\n\nimport os\n")
    assert is_code("#include <stdio.h>\nint main() {\n  return 0;\n}\n")
    assert is_code("<html>\n<body>\n<p>\nHello\n</p>\n")
    assert not is_code(
        "The fox returned home.\nIt was late; the class was over.\nFor a while nothing happened.\n"
    )
    assert not is_code(
        "Use a for loop.\nFirst, import the book.\nThen return it.\n\nFrom here on, let it be."
    )
    assert not is_code("")


def test_a_warning_needs_most_of_the_cut_and_less_of_all() -> None:
    def said(cut: int, of_cut: int, records: int, of_all: int) -> list[str]:
        leaning = Leaning()
        for number in range(cut):
            leaning.note("猫がとても好きです" if number < of_cut else "a fox", "one.jsonl", cut=True)
        for number in range(records - cut):
            leaning.note(
                "猫がとても好きです" if number < of_all - of_cut else "a fox", "one.jsonl", cut=False
            )
        return leaning.warnings()

    assert said(20, 20, 100, 20)[0].startswith(
        "20 of 20 records that were cut are in Japanese script, and 20 % of all"
    )
    assert said(20, 11, 100, 20) != [] and said(20, 10, 100, 20) == []
    assert said(9, 9, 100, 9) == []  # too few to say anything
    assert said(20, 20, 100, 90) == []  # all records are like that
