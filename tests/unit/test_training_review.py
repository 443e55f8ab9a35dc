"""What a review of bp-train found, each as a test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bptools.core.errors import OutputError, UsageError
from tests.tiny import shared_model
from tests.training_runs import Run, write_records

pytest.importorskip("trl")
SETTINGS: dict[str, Any] = {"batch_size": 8, "learning_rate": 1e-2, "eval_split": "0", "max_length": 128}


@pytest.fixture
def chats(tmp_path: Path) -> str:
    return write_records(tmp_path / "chats.jsonl", "chat", 48)


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path, chats: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "records.jsonl").write_text("precious\n")
    for fresh in (False, True):
        with pytest.raises(OutputError, match="holds files that no run made"):
            Run(chats, tmp_path, name="mine", fresh=fresh, model=shared_model(), **SETTINGS)
    assert [path.name for path in folder.iterdir()] == ["records.jsonl"]


def test_fresh_removes_only_what_a_run_made(tmp_path: Path, chats: str) -> None:
    run = Run(chats, tmp_path, name="bot", model=shared_model(), steps=1, **SETTINGS).finish()
    (run.path / "notes.txt").write_text("mine\n")
    with pytest.raises(UsageError, match="lies in the run's own directory"):
        Run(
            chats,
            tmp_path,
            name="bot",
            fresh=True,
            model=shared_model(),
            adapter=str(run.path / "adapter"),
            **SETTINGS,
        )
    Run(
        chats, tmp_path, name="bot", fresh=True, model=shared_model(), steps=2, **SETTINGS
    ).planned.run.release()
    assert (run.path / "notes.txt").read_text() == "mine\n"
    assert not (run.path / "adapter").exists()


def test_another_template_in_the_same_file_is_another_run(tmp_path: Path, chats: str) -> None:
    template = tmp_path / "t.jinja"
    names = set()
    for end in ("<|im_end|>", "<|im_end|>\\n"):
        template.write_text(
            "{% for m in messages %}{{ m.role + ': ' + m.content + '" + end + "' }}{% endfor %}"
        )
        run = Run(chats, tmp_path / "runs", model=shared_model(), chat_template=str(template), **SETTINGS)
        run.planned.run.release()
        names.add(run.path.name)
    assert len(names) == 2


def test_saved_modules_are_trained_in_float32(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    text = write_records(tmp_path / "text.jsonl", "text", 32)
    run = Run(text, tmp_path / "runs", model=shared_model(), method="cpt", dtype="bfloat16", steps=3, samples=1,
              modules_to_save=("lm_head",), **{**SETTINGS, "eval_split": "8"}).finish()  # fmt: skip
    trained = load_file(str(run.path / "adapter" / "adapter_model.safetensors"))
    base = load_file(str(Path(shared_model()) / "model.safetensors"))
    (head,) = [tensor for name, tensor in trained.items() if "lm_head" in name]
    moved = (head.float() - base["lm_head.weight"].bfloat16().float()).abs() > 0
    assert moved.float().mean() > 0.9


def test_a_copy_of_what_is_held_out_is_not_trained_on(tmp_path: Path) -> None:
    once = write_records(tmp_path / "once.jsonl", "chat", 200)
    lines = Path(once).read_text().split("\n")[:-1]
    (tmp_path / "twice.jsonl").write_text("\n".join([*lines, *lines]) + "\n")
    run = Run(
        str(tmp_path / "twice.jsonl"),
        tmp_path / "runs",
        model=shared_model(),
        **{**SETTINGS, "eval_split": "5"},
    )
    run.planned.run.release()
    held_out = set((run.path / "eval.jsonl").read_text().split("\n")[:-1])
    assert len(held_out) == 5
    assert not held_out & set((run.path / "records.jsonl").read_text().split("\n"))
    assert run.planned.plan["evaluation"] == 10


def test_held_out_records_that_are_all_too_long(tmp_path: Path, chats: str) -> None:
    other = tmp_path / "other.jsonl"
    turns = [{"role": "user", "content": "say"}, {"role": "assistant", "content": "one two " * 200}]
    other.write_text(json.dumps({"messages": turns}) + "\n")
    run = Run(
        chats, tmp_path / "runs", evaluation=str(other), model=shared_model(), steps=1, **SETTINGS
    ).finish()
    assert run.manifest["result"]["eval_loss"] is None
    assert any("nothing is evaluated" in event["message"] for event in run.events.of("note"))


@pytest.mark.parametrize(
    ("shape", "method"), [("preference", "orpo"), ("rated", "kto"), ("preference", "dpo")]
)
def test_the_longest_rows_are_known_of_every_trainer(tmp_path: Path, shape: str, method: str) -> None:
    from bptools.training.batching import probe_longest
    from bptools.training.preparing import prepare
    from bptools.training.rows import row_length
    from bptools.training.working import _trainer

    source = write_records(tmp_path / "data.jsonl", shape, 24)
    run = Run(source, tmp_path / "runs", model=shared_model(), method=method, **SETTINGS)
    job = run.job()
    prepared = prepare(job)
    trainer, _ = _trainer(job, prepared)
    lengths = [row_length(row) for row in trainer.train_dataset]
    assert max(lengths) == prepared.counts.longest
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    probe_longest(trainer, [trainer.train_dataset[longest]] * 2)
    run.planned.run.release()


def test_a_smaller_micro_batch_is_heard_in_a_run_that_goes_on(tmp_path: Path, chats: str) -> None:
    run = Run(chats, tmp_path, model=shared_model(), packing=False, micro_batch=8, steps=2, **SETTINGS)
    run.planned.run.write("state.json", {"micro_batch": 4})
    run.finish()
    assert run.manifest["result"]["micro_batch"] == 4
    again = Run(
        chats, tmp_path / "b", model=shared_model(), packing=False, micro_batch=1, steps=2, **SETTINGS
    )
    again.planned.run.write("state.json", {"micro_batch": 4})
    again.finish()
    assert again.manifest["result"]["micro_batch"] == 1


def test_kto_never_learns_from_one_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loss needs a second one: TRL refuses a micro batch of 1, which long rows would have got on a CPU."""
    from bptools.training import working

    source = write_records(tmp_path / "data.jsonl", "rated", 24)
    alone = Run(source, tmp_path / "a", model=shared_model(), steps=1, micro_batch=1, **SETTINGS)
    with pytest.raises(UsageError, match="kto compares the rows of a micro batch"):
        alone.work()
    alone.planned.run.release()
    monkeypatch.setattr(working, "_CPU_TOKENS", 1)  # every row is a long one
    run = Run(source, tmp_path / "b", model=shared_model(), steps=1, **SETTINGS).finish()
    assert run.manifest["result"]["micro_batch"] == 2


