"""Folders of models and adapters that lack something: one clear line each, before anything heavy is loaded."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from bptools.commands import generate, ppl
from bptools.core.cli import call
from bptools.core.errors import InputError
from bptools.models.folders import (
    missing_weights,
    read_adapter_config,
    read_config,
    require_adapter,
    require_weights,
)
from bptools.models.loading import load_model
from tests.tiny import shared_model

INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}})


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where transformers would be imported."""

    def refused() -> None:
        raise AssertionError("transformers were imported")

    monkeypatch.setattr("bptools.models.contenders.import_transformers", refused)
    monkeypatch.setattr("bptools.models.loading.import_transformers", refused)


def folder_of(place: Path, **files: str) -> str:
    """Make a folder with files; `__` in a name is a dot."""
    place.mkdir(parents=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)
    return str(place)


def test_a_configuration_is_read_or_refused_with_the_file_that_is_wrong(tmp_path: Path) -> None:
    good = folder_of(tmp_path / "good", config__json='{"model_type": "x", "limit": [0.0, Infinity]}')
    assert read_config(good)["model_type"] == "x"
    with pytest.raises(InputError, match=r"'.*/good' is no adapter: there is no adapter_config\.json in it$"):
        read_adapter_config(good)
    with pytest.raises(InputError, match=r"is no model: there is no such folder$"):
        read_config(str(tmp_path / "nowhere"))
    for number, text in enumerate(("{", "[]", "5", "", "[" * 100_000, "\ud800")):
        bad = folder_of(tmp_path / f"Bad{number}")
        Path(bad, "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InputError) as found:
            read_config(bad)
        assert str(found.value) == f"config.json of '{bad}' is no JSON object; fetch or save it again"
    (tmp_path / "Folder" / "config.json").mkdir(parents=True)
    with pytest.raises(InputError) as found:  # the path in its own letters, and no errno
        read_config(str(tmp_path / "Folder"))
    assert str(found.value) == f"cannot read config.json of '{tmp_path}/Folder': is a directory"


def test_what_weights_are_missing(tmp_path: Path) -> None:
    assert missing_weights(shared_model()) is None
    assert missing_weights(folder_of(tmp_path / "none", config__json="{}")) == "model.safetensors"
    sharded = folder_of(tmp_path / "two", model__safetensors__index__json=INDEX)
    assert missing_weights(sharded) == "model-1.safetensors"
    Path(sharded, "model-1.safetensors").touch()
    assert missing_weights(sharded) == "model-2.safetensors"
    Path(sharded, "model-2.safetensors").touch()
    assert missing_weights(sharded) is None
    stale = folder_of(tmp_path / "stale", model__safetensors__index__json=INDEX, model__safetensors="x")
    assert missing_weights(stale) is None
    pickled = folder_of(tmp_path / "old", config__json="{}", pytorch_model__bin="x")
    with pytest.raises(InputError) as found:
        require_weights(pickled)
    assert str(found.value) == (
        f"'{pickled}' has no weights that can be read: there is no model.safetensors in it,"
        " and pickles are not read; save it again as safetensors"
    )


def test_an_adapter_names_the_file_that_it_lacks(tmp_path: Path) -> None:
    config = '{"base_model_name_or_path": "nano"}'
    bare = folder_of(tmp_path / "bare", adapter_config__json=config)
    with pytest.raises(InputError, match=r"there is no adapter_model\.safetensors in it$"):
        require_adapter(bare)
    pickled = folder_of(tmp_path / "old", adapter_config__json=config, adapter_model__bin="x")
    with pytest.raises(InputError, match=r"there is no adapter_model\.safetensors in it, and pickles"):
        require_adapter(pickled)
    whole = folder_of(tmp_path / "whole", adapter_config__json=config, adapter_model__safetensors="x")
    assert require_adapter(whole) == {"base_model_name_or_path": "nano"}


def test_weights_that_are_cut_short_cannot_be_loaded(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(shared_model(), tmp_path / "m"))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(str(folder), device="cpu", dtype="float32")


@pytest.mark.parametrize("name", ["bp-ppl", "bp-generate"])
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--model", "empty"], 66, "'empty' has no weights that can be read: there is no model.safetensors"),
        (["--model", "Broken"], 66, "config.json of 'Broken' is no JSON object"),
        (["--adapter", "Bare"], 66, "'Bare' is no adapter: there is no adapter_model.safetensors in it"),
        (["--adapter", "nowhere"], 66, "'nowhere' is no adapter: there is no such folder"),
        (["--device", "gpu"], 2, "--device is auto, cpu, cuda, cuda:N or mps, not 'gpu'"),
        (["--device", "cuda:x"], 2, "--device is auto, cpu, cuda, cuda:N or mps, not 'cuda:x'"),
        (["--chat-template", "No.jinja"], 66, "no chat template 'No.jinja'; choose auto"),
        (["--chat-template", "Broken"], 66, "cannot read the chat template 'Broken': is a directory"),
        (["--chat-template", "Latin.jinja"], 66, "the chat template 'Latin.jinja' is not UTF-8"),
        (["--chat-template", "from:qwen3bb"], 66, "did you mean 'qwen3b'?"),
        (["--revision", "main"], 2, "--revision is of a hub model, and 'nano' is none"),
        (["--revision", "main", "--model", "MODEL"], 2, "--revision is of a hub model, and '"),
        (["--no-template", "--chat-template", "chatml"], 2, "have no place beside --no-template"),
        (["--no-template", "--template-kwargs", "a=1"], 2, "have no place beside --no-template"),
    ],
)  # fmt: skip
def test_what_can_be_known_is_said_before_transformers_are_imported(
    name: str, options: list[str], code: int, said: str, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, light: None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "empty", config__json="{}")
    folder_of(tmp_path / "Broken", config__json="{")
    folder_of(tmp_path / "Bare", adapter_config__json='{"base_model_name_or_path": "nano"}')
    (tmp_path / "Latin.jinja").write_bytes(b"\xe9")
    (tmp_path / "in.jsonl").write_text('{"text":"Hi"}\n')
    options = [shared_model() if option == "MODEL" else option for option in options]
    app = ppl.app if name == "bp-ppl" else generate.app
    assert call(app, name, ["in.jsonl", "-o", "out.jsonl", *options]) == code
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"{name}: ") and said in line
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--window", "100", "--stride", "101"], "--stride 101 is more than --window 100"),
        (["--stride", "513"], "--stride 513 is more than --window 512"),
        (["--window", "2049"], "--window 2049 is more than the 2048 tokens that 'nano' reads"),
        (["--model", "MODEL", "--window", "2049"], "--window 2049 is more than the 2048 tokens that"),
        (["--model", "MODEL", "--stride", "2049"], "--stride 2049 is more than --window 2048"),
        (["--model", "MODEL", "--baseline", "nano", "--stride", "513"], "--stride 513 is more than --window"),
        (["--model", "own/er", "--stride", "2049"], "--stride 2049 is more than --window 2048"),
    ],
)  # fmt: skip
def test_windows_are_looked_at_before_transformers_are_imported(
    options: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], light: None
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text":"Hi"}\n')
    options = [shared_model() if option == "MODEL" else option for option in options]
    assert call(ppl.app, "bp-ppl", [str(source), "-o", os.devnull, *options]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert said in line


def test_a_template_that_comes_through_a_pipe_is_left_for_later(tmp_path: Path) -> None:
    from bptools.models.templates import check_choice

    os.mkfifo(tmp_path / "pipe")
    check_choice(str(tmp_path / "pipe"))  # and does not wait for its writer
