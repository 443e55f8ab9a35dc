"""Each method with the real libraries on a tiny model: it learns, stock PEFT loads it, the base stays."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_model
from tests.training_runs import Run, write_records

pytest.importorskip("trl")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tiny_model(str(tmp_path_factory.mktemp("base")))
    before = hashes(folder)
    yield folder
    assert hashes(folder) == before, "training changed the base model"


def hashes(folder: str) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).iterdir())
    }


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits


def stock(base: str, adapter: Path) -> Any:
    """Load an adapter as anybody would."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(adapter)).eval()


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ("chat", {}),
        ("chat", {"packing": False, "rslora": True, "targets": "q_proj,v_proj"}),
        ("chat", {"dora": True, "neftune": 5.0, "dropout": 0.1, "epochs": 3.0}),
        ("text", {"method": "cpt", "modules_to_save": ("embed_tokens",), "embedding_learning_rate": 1e-3}),
        ("preference", {}),
        ("preference", {"method": "orpo"}),
        ("rated", {"epochs": 3.0}),
    ],
)
def test_an_adapter_that_learns(base: str, tmp_path: Path, shape: str, settings: dict[str, Any]) -> None:
    source = write_records(tmp_path / "data.jsonl", shape, 96)
    run = Run(source, tmp_path / "runs", model=base, max_length=128, batch_size=8, learning_rate=1e-2,
              eval_split="8", **{"epochs": 2.0, **settings}).finish()  # fmt: skip
    assert all(map(math.isfinite, run.losses))
    first, last = sum(run.losses[:4]), sum(run.losses[-4:])
    assert last < 0.97 * first
    evaluation = run.manifest["result"]
    if "eval_loss_before" in evaluation:
        assert evaluation["eval_loss"] < evaluation["eval_loss_before"]
    model = stock(base, run.path / "adapter")
    with model.disable_adapter():
        before = logits(model)
    assert (logits(model) - before).abs().max() > 0.05
    assert (run.path / "adapter" / "chat_template.jinja").exists()


def test_all_weights(base: str, tmp_path: Path) -> None:
    source = write_records(tmp_path / "data.jsonl", "chat", 64)
    run = Run(
        source, tmp_path / "runs", model=base, full=True, batch_size=8, epochs=2.0, learning_rate=3e-3
    ).finish()
    assert run.losses[-1] < run.losses[0]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(run.path / "model"))
    assert (logits(model) - logits(AutoModelForCausalLM.from_pretrained(base))).abs().max() > 0.01
    assert AutoTokenizer.from_pretrained(str(run.path / "model")).chat_template
    assert (run.path / "model" / "model.safetensors").stat().st_mode & 0o044 == 0o044


def test_from_nothing_and_on(tmp_path: Path) -> None:
    """pretrain, then sft of all weights, then an adapter on top: how nano is made."""
    config = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "head_dim": 16}  # fmt: skip
    text = write_records(tmp_path / "text.jsonl", "text", 300)
    first = Run(text, tmp_path / "runs", method="pretrain", model_config=config, vocabulary=320, max_length=32,
                batch_size=8, epochs=2.0, eval_split="20").finish()  # fmt: skip
    assert first.manifest["result"]["eval_loss"] < 0.8 * math.log(320)
    chat = write_records(tmp_path / "chat.jsonl", "chat", 64)
    second = Run(chat, tmp_path / "runs", model=str(first.path / "model"), full=True, batch_size=8, epochs=2.0,
                 learning_rate=3e-3).finish()  # fmt: skip
    assert second.losses[-1] < second.losses[0]
    third = Run(chat, tmp_path / "runs", model=str(second.path / "model"), batch_size=8, epochs=1.0).finish()
    stock(str(second.path / "model"), third.path / "adapter")


def test_tied_embeddings_stay_tied(base: str, tmp_path: Path) -> None:
    source = write_records(tmp_path / "data.jsonl", "text", 32)
    run = Run(source, tmp_path / "runs", model=base, method="cpt", batch_size=8, epochs=1.0, learning_rate=1e-2,
              modules_to_save=("embed_tokens", "lm_head")).finish()  # fmt: skip
    model = stock(base, run.path / "adapter")
    embeddings = model.get_input_embeddings()
    embeddings = (
        embeddings.modules_to_save["default"] if hasattr(embeddings, "modules_to_save") else embeddings
    )
    head = model.get_output_embeddings()
    head = head.modules_to_save["default"] if hasattr(head, "modules_to_save") else head
    assert (embeddings.weight - head.weight).abs().max() == 0
    with model.disable_adapter():
        before = logits(model)
    assert (logits(model) - before).abs().max() > 0.01


