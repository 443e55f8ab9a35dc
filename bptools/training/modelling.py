"""The model to be trained: loaded or made, with what of it is trained."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bptools.core.errors import UsageError
from bptools.training.checking import target_names
from bptools.training.job import Job

_TIED = {"embed_tokens", "lm_head"}


def make_model(job: Job, tokenizer: Any) -> tuple[Any, Any]:
    """Return (model, peft_config): with a config the trainer adds a fresh adapter.

    A model that is to go on with an adapter comes with it, trainable. All weights: kept in float32 whatever
    the number format, which then holds for the products only (autocast).
    """
    from bptools.models import load_model
    from bptools.training.pretraining import build_model

    settings = job.settings
    if settings.method == "pretrain":
        return build_model(tokenizer, settings.model_config, settings.seed).to(job.device), None
    dtype = "float32" if settings.full else job.dtype
    model = load_model(
        job.model_folder or "",
        device=job.device,
        dtype=dtype,
        quant=settings.quant or "none",  # type: ignore[arg-type]
        trust_remote_code=settings.trust_remote_code,
    )
    model.config.use_cache = False
    if settings.quant in ("nf4", "int8"):
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=bool(settings.checkpointing)
        )
    if settings.full:
        return model, None
    if settings.adapter:
        from bptools.models.loading import with_adapter

        return with_adapter(model, "default", settings.adapter, job.device, trainable=True), None
    return model, lora_config(job, model)


def lora_config(job: Job, model: Any) -> Any:
    """Return PEFT's config of the adapter. Raises UsageError for targets that the model does not have."""
    from peft import LoraConfig

    settings = job.settings
    saved = saved_modules(list(settings.modules_to_save), model)
    tied = bool(getattr(model.config, "tie_word_embeddings", False))
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank or 16,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets(settings.targets or "all-linear", model),
        use_rslora=settings.rslora,
        use_dora=settings.dora,
        modules_to_save=saved or None,
        # without it a tied head would get a copy of its own: twice the memory, and a model that unties
        ensure_weight_tying=tied and bool(_TIED & set(saved)),
    )


def targets(text: str, model: Any) -> str | list[str]:
    """Read `all-linear`, names with commas, or a regular expression that full names of modules match."""
    if text == "all-linear":
        return text
    names = target_names(text)
    if names is not None:
        _require_modules("--targets", names, model, lambda name: name.endswith("proj"))
        return names
    if not any(re.fullmatch(text, name) for name, _ in model.named_modules()):
        raise UsageError(f"--targets '{text}' matches no module of this model")
    return text


def saved_modules(names: list[str], model: Any) -> list[str]:
    """Return the names of modules that are trained whole. Raises UsageError for one that the model lacks."""
    whole = {"embed_tokens", "lm_head", "norm", "wte", "wpe", "ln_f"}
    _require_modules("--modules-to-save", names, model, lambda name: name.rpartition(".")[2] in whole)
    return names


def _require_modules(option: str, names: list[str], model: Any, usual: Callable[[str], bool]) -> None:
    modules = [name for name, _ in model.named_modules()]
    for wanted in names:
        if not any(name == wanted or name.endswith("." + wanted) for name in modules):
            known = sorted({name.rpartition(".")[2] for name in modules if usual(name)})
            has = f"; it has {', '.join(known)}" if known else ""
            raise UsageError(f"{option}: no module '{wanted}' in this model{has}")


def check_modules(job: Job, config: Any) -> None:
    """Raise UsageError as `lora_config` would for the model of a configuration, without its weights."""
    settings = job.settings
    if not job.makes_adapter or settings.adapter or not (settings.targets or settings.modules_to_save):
        return
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=settings.trust_remote_code)
    targets(settings.targets or "all-linear", model)
    saved_modules(list(settings.modules_to_save), model)


def parameter_counts(model: Any) -> tuple[int, int]:
    """Return (trained, all) parameters."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trained, sum(parameter.numel() for parameter in model.parameters())
