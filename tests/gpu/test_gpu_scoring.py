"""Scoring in batches on a GPU: the same numbers as one by one, and how much sooner."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.gpu.stand import config_of, random_model
from tests.tiny import shared_model, tiny_tokenizer
from tests.training_runs import sentence

SHORT, LONG = 10, 60  # words: what chats are made of


def one_by_one(model: Any, encoded: list[Any], device: str) -> list[float]:
    """What a loop over texts with stock transformers does; return the nats of each."""
    import torch
    from torch.nn.functional import cross_entropy

    found = []
    with torch.inference_mode():
        for each in encoded:
            nats = 0.0
            for row in each.rows:
                ids = torch.from_numpy(row.ids.astype("int64")).to(device)
                targets = torch.from_numpy(row.targets).to(device)
                logits = model(input_ids=ids[None, :-1], use_cache=False).logits[0].float()
                nats += float(cross_entropy(logits[targets - 1], ids[targets], reduction="sum"))
            found.append(nats)
    return found


def seconds_of(work: Callable[[], Any], device: str) -> float:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def test_batches_are_ten_times_as_fast_as_one_by_one(
    tmp_path: Path, device: str, say: Callable[[str], None]
) -> None:
    from bptools.quality.perplexity.scorer import Scorer

    folder, dtype, count, apart = shared_model(), "float32", 40, 1e-4
    if device == "cuda":
        folder, dtype, count, apart = str(tmp_path / "model"), "bfloat16", 2_000, 2e-2
        random_model(config_of("qwen0.5b"), device, dtype).save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)
    scorer = Scorer.open(folder, device=device, dtype=dtype)
    chance = random.Random(3)
    texts = [sentence(chance, chance.randint(SHORT, LONG)) for _ in range(count)]
    encoded = [scorer.encode("text", [{"text": text}]) for text in texts]
    tokens = sum(each.tokens for each in encoded)
    model = scorer._predictor.model
    scorer.scores(encoded[:50])  # kernels are chosen, memory is had
    one_by_one(model, encoded[:5], device)
    scores = scorer.scores(encoded)
    some = range(0, count, max(1, count // 200))
    expected = one_by_one(model, [encoded[number] for number in some], device)
    for number, nats in zip(some, expected):
        assert abs(scores[number].nats - nats) <= apart * nats, number
    batched = tokens / seconds_of(lambda: scorer.scores(encoded), device)
    few = encoded[: max(10, count // 4)]
    single = sum(each.tokens for each in few) / seconds_of(lambda: one_by_one(model, few, device), device)
    say(f"scoring: {batched:.0f} tokens/s in batches, {single:.0f} one by one, ratio {batched / single:.1f}")
    if device == "cuda":
        assert batched > 10 * single
