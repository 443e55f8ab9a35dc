"""The embedded model: small enough, loadable by anybody, honest about where it comes from, able to tell text."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from bptools.models.names import NANO_FOLDER
from tests.golden import ROOT

FOLDER = Path(NANO_FOLDER)
TEXT = (
    "The library opens at nine in the morning and closes at six. You can borrow up to five books at a time, and you "
    "can keep them for three weeks. If somebody else has asked for a book, please bring it back when you are done."
)


def test_it_is_small_and_holds_no_pickle() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.iterdir()}
    assert sum(files.values()) <= 10_000_000
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".py"))]
    config = json.loads((FOLDER / "config.json").read_bytes())
    assert config["model_type"] == "qwen3"
    assert config["tie_word_embeddings"]
    assert config["hidden_size"] % 256 == config["intermediate_size"] % 256 == 0


def test_every_source_is_listed_with_licence_and_hash() -> None:
    readme = (FOLDER / "README.md").read_text()
    sources = json.loads((ROOT / "bptools/_dev/nano/sources.json").read_bytes())
    assert len(sources) > 50
    for source in sources:
        assert source["sha256"] in readme, source["name"]
        assert any(name in source["license"] for name in ("MIT", "BSD", "Apache", "PSF")), source["name"]


def test_the_preset_says_its_true_sizes() -> None:
    from bptools.models.presets import preset, shape_of

    assert preset("nano").shape == shape_of(json.loads((FOLDER / "config.json").read_bytes()))


def test_stock_transformers_load_it_and_it_ends_its_answers() -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(NANO_FOLDER)
    model = AutoModelForCausalLM.from_pretrained(NANO_FOLDER, dtype=torch.float32).eval()
    assert tokenizer.eos_token == "<|im_end|>"
    ended = 0
    for question in (
        "What is rain?",
        "How do I make tea?",
        "Who are you?",
        "I am tired.",
        "Tell me a story.",
    ):
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        made = model.generate(**ids, max_new_tokens=100, do_sample=False)[0]
        ended += made[-1] == tokenizer.eos_token_id
    assert ended >= 3


def test_text_is_likelier_than_what_is_none() -> None:
    torch = pytest.importorskip("torch")
    from bptools.models import load_model, load_tokenizer

    tokenizer, model = load_tokenizer(NANO_FOLDER), load_model(NANO_FOLDER, device="cpu", dtype="float32")

    def bits(text: str) -> tuple[float, float]:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            loss = float(model(input_ids=ids, labels=ids).loss)
        return loss, loss * (ids.shape[1] - 1) / math.log(2) / len(text.encode())

    clean = bits(TEXT)
    words = TEXT.split()
    random.Random(1).shuffle(words)
    assert bits(" ".join(words))[0] > clean[0] + 0.3
    noise = "".join(random.Random(2).choices("ABCDEFabcdef0123456789+/", k=200))
    assert bits(noise)[1] > clean[1] + 1