def test_a_chain_of_adapters(base: str, tmp_path: Path) -> None:
    """sft, then dpo on top of its adapter: the reference is the sft adapter, so the first loss is ln 2."""
    chat = write_records(tmp_path / "chat.jsonl", "chat", 64)
    first = Run(chat, tmp_path / "runs", model=base, batch_size=8, epochs=2.0, learning_rate=1e-2).finish()
    pairs = write_records(tmp_path / "pairs.jsonl", "preference", 64)
    second = Run(pairs, tmp_path / "runs", model=base, adapter=str(first.path / "adapter"), batch_size=8,
                 epochs=2.0, learning_rate=1e-3).finish()  # fmt: skip
    assert second.losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert second.losses[-1] < 0.6
    assert sorted(path.name for path in (second.path / "adapter").iterdir() if path.is_dir()) == []
    stock(base, second.path / "adapter")


def test_what_gets_worse_is_stopped_and_the_best_is_taken(base: str, tmp_path: Path) -> None:
    """Trained on one kind of answer, evaluated on another: after the start it only gets worse."""
    source = write_records(tmp_path / "data.jsonl", "chat", 120)
    other = tmp_path / "other.jsonl"
    other.write_text(
        '{"messages":[{"role":"user","content":"say"},{"role":"assistant","content":"7 8 9 0 1 2"}]}\n' * 4
    )
    settings = {
        "model": base,
        "batch_size": 8,
        "epochs": 20.0,
        "learning_rate": 2e-2,
        "eval_every": "2",
        "samples": 1,
    }
    run = Run(source, tmp_path / "runs", evaluation=str(other), early_stopping=2, **settings).finish()
    evaluations = [event["loss"] for event in run.events.of("eval")]
    result = run.manifest["result"]
    assert result["stopped_early"]
    assert result["steps"] < 100
    assert evaluations.index(min(evaluations)) * 2 + 2 == result["best_step"] < result["steps"]
    assert result["eval_loss"] == min(evaluations)
    answers = run.events.of("answer")
    assert [event["step"] for event in answers] == list(range(2, result["steps"] + 1, 2))
    weights = (run.path / "adapter" / "adapter_model.safetensors").read_bytes()
    last = Run(
        source,
        tmp_path / "last",
        evaluation=str(other),
        early_stopping=2,
        keep_best=False,
        **{**settings, "samples": 0},
    ).finish()
    assert (last.path / "adapter" / "adapter_model.safetensors").read_bytes() != weights


def test_two_phases_on_one_adapter(base: str, tmp_path: Path) -> None:
    """Continued pre-training with the vocabulary, then instructions, on the same adapter."""
    text = write_records(tmp_path / "text.jsonl", "text", 48)
    first = Run(text, tmp_path / "runs", model=base, method="cpt", batch_size=8, epochs=1.0, learning_rate=1e-2,
                modules_to_save=("embed_tokens",)).finish()  # fmt: skip
    chat = write_records(tmp_path / "chat.jsonl", "chat", 64)
    second = Run(chat, tmp_path / "runs", model=base, adapter=str(first.path / "adapter"), batch_size=8, epochs=3.0,
                 learning_rate=1e-2, eval_split="8").finish()  # fmt: skip
    evaluations = [event["loss"] for event in second.events.of("eval")]
    assert second.events.of("eval")[0]["step"] == 0  # the model as the first phase left it
    assert evaluations[-1] < 0.97 * evaluations[0]
    model = stock(base, second.path / "adapter")
    assert "embed_tokens" in str(model.peft_config["default"].modules_to_save)
    assert (logits(model) - logits(stock(base, first.path / "adapter"))).abs().max() > 0.01


def test_a_long_run_on_a_cpu_says_so(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bptools.training import plan, working

    monkeypatch.setattr(working, "_LONG_SECONDS", 0)
    monkeypatch.setattr(plan, "SMALL", 0)
    source = write_records(tmp_path / "data.jsonl", "chat", 16)
    run = Run(source, tmp_path / "runs", model=base, steps=1, dtype="float32").finish()
    assert any("on this CPU it takes about" in event["message"] for event in run.events.of("note"))
