"""The same numbers: as a bare TRL script, whatever the micro batch, and after an interruption."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_model
from tests.training_runs import Events, Run, write_records

pytest.importorskip("trl")
SETTINGS: dict[str, Any] = {"batch_size": 16, "epochs": 2.0, "learning_rate": 5e-3, "eval_split": "0", "rank": 8,
                            "alpha": 16.0, "warmup": 0.1, "max_length": 128}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model(str(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_records(tmp_path_factory.mktemp("data") / "chats.jsonl", "chat", 128)


@pytest.fixture(scope="module")
def of_four(base: str, chats: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of micro batch 4, unpacked."""
    folder = tmp_path_factory.mktemp("four")
    return Run(chats, folder, model=base, packing=False, micro_batch=4, **SETTINGS).finish()


RESUMED: dict[str, Any] = {**SETTINGS, "save_every": 3, "dropout": 0.1, "eval_split": "10", "eval_every": "4"}


@pytest.fixture(scope="module")
def undisturbed(base: str, chats: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What every interrupted run shall end as."""
    return Run(chats, tmp_path_factory.mktemp("undisturbed"), model=base, **RESUMED).finish()


def bare_trl(base: str, source: str, folder: Path, packing: bool, micro: int, steps_of: int) -> list[float]:
    """What a user of TRL would write, on the same records and settings; return the losses."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    with open(source, encoding="utf-8") as file:
        records = [{"messages": json.loads(line)["messages"]} for line in file]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        train_dataset=Dataset.from_list(records),
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=SFTConfig(
            str(folder), per_device_train_batch_size=micro, gradient_accumulation_steps=steps_of // micro,
            num_train_epochs=2, learning_rate=5e-3, lr_scheduler_type="cosine", warmup_steps=0.1, max_length=128,
            packing=packing, assistant_only_loss=True, optim="adamw_torch", seed=42, use_cpu=True, bf16=False,
            activation_checkpointing=False, logging_steps=1, report_to="none", save_strategy="no",
            disable_tqdm=True,
        ),
    )  # fmt: skip
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("packing", [False, True])
def test_the_losses_of_a_bare_trl_script(
    base: str, chats: str, tmp_path: Path, of_four: Run, packing: bool
) -> None:
    run = of_four
    if packing:
        run = Run(chats, tmp_path / "runs", model=base, packing=True, micro_batch=1, **SETTINGS).finish()
    micro = run.manifest["result"]["micro_batch"]
    rows = run.manifest["result"]["rows_per_step"]
    expected = bare_trl(base, chats, tmp_path / "trl", packing, micro, rows)
    assert len(run.losses) == len(expected) > 10
    assert run.losses == pytest.approx(expected, abs=1e-4)


def test_the_micro_batch_changes_nothing(base: str, chats: str, tmp_path: Path, of_four: Run) -> None:
    others = [
        Run(chats, tmp_path / str(micro), model=base, packing=False, micro_batch=micro, **SETTINGS).finish()
        for micro in (16, 2)
    ]
    runs = [*others, of_four]
    assert [run.manifest["result"]["micro_batch"] for run in runs] == [16, 2, 4]
    for other in runs[1:]:
        assert other.losses == pytest.approx(runs[0].losses, abs=1e-4)
    assert len({run.path.name for run in runs}) == 1  # and not the name of the run either


def test_memory_that_runs_out_in_the_middle(
    base: str, chats: str, tmp_path: Path, monkeypatch: Any, of_four: Run
) -> None:
    """Micro batches above 4 fail from the ninth step on, as a longer batch would: halved, nothing is lost."""
    import torch
    from trl import SFTTrainer

    real = SFTTrainer.training_step

    def training_step(self: Any, model: Any, inputs: Any, *rest: Any) -> Any:
        if inputs["input_ids"].shape[0] > 4 and self.state.global_step >= 8:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return real(self, model, inputs, *rest)

    monkeypatch.setattr(SFTTrainer, "training_step", training_step)
    run = Run(chats, tmp_path, model=base, packing=False, micro_batch=16, **SETTINGS).finish()
    assert run.manifest["result"]["micro_batch"] == 4
    assert [line["step"] for line in run.metrics] == list(range(1, 17))
    assert run.losses == pytest.approx(of_four.losses, abs=1e-4)
    assert any("micro batch 16 -> 8" in event["message"] for event in run.events.of("note"))
    assert any("going on from step 8" in event["message"] for event in run.events.of("note"))


