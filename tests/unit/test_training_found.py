"""What a second review of bp-train found: names of runs, sample answers, earlier runs, the end of a run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bptools.core.errors import InputError, UsageError
from bptools.training import base_models, earlier, preflight, training
from bptools.training.base_models import fetch_template, folder_sha256
from bptools.training.run_directory import RunDirectory
from bptools.training.settings import Settings
from tests.tiny import CHATML, shared_model
from tests.training_runs import Run, write_records

pytest.importorskip("trl")
SETTINGS: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-2, "eval_split": "0", "max_length": 128}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run of chats.jsonl in `runs`."""
    folder = tmp_path_factory.mktemp("finished")
    source = write_records(folder / "chats.jsonl", "chat", 24)
    Run(source, folder / "runs", model=shared_model(), steps=1, **SETTINGS).finish()
    return folder


def again(folder: Path, **settings: Any) -> Run:
    wanted = {"steps": 1, "model": shared_model(), **SETTINGS, **settings}
    return Run(str(folder / "chats.jsonl"), folder / "runs", **wanted)


# what a run is called


def test_models_that_differ_deep_inside_have_other_hashes(tmp_path: Path) -> None:
    hashes = set()
    for byte in (b"a", b"b"):
        (tmp_path / "model.safetensors").write_bytes(b"x" * (2 << 20) + byte + b"x" * (2 << 20))
        hashes.add(folder_sha256(str(tmp_path)))
    (tmp_path / "README.md").write_text("Of people\n")
    assert len(hashes) == 2
    assert folder_sha256(str(tmp_path)) in hashes


def test_a_template_of_another_model_is_known_by_its_text(tmp_path: Path) -> None:
    names, folder = set(), tmp_path / "other"
    shutil.copytree(shared_model(), folder)
    source = write_records(tmp_path / "chats.jsonl", "chat", 8)
    for end in ("", "{# another #}"):
        (folder / "chat_template.jinja").write_text(CHATML + end)
        run = Run(source, tmp_path / "runs", model=shared_model(), chat_template=f"from:{folder}", **SETTINGS)
        run.planned.run.release()
        names.add(run.path.name)
    assert len(names) == 2
    table = {"chat_template": "text"}
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps(table))
    one = fetch_template(Settings(chat_template=f"from:{folder}"))
    (folder / "chat_template.jinja").write_text("text")
    assert fetch_template(Settings(chat_template=f"from:{folder}")) == one
    assert fetch_template(Settings(chat_template="chatml")) is None


