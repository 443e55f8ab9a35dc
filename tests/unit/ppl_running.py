"""What the tests of bp-ppl share: tiny models that are loaded once, and the loss as transformers says it."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bptools.commands.ppl import app
from bptools.core.cli import call
from bptools.models.contenders import Contenders, Loading
from bptools.models.loading import load_model, load_tokenizer
from bptools.quality.perplexity.score import Score
from bptools.quality.perplexity.scorer import How, Scorer, scorers_of
from tests.tiny import shared_model

Model = Any


@functools.cache
def _kept_model(folder: str, adapters: tuple[str, ...], **settings: Any) -> Model:
    return load_model(folder, adapter=list(adapters), **settings)


_kept_tokenizer = functools.cache(load_tokenizer)


def keep_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a model that was loaded once be the same for every call: half a second each."""

    def model(folder: str, *, adapter: Sequence[str] = (), **settings: Any) -> Model:
        return _kept_model(os.path.realpath(folder), tuple(map(os.path.realpath, adapter)), **settings)

    monkeypatch.setattr("bptools.models.contenders.load_model", model)
    monkeypatch.setattr(
        "bptools.models.contenders.load_tokenizer", lambda folder: _kept_tokenizer(os.path.realpath(folder))
    )


@functools.cache
def _contenders(
    folder: str, adapters: tuple[str, ...] = (), dtype: str = "float32", template: str = "auto"
) -> Contenders:
    return Contenders([folder], list(adapters), None, Loading("cpu", dtype, chat_template=template))


def scorer(
    folder: str | None = None,
    adapters: tuple[str, ...] = (),
    dtype: str = "float32",
    template: str = "auto",
    **how: Any,
) -> Scorer:
    """Return a scorer of a model that is loaded once."""
    return scorers_of(_contenders(folder or shared_model(), adapters, dtype, template), How(**how))[0]


def model_of(found: Scorer) -> Model:
    """Return the model that a scorer asks."""
    return found._predictor.model


def loss(model: Model, ids: Sequence[int], scored: Sequence[bool]) -> float:
    """Return the loss that transformers computes of labels that are -100 where nothing is scored."""
    import torch

    labels = [token if wanted else -100 for token, wanted in zip(ids, scored)]
    with torch.inference_mode():
        return float(model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss)


def same(score: Score, model: Model, ids: Sequence[int], scored: Sequence[bool], close: float = 1e-4) -> None:
    """Check a score against transformers' loss."""
    assert score.tokens == sum(scored[1:])
    assert score.nll == pytest.approx(loss(model, ids, scored), abs=close)


def lines(*records: object) -> str:
    """Return records as JSONL."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


Run = Callable[..., list[dict[str, Any]]]


def ppl(folder: Path, data: str | bytes | Path, *options: str, code: int = 0, raw: bool = False) -> Any:
    """Run bp-ppl in this process over data; return the records that came out, or the bytes of them."""
    source = data if isinstance(data, Path) else folder / "in.jsonl"
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    if isinstance(data, bytes):
        source.write_bytes(data)
    out = folder / "out.jsonl"
    named = [] if "--model" in options or "--adapter" in options else ["--model", shared_model()]
    assert call(app, "bp-ppl", [str(source), "-o", str(out), "--device", "cpu", *named, *options]) == code
    found = out.read_bytes() if out.exists() else b""
    out.unlink(missing_ok=True)
    (folder / "out.jsonl.manifest.json").unlink(missing_ok=True)
    return found if raw else [json.loads(line) for line in found.splitlines()]
