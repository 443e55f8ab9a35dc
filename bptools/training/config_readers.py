"""What another tool's key for model, method or data means for bp-train, where it is more than another name.

A reader takes (what is said, the whole layer) and returns {option: value}, {} for "says nothing", or None
for "known, but cannot be followed, and does not matter to what is learnt". It raises ConfigError otherwise.
Names that are no option (`accumulation`, `pref_loss`, ...) are worked in by config_keys.finish.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from bptools.training.config_data import datasets, registered, source
from bptools.training.config_said import Said
from bptools.training.config_tables import TEMPLATES

Layer = dict[str, Said]
Meaning = dict[str, Any] | None
Reader = Callable[[Said, Layer], Meaning]


def adapter(said: Said, layer: Layer) -> Meaning:
    """Read axolotl's `adapter: qlora`, or our folder."""
    if said.value == "lora":
        return {"full": False}
    if said.value == "qlora":
        return {"full": False, "quant": "nf4"}
    if said.value in ("llama-adapter", "ia3"):
        raise said.refuse("bp-train trains lora and qlora")
    return {"adapter": said.value}


def adapters(said: Said, layer: Layer) -> Meaning:
    """Read the folder of an adapter to go on with."""
    names = said.words()
    if len(names) != 1:
        raise said.refuse("bp-train goes on with one adapter")
    return {"adapter": names[0]}


def finetuning_type(said: Said, layer: Layer) -> Meaning:
    """Read lora or full."""
    if said.value not in ("lora", "full"):
        raise said.refuse("bp-train trains lora or full")
    return {"full": said.value == "full"}


def use_peft(said: Said, layer: Layer) -> Meaning:
    """Read TRL's switch between an adapter and all weights."""
    return {"full": not said.truth()}


def stage(said: Said, layer: Layer) -> Meaning:
    """Read LLaMA-Factory's stage."""
    methods = {"sft": "sft", "pt": "cpt", "dpo": "dpo", "kto": "kto"}
    if said.value not in methods:
        raise said.refuse("bp-train has the stages " + ", ".join(methods))
    return {"method": methods[said.value]}


def reinforcement(said: Said, layer: Layer) -> Meaning:
    """Read axolotl's rl."""
    value = "dpo" if said.value is True else said.value
    if value is False:
        return {}
    if value not in ("dpo", "kto", "orpo"):
        raise said.refuse("bp-train has dpo, kto and orpo")
    return {"method": value}


def pref_loss(said: Said, layer: Layer) -> Meaning:
    """Read LLaMA-Factory's loss of the stage dpo."""
    if said.value not in ("sigmoid", "orpo"):
        raise said.refuse("bp-train has sigmoid (dpo) and orpo")
    return {"pref_loss": said.value}


def loss_type(said: Said, layer: Layer) -> Meaning:
    """Read TRL's loss, of which the ordinary ones are ours."""
    if not set(said.words()) <= {"nll", "chunked_nll", "sigmoid", "kto"}:
        raise said.refuse("bp-train has nll (sft), sigmoid (dpo) and kto")
    return {}


def reference_strategy(said: Said, layer: Layer) -> Meaning:
    """Read mindprint's ref_model_strategy; ours is shared."""
    if str(said.value) not in ("shared", "copy"):
        raise said.refuse("dpo needs a reference; take orpo for none")
    return {}


def four_bit(said: Said, layer: Layer) -> Meaning:
    """Read load_in_4bit."""
    return {"quant": "nf4"} if said.truth() else {}


def eight_bit(said: Said, layer: Layer) -> Meaning:
    """Read load_in_8bit."""
    return {"quant": "int8"} if said.truth() else {}


def quantization_bit(said: Said, layer: Layer) -> Meaning:
    """Read LLaMA-Factory's 4 or 8."""
    if str(said.value) not in ("4", "8"):
        raise said.refuse("bp-train holds weights in 4 or 8 bits")
    return {"quant": "nf4" if str(said.value) == "4" else "int8"}


