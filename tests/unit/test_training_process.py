"""bp-train as a process: the hub, signals and kill -9, what it prints and leaves."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tests.golden import ROOT, environment
from tests.tiny import shared_model
from tests.training_runs import settle, write_records
from tests.unit.loopback_hub import LoopbackHub

pytest.importorskip("trl")
PROGRAM = str(ROOT / "bin" / "bp-train")
OPTIONS = ["--device", "cpu", "--threads", "1", "--samples", "0", "--max-length", "128", "--batch-size", "4",
           "--learning-rate", "5e-3", "--dropout", "0.1"]  # fmt: skip


def start(folder: Path, *options: str, group: bool = False, **more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, PROGRAM, *OPTIONS, *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        start_new_session=group,
        env={**environment(str(folder)), **more},
    )


def run(folder: Path, *options: str, **more: str) -> tuple[int, str, str]:
    process = start(folder, *options, **more)
    out, err = process.communicate(timeout=180)
    return process.returncode, out.decode(), err.decode()


def metrics(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().split("\n")[:-1]]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_records(tmp_path_factory.mktemp("data") / "chats.jsonl", "chat", 96)


def repository() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(shared_model()).iterdir()}


@pytest.mark.slow
def test_a_preset_is_downloaded_gone_on_with_and_named_in_the_manifest(tmp_path: Path, chats: str) -> None:
    name = "Qwen/Qwen2.5-0.5B-Instruct"
    with LoopbackHub({name: repository()}) as hub:
        hub.cut["model.safetensors"] = 1_000
        online = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url, "HF_HUB_ETAG_TIMEOUT": "5"}
        options = ["--preset", "qwen0.5b", "--steps", "2", chats]
        code, out, err = run(tmp_path, *options, **online)
        assert (code, out) == (69, "")
        assert "cannot reach" in err
        hub.cut.clear()  # the line is up again: the same line goes on
        code, out, err = run(tmp_path, *options, **online)
        assert code == 0, err
        folder = tmp_path / Path(out.strip()).parent
        manifest = json.loads((folder / "manifest.json").read_bytes())
        assert manifest["model"]["revision"] == hub.commit(name)
        config = json.loads((folder / "adapter" / "adapter_config.json").read_bytes())
        assert config["base_model_name_or_path"] == name
        assert config["revision"] == hub.commit(name)
    # the hub is gone: the finished run is found without it, another one is trained from the cache
    assert run(tmp_path, *options, **online)[:2] == (0, out)
    assert run(tmp_path, *options, "--seed", "7", **online)[0] == 0
    code, _, err = run(tmp_path, "--preset", "qwen1.5b", chats, **online)
    assert code == 69
    assert "qwen1.5b" in err


@pytest.mark.slow
def test_kill_9_at_any_moment_and_the_same_line_again(tmp_path: Path, chats: str) -> None:
    options = ["--model", shared_model(), "--epochs", "2", "--save-every", "5", chats]
    assert run(tmp_path, *options, "-o", "undisturbed")[0] == 0
    chance, kills = random.Random(5), 0
    for _ in range(12):
        process = start(tmp_path, *options, "-o", "killed")
        wanted = 4 + len(metrics(tmp_path / "killed")) if (tmp_path / "killed/metrics.jsonl").exists() else 3
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            path = tmp_path / "killed" / "metrics.jsonl"
            if path.exists() and path.read_bytes().count(b"\n") >= wanted:
                time.sleep(chance.random() * 0.1)
                break
            time.sleep(0.01)
        if process.poll() is not None:
            process.communicate()
            break
        process.kill()
        process.communicate()
        kills += 1
    assert kills >= 3
    code, out, err = run(tmp_path, *options, "-o", "killed")
    assert (code, out) == (0, "killed/adapter\n"), err
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "undisturbed")
    weights = "adapter/adapter_model.safetensors"
    assert (tmp_path / "killed" / weights).read_bytes() == (tmp_path / "undisturbed" / weights).read_bytes()
    assert sorted(os.listdir(tmp_path / "killed")) == sorted(os.listdir(tmp_path / "undisturbed"))
    assert [name for name in os.listdir(tmp_path) if name.startswith(".incoming")] == []
    assert orphans() == []


def orphans() -> list[str]:
    time.sleep(1)
    found = subprocess.run(["pgrep", "-f", "bptools.training.worker killed"], capture_output=True, text=True)
    return found.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "code", "group"),
    [
        ([signal.SIGTERM], 143, False),
        ([signal.SIGINT], 130, False),
        ([signal.SIGTERM], 143, True),  # as systemd and scancel send it
        ([signal.SIGHUP, signal.SIGHUP], 129, True),  # a terminal that closes: by the system and by the shell
        ([signal.SIGHUP, signal.SIGTERM, signal.SIGTERM], 129, True),
    ],
)
def test_a_signal_saves(tmp_path: Path, chats: str, numbers: list[int], code: int, group: bool) -> None:
    options = ["--model", shared_model(), "--epochs", "3", "--save-every", "1000", chats, "-o", "run"]
    process = start(tmp_path, *options, group=group)
    path = tmp_path / "run" / "metrics.jsonl"
    while not (path.exists() and path.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    for number in numbers:
        os.killpg(process.pid, number) if group else process.send_signal(number)
        time.sleep(0.02)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, b""), err
    assert b"Traceback" not in err
    saved, ended = err.decode().split("\n")[-3:-1]
    assert re.fullmatch(r"bp-train: saved at step \d+ of \d+; the same line goes on", saved), err
    assert (
        ended == {129: "bp-train: hung up", 130: "bp-train: interrupted", 143: "bp-train: terminated"}[code]
    )
    code, out_text, err_text = run(tmp_path, *options)
    assert (code, out_text) == (0, "run/adapter\n"), err_text
    assert "going on from step" in err_text


Called = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Called:
    """bp-train and its child in this process: six seconds less for each."""
    from bptools.commands.train import app
    from bptools.core import cli
    from bptools.training import training
    from bptools.training.events import decode, encode
    from bptools.training.job import open_job
    from bptools.training.stopping import Stop

    def launch(run: Any, on_event: Any) -> None:
        from bptools.training.working import work

        events: list[Any] = []
        with open(run.file("worker.log"), "a") as log, redirect_stdout(log), redirect_stderr(log):
            emit = lambda name, **facts: events.append(decode(encode({"event": name, **facts})))  # noqa: E731
            assert work(open_job(run.path, emit, Stop())) == 0  # type: ignore[arg-type]
        for event in events:
            on_event(event)

    settle()
    monkeypatch.setattr(training, "launch", launch)
    monkeypatch.chdir(tmp_path)

    def call(*options: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.call(app, "bp-train", [*OPTIONS, *options])
        said = capfd.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.parametrize("process", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_dry_run_leaves_nothing_and_nothing_loud(
    tmp_path: Path, chats: str, called: Called, process: bool
) -> None:
    options = ["--model", shared_model(), "--dry-run", chats]
    code, out, err = run(tmp_path, *options) if process else called(*options)
    assert code == 0
    assert "[[" in out
    assert re.search(r"would make \d+ steps in about \S+ (s|min) beside start-up, and take", out)
    assert err == "bp-train: 96 in, 96 out, 0 dropped, 0 rejected\n"
    assert not (tmp_path / "runs").exists()


def test_failures_have_one_line_each(tmp_path: Path, chats: str, called: Called) -> None:
    text = write_records(tmp_path / "text.jsonl", "text", 3)
    (tmp_path / "bad.jsonl").write_text("{\n")
    (tmp_path / "empty.jsonl").write_text("")
    model = ["--model", shared_model()]
    for options, code, said in [
        ([*model, chats, text], 65, "records of several shapes in one run: 96 chat, 3 text"),
        ([*model, "bad.jsonl"], 65, "--max-rejects"),
        ([*model, "empty.jsonl"], 65, "no record to train on"),
        ([*model, "--method", "dpo", chats], 65, "--method dpo takes preference records, these are chat"),
        (["--model", "missing/"], 66, "no model 'missing/'"),
        ([*model, "--adapter", "missing", chats], 66, "'missing' is no adapter: there is no such folder"),
        ([*model, "--preset", "nano", chats], 2, "take one"),
        ([*model, "--eval-split", "95%", chats], 2, "--eval-split"),
        ([*model, "--eval-every", "x", chats], 2, "--eval-every"),
        (["--preset", "qwen7b", "--full", "--dropout", "0", chats], 71, "would fit"),
        ([*model, "-o", "text.jsonl/x", chats], 73, "cannot create"),
    ]:
        done, out, err = called(*options)
        assert (done, out) == (code, ""), (options, err)
        assert said in err, err
        assert "Traceback" not in err
