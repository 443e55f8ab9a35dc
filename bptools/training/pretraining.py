"""From nothing: a tokenizer learnt from the records, a model with random weights, blocks of tokens to learn.

    bp-train prose.jsonl --method pretrain --vocabulary 4096 --max-length 256 --epochs 2

The tokenizer is byte-level BPE with the pre-tokenizer of Qwen2 and the three special tokens of ChatML, the
model a Qwen3 of a few million parameters: llama.cpp and Ollama know both.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bptools.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# of Qwen2: contractions, words with what stands before them, single digits, marks with line ends, white space
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TOKENIZER_BYTES = 40_000_000  # of text for the tokenizer: plenty for some thousand merges
_BATCH = 1_000

CONFIG: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Return a transformers tokenizer of that many tokens, learnt from the first 40 MB of the texts."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.NFC()
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary < len(alphabet) + 3:
        raise ConfigError(f"a vocabulary of {vocabulary} has no room for the 256 bytes; take 512 or more")
    inner.train_from_iterator(
        _first_bytes(texts, _TOKENIZER_BYTES),
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, START, END],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        clean_up_tokenization_spaces=False,
        model_max_length=CONFIG["max_position_embeddings"],
    )


def _first_bytes(texts: Iterable[str], most: int) -> Iterator[str]:
    taken = 0
    for text in texts:
        yield text.replace(START, "").replace(END, "")
        taken += len(text)
        if taken > most:
            return


def build_model(tokenizer: Any, config: dict[str, Any] | None, seed: int) -> Any:
    """Return a causal LM with random weights for a tokenizer. Raises ConfigError for what is no config."""
    import torch
    from transformers import AutoModelForCausalLM

    made = make_config(tokenizer, config)
    try:
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(made)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"--model-config: {' '.join(str(error).split())}") from None
    _scale_residuals(model)
    # 1.25 times as many tokens per CPU second as SDPA in bfloat16 at 256 tokens a row, and no GPU trains this
    model.set_attn_implementation("eager")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.pad_token_id]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def make_config(tokenizer: Any, config: dict[str, Any] | None) -> Any:
    """Return the configuration of a model for a tokenizer. Raises ConfigError for what is none."""
    from transformers import AutoConfig

    values = {**CONFIG, **(config or {})}
    values.update(
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    try:
        return AutoConfig.for_model(values.pop("model_type"), **values)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"--model-config: {' '.join(str(error).split())}") from None


def _scale_residuals(model: Any) -> None:
    """Shrink what each layer adds by the square root of their number (GPT-2, section 2.3): a calmer start."""
    import torch

    layers = 2 * model.config.num_hidden_layers
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.mul_(layers**-0.5)


def write_tokens(path: str, texts: Iterable[str], tokenizer: Any) -> tuple[int, int]:
    """Write the tokens of all texts one after the other, each ended by the pad token; return (tokens, texts).

    The file holds little-endian 32-bit integers, for `numpy.memmap`.
    """
    import numpy as np

    inner, end = tokenizer.backend_tokenizer, tokenizer.pad_token_id
    tokens = count = 0
    with open(path, "wb") as file:
        for batch in _batches(texts, _BATCH):
            for encoding in inner.encode_batch(batch, add_special_tokens=False):
                ids = np.array([*encoding.ids, end], dtype="<u4")
                file.write(ids.tobytes())
                tokens += len(ids)
            count += len(batch)
    return tokens, count


def _batches(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class Blocks:
    """Blocks of equal length cut from a file of tokens; what is over at the end is left out.

    Each is {input_ids, labels}: `length` tokens as int64 arrays. Documents follow each other in a block and
    see each other, as in nanoGPT: with the end token between them a model learns where one ends.
    """

    def __init__(self, path: str, length: int) -> None:
        import numpy as np

        self._tokens: numpy.ndarray[Any, Any] = np.memmap(path, dtype="<u4", mode="r")
        self._length = length
        if len(self) == 0:
            raise DataError(f"{len(self._tokens)} tokens in all are less than one block of {length}")

    def __len__(self) -> int:
        return len(self._tokens) // self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        import numpy as np

        start = int(index) * self._length
        block = np.asarray(self._tokens[start : start + self._length], dtype=np.int64)
        return {"input_ids": block, "labels": block}


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack blocks of one length into a batch of tensors [rows, length]."""
    import numpy as np
    import torch

    ids = torch.from_numpy(np.stack([row["input_ids"] for row in rows]))
    return {"input_ids": ids, "labels": ids}


def tokens_file(folder: str, part: str) -> str:
    """Return where the tokens of a part lie."""
    return os.path.join(folder, f"{part}.tokens")
