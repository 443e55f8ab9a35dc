"""--save-cutoffs in one run, --cutoffs in the next; wrong options; the cache of scores."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from bptools.commands.ppl import app
from bptools.core.cli import call
from bptools.quality.perplexity.cache import ScoreCache
from tests.tiny import shared_model
from tests.unit.ppl_running import keep_models, lines, ppl
from tests.unit.test_ppl_cuts import group_of, kind_of, made
from tests.unit.test_ppl_scores import adapter


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_models(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    return adapter(str(tmp_path_factory.getbasetemp() / "adapter-False"), False)


# cutoffs


@pytest.mark.parametrize(
    "options", [[], ["--by", "source"], ["--metric", "bpb"], ["--on", "user"]], ids=" ".join
)
def test_cutoffs_decide_as_the_run_that_saved_them(options: list[str], tmp_path: Path) -> None:
    data, file = lines(*made(200)), tmp_path / "cutoffs.json"
    first = ppl(tmp_path, data, "--keep", "5:95", "--save-cutoffs", str(file), *options, raw=True)
    again = [option for option in options if option == "--on" or options[0] == "--on"]
    assert ppl(tmp_path, data, "--cutoffs", str(file), *again, raw=True) == first
    assert ppl(tmp_path, data, "--cutoffs", str(file), *options, raw=True) == first
    if "--by" in options:
        table = json.loads(file.read_text())
        low, high = table["all"]["low"], table["all"]["high"]
        assert "nowhere" not in table["groups"]
        new = [{**record, "source": "nowhere"} for record in made(200)]
        scored = ppl(tmp_path, lines(*new))
        kept = ppl(tmp_path, lines(*new), "--cutoffs", str(file))
        assert [record["id"] for record in kept] == [
            record["id"]
            for record in scored
            if kind_of(record) == "few"
            or (kind_of(record) == "scored" and low <= record["bp"]["ppl"] <= high)
        ]
        assert {group_of(record) for record in kept} == {"nowhere"}


def test_cutoffs_of_another_model_or_question_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], trained: str
) -> None:
    data, file = lines(*made(30)), tmp_path / "cutoffs.json"
    ppl(tmp_path, data, "--keep", "5:95", "--by", "source", "--save-cutoffs", str(file))
    capfd.readouterr()
    for options, said in (
        (["--model", "nano"], "--cutoffs were made with model"),
        (["--model", shared_model("llama")], "--cutoffs were made with model"),
        (["--adapter", trained], "--cutoffs were made with adapter"),
        (["--on", "all"], "--cutoffs were made with on assistant, this is all"),
        (["--metric", "bpb"], "--cutoffs are of ppl, not of bpb"),
        (["--by", "id"], "--cutoffs are by source, not by id"),
    ):
        assert ppl(tmp_path, data, "--cutoffs", str(file), *options, code=2) == []
        assert said in capfd.readouterr().err.splitlines()[-1]


def test_cutoffs_of_scores_that_do_not_fit_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, file, report = lines(*made(30)), tmp_path / "cutoffs.json", tmp_path / "report.json"
    template = tmp_path / "own.jinja"
    text = "{% for m in messages %}{{ m.role }}{{ flag }}: {{ m.content }}\n{% endfor %}"
    template.write_text(text)
    question = ["--chat-template", str(template), "--template-kwargs", "flag=1", "--window", "64"]
    first = ppl(
        tmp_path, data, *question, "--keep", "5:95", "--save-cutoffs", str(file), "--report", str(report)
    )
    capfd.readouterr()
    made_with = json.loads(file.read_text())["scorer"]
    assert made_with["quant"] == "none" and (made_with["window"], made_with["stride"]) == (64, 48)
    said = json.loads(report.read_text())["perplexity"]["scorer"]
    assert {name: said[name] for name in made_with} == made_with
    given = ["--cutoffs", str(file), *question]
    for options, said in (
        (["--window", "65"], "made with window 64, this is 65"),
        (["--stride", "47"], "made with stride 48, this is 47"),
        (["--template-kwargs", "flag=2"], "made with template_kwargs {'flag': 1}, this is {'flag': 2}"),
        (["--chat-template", "auto"], f"made with chat_template {made_with['chat_template']}, this is "),
    ):
        assert ppl(tmp_path, data, *given, *options, code=2) == []
        assert said in capfd.readouterr().err.splitlines()[-1]
    ppl(tmp_path, data, "--cutoffs", str(file), "--window", "64", "--no-template", code=2)
    assert "made with no_template False, this is True" in capfd.readouterr().err
    (tmp_path / "copy.jinja").write_text(text)  # the text counts, not its name
    assert ppl(tmp_path, data, *given, "--chat-template", str(tmp_path / "copy.jinja")) == first
    table = json.loads(file.read_text())
    table["scorer"]["quant"] = "nf4"
    file.write_text(json.dumps(table))
    ppl(tmp_path, data, *given, code=2)
    assert "made with quant nf4, this is none" in capfd.readouterr().err
    for name in ("quant", "window", "stride", "chat_template", "template_kwargs"):  # of a version before
        del table["scorer"][name]
    file.write_text(json.dumps(table))
    assert ppl(tmp_path, data, *given) == first
    assert ppl(tmp_path, data, *given, "--window", "65")


def test_cutoffs_of_gain_hold_for_their_baseline(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], trained: str
) -> None:
    data, file = lines(*made(60)), tmp_path / "cutoffs.json"
    options = ["--adapter", trained, "--baseline", "none"]
    first = ppl(tmp_path, data, "--keep", "20:100", "--metric", "gain", "--save-cutoffs", str(file), *options)
    report = tmp_path / "report.json"
    assert ppl(tmp_path, data, "--cutoffs", str(file), *options, "--report", str(report)) == first
    found = json.loads(report.read_text())["perplexity"]
    assert found["baseline"] == {**found["scorer"], "adapter": found["baseline"]["adapter"]}
    ppl(tmp_path, data, "--cutoffs", str(file), "--adapter", trained, code=2)
    assert "--metric gain is against a --baseline" in capfd.readouterr().err
    ppl(tmp_path, data, "--cutoffs", str(file), "--adapter", trained, "--baseline", "nano", code=2)
    assert "--cutoffs were made with baseline" in capfd.readouterr().err


GOOD = {
    "format": "bptools-cutoffs", "metric": "ppl", "scorer": None, "by": None, "groups": {},
    "all": {"low": 1.0, "high": 2.0, "records": 9},
}  # fmt: skip
GARBAGE: list[Any] = [
    b"", b"\xff\xfe", b"[]", b"null", b"5", b"{}", *(
        json.dumps({**GOOD, **wrong}).encode()
        for wrong in (
            {"format": "x"}, {"metric": "tokens"}, {"metric": None}, {"scorer": 5}, {"scorer": "nano"}, {"scorer": [1]},
            {"by": 5}, {"by": ["source"]}, {"groups": []}, {"groups": 5}, {"groups": {"a": 5}}, {"groups": {"a": {"low": "x"}}},
            {"all": 5}, {"all": {}}, {"all": {"low": "x", "high": 1, "records": 1}}, {"all": [1, 2]},
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("content", GARBAGE)
def test_what_are_no_cutoffs_is_a_bad_configuration(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cutoffs.json"
    file.write_bytes(content)
    assert ppl(tmp_path, lines(*made(3)), "--cutoffs", str(file), code=78) == []
    said = capfd.readouterr().err.splitlines()
    assert said == [f"bp-ppl: '{file}' is no file of cutoffs; bp-ppl --keep LO:HI --save-cutoffs writes one"]


def test_cutoffs_that_are_missing_and_those_of_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = lines(*made(10))
    for missing in (tmp_path / "nowhere.json", tmp_path):
        ppl(tmp_path, data, "--cutoffs", str(missing), code=66)
        assert capfd.readouterr().err.startswith(f"bp-ppl: cannot open '{missing}': ")
    file = tmp_path / "cutoffs.json"
    file.write_text(json.dumps(GOOD))
    ppl(tmp_path, data, "--cutoffs", str(file))
    ppl(tmp_path, "", "--keep", "5:95", "--save-cutoffs", str(file))
    table = json.loads(file.read_text())
    assert (table["all"], table["groups"], table["scorer"]) == (None, {}, None)
    assert len(ppl(tmp_path, data, "--cutoffs", str(file))) == sum(
        kind_of(record) != "unscorable" for record in ppl(tmp_path, data)
    )
    ppl(tmp_path, data, "--keep", "5:95", "--save-cutoffs", str(tmp_path / "no" / "where.json"), code=73)
    ppl(tmp_path, data, "--keep", "5:95", "--save-cutoffs", str(tmp_path / "in.jsonl"), code=2)


# wrong options

CHAT = lines({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "one two"}]})


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--keep", "95:5"], 2, "percentiles go up from 0 to 100"),
        (["--keep", "5"], 2, "is not LO:HI"),
        (["--keep", ""], 2, "--keep ''"),
        (["--bounds", ":"], 2, "has no bound"),
        (["--bounds", ""], 2, "--bounds ''"),
        (["--cutoffs", ""], 66, "cannot open ''"),
        (["--bounds", "9:1"], 2, "9.0 is more than 1.0"),
        (["--bounds", "a:b"], 2, "is not LO:HI, two values"),
        (["--keep", "5:95", "--bounds", "1:"], 2, "exclude each other"),
        (["--keep", "5:95", "--cutoffs", "c.json"], 2, "exclude each other"),
        (["--by", "source"], 2, "--by is for --keep and --cutoffs"),
        (["--by", "source", "--bounds", "1:"], 2, "--by is for --keep and --cutoffs"),
        (["--save-cutoffs", "c.json"], 2, "--save-cutoffs writes the values of --keep"),
        (["--metric", "gain", "--keep", "5:95"], 2, "--metric gain is against a --baseline"),
        (["--metric", "tokens"], 2, "--metric"),
        (["--baseline", "none"], 2, "--baseline none is the model without the adapter"),
        (["--window", "1"], 2, "--window"),
        (["--window", "0"], 2, "--window"),
        (["--stride", "0"], 2, "--stride"),
        (["--batch-tokens", "0"], 2, "--batch-tokens"),
        (["--threads", "0"], 2, "--threads"),
        (["--window", "100", "--stride", "101"], 2, "--stride 101 is more than --window 100"),
        (["--window", "100000"], 2, "--window 100000 is more than the 2048 tokens"),
        (["--stride", "100000"], 2, "--stride 100000 is more than --window 2048"),
        (["--dtype", "float16"], 2, "float16 is slow and overflows on a CPU"),
        (["--dtype", "float8"], 2, "--dtype"),
        (["--device", "gpu"], 2, "--device is auto, cpu, cuda, cuda:N or mps, not 'gpu'"),
        (["--device", "mps"], 69, "no mps device on this machine"),
        (["--model", "qwen3bb"], 66, "did you mean 'qwen3b'?"),
        (["--baseline", "qwen3bb"], 66, "did you mean 'qwen3b'?"),
        (["--adapter", "nowhere"], 66, "'nowhere' is no adapter"),
        (["--adapter", "MODEL"], 66, "is no adapter: there is no adapter_config.json in it"),
        (["--chat-template", "nowhere.jinja"], 66, "nowhere.jinja"),
        (["--template-kwargs", "x"], 2, "--template-kwargs 'x' is not NAME=VALUE"),
        (["--role-map", "x"], 2, "--role-map"),
        (["--on", "system"], 2, "--on"),
    ],
)  # fmt: skip
def test_wrong_options_are_a_clear_line(
    options: list[str], code: int, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(CHAT)
    options = [shared_model() if option == "MODEL" else option for option in options]
    named = [] if "--model" in options else ["--model", shared_model()]
    device = [] if "--device" in options else ["--device", "cpu"]
    assert call(app, "bp-ppl", [str(source), "-o", str(out), *named, *device, *options]) == code
    (line, *more) = capfd.readouterr().err.splitlines()
    assert line.startswith("bp-ppl: ") and said in line and more == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


# the cache


def counts(folder: Path) -> tuple[int, int]:
    found = json.loads((folder / "report.json").read_text())["perplexity"]["cache"]
    return found["found"], found["scored"]


def test_another_cut_of_the_same_records_scores_nothing(tmp_path: Path, trained: str) -> None:
    records = [record for record in made(80) if record.get("text") != "one"]
    data = lines(*records, records[-1])  # one of them twice
    cache = ["--cache", str(tmp_path / "scores"), "--report", str(tmp_path / "report.json")]
    plain = ppl(tmp_path, data, raw=True)
    assert ppl(tmp_path, data, *cache, raw=True) == plain
    scored = sum(r["bp"]["tokens"] > 0 for r in map(json.loads, plain.splitlines()))
    found, new = counts(tmp_path)
    assert found + new == scored
    for cut in (
        ["--keep", "5:95"],
        ["--keep", "10:90", "--by", "source"],
        ["--bounds", ":400"],
        ["--batch-tokens", "64"],
        [],
    ):
        out = ppl(tmp_path, data, *cache, *cut, raw=True)
        assert counts(tmp_path) == (scored, 0)
        assert set(out.splitlines()) <= set(plain.splitlines())
    reverse = lines(*reversed(records))
    ppl(tmp_path, reverse, *cache)
    assert counts(tmp_path)[1] == 0
    for other in (["--model", shared_model("llama")], ["--adapter", trained], ["--dtype", "bfloat16"]):
        alone = ppl(tmp_path, data, *other)
        assert ppl(tmp_path, data, *cache, *other) == alone
        assert counts(tmp_path)[1] > 0.9 * scored
        ppl(tmp_path, data, *cache, *other)
        assert counts(tmp_path) == (scored, 0)
    both = ppl(tmp_path, data, "--adapter", trained, "--baseline", "none")
    cached = ppl(tmp_path, data, *cache, "--adapter", trained, "--baseline", "none")
    for one, other in zip(both, cached):
        assert one["bp"].get("nll") == pytest.approx(other["bp"].get("nll"), abs=1e-5)
    assert counts(tmp_path) == (scored, 0)


def test_long_records_are_kept_window_by_window(tmp_path: Path) -> None:
    data = lines({"text": "one two three four five six seven eight nine ten " * 30})
    cache = ["--cache", str(tmp_path / "scores"), "--report", str(tmp_path / "report.json"), "--window", "32"]
    first = ppl(tmp_path, data, *cache)
    windows = counts(tmp_path)[1]
    assert windows > 10 and first == ppl(tmp_path, data, "--window", "32")
    assert ppl(tmp_path, data, *cache) == first
    assert counts(tmp_path) == (windows, 0)
    ppl(tmp_path, data, *cache, "--stride", "8")
    assert counts(tmp_path)[1] > windows


def test_the_same_weights_elsewhere_are_found_and_others_of_that_name_are_not(tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    data = lines(*made(20))
    cache = ["--cache", str(tmp_path / "scores"), "--report", str(tmp_path / "report.json")]
    name = Path(shared_model()).name
    moved, changed = tmp_path / "a" / name, tmp_path / "b" / name
    shutil.copytree(shared_model(), moved)
    shutil.copytree(shared_model(), changed)
    weights = load_file(changed / "model.safetensors")
    weights["lm_head.weight"] = weights["lm_head.weight"] * 3
    save_file(weights, changed / "model.safetensors", {"format": "pt"})
    first = ppl(tmp_path, data, *cache)
    assert ppl(tmp_path, data, *cache, "--model", str(moved)) == first
    assert counts(tmp_path)[1] == 0
    assert ppl(tmp_path, data, *cache, "--model", str(changed)) != first
    assert counts(tmp_path)[0] == 0


def the_file(folder: Path) -> Path:
    (found,) = folder.glob("*.sqlite")
    return found


def test_a_cache_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, folder = lines(*made(20)), tmp_path / "scores"
    ppl(tmp_path, data, "--cache", str(folder))
    file = the_file(folder)
    good = file.read_bytes()

    def refused(code: int, said: str) -> None:
        capfd.readouterr()
        assert ppl(tmp_path, data, "--cache", str(folder), code=code) == []
        line, *more = capfd.readouterr().err.splitlines()
        assert line.startswith("bp-ppl: cannot ") and said in line and more == []

    file.write_bytes(b"garbage, and much of it " * 400)
    refused(74, f"'{file}': file is not a database; delete it to begin anew")
    file.write_bytes(good[:4096] + b"\xff" * (len(good) - 4096))
    refused(74, "delete it to begin anew")
    file.unlink()
    table = sqlite3.connect(file)
    table.execute("CREATE TABLE scores (other TEXT)")
    table.commit()
    table.close()
    refused(74, f"'{file}'")
    file.unlink()
    file.mkdir()
    refused(74, f"'{file}'")
    file.rmdir()
    folder.rename(tmp_path / "away")
    folder.write_text("a file")
    refused(73, f"cannot create the cache '{folder}'")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_may_not_be_written(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "scores"
    folder.mkdir(mode=0o500)
    assert ppl(tmp_path, CHAT, "--cache", str(folder), code=74) == []
    assert "unable to open database file" in capfd.readouterr().err


def test_what_is_there_stays_and_numbers_come_back_as_they_went(tmp_path: Path) -> None:
    cache = ScoreCache(str(tmp_path), {"model": "a/b c", "weights": "1"})
    keys = [number.to_bytes(16, "big") for number in range(1200)]
    values = [1 / (number + 3) for number in range(1200)]
    assert cache.get(keys) == [None] * 1200
    cache.put(keys, values)
    cache.put(keys[:2], [5.0, 6.0])
    assert cache.get([keys[7], *keys, b"x" * 16]) == [values[7], *values, None]
    assert (cache.found, cache.scored) == (1201, 1202)
    beside = ScoreCache(str(tmp_path), {"model": "a/b c", "weights": "1"})
    assert beside.get(keys[:3]) == values[:3]
    other = ScoreCache(str(tmp_path), {"model": "a/b c", "weights": "2"})
    assert other.get(keys[:3]) == [None] * 3 and other.path != cache.path
    for each in (cache, beside, other):
        each.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir() if path.name in cache.path)
    assert size < 1200 * 60


# the summary


@pytest.mark.parametrize(("quant", "said"), [("none", "float32, on"), ("nf4", "float32, nf4, on")])
def test_the_summary_names_the_quantization(
    quant: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bptools.quality.perplexity import scorer

    identity = scorer._identity  # bitsandbytes is not everywhere: the weights stay as they are
    monkeypatch.setattr(scorer, "_identity", lambda *given: {**identity(*given), "quant": quant})
    ppl(tmp_path, CHAT)
    assert said in capfd.readouterr().err.splitlines()[0]
