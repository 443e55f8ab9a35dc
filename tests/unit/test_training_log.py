"""--log: nowhere by default, what a tracker is told, and one that is not installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from bptools.core.errors import Unavailable, UsageError
from bptools.training import preflight
from bptools.training.config_running import _LOGS
from bptools.training.settings import Settings
from tests.tiny import shared_model
from tests.training_runs import Run, write_records

pytest.importorskip("trl")
SETTINGS: dict[str, Any] = {
    "batch_size": 8,
    "steps": 6,
    "eval_split": "8",
    "eval_every": "3",
    "max_length": 128,
}


@pytest.fixture
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training sets this for its process, which here is the tests'."""
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR")


def trainer_of(run: Run) -> Any:
    from bptools.training.preparing import prepare
    from bptools.training.working import _trainer

    job = run.job()
    trainer, _ = _trainer(job, prepare(job))
    run.planned.run.release()
    return trainer


@pytest.mark.parametrize(("shape", "method"), [("chat", "sft"), ("preference", "dpo"), ("text", "pretrain")])
def test_nobody_is_told_by_default(tmp_path: Path, shape: str, method: str) -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    source = write_records(tmp_path / "data.jsonl", shape, 24)
    base = {"model": shared_model()}
    more = {"vocabulary": 300, "max_length": 16} if method == "pretrain" else base
    run = Run(source, tmp_path / "runs", method=method, **{**SETTINGS, **more})
    assert run.planned.plan["settings"]["log"] == ()
    trainer = trainer_of(run)
    assert trainer.args.report_to == []
    told = {type(callback) for callback in trainer.callback_handler.callbacks}
    assert not told & set(INTEGRATION_TO_CALLBACK.values())


@pytest.mark.parametrize("name", list(preflight.TRACKERS))
def test_a_tracker_that_is_not_installed_is_69_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = preflight.find_spec
    monkeypatch.setattr(preflight, "find_spec", lambda asked: None if name in asked else real(asked))
    said = f"{name} is not installed, which --log {name} needs; pip install {name}"
    with pytest.raises(Unavailable, match=f"^{said}$") as caught:
        Run(str(tmp_path / "none.jsonl"), tmp_path / "runs", model=shared_model(), log=(name,), **SETTINGS)
    assert caught.value.exit_code == 69
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_the_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb leaves a folder called wandb where it runs."""
    (tmp_path / "left_behind_by_a_tracker").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not preflight._installed("left_behind_by_a_tracker")
    assert preflight._installed("pytest")


def test_names_are_those_of_transformers_and_no_other() -> None:
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    assert set(preflight.TRACKERS) <= set(INTEGRATION_TO_CALLBACK)
    assert set(preflight.TRACKERS) == set(_LOGS)
    with pytest.raises(UsageError, match="--log 'printer' is no tracker; it takes wandb, tensorboard, "):
        preflight.check_packages(Settings(log=("printer",)))


@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize(("shape", "method"), [("chat", "sft"), ("preference", "dpo")])
def test_tensorboard_has_the_losses_of_the_run(tmp_path: Path, shape: str, method: str) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    source = write_records(tmp_path / "data.jsonl", shape, 48)
    run = Run(
        source, tmp_path / "runs", model=shared_model(), method=method, log=("tensorboard",), **SETTINGS
    )
    run.finish()
    folder = run.path / "tensorboard"
    assert os.listdir(folder)
    events = EventAccumulator(str(folder))
    events.Reload()
    steps = events.Scalars("train/loss")
    assert [point.step for point in steps] == list(range(1, 7))
    assert [point.value for point in steps] == pytest.approx(run.losses, rel=1e-6)
    evaluated = events.Scalars("eval/loss")  # and not that of the model without its adapter
    assert [point.step for point in evaluated] == [3, 6]
    told = [event["loss"] for event in run.events.of("eval") if event["step"]]
    assert [point.value for point in evaluated] == pytest.approx(told, rel=1e-6)


def test_a_run_is_called_as_its_directory(tmp_path: Path) -> None:
    source = write_records(tmp_path / "data.jsonl", "chat", 24)
    run = Run(source, tmp_path / "runs", name="bot", model=shared_model(), **SETTINGS)
    assert trainer_of(run).args.run_name == "bot"
