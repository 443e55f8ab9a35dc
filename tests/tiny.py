"""A tiny random model with a ChatML tokenizer, made in a second, the same every time."""

from __future__ import annotations

import functools
import os
import tempfile
from typing import Any

from bptools.models.loading import quiet

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the warm sun.",
    "What is the capital of France? The capital of France is Paris.",
    "You are a helpful assistant. Answer in one short sentence, please.",
    "def add(a, b):\n    return a + b\n",
    "Hello! How are you? I am fine, thank you. And you?",
    "one two three four five six seven eight nine ten 0 1 2 3 4 5 6 7 8 9",
    "Below is an instruction that describes a task. Write a response that completes the request.",
    "user assistant system tool Instruction Response Input",
)
CHATML = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.role == 'assistant' %}"
    "{% generation %}{{- message.content + '<|im_end|>' }}{% endgeneration %}"
    "{%- else %}{{- message.content + '<|im_end|>' }}{%- endif %}"
    "{{- '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def tiny_tokenizer(
    special: tuple[str, ...] = SPECIAL, eos: str = "<|im_end|>", bos: str | None = None, vocab: int = 400
) -> Any:
    """Return a byte-level BPE tokenizer without a template; the first special token pads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=eos,
        bos_token=bos,
        pad_token=special[0],
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def tiny_model(folder: str, *, layout: str = "qwen3", template: bool = True, tied: bool = True) -> str:
    """Save a random model of 2 layers and 64 dimensions with its tokenizer; return the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    tokenizer = tiny_tokenizer()
    if template:
        tokenizer.chat_template = CHATML
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": tied,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    torch.manual_seed(0)
    model = (
        Qwen3ForCausalLM(Qwen3Config(**settings))
        if layout == "qwen3"
        else LlamaForCausalLM(LlamaConfig(**settings))
    )
    os.makedirs(folder, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@functools.cache
def shared_model(layout: str = "qwen3", template: bool = True, tied: bool = False) -> str:
    """Return the folder of a tiny model that all tests of a run share; nobody writes there."""
    return tiny_model(
        os.path.join(_scratch().name, f"{layout}-{template}-{tied}"),
        layout=layout,
        template=template,
        tied=tied,
    )


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bptools-tiny-")
