"""Configuration files of other tools: what each key means for bp-train, and who wins."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bptools.core.errors import ConfigError
from bptools.core.settings import Layered, read_table
from bptools.training.config_data import source
from bptools.training.config_keys import _is_known, translate
from bptools.training.settings import Settings

OPTIONS = set(Settings.__dataclass_fields__) | {
    "preset", "eval", "output", "name", "runs", "fresh", "text_field", "map", "role_map", "strict", "limit",
} - {"betas"}  # fmt: skip


def said(*files: str | dict[str, Any]) -> Layered:
    """Translate files, the later the stronger; they are called a.yaml, b.yaml, ..."""
    layers = []
    for name, content in zip("abc", files, strict=False):
        layers.append((f"{name}.yaml", yaml.safe_load(content) if isinstance(content, str) else content))
    return translate(layers, OPTIONS)


def values(*files: str | dict[str, Any]) -> dict[str, Any]:
    return said(*files).values


# one key each


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        # TRL and transformers
        ("model_name_or_path: o/n", {"model": "o/n"}),
        ("lora_r: 8", {"rank": 8}),
        ("use_rslora: true", {"rslora": True}),
        ("lora_target_modules: [q_proj, v_proj]", {"targets": "q_proj,v_proj"}),
        ("lora_target_modules: q_proj, v_proj", {"targets": "q_proj,v_proj"}),
        ("lora_target_modules: all-linear", {"targets": "all-linear"}),
        (r"lora_target_modules: .*\.(q|v)_proj", {"targets": r".*\.(q|v)_proj"}),
        ("use_peft: true", {"full": False}),
        ("use_peft: false", {"full": True}),
        ("bf16: true", {"dtype": "bfloat16"}),
        ("bf16: false", {}),
        ("bf16: auto", {}),
        ("dtype: auto", {}),
        ("torch_dtype: torch.float16", {"dtype": "float16"}),
        ("{torch_dtype: float16, bf16: true}", {"dtype": "bfloat16"}),
        ("warmup_ratio: 0.1", {"warmup": 0.1}),
        ("warmup_steps: 10", {"warmup": 10}),
        ("warmup_steps: 0.05", {"warmup": 0.05}),
        ("{warmup_steps: 0, warmup_ratio: 0.1}", {"warmup": 0.1}),
        ("{warmup_ratio: 0.0, warmup_steps: 5}", {"warmup": 5}),
        ("max_steps: -1", {}),
        ("{max_steps: 60, num_train_epochs: 3}", {"steps": 60}),
        ("{max_steps: -1, num_train_epochs: 3}", {"epochs": 3}),
        ("report_to: none", {}),
        ("report_to: [wandb, tensorboard]", {"log": ["wandb", "tensorboard"]}),
        ("eval_strategy: no", {"eval_every": "never", "eval_split": "0"}),
        ("{eval_strategy: no, eval_steps: 5}", {"eval_every": "never", "eval_split": "0"}),
        ("{eval_strategy: steps, eval_steps: 500}", {"eval_every": "500"}),
        ("{eval_strategy: epoch, eval_steps: 500}", {}),
        ("assistant_only_loss: false", {"loss_on": "all"}),
        ("completion_only_loss: true", {"loss_on": "assistant"}),
        ("load_in_4bit: true", {"quant": "nf4"}),
        ("{load_in_4bit: false, load_in_8bit: true}", {"quant": "int8"}),
        ("gradient_checkpointing: unsloth", {"checkpointing": True}),
        ("save_total_limit: 3", {"keep_checkpoints": 3}),
        ("loss_type: [sigmoid]", {}),
        ("{dataset_name: o/n, dataset_config: c, dataset_train_split: s}", {"sources": ["hf:o/n/c:s"]}),
        ("optim: adamw_torch_fused", {"optimizer": "adamw_torch_fused"}),
        ("use_cpu: true", {"device": "cpu"}),
        # axolotl
        ("base_model: o/n\nfull: true", {"model": "o/n", "full": True}),
        ("adapter: qlora", {"full": False, "quant": "nf4"}),
        ("adapter: lora", {"full": False}),
        ("adapter: ./lora", {"adapter": "./lora"}),
        ("base_model: o/n\nadapter:", {"model": "o/n", "full": True}),
        ("lora_target_linear: true\nlora_target_modules: [q_proj]", {"targets": "all-linear"}),
        ("lora_target_linear: false", {}),
        ("train_on_inputs: false", {"loss_on": "assistant"}),
        ("train_on_inputs: true", {"loss_on": "all"}),
        ("val_set_size: 0.05", {"eval_split": "5%"}),
        ("val_set_size: 0", {"eval_split": "0"}),
        ("val_set_size: 200", {"eval_split": "200"}),
        ("rl: dpo", {"method": "dpo"}),
        ("rl: true", {"method": "dpo"}),
        ("rl: orpo\norpo_alpha: 0.2", {"method": "orpo", "beta": 0.2}),
        ("chat_template: tokenizer_default", {"chat_template": "auto"}),
        ("chat_template: chatml", {"chat_template": "chatml"}),
        ("chat_template: qwen_25", {}),
        ("excess_length_strategy: truncate", {"long": "truncate"}),
        ("datasets: [{path: a/b, type: alpaca, split: x}, {path: ./c.jsonl}]", {"sources": ["hf:a/b:x", "./c.jsonl"]}),
        ("datasets: [{path: json, data_files: [a.jsonl, b.jsonl]}]", {"sources": ["a.jsonl", "b.jsonl"]}),
        ("test_datasets: [{path: e.jsonl}]\nval_set_size: 0", {"eval": ["e.jsonl"]}),
        ("dataset_mixture: {datasets: [{id: a/b, config: c, weight: 1.0}], test_split_size: 100, seed: 0}",
         {"sources": ["hf:a/b/c"], "eval_split": "100"}),
        ("adapter: qlora\nunfrozen_parameters: [lm_head]", {"full": False, "quant": "nf4"}),
        ("pretraining_dataset: t/c", {"sources": ["hf:t/c"], "method": "cpt"}),
        ("peft: {backend: bnb, weight_dtype: nf4}", {"quant": "nf4"}),
        # LLaMA-Factory
        ("stage: pt", {"method": "cpt"}),
        ("{stage: dpo, pref_loss: orpo, pref_beta: 0.3}", {"method": "orpo", "beta": 0.3}),
        ("{stage: sft, pref_loss: sigmoid}", {"method": "sft"}),
        ("finetuning_type: full", {"full": True}),
        ("finetuning_type: lora\nlora_target: all", {"full": False, "targets": "all-linear"}),
        ("cutoff_len: 2048", {"max_length": 2048}),
        ("template: llama3", {"chat_template": "llama3"}),
        ("template: some_new_one", {}),
        ("pure_bf16: true", {"dtype": "bfloat16"}),
        ("quantization_bit: 4", {"quant": "nf4"}),
        ("quantization_bit: 8", {"quant": "int8"}),
        ("train_on_prompt: true", {"loss_on": "all"}),
        ("neat_packing: true", {"packing": True}),
        ("additional_target: embed_tokens,lm_head", {"modules_to_save": ["embed_tokens", "lm_head"]}),
        ("disable_gradient_checkpointing: true", {"checkpointing": False}),
        # the reference systems
        ("backend: {type: pytorch, device: mps, dtype: float16}", {"device": "mps", "dtype": "float16"}),
        ("{lr: 1.0e-4, train_epochs: 10}", {"learning_rate": 1e-4, "epochs": 10}),
        ("validation_step_trigger: 500", {"eval_every": "500"}),
        ("validation_step_trigger: {every: 500}", {"eval_every": "500"}),
        ("validation_step_trigger: {at: 1000}", {"eval_every": "at:1000"}),
        ("validation_step_trigger: {at: [100, 500]}", {"eval_every": "at:100,500"}),
        ("validation_step_trigger: [100, 500]", {"eval_every": "at:100,500"}),
        ("save_step_trigger: {every: 100}", {"save_every": 100}),
        ("save_step_trigger: [100]", {}),
        ("optimizer: {name: AdamW, lr: 0.001, weight_decay: 0.1}",
         {"optimizer": "adamw_torch", "learning_rate": 0.001, "weight_decay": 0.1}),
        ("scheduler: {type: CosineAnnealingLR, warmup_steps: 5}", {"schedule": "cosine", "warmup": 5}),
        ("optimizer: AdamW\nlr_scheduler: ConstantLR", {"optimizer": "adamw_torch", "schedule": "constant"}),
        ("lora: {rank: 8, alpha: 16, dropout: 0.05, target_modules: [q_proj]}",
         {"rank": 8, "alpha": 16, "dropout": 0.05, "targets": "q_proj"}),
        # our own
        ("{learning-rate: 1.0e-3, eval-every: 'at:1,2'}", {"learning_rate": 1e-3, "eval_every": "at:1,2"}),
        ("{eval_every: {every: 5}}", {"eval_every": "5"}),
    ],
)  # fmt: skip
def test_what_a_key_means(content: str, meant: dict[str, Any]) -> None:
    assert values(content) == meant


# the batch


@pytest.mark.parametrize(
    ("content", "step", "rows"),
    [
        ("{per_device_train_batch_size: 2, gradient_accumulation_steps: 8}", 16, 2),
        ("{micro_batch_size: 4}", 4, 4),
        ("{micro_batch: 4}", None, 4),
        ("{batch_size: 16, micro_batch: 4}", 16, 4),
        ("{micro_batch: 4, gradient_accumulation_steps: 2}", 8, 4),
        ("{base_model: x, batch_size: 16, gradient_accumulation_steps: 8, adapter: lora}", 16, 2),
        ("{base_model: x, batch_size: 16, micro_batch_size: 4, adapter: lora}", 16, 4),
        ("{train_epochs: 1, batch_size: 4, gradient_accumulation_steps: 2}", 8, 4),
        ("{train_epochs: 1, batch_size: 32}", 32, 32),
        ("{gradient_accumulation_steps: 2}", None, None),
    ],
)
def test_a_step_is_rows_times_passes(content: str, step: int | None, rows: int | None) -> None:
    found = values(content)
    assert (found.get("batch_size"), found.get("micro_batch")) == (step, rows)


def test_the_batch_over_several_files() -> None:
    first = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
    found = said(first, {"gradient_accumulation_steps": 4})
    assert found.values["batch_size"] == 8
    assert found.origins["batch_size"] == (
        "a.yaml (per_device_train_batch_size x gradient_accumulation_steps of b.yaml)"
    )
    assert values(first, {"batch_size": 5}) == {"batch_size": 5, "micro_batch": 2}
    assert values(first, {"micro_batch": 1}) == {"batch_size": 16, "micro_batch": 1}, "how, not how much"
    assert values(first, {"per_device_train_batch_size": 1}) == {"batch_size": 8, "micro_batch": 1}


# layers


def test_a_later_file_wins_under_any_name() -> None:
    found = said({"lora_r": 8, "max_steps": 60}, {"rank": 16}, {"num_epochs": 2})
    assert found.values == {"rank": 16, "epochs": 2}
    assert found.origins == {"rank": "b.yaml", "epochs": "c.yaml (num_epochs)"}
    assert found.warnings == []
    assert values({"lora_r": 8}, {"lora_rank": None}) == {}, "no value leaves it open again"
    assert values({"bf16": True, "load_in_4bit": True}, {"bf16": False, "load_in_4bit": False}) == {}
    assert values({"adapter": "qlora"}, {"adapter": "lora"}) == {"full": False}
    assert values({"max_steps": 5}, {"max_steps": -1}) == {}
    assert values({"preset": "nano"}, {"base_model": "o/n", "adapter": "lora"})["model"] == "o/n"
    assert "preset" not in values({"preset": "nano"}, {"base_model": "o/n"})
    merged = values({"backend": {"device": "cpu"}, "role_map": {"a": "user"}},
                    {"backend": {"dtype": "float32"}, "role_map": {"b": "system"}})  # fmt: skip
    assert merged == {"device": "cpu", "dtype": "float32", "role_map": {"a": "user", "b": "system"}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{lora_r: 8, rank: 16}", "a.yaml: 'lora_r: 8' and 'rank: 16' disagree"),
        ("{bf16: true, fp16: true}", "'bf16: true' and 'fp16: true' disagree"),
        ("{warmup_ratio: 0.1, warmup_steps: 5}", "'warmup_ratio: 0.1' and 'warmup_steps: 5' disagree"),
        ("{lora_r: 8, lora: {rank: 4}}", "'lora_r: 8' and 'lora.rank: 4' disagree"),
        ("{finetuning_type: full, quantization_bit: 4}", "'finetuning_type: full' and 'quantization_bit: 4' disagree"),
        ("{batch_size: 5, micro_batch_size: 2, gradient_accumulation_steps: 2}", "'batch_size: 5' is not 'micro_batch_size: 2' times"),
        ("{batch_size: 4, gradient_accumulation_steps: 2}", "of a step or of a pass?"),
        ("{base_model: x, batch_size: 5, gradient_accumulation_steps: 2}", "disagree"),
        ("lora_rr: 8", "unknown key 'lora_rr' for bp-train; did you mean 'lora-r'?"),
        ("{backend: {devise: cpu}}", "unknown key 'backend.devise' for bp-train; did you mean 'backend.device'?"),
        ("sources: [a]", "unknown key 'sources'"),
        ("stage: ppo", "stage: ppo: bp-train has the stages sft, pt, dpo, kto"),
        ("rl: grpo", "rl: grpo: bp-train has dpo, kto and orpo"),
        ("finetuning_type: freeze", "bp-train trains lora or full"),
        ('chat_template: "{% for x in y %}"', "chat_template: ...: write the template into a file and name it"),
        ("unfrozen_parameters: [lm_head]", "write full: true, or modules_to_save"),
        ("use_galore: true", "bp-train has no GaLore"),
        ("pref_loss: simpo", "bp-train has sigmoid (dpo) and orpo"),
        ("bnb_4bit_quant_type: fp4", "the 4 bits of bp-train are nf4"),
        ("warmup_ratio: 3", "a share below 1; steps are warmup_steps"),
        ("validation_step_trigger: {at: 5, every: 2}", "every: N or at: [N, N]"),
        ("validation_step_trigger: 0", "a whole number from 1"),
        ("load_in_4bit: perhaps", "true or false"),
        ("micro_batch_size: many", "a number"),
        ("micro_batch_size: .inf", "a number"),
        ("{lora_r: .nan, micro_batch_size: .nan}", "micro_batch_size: NaN: a number"),
        ("{sft: {learning_rate: 1}, dpo: {learning_rate: 2}}", "sft and dpo are 2 trainings; choose with method: sft"),
        ("datasets: [{type: alpaca}]", "a list of {path: NAME}"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_refused(content: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        values(content)
    assert message in str(caught.value)
    assert str(caught.value).startswith("a.yaml: ")


def test_what_has_no_meaning_here_is_named_in_one_line() -> None:
    found = said(
        {
            "logging_steps": 10,
            "ddp_timeout": 1,
            "deepspeed": None,
            "fsdp": [],
            "do_train": True,
            "tf32": False,
        },
        {"deepspeed": "ds.json", "save_steps": 0.1, "template": "qwen"},
    )
    assert found.warnings == [
        "not used: logging_steps, ddp_timeout (a.yaml); deepspeed, save_steps, template (b.yaml)"
    ]
    assert "axolotl would train all weights" in said({"base_model": "o/n"}).warnings[0]


# data


def test_data_sets_are_files_or_names_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "set").mkdir()
    assert source("own/set") == "own/set"
    assert source("own/other") == "hf:own/other"
    assert source("wikitext", "wikitext-2") == "hf:wikitext//wikitext-2"
    assert source("s3://x/y.jsonl") == "s3://x/y.jsonl"
    found = said("datasets: [{path: own/set, data_files: a.jsonl, type: {field_output: x}, shards: 4}]")
    assert found.values["sources"] == ["own/set/a.jsonl"]
    assert found.warnings == ["not used: datasets.shards, datasets.type (a.yaml)"]


def test_data_sets_of_llama_factory_are_looked_up(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text(
        '{"identity": {"file_name": "identity.json"}, "chat": {"hf_hub_url": "o/n", "subset": "s"}}'
    )
    found = values({"dataset": "identity,chat,missing", "dataset_dir": str(tmp_path)})
    assert found["sources"] == [f"{tmp_path}/identity.json", "hf:o/n/s", "missing"]


# whole files

AXOLOTL = """
base_model: NousResearch/Meta-Llama-3-8B
model_type: AutoModelForCausalLM
tokenizer_type: AutoTokenizer
load_in_8bit: false
load_in_4bit: true
strict: true
datasets:
  - path: tatsu-lab/alpaca
    type: alpaca
