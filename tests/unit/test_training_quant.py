"""A quantized base on a CPU: gradients stay right after an evaluation, and a run with one learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import shared_model
from tests.training_runs import Run, write_records

pytest.importorskip("bitsandbytes")
pytest.importorskip("peft")


def gradients(model: Any) -> dict[str, Any]:
    import torch

    model.zero_grad()
    model.train()
    ids = torch.arange(5, 37)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    return {name: p.grad.float().clone() for name, p in model.named_parameters() if p.grad is not None}


def adapted(model: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    for name, parameter in wrapped.named_parameters():
        if "lora" in name:
            parameter.data = parameter.data.float() * 0.02
    return wrapped


def test_gradients_after_an_evaluation_are_those_before() -> None:
    """bitsandbytes repacks 4-bit weights at the first eval forward on CPUs with AVX512-BF16, and loses them."""
    import torch

    from bptools.models import load_model

    model = adapted(load_model(shared_model(), device="cpu", dtype="float32", quant="nf4"))
    before = gradients(model)
    assert len(before) == 28
    model.eval()
    with torch.no_grad():
        model(input_ids=torch.arange(5, 37)[None])
    after = gradients(model)
    for name, gradient in before.items():
        apart = (after[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
        assert apart < 1e-4, name


@pytest.mark.parametrize("quant", ["nf4", "int8"])
def test_a_quantized_base_learns(tmp_path: Path, quant: str) -> None:
    source = write_records(tmp_path / "data.jsonl", "chat", 64)
    run = Run(source, tmp_path / "runs", model=shared_model(), quant=quant, batch_size=8, epochs=3.0,
              learning_rate=1e-2, eval_split="8", max_length=128, dtype="float32").finish()  # fmt: skip
    result = run.manifest["result"]
    assert result["eval_loss"] < 0.97 * result["eval_loss_before"]
