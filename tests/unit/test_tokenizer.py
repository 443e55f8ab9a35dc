"""Tokenizers by name: a file, a folder, or a model of a hub on a loopback port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bptools.chat.tokenizer import load_tokenizer
from bptools.core.errors import InputError
from tests.golden import ROOT, environment
from tests.unit.loopback_hub import LoopbackHub

tokenizers = pytest.importorskip("tokenizers")


def made(folder: Path) -> Path:
    """Write a tokenizer of letters: one token for each."""
    loaded = tokenizers.Tokenizer(tokenizers.models.BPE())
    loaded.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=256, initial_alphabet=alphabet, show_progress=False)
    loaded.train_from_iterator([], trainer)
    loaded.enable_truncation(4)
    loaded.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def test_a_file_and_its_folder(tmp_path: Path) -> None:
    path = made(tmp_path)
    for name in (str(path), str(tmp_path)):
        assert len(load_tokenizer(name).encode("ten bytes.").ids) == 10  # truncation is off


def test_what_is_no_tokenizer_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("{}")
    for name in (str(tmp_path), str(tmp_path / "odd.json"), "nothing-here", "./no/model"):
        with pytest.raises(InputError):
            load_tokenizer(name)


@pytest.mark.slow
def test_a_model_of_the_hub(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    record = b'{"text":"ten bytes."}\n'
    with LoopbackHub({"me/model": {"tokenizer.json": made(tmp_path).read_bytes()}}) as hub:
        env = {**environment(str(tmp_path)), "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
        for model, most, code, out in (
            ("me/model", "10", 0, record), ("me/model", "9", 0, b""), ("me/other", "9", 66, b""),
        ):  # fmt: skip
            command = [
                sys.executable,
                str(ROOT / "bin" / "bp-filter"),
                "--tokenizer",
                model,
                "--max-tokens",
                most,
            ]
            done = subprocess.run(command, input=record, capture_output=True, env=env, timeout=120)
            assert (done.returncode, done.stdout) == (code, out), done.stderr.decode()
            assert b"Traceback" not in done.stderr