@pytest.mark.parametrize("keep_best", [True, False])
def test_a_run_that_stopped_early_and_was_killed_does_not_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep_best: bool
) -> None:
    from bptools.training import finishing

    source = write_records(tmp_path / "data.jsonl", "chat", 120)
    other = tmp_path / "other.jsonl"
    other.write_text(
        '{"messages":[{"role":"user","content":"say"},{"role":"assistant","content":"7 8 9 0 1 2"}]}\n' * 4
    )
    settings = {**SETTINGS, "model": shared_model(), "epochs": 20.0, "learning_rate": 2e-2, "eval_every": "2",
                "early_stopping": 2, "keep_best": keep_best}  # fmt: skip
    whole = Run(source, tmp_path / "a", evaluation=str(other), **settings).finish()
    run = Run(source, tmp_path / "b", evaluation=str(other), **settings)

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "finish", killed)
        with pytest.raises(Killed):
            run.work()
    run.finish()
    first, second = whole.manifest["result"], run.manifest["result"]
    for name in ("steps", "best_step", "eval_loss", "final_loss", "stopped_early"):
        assert first[name] == second[name], name
    weights = "adapter/adapter_model.safetensors"
    assert (run.path / weights).read_bytes() == (whole.path / weights).read_bytes()
    assert len(run.metrics) == len(whole.metrics)


def test_a_run_that_was_killed_after_its_last_step_makes_no_other(
    tmp_path: Path, chats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bptools.training import finishing

    settings = {**SETTINGS, "model": shared_model(), "steps": 4, "eval_split": "8"}
    whole = Run(chats, tmp_path / "a", **settings).finish()
    run = Run(chats, tmp_path / "b", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(finishing, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run.work()
    run.finish()
    assert [line["step"] for line in run.metrics] == [1, 2, 3, 4]
    first, second = whole.manifest["result"], run.manifest["result"]
    for name in ("steps", "eval_loss", "eval_loss_before", "final_loss", "tokens"):
        assert first[name] == second[name], name
    weights = "adapter/adapter_model.safetensors"
    assert (run.path / weights).read_bytes() == (whole.path / weights).read_bytes()


def test_a_loss_that_is_no_number_is_shown_as_that() -> None:
    from bptools.core.messages import Messages
    from bptools.training import telling

    teller = telling.Teller(Messages("bp-train"), progress=False, show_rows=0)
    teller._progress = True
    teller({"event": "step", "step": 3, "steps": 9, "loss": None})
    assert "step 3/9, loss nan" in teller._line


def test_a_directory_on_another_file_system(
    tmp_path: Path, chats: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    from bptools.training import plan

    real = os.replace

    def replace(source: str, target: str) -> None:
        if ".incoming-" in source and ".incoming-" not in target and not source.endswith(".part"):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(plan.os, "replace", replace)
    run = Run(chats, tmp_path, name="bot", model=shared_model(), steps=1, **SETTINGS)
    assert len((run.path / "records.jsonl").read_text().split("\n")) == 49
    run.planned.run.release()
    shutil.rmtree(run.path)