class Killed(BaseException):
    """kill -9 at this very point."""


def interrupted(run: Run, monkeypatch: Any, at_step: int, where: str) -> None:
    """Work until `where` in the step, then die; in a checkpoint some of its files are written, one of them cut."""
    from bptools.training import checkpoints, watching

    with monkeypatch.context() as patch:
        if where == "step":
            real = watching.Watch.on_log

            def on_log(self: Any, args: Any, state: Any, *rest: Any, **more: Any) -> Any:
                result = real(self, args, state, *rest, **more)
                if state.global_step == at_step:
                    raise Killed
                return result

            patch.setattr(watching.Watch, "on_log", on_log)
        else:
            real_seal = checkpoints.seal

            def seal(path: str, facts: dict[str, Any]) -> None:
                if facts["step"] >= at_step:
                    if where == "file cut":
                        damaged = Path(path) / "optimizer.pt"
                        damaged.write_bytes(damaged.read_bytes()[:-7])
                        real_seal(path, facts)
                        damaged.write_bytes(damaged.read_bytes()[:-1])
                    elif where == "file missing":
                        (Path(path) / "scheduler.pt").unlink()
                        real_seal(path, facts)
                    raise Killed
                real_seal(path, facts)

            patch.setattr(checkpoints, "seal", seal)
        with pytest.raises(Killed):
            run.work()


@pytest.mark.parametrize("where", ["step", "before the seal", "file cut", "file missing"])
def test_a_resumed_run_is_an_undisturbed_one(
    base: str, chats: str, tmp_path: Path, monkeypatch: Any, undisturbed: Run, where: str
) -> None:
    run = Run(chats, tmp_path, model=base, **RESUMED)
    step = random.Random(where).randint(5, 12)
    interrupted(run, monkeypatch, step, where)
    assert (run.path / "checkpoints").exists()
    run.finish()
    assert [line["step"] for line in run.metrics] == [line["step"] for line in undisturbed.metrics]
    assert without_seconds(run) == without_seconds(undisturbed)
    assert any("going on from step" in event["message"] for event in run.events.of("note"))
    weights = "adapter/adapter_model.safetensors"
    assert (run.path / weights).read_bytes() == (undisturbed.path / weights).read_bytes()
    assert not (run.path / "checkpoints").exists()


def without_seconds(run: Run) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.metrics]


def test_sigterm_saves_and_ends(base: str, chats: str, tmp_path: Path, undisturbed: Run) -> None:
    from bptools.training.job import open_job
    from bptools.training.stopping import Stop
    from bptools.training.working import work

    run = Run(chats, tmp_path, model=base, **RESUMED)
    stop = Stop()

    class Asking(Events):
        def __call__(self, name: str, **facts: Any) -> None:
            super().__call__(name, **facts)
            if name == "step" and facts["step"] == 7:
                stop.signal = signal.SIGTERM

    assert work(open_job(str(run.path), Asking(), stop)) == 143  # type: ignore[arg-type]
    assert len(run.metrics) == 7 or len(run.metrics) == 8
    run.finish()
    assert without_seconds(run) == without_seconds(undisturbed)


def test_other_settings_in_the_same_place_are_refused(base: str, chats: str, tmp_path: Path) -> None:
    from bptools.core.errors import OutputError

    Run(chats, tmp_path, name="bot", model=base, **SETTINGS).planned.run.release()
    with pytest.raises(OutputError, match=r"another run: learning_rate was 0\.005, is 0\.001; --fresh"):
        Run(chats, tmp_path, name="bot", model=base, **{**SETTINGS, "learning_rate": 1e-3})
    other = write_records(tmp_path / "other.jsonl", "chat", 100)
    with pytest.raises(OutputError, match=r"other records \(128 then, 100 now\)"):
        Run(other, tmp_path, name="bot", model=base, **SETTINGS)
    shutil.rmtree(tmp_path / "bot")
