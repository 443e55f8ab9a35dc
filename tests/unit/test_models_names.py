"""Names, presets and devices: no torch, no network, one table each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bptools.core.errors import InputError, Unavailable, UsageError
from bptools.models import devices, names, presets
from bptools.models.devices import Machine, choose_device, choose_dtype, cpu_threads
from bptools.models.names import ModelName, resolve
from bptools.models.presets import PRESETS, derive, preset

# names


def test_a_preset_goes_first_then_a_folder_then_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bot").mkdir()
    (tmp_path / "bot" / "config.json").write_text("{}")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "owner" / "name" / "config.json").write_text("{}")
    assert resolve("qwen3b") == ModelName("hub", "Qwen/Qwen2.5-3B-Instruct", preset="qwen3b")
    assert resolve("bot") == ModelName("folder", "bot")
    assert resolve("./bot/") == ModelName("folder", "bot")
    assert resolve("owner/name") == ModelName("folder", "owner/name")
    assert resolve("owner/other") == ModelName("hub", "owner/other")
    assert resolve("owner/other@v2") == ModelName("hub", "owner/other", "v2")
    assert resolve("owner/other", "main") == ModelName("hub", "owner/other", "main")
    assert resolve("qwen3b").shown == "qwen3b"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qwen3bb", "did you mean 'qwen3b'?"),
        ("what-is-this", "bptools presets lists"),
        ("a/b/c", "no model 'a/b/c'"),
        ("owner/name@", "no model"),
        ("../up", "no model"),
        ("", "no model ''"),
    ],
)
def test_what_is_no_model_names_the_nearest(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        resolve(name)


def test_an_adapter_is_no_model_and_the_message_says_where_it_goes(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="give it as --adapter"):
        resolve(str(tmp_path))


def test_nano_without_weights_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "NANO_FOLDER", str(tmp_path))
    with pytest.raises(Unavailable, match="nano, the embedded model, is not in this installation"):
        resolve("nano")
    (tmp_path / "config.json").write_text("{}")
    assert resolve("nano").kind == "nano"


# presets


def test_the_names_are_those_of_the_file() -> None:
    with open(os.path.join(os.path.dirname(presets.__file__), "presets.yaml"), encoding="utf-8") as file:
        table = yaml.safe_load(file)
    assert set(table["presets"]) == set(PRESETS)
    assert tuple(table["styles"]) == presets.STYLES


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "nano"])
def test_a_preset_is_as_large_as_its_shape_says(name: str) -> None:
    entry = preset(name)
    counted = (entry.shape.linear_parameters + entry.shape.embedding_parameters) / 1e9
    assert entry.parameters == pytest.approx(counted, rel=0.03)
    assert entry.hub.full.count("/") == 1
    assert entry.vram_gb["nf4"] < entry.vram_gb["16bit"]


def test_styles_change_rank_rate_and_length() -> None:
    fast, balanced, quality = (preset("qwen7b", style) for style in presets.STYLES)
    assert [(one.rank, one.alpha) for one in (fast, balanced, quality)] == [(8, 16), (16, 32), (32, 64)]
    assert [one.learning_rate for one in (fast, balanced, quality)] == [5e-4, 2e-4, 1e-4]
    with pytest.raises(UsageError, match="--style is fast, balanced, quality"):
        preset("qwen7b", "slow")


def test_another_model_is_derived_from_its_config() -> None:
    config = {
        "hidden_size": 2048, "num_hidden_layers": 36, "intermediate_size": 11008, "num_attention_heads": 16,
        "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True, "max_position_embeddings": 1024,
    }  # fmt: skip
    derived, known = derive(config, "mine"), preset("qwen3b")
    assert derived.shape == known.shape
    assert derived.vram_gb == known.vram_gb
    assert (derived.rank, derived.learning_rate, derived.max_length) == (16, 2e-4, 1024)
    with pytest.raises(InputError, match="no hidden_size"):
        derive({})
    with pytest.raises(InputError, match="vision and audio are not supported"):
        derive({**config, "vision_config": {}})


def test_parameters_of_a_shape_are_those_of_the_model() -> None:
    from transformers import AutoModelForCausalLM

    from tests.tiny import shared_model

    folder = shared_model(tied=True)
    model = AutoModelForCausalLM.from_pretrained(folder)
    shape = derive(json.loads(Path(folder, "config.json").read_text())).shape
    linear = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if "proj" in name and parameter.ndim == 2
    )
    assert shape.linear_parameters == linear
    assert shape.embedding_parameters == model.get_input_embeddings().weight.numel()
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert shape.lora_parameters(4) == sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def test_names_and_presets_load_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from bptools.models import PRESETS, Machine, choose_dtype, derive, preset, resolve;"
        "preset('qwen3b'); resolve('phi');"
        "print([name for name in ('torch', 'transformers', 'huggingface_hub', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# devices

T4 = Machine(("cuda", "cpu"))
H200 = Machine(("cuda", "cpu"), bf16=True)
M2 = Machine(("mps", "cpu"), bf16=True)
OLD_MAC = Machine(("mps", "cpu"))
EPYC = Machine(bf16=True)
OLD_CPU = Machine()


@pytest.mark.parametrize(
    ("machine", "device", "train", "score"),
    [
        (T4, "cuda", "float32", "float16"),
        (H200, "cuda", "bfloat16", "bfloat16"),
        (M2, "mps", "bfloat16", "bfloat16"),
        (OLD_MAC, "mps", "float32", "float32"),
        (EPYC, "cpu", "bfloat16", "float32"),
        (OLD_CPU, "cpu", "float32", "float32"),
    ],
    ids=[
        "T4",
        "H200",
        "M2",
        "old-mac",
        "epyc",
        "old-cpu",
    ],
)
def test_what_each_machine_gets(machine: Machine, device: str, train: str, score: str) -> None:
    assert choose_device("auto", machine) == device
    assert choose_dtype("auto", device, machine, "train") == train
    assert choose_dtype("auto", device, machine, "score") == score


def test_what_is_asked_for_is_taken_or_refused() -> None:
    assert choose_device("cpu", H200) == "cpu"
    assert choose_device("cuda:1", H200) == "cuda:1"
    assert choose_dtype("auto", "cpu", H200, "train") == "float32"  # the record's bf16 is that of the GPU
    assert choose_dtype("bf16", "cuda", T4) == "bfloat16"
    with pytest.raises(Unavailable, match="no cuda device on this machine; it has mps, cpu"):
        choose_device("cuda", M2)
    for wrong in ("gpu", "cuda:", "cuda:x", "CPU", ""):
        with pytest.raises(UsageError, match="--device is auto"):
            choose_device(wrong, H200)
    with pytest.raises(UsageError, match="slow and overflows on a CPU"):
        choose_dtype("float16", "cpu", EPYC)
    with pytest.raises(UsageError, match="--dtype is auto"):
        choose_dtype("int4", "cuda", H200)


def test_threads_are_the_cores_less_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cpu_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(devices, "_physical_cores", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    for load, threads in [(0.2, 8), (3.4, 5), (50.0, 1)]:
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert cpu_threads() == threads


def test_a_mixture_of_experts_is_as_large_as_all_of_them() -> None:
    config = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
              "head_dim": 16, "vocab_size": 100, "intermediate_size": 256}  # fmt: skip
    attention = 2 * 64 * 16 * 2 * (4 + 2)
    dense = derive(config).shape
    assert dense.linear_parameters == dense.computed_parameters == attention + 2 * 3 * 64 * 256
    shape = derive({**config, "num_experts": 8, "moe_intermediate_size": 32, "num_experts_per_tok": 2}).shape
    assert shape.linear_parameters == attention + 2 * 3 * 64 * 32 * 8
    assert shape.computed_parameters == attention + 2 * 3 * 64 * 32 * 2
    mixtral = derive({**config, "num_local_experts": 8}).shape
    assert mixtral.linear_parameters == attention + 2 * 3 * 64 * 256 * 8


def test_the_base_is_what_adapters_name_with_its_revision(tmp_path: Path) -> None:
    from bptools.models.contenders import Contenders

    def named(name: str, **base: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "adapter_model.safetensors").touch()
        (folder / "adapter_config.json").write_text(json.dumps(base))
        return str(folder)

    first = named("a", base_model_name_or_path="owner/name", revision="abc")
    second = named("b", base_model_name_or_path="owner/name", revision="def")
    assert Contenders([], [first]).models == [ModelName("hub", "owner/name", "abc")]
    assert Contenders([], [first], "v2").models == [ModelName("hub", "owner/name", "v2")]
    assert Contenders(["owner/name"], [first]).models == [ModelName("hub", "owner/name")]
    with pytest.raises(UsageError, match=r"different revisions of 'owner/name' \(abc, def\)"):
        Contenders([], [first, second])
    gone = named("c", base_model_name_or_path="/gone/lib/site-packages/bptools/models/nano")
    assert Contenders([], [gone]).models == [ModelName("nano", "nano", preset="nano")]
    with pytest.raises(InputError, match="no model '/gone/nano'"):
        resolve("/gone/nano")