def quantization_type(said: Said, layer: Layer) -> Meaning:
    """Read the kind of the 4 bits."""
    if said.value != "nf4":
        raise said.refuse("the 4 bits of bp-train are nf4")
    return {}


def quantization_method(said: Said, layer: Layer) -> Meaning:
    """Read LLaMA-Factory's library for that; only bitsandbytes is ours."""
    if said.value not in ("bitsandbytes", "bnb"):
        raise said.refuse("bp-train has bitsandbytes")
    return {}


def weight_dtype(said: Said, layer: Layer) -> Meaning:
    """Read axolotl's peft.weight_dtype."""
    if said.value not in ("nf4", "int8"):
        raise said.refuse("bp-train has nf4 and int8")
    return {"quant": said.value}


def switch_of(dtype: str) -> Reader:
    """Return the reader of `bf16: true` and its like; false and auto leave it open."""

    def read(said: Said, layer: Layer) -> Meaning:
        if said.value in ("auto", "full"):
            return {"dtype": dtype} if said.value == "full" else {}
        return {"dtype": dtype} if said.truth() else {}

    return read


def dtype_name(said: Said, layer: Layer) -> Meaning:
    """Read the name of a type: of the weights, so that `bf16: true` beside it says what is computed in."""
    if any(key in layer and layer[key].value is True for key in ("bf16", "fp16", "pure_bf16")):
        return {}
    name = str(said.value).removeprefix("torch.")
    short = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
    return {} if name == "auto" else {"dtype": short.get(name, name)}


def device(said: Said, layer: Layer) -> Meaning:
    """Read a device; `gpu` is what MLX calls it."""
    return {"device": "auto" if said.value == "gpu" else said.value}


def use_cpu(said: Said, layer: Layer) -> Meaning:
    """Read use_cpu and no_cuda."""
    return {"device": "cpu"} if said.truth() else {}


def backend_type(said: Said, layer: Layer) -> Meaning:
    """Read mindprint's backend: pytorch is ours; what Apple's chips do better is not ours to choose here."""
    return {} if str(said.value) in ("pytorch", "torch", "auto") else None


def targets(said: Said, layer: Layer) -> Meaning:
    """Read a list of modules, `all`, or a regular expression."""
    if isinstance(said.value, str) and not said.value.replace(",", "").replace(" ", "").isidentifier():
        if said.value in ("all-linear", "all_linear"):
            return {"targets": "all-linear"}
        if "," not in said.value:
            return {"targets": said.value}
    names = said.words()
    whole = any(name in ("all", "all-linear", "all_linear") for name in names)
    linear = layer.get("lora_target_linear")
    if linear is not None and linear.value and linear.truth():
        whole = True
    return {"targets": "all-linear" if whole else ",".join(names)} if names else {}


def target_linear(said: Said, layer: Layer) -> Meaning:
    """Read axolotl's lora_target_linear, which adds all linear layers to the list."""
    return {"targets": "all-linear"} if said.truth() else {}


def unfrozen(said: Said, layer: Layer) -> Meaning:
    """Read axolotl's unfrozen_parameters, which with an adapter say nothing."""
    if "adapter" in layer and layer["adapter"].value:
        return None
    raise said.refuse("write full: true, or modules_to_save")


def saved_modules(said: Said, layer: Layer) -> Meaning:
    """Read a list of modules that are trained whole."""
    return {"modules_to_save": said.words()}


def template(said: Said, layer: Layer) -> Meaning:
    """Read the name of a chat template: ours, or one that the model brings itself."""
    name = str(said.value)
    if name == "jinja":
        return {}
    if "{" in name:
        raise said._replace(value="...").refuse("write the template into a file and name it")
    if name.startswith("tokenizer_default_fallback_"):
        return {"chat_template": "auto"}
    if name in TEMPLATES:
        ours = TEMPLATES[name]
        return None if ours is None else {"chat_template": ours}
    if said.key == "template":
        return None
    return {"chat_template": name}