dataset_prepared_path:
val_set_size: 0.05
output_dir: ./outputs/qlora-out
adapter: qlora
lora_model_dir:
sequence_len: 4096
sample_packing: true
pad_to_sequence_len: true
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_modules:
lora_target_linear: true
wandb_project:
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 4
optimizer: paged_adamw_32bit
lr_scheduler: cosine
learning_rate: 2e-4
train_on_inputs: false
group_by_length: false
bf16: auto
fp16:
tf32: false
gradient_checkpointing: true
logging_steps: 1
flash_attention: true
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
weight_decay: 0.0
special_tokens:
  pad_token: "<|end_of_text|>"
"""
LLAMA_FACTORY = """
### model
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
trust_remote_code: true
### method
stage: dpo
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all
pref_beta: 0.1
pref_loss: sigmoid  # choices: [sigmoid (dpo), orpo, simpo]
### dataset
dataset: data/dpo_en_demo.json
template: llama3
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
### output
output_dir: saves/llama3-8b/lora/dpo
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 5.0e-6
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
### eval
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""
TRL = """
model_name_or_path: Qwen/Qwen2.5-0.5B
model_revision: main
dataset_name: trl-lib/Capybara
dataset_train_split: train
use_peft: true
lora_r: 16
lora_alpha: 32
lora_target_modules: [q_proj, k_proj, v_proj, o_proj]
learning_rate: 2.0e-4
max_length: 1024
packing: true
assistant_only_loss: true
per_device_train_batch_size: 8
gradient_accumulation_steps: 2
num_train_epochs: 1
warmup_ratio: 0.03
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {min_lr_rate: 0.1}
neftune_noise_alpha: 5
eval_strategy: steps
eval_steps: 100
save_strategy: steps
save_steps: 100
save_total_limit: 2
bf16: true
seed: 7
push_to_hub: true
report_to: [trackio]
output_dir: out
"""
MINDPRINT = """
model: {name: Qwen/Qwen2.5-7B-Instruct, dtype: float16, device: mps}
sft: {epochs_per_topic: 3, learning_rate: 3e-4, batch_size: 4, lora_rank: 8, lora_alpha: 16, target_modules: [q_proj, v_proj]}
dpo: {steps_per_topic: 100, learning_rate: 5e-7, batch_size: 2, beta: 0.1, lora_rank: 1, lora_alpha: 1.0, target_modules: [o_proj]}
thresholds: {accuracy_threshold: 0.7}
pipeline: {merge_after_unit: true}
paths: {data_dir: ./data, output_dir: ./output, checkpoint_dir: ./checkpoints}
logging: {level: INFO}
"""
BBML = """
project: my-experiment
batch_size: 32
optimizer: AdamW
lr: 1e-4
lr_scheduler: ConstantLR
train_epochs: 10
grad_clip_norm: 1.0
logging_backends: [wandb, clearml]
validation_step_trigger:
  every: 500
save_step_trigger: 1000
"""
WHOLE: list[tuple[str, str, dict[str, Any], str]] = [
    ("axolotl", AXOLOTL, {
        "model": "NousResearch/Meta-Llama-3-8B", "quant": "nf4", "full": False, "sources": ["hf:tatsu-lab/alpaca"],
        "eval_split": "5%", "output": "./outputs/qlora-out", "max_length": 4096, "packing": True, "rank": 32,
        "alpha": 16, "dropout": 0.05, "targets": "all-linear", "batch_size": 8, "micro_batch": 2, "epochs": 4,
        "optimizer": "paged_adamw_32bit", "schedule": "cosine", "learning_rate": 2e-4, "loss_on": "assistant",
        "checkpointing": True, "warmup": 10, "weight_decay": 0.0},
     "pad_to_sequence_len, logging_steps, flash_attention, evals_per_epoch, saves_per_epoch, special_tokens"),
    ("llama-factory", LLAMA_FACTORY, {
        "model": "meta-llama/Meta-Llama-3-8B-Instruct", "trust_remote_code": True, "method": "dpo", "full": False,
        "rank": 8, "targets": "all-linear", "beta": 0.1, "sources": ["data/dpo_en_demo.json"],
        "chat_template": "llama3", "max_length": 2048, "max_records": 1000, "output": "saves/llama3-8b/lora/dpo",
        "save_every": 500, "batch_size": 8, "micro_batch": 1, "learning_rate": 5e-6, "epochs": 3.0,
        "schedule": "cosine", "warmup": 0.1, "dtype": "bfloat16", "eval_split": "10%", "eval_every": "500"},
     "preprocessing_num_workers, logging_steps, plot_loss, overwrite_output_dir, ddp_timeout, per_device_eval_batch_size"),
    ("trl", TRL, {
        "model": "Qwen/Qwen2.5-0.5B", "revision": "main", "sources": ["hf:trl-lib/Capybara:train"], "full": False,
        "rank": 16, "alpha": 32, "targets": "q_proj,k_proj,v_proj,o_proj", "learning_rate": 2e-4,
        "max_length": 1024, "packing": True, "loss_on": "assistant", "batch_size": 16, "micro_batch": 8,
        "epochs": 1, "warmup": 0.03, "schedule": "cosine_with_min_lr", "neftune": 5, "eval_every": "100",
        "save_every": 100, "keep_checkpoints": 2, "dtype": "bfloat16", "seed": 7, "log": ["trackio"], "output": "out"},
     "lr_scheduler_kwargs, push_to_hub"),
    ("mindprint sft", MINDPRINT + "method: sft", {
        "model": "Qwen/Qwen2.5-7B-Instruct", "dtype": "float16", "device": "mps", "method": "sft", "epochs": 3,
        "learning_rate": 3e-4, "batch_size": 4, "micro_batch": 4, "rank": 8, "alpha": 16, "targets": "q_proj,v_proj",
        "output": "./output"},
     "dpo, paths.data_dir, paths.checkpoint_dir, thresholds, pipeline, logging"),
    ("mindprint dpo", MINDPRINT + "method: dpo", {
        "model": "Qwen/Qwen2.5-7B-Instruct", "dtype": "float16", "device": "mps", "method": "dpo", "steps": 100,
        "learning_rate": 5e-7, "batch_size": 2, "micro_batch": 2, "beta": 0.1, "rank": 1, "alpha": 1.0,
        "targets": "o_proj", "output": "./output"},
     "sft, paths.data_dir, paths.checkpoint_dir, thresholds, pipeline, logging"),
    ("bbml", BBML, {
        "batch_size": 32, "micro_batch": 32, "optimizer": "adamw_torch", "learning_rate": 1e-4,
        "schedule": "constant", "epochs": 10, "max_grad_norm": 1.0, "log": ["wandb", "clearml"],
        "eval_every": "500", "save_every": 1000},
     "project"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "meant", "unused"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE]
)
def test_whole_files(content: str, meant: dict[str, Any], unused: str, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(content)
    found = translate([("a.yaml", read_table(str(path)))], OPTIONS)
    assert found.values == meant
    assert found.warnings == [f"not used: {unused} (a.yaml)"]


# what there is to know


def test_every_field_of_trl_and_transformers_is_known() -> None:
    folders = [importlib.util.find_spec(name) for name in ("trl", "transformers")]
    if not all(folders):
        pytest.skip("no TRL")
    trl, transformers = (Path(str(spec.origin)).parent for spec in folders if spec)
    files = [trl / "trainer" / f"{name}_config.py" for name in ("base", "sft", "dpo", "kto", "model")]
    unknown = []
    for file in [*files, trl / "scripts" / "utils.py", transformers / "training_args.py"]:
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name != "DatasetConfig":
                names = [entry.target.id for entry in node.body
                         if isinstance(entry, ast.AnnAssign) and isinstance(entry.target, ast.Name)]  # fmt: skip
                unknown += [name for name in names if name not in OPTIONS and not _is_known(name)]
    assert unknown == []


# the command


def bp_train(folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    code = "from bptools.commands.train import main; main()"
    env = {key: value for key, value in os.environ.items() if not key.startswith("BP_")}
    env.update(environment, XDG_CONFIG_HOME=str(folder), PYTHONPATH=str(Path(__file__).parents[2]))
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=folder, env=env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60)  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_flags_and_variables_win_and_show_config_says_where_from(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(AXOLOTL)
    (tmp_path / "b.toml").write_text("[bp-train]\nlora_alpha = 64\nseed = 5\n")
    code, out, err = bp_train(
        tmp_path, "-c", "a.yaml", "-c", "b.toml", "--rank", "8", "--show-config", BP_MAX_LENGTH="512"
    )
    assert code == 0, err
    assert err.startswith("bp-train: not used: pad_to_sequence_len, logging_steps")
    lines = out.splitlines()
    for line in [
        "rank = 8  # command line",
        "max-length = 512  # BP_MAX_LENGTH",
        "alpha = 64.0  # b.toml (lora_alpha)",
        "seed = 5  # b.toml",
        "batch-size = 8  # a.yaml (micro_batch_size x gradient_accumulation_steps)",
        'quant = "nf4"  # a.yaml (load_in_4bit)',
        "learning-rate = 0.0002  # a.yaml",
        "strict = false  # default",
        '# sources = ["hf:tatsu-lab/alpaca"]  # a.yaml (datasets)',
    ]:
        assert line in lines
    code, out, err = bp_train(tmp_path, "mine.jsonl", "-c", "a.yaml", "--show-config")
    assert (code, "sources" in out) == (0, False), "the command line has sources"
    code, out, err = bp_train(tmp_path, "-c", "a.yaml", "--steps", "9", "--preset", "nano", "--show-config")
    assert code == 0, err
    assert "steps = 9  # command line" in out.splitlines()
    assert "# epochs is not set  # a.yaml (num_epochs), but --steps" in out.splitlines()
    assert "# model is not set  # a.yaml (base_model), but --preset" in out.splitlines()
    (tmp_path / "c.yaml").write_text("lorra_r: 8\n")
    code, out, err = bp_train(tmp_path, "-c", "c.yaml")
    assert (code, err) == (
        78,
        "bp-train: c.yaml: unknown key 'lorra_r' for bp-train; did you mean 'lora-r'?\n",
    )
