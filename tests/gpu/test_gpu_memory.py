"""Memory: what is counted without a GPU against what one takes, and what happens when there is too little."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.stand import config_of, make_trainer_for, random_model, rows_of
from tests.tiny import tiny_model
from tests.training_runs import Run, write_records

STEPS = 3  # Adam's moments are there from the first one on
SHAPES = [
    *(
        pytest.param("cuda", *shape, marks=pytest.mark.gpu)
        for shape in (
            ("qwen0.5b", 4, 1024, True),
            ("qwen0.5b", 1, 2048, False),
            ("qwen1.5b", 2, 2048, True),
            ("qwen1.5b", 1, 1024, False),
            ("qwen3b", 4, 1024, True),
            ("qwen3b", 1, 1024, False),
        )
    ),
    pytest.param("cpu", "nano", 2, 64, True, marks=pytest.mark.slow),  # a CPU does not say what it takes
    pytest.param("cpu", "nano", 2, 64, False, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("device", "name", "rows", "length", "checkpointing"), SHAPES, indirect=["device"])
def test_the_counted_step_is_what_a_gpu_takes(
    tmp_path: Path,
    device: str,
    name: str,
    rows: int,
    length: int,
    checkpointing: bool,
    say: Callable[[str], None],
) -> None:
    import torch

    from bptools.training import memory

    config, dtype = config_of(name), "bfloat16"
    counted = memory.exact(config, 16, rows=rows, length=length, dtype=dtype, checkpointing=checkpointing)
    model = random_model(config, device, dtype)
    data = rows_of(rows * STEPS, length, config.vocab_size)
    trainer = make_trainer_for(model, data, tmp_path, device=device, dtype=dtype, micro=rows,
                               checkpointing=checkpointing, steps=STEPS)  # fmt: skip
    own = sum(parameter.numel() * parameter.element_size() for parameter in trainer.model.parameters())
    assert own == pytest.approx(counted["weights"] + counted["trained"] / 3, rel=0.01)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    assert trainer.state.global_step == STEPS
    if device == "cuda":
        taken = torch.cuda.max_memory_allocated()
        say(
            f"{name} {rows}x{length} checkpointing {checkpointing}: {taken / 2**30:.2f} GiB taken, "
            f"{counted['total'] / 2**30:.2f} counted"
        )
        assert counted["total"] == pytest.approx(taken, rel=0.1)


# too little of it

WIDE: dict[str, Any] = {"batch_size": 16, "steps": 6, "learning_rate": 5e-3, "eval_split": "0", "max_length": 512,
                        "packing": False, "checkpointing": False, "dtype": "float32"}  # fmt: skip


@pytest.fixture
def setting(tmp_path: Path, device: str) -> tuple[str, str]:
    """A model whose activations are most of what a step takes, and records of some 400 tokens."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from tests.tiny import tiny_tokenizer

    folder = str(tmp_path / "base")
    tiny_model(folder)
    source = tmp_path / "chats.jsonl"
    write_records(source, "chat", 64)
    if device == "cuda":
        tokenizer = tiny_tokenizer()
        Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer), hidden_size=512, intermediate_size=1024, num_hidden_layers=8,
                num_attention_heads=8, num_key_value_heads=4, head_dim=64, max_position_embeddings=2048,
                tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
                bos_token_id=None,
            )
        ).save_pretrained(folder)  # fmt: skip
        text = source.read_text().replace(
            '"content": "say ', '"content": "say ' + "one two three four five " * 30
        )
        source.write_text(text)
    return folder, str(source)


def peak_of(work: Callable[[], Run], device: str) -> tuple[Run, int]:
    """Return (the run, the most memory that the allocator held while it was made)."""
    import torch

    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run = work()
    return run, torch.cuda.max_memory_reserved() if device == "cuda" else 0


def limit(device: str, room: int, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Leave so many bytes to this process; on a CPU let more than `rows` rows be too many."""
    import torch

    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(0).total_memory)
        return
    from trl import SFTTrainer

    real = SFTTrainer.training_step

    def training_step(self: Any, model: Any, inputs: Any, *rest: Any) -> Any:
        if inputs["input_ids"].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return real(self, model, inputs, *rest)

    monkeypatch.setattr(SFTTrainer, "training_step", training_step)


def test_the_micro_batch_is_probed_and_the_losses_are_the_same(
    tmp_path: Path, device: str, setting: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bptools.training import working

    base, source = setting

    def run(name: str, micro: int | None) -> Run:
        return Run(source, tmp_path / name, model=base, device=device, micro_batch=micro, **WIDE).finish()

    few, least = peak_of(lambda: run("few", 4), device)
    many, most = peak_of(lambda: run("many", 16), device)
    assert many.losses == pytest.approx(few.losses, abs=1e-4)
    if device == "cuda":
        assert most > 1.5 * least, "the rows of this check are too short to run out of memory with"
    else:
        monkeypatch.setattr(working, "micro_batch", lambda *_: None)
    limit(device, (least + most) // 2, monkeypatch, 8)
    probed = run("probed", None)
    assert probed.manifest["result"]["micro_batch"] in (4, 8)
    assert any("found in" in event["message"] for event in probed.events.of("note"))
    assert probed.losses == pytest.approx(few.losses, abs=1e-4)


def test_memory_that_runs_out_in_the_middle_loses_nothing(
    tmp_path: Path, device: str, setting: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, source = setting

    def run(name: str, micro: int) -> Run:
        return Run(source, tmp_path / name, model=base, device=device, micro_batch=micro, **WIDE)

    few, least = peak_of(lambda: run("few", 4).finish(), device)
    _, most = peak_of(lambda: run("many", 16).finish(), device)
    disturbed = run("disturbed", 16)
    real = type(disturbed.events).__call__

    def tell(events: Any, name: str, **facts: Any) -> None:
        real(events, name, **facts)
        if name == "step" and facts["step"] == 3:
            limit(device, (least + most) // 2, monkeypatch, 8)

    monkeypatch.setattr(type(disturbed.events), "__call__", tell)
    disturbed.finish()
    assert [line["step"] for line in disturbed.metrics] == list(range(1, 7))
    assert disturbed.manifest["result"]["micro_batch"] < 16
    assert any("out of memory at step 4" in event["message"] for event in disturbed.events.of("note"))
    assert any("going on from step 3" in event["message"] for event in disturbed.events.of("note"))
    assert disturbed.losses == pytest.approx(few.losses, abs=1e-4)
