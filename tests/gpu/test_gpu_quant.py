"""A 4-bit base: the adapter's gradients are those on the same weights unpacked, and a run with one learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import shared_model
from tests.training_runs import Run, write_records
from tests.unit.test_training_quant import adapted

pytest.importorskip("bitsandbytes")


def unpacked(packed: Any, dense: Any) -> Any:
    """Give a dense model the weights that a 4-bit one computes with."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn import Linear4bit

    modules = dict(dense.named_modules())
    count = 0
    with torch.no_grad():
        for name, module in packed.named_modules():
            if isinstance(module, Linear4bit):
                weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
                modules[name].weight.copy_(weight.reshape(modules[name].weight.shape))
                count += 1
    assert count == 14  # seven in each of two layers
    return dense


def gradients(model: Any, device: str) -> dict[str, Any]:
    import torch

    model.zero_grad()
    model.train()
    ids = torch.arange(5, 37, device=device)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    return {name: p.grad.float().clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("dtype", "apart"), [("float32", 1e-3), ("bfloat16", 5e-2)])
def test_gradients_reach_the_adapter(device: str, dtype: str, apart: float) -> None:
    import torch

    from bptools.models import load_model

    packed = load_model(shared_model(), device=device, dtype=dtype, quant="nf4")
    dense = unpacked(packed, load_model(shared_model(), device=device, dtype=dtype))
    packed, dense = adapted(packed), adapted(dense)
    before, expected = gradients(packed, device), gradients(dense, device)
    assert set(before) == set(expected)
    assert len(before) == 28
    packed.eval()
    with torch.no_grad():
        packed(input_ids=torch.arange(5, 37, device=device)[None])
    after = gradients(packed, device)
    for name, gradient in expected.items():
        assert gradient.norm() > 0, name
        assert (before[name] - gradient).norm() / gradient.norm() < apart, name
        assert (after[name] - before[name]).norm() / gradient.norm() < 1e-3, name


def test_a_quantized_base_learns(tmp_path: Path, device: str) -> None:
    source = write_records(tmp_path / "data.jsonl", "chat", 64)
    run = Run(source, tmp_path / "runs", model=shared_model(), device=device, quant="nf4", batch_size=8, epochs=3.0,
              learning_rate=1e-2, eval_split="8", max_length=128).finish()  # fmt: skip
    result = run.manifest["result"]
    assert result["eval_loss"] < 0.97 * result["eval_loss_before"]