def test_a_template_of_the_hub_is_fetched_before_a_record_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child asks nothing of the network: what its parent did not fetch is not there."""
    asked: list[tuple[str, str]] = []

    def fetch(model: Any, what: str = "all", code: bool = False) -> str:
        if model.kind == "folder":
            return str(model.name)
        asked.append((model.name, what))
        return shared_model()

    monkeypatch.setattr("bptools.models.hub.fetch", fetch)
    with pytest.raises(InputError, match="not-there"):
        Run(str(tmp_path / "not-there.jsonl"), tmp_path / "runs", model=shared_model(),
            chat_template="from:owner/name", **SETTINGS)  # fmt: skip
    assert asked == [("owner/name", "tokenizer")]


def test_code_that_is_trusted_is_fetched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def fetch(model: Any, what: str = "all", code: bool = False) -> str:
        asked.append(code)
        return shared_model()

    monkeypatch.setattr("bptools.models.hub.fetch", fetch)
    for trusted in (False, True):
        settings = Settings(model="owner/name", revision="a" * 40, trust_remote_code=trusted)
        base_models.fetch_model(settings, {"kind": "hub"})
    assert asked == [False, True]


def test_the_memory_of_the_moment_does_not_name_a_run(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for quant in ("nf4", "none"):
        monkeypatch.setattr(preflight, "choose_quant", lambda *_, quant=quant: (quant, f"it is {quant}"))
        run = Run(str(finished / "chats.jsonl"), tmp_path, model=shared_model(), **SETTINGS)
        run.planned.run.release()
        plan = run.planned.plan
        found.append((run.path.name, plan["settings"]["quant"], plan["reasons"]["quant"]))
        assert run.planned.run.read("plan.json")["settings"]["quant"] == "nf4"
    assert found[0] == found[1], "a run that goes on keeps what it began with"
    asked = Run(str(finished / "chats.jsonl"), tmp_path, model=shared_model(), quant="none", **SETTINGS)
    asked.planned.run.release()
    assert asked.path.name != found[0][0]


# adapters


def test_an_adapter_is_not_taken_where_none_is_trained(finished: Path, tmp_path: Path) -> None:
    adapter = str(next((finished / "runs").glob("*/adapter")))
    source = str(finished / "chats.jsonl")
    with pytest.raises(UsageError, match="--full trains none"):
        Run(source, tmp_path, model=shared_model(), adapter=adapter, full=True, **SETTINGS)
    with pytest.raises(UsageError, match="--method pretrain trains none"):
        Run(source, tmp_path, adapter=adapter, method="pretrain", **SETTINGS)


def test_an_adapter_of_another_model_is_66(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(next((finished / "runs").glob("*/adapter")), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_bytes())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({**config, "r": config["r"] + 1}))
    run = Run(str(finished / "chats.jsonl"), tmp_path / "runs", model=shared_model(),
              adapter=str(tmp_path / "adapter"), **SETTINGS)  # fmt: skip
    with pytest.raises(InputError, match="does not fit the model"):
        run.work()
    run.planned.run.release()


# sample answers


def sampler(tmp_path: Path, records: list[dict[str, Any]], **settings: Any) -> tuple[Any, Any]:
    """Return (a Sampler of records, the run)."""
    from bptools.training.preparing import prepare
    from bptools.training.sample_answers import Sampler

    source = tmp_path / "data.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    run = Run(str(source), tmp_path / "runs", model=shared_model(), samples=2, **{**SETTINGS, **settings})
    job = run.job()
    made = Sampler(job, prepare(job))
    run.planned.run.release()
    return made, run


def chat(prompt: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": "one"}]}


def test_prompts_are_no_longer_than_what_is_trained_on(tmp_path: Path) -> None:
    made, _ = sampler(tmp_path, [chat("long " * 500), chat("say one"), chat("say two")])
    assert (made.prompts, made.references) == (["say one", "say two"], ["one", "one"])
    texts = [{"text": "一二三四五六七八九十" * 5_000}, {"text": "one two three"}]
    made, _ = sampler(tmp_path, texts, method="cpt")
    assert max(map(len, made._encoded)) <= 18
    assert texts[0]["text"].startswith(made.prompts[0] + made.references[0])
    assert (made.prompts[1], made.references[1]) == ("one two three", "")


def test_a_sample_that_fails_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bptools.models import load_model
    from bptools.models.generating import Generator

    model = load_model(shared_model(), device="cpu", dtype="float32").train()
    made, run = sampler(tmp_path, [chat("say one"), chat("say two")])
    made.at(1, model)
    assert len(run.events.of("answer")) == 2

    def complete(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Generator, "complete_encoded", complete)
    for step in (2, 3):
        made.at(step, model)
    assert made.before_and_after(model, True) == []
    assert model.training
    assert [event["message"] for event in run.events.of("note")] == [
        "no sample answers any more: out of memory"
    ]


# earlier runs, and the end of a run


def test_a_rest_of_an_earlier_run_does_not_take_the_place_of_a_finished_one(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "all")
    (path,) = (tmp_path / "all" / "runs").glob("*-*")
    rest = path / ".earlier"
    rest.mkdir()
    (rest / "plan.json").write_text('{"id": "old"}')
    run = RunDirectory(str(path))
    with monkeypatch.context() as patch:  # a network's file system keeps files that are open
        patch.setattr(earlier.shutil, "rmtree", lambda *_, **__: None)
        earlier.forget(run)
    assert (path / ".gone").exists()
    (rest := path / ".earlier").mkdir()  # and one of an earlier version of bptools
    (rest / ".nfs01").touch()
    assert not earlier.recover(run)
    assert not (path / ".gone").exists() and not rest.exists()
    found = again(tmp_path / "all")
    assert found.planned.finished
    found.planned.run.release()


def test_what_was_left_to_do_after_the_manifest_is_done_the_next_time(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "all", symlinks=True)
    runs = tmp_path / "all" / "runs"
    (path,) = runs.glob("*-*")
    (runs / "latest").unlink()
    (path / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (path / "result.json").write_text("{}")
    monkeypatch.setenv("BP_LEDGER", str(tmp_path / "ledger"))
    run = again(tmp_path / "all")
    training.carry_out(run.planned, lambda event: None)
    assert not (path / "checkpoints").exists() and not (path / "result.json").exists()
    assert os.readlink(runs / "latest") == path.name
    assert len(os.listdir(tmp_path / "ledger")) == 1


def test_others_may_read_a_result_as_the_umask_says(tmp_path: Path) -> None:
    source = write_records(tmp_path / "chats.jsonl", "chat", 24)
    before = os.umask(0o027)
    try:
        for full in (False, True):
            run = Run(
                source, tmp_path / "runs", model=shared_model(), steps=1, full=full, **SETTINGS
            ).finish()
            modes = {
                path.stat().st_mode & 0o777 for path in (run.path / run.planned.plan["result"]).iterdir()
            }
            assert modes == {0o640}
    finally:
        os.umask(before)


def test_a_dry_run_of_pretraining_says_what_it_takes(tmp_path: Path) -> None:
    from bptools.training.estimating import expectations
    from bptools.training.preparing import prepare

    source = write_records(tmp_path / "text.jsonl", "text", 24)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
             "num_key_value_heads": 1, "head_dim": 16}  # fmt: skip
    run = Run(source, tmp_path / "runs", method="pretrain", vocabulary=300, model_config=small,
              **{**SETTINGS, "max_length": 16})  # fmt: skip
    job = run.job()
    found = expectations(job, prepare(job))
    run.planned.run.release()
    assert found["memory"] > 0 and found["seconds"] > 0 and found["steps"] > 0


def test_a_reference_takes_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from bptools.models.presets import preset
    from bptools.training import estimating
    from bptools.training.rows import Counts

    monkeypatch.setattr(estimating, "speed", lambda *_: 1.0)
    prepared = SimpleNamespace(counts=Counts(tokens=100), train=[None] * 10, rows_per_step=2)
    seconds = {}
    for method in ("orpo", "dpo"):
        job = SimpleNamespace(
            settings=Settings(method=method), makes_adapter=True, device="cpu", dtype="float32"
        )
        seconds[method] = estimating.expected_seconds(job, prepared, preset("nano").shape, 5)
    assert seconds["dpo"] == pytest.approx(1.5 * seconds["orpo"])
