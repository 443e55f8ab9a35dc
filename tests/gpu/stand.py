"""What the checks train: models of real shapes with random weights, and rows of one length."""

from __future__ import annotations

import gc
import random
from pathlib import Path
from typing import Any


def forget(device: str) -> None:
    """Give back what is not used any more, and all of the device to this process."""
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def config_of(name: str) -> Any:
    """The config of a preset's shape; nothing is downloaded."""
    from transformers import AutoConfig

    from bptools.models.presets import preset

    shape = preset(name).shape
    return AutoConfig.for_model(
        "qwen2", vocab_size=shape.vocab, hidden_size=shape.hidden_size, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied, max_position_embeddings=8192,
    )  # fmt: skip


def random_model(config: Any, device: str, dtype: str) -> Any:
    """A model made on its device."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    model.config.use_cache = False
    return model


def rows_of(count: int, length: int, vocabulary: int) -> Any:
    """Rows of random tokens, all of one length, all learnt."""
    from datasets import Dataset

    chance = random.Random(1)
    rows = []
    for _ in range(count):
        ids = [chance.randrange(5, vocabulary) for _ in range(length)]
        rows.append({"input_ids": ids, "labels": list(ids)})
    return Dataset.from_list(rows)


def make_trainer_for(
    model: Any,
    rows: Any,
    folder: Path,
    *,
    device: str,
    dtype: str,
    micro: int,
    checkpointing: bool,
    steps: int,
) -> Any:
    """The trainer of `sft` as bp-train makes it, with a rank 16 adapter on all linear layers."""
    from peft import LoraConfig

    from bptools.models.presets import preset
    from bptools.training.backends.trainers import make_trainer
    from bptools.training.settings import Settings, complete
    from tests.tiny import CHATML, tiny_tokenizer

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML
    wanted = Settings(rank=16, alpha=32.0, packing=False, steps=steps, batch_size=micro, checkpointing=checkpointing,
                      max_length=8192)  # fmt: skip
    settings, _ = complete(wanted, preset("nano"), "sft", len(rows))
    config = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    return make_trainer(settings, model, tokenizer, rows, None, output=str(folder / "checkpoints"), micro=micro,
                        batch=micro, device=device, dtype=dtype, peft_config=config)  # fmt: skip
