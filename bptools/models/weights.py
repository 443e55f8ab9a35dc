"""Single rows of a model's weights, read from its safetensors without loading it."""

from __future__ import annotations

import json
import os
from typing import Any

_INPUT_EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")


def embedding_rows(folder: str, ids: list[int]) -> tuple[Any, float] | None:
    """Return (rows [len(ids), hidden] in fp32, the median norm of 1,000 rows spread over the vocabulary).

    None where the folder has no input embeddings that can be read so, or fewer rows than that.
    """
    try:
        from safetensors import safe_open
    except ImportError:
        return None
    found = _input_embeddings(folder)
    if found is None:
        return None
    path, name = found
    with safe_open(path, framework="pt") as file:
        rows = file.get_slice(name)
        count = rows.get_shape()[0]
        if max(ids) >= count:
            return None
        step = max(1, count // 1000)
        sample = [rows[index : index + 1].float().norm() for index in range(0, count, step)]
        chosen = [rows[index : index + 1].float()[0] for index in ids]
    import torch

    return torch.stack(chosen), float(torch.stack(sample).median())


def _input_embeddings(folder: str) -> tuple[str, str] | None:
    """Return (file, tensor name) of the input embeddings."""
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.isfile(index):
        with open(index, encoding="utf-8") as file:
            places: dict[str, str] = json.load(file)["weight_map"]
    else:
        single = os.path.join(folder, "model.safetensors")
        if not os.path.isfile(single):
            return None
        from safetensors import safe_open

        with safe_open(single, framework="pt") as tensors:
            places = dict.fromkeys(tensors.keys(), "model.safetensors")
    for name, place in places.items():
        if name.endswith(_INPUT_EMBEDDINGS):
            path = os.path.join(folder, place)
            return (path, name) if os.path.isfile(path) else None
    return None