def template_file(said: Said, layer: Layer) -> Meaning:
    """Read a path of a template, or of a model that has one."""
    path = str(said.value)
    if "{" in path or "\n" in path:
        raise said._replace(value="...").refuse("write the template into a file and name it")
    if os.path.isdir(path) or not (os.path.exists(path) or path.endswith((".jinja", ".j2", ".txt"))):
        return {"chat_template": f"from:{path}"}
    return {"chat_template": path}


def learnt(all_of_it: bool) -> Reader:
    """Return the reader of a switch that, when on, has everything learnt (or, if not, answers only)."""

    def read(said: Said, layer: Layer) -> Meaning:
        return {"loss_on": "all" if said.truth() == all_of_it else "assistant"}

    return read


def text_field(said: Said, layer: Layer) -> Meaning:
    """Read TRL's dataset_text_field; `text` is found without being told."""
    return {} if said.value == "text" else {"text_field": said.value}


def data(option: str) -> Reader:
    """Return the reader of a list of data sets."""

    def read(said: Said, layer: Layer) -> Meaning:
        sources, unused = datasets(said)
        return {option: sources, "unused": unused}

    return read


def pretraining(said: Said, layer: Layer) -> Meaning:
    """Read axolotl's pretraining_dataset: text, whose every token is learnt."""
    return {**(data("sources")(said, layer) or {}), "method": "cpt"}


def named_data(said: Said, layer: Layer) -> Meaning:
    """Read TRL's dataset_name with its config and split."""
    about = {key: layer[key].value for key in ("dataset_config", "dataset_train_split") if key in layer}
    return {
        "sources": [source(str(said.value), about.get("dataset_config"), about.get("dataset_train_split"))]
    }


def registered_data(option: str) -> Reader:
    """Return the reader of LLaMA-Factory's dataset and eval_dataset."""

    def read(said: Said, layer: Layer) -> Meaning:
        folder = str(layer["dataset_dir"].value) if "dataset_dir" in layer else "data"
        return {option: registered(said, folder)}

    return read


MODEL_READERS: dict[str, Reader] = {
    "adapter": adapter,
    "adapter_name_or_path": adapters,
    "additional_target": saved_modules,
    "assistant_only_loss": learnt(False),
    "backend_type": backend_type,
    "bf16": switch_of("bfloat16"),
    "bfloat16": switch_of("bfloat16"),
    "bnb_4bit_quant_type": quantization_type,
    "chat_template": template,
    "chat_template_jinja": template_file,
    "chat_template_path": template_file,
    "completion_only_loss": learnt(False),
    "dataset": registered_data("sources"),
    "dataset_name": named_data,
    "dataset_text_field": text_field,
    "datasets": data("sources"),
    "device": device,
    "dtype": dtype_name,
    "eval": lambda said, layer: {"eval": said.words()},
    "eval_dataset": registered_data("eval"),
    "finetuning_type": finetuning_type,
    "float16": switch_of("float16"),
    "float32": switch_of("float32"),
    "fp16": switch_of("float16"),
    "load_in_4bit": four_bit,
    "load_in_8bit": eight_bit,
    "lora_model_dir": adapters,
    "lora_modules_to_save": saved_modules,
    "lora_target": targets,
    "lora_target_linear": target_linear,
    "lora_target_modules": targets,
    "loss_type": loss_type,
    "no_cuda": use_cpu,
    "pref_loss": pref_loss,
    "pretraining_dataset": pretraining,
    "pure_bf16": switch_of("bfloat16"),
    "quantization_bit": quantization_bit,
    "quantization_method": quantization_method,
    "quantization_type": quantization_type,
    "ref_model_strategy": reference_strategy,
    "rl": reinforcement,
    "stage": stage,
    "targets": targets,
    "template": template,
    "test_datasets": data("eval"),
    "torch_dtype": dtype_name,
    "train_on_inputs": learnt(True),
    "train_on_prompt": learnt(True),
    "use_cpu": use_cpu,
    "unfrozen_parameters": unfrozen,
    "use_peft": use_peft,
    "weight_dtype": weight_dtype,
}
