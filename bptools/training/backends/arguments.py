"""Our settings under the names of transformers and TRL, in one place: a renamed argument is one line here."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bptools.core.errors import BpError

if TYPE_CHECKING:
    from bptools.training.settings import Settings


def common(
    settings: Settings, *, output: str, micro: int, batch: int, device: str, dtype: str
) -> dict[str, Any]:
    """Return the arguments that every trainer takes.

    output: a folder in the run's directory. micro, batch: rows per forward pass and per optimizer step; the
    one divides the other.
    """
    beta1, beta2 = settings.betas or (0.9, 0.999)
    steps = {"max_steps": settings.steps} if settings.steps else {"num_train_epochs": settings.epochs}
    return {
        **steps,
        "output_dir": output,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": batch // micro,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup,  # below 1 it is a share of all steps
        "optim": settings.optimizer,
        "weight_decay": settings.weight_decay,
        "adam_beta1": beta1,
        "adam_beta2": beta2,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "full_determinism": settings.deterministic,
        "use_cpu": device == "cpu",
        "bf16": dtype == "bfloat16",
        "fp16": dtype == "float16",
        "neftune_noise_alpha": settings.neftune,
        "gradient_checkpointing": bool(settings.checkpointing),
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is not a number shall be seen as such
        "save_strategy": "no",  # when to look and to save is decided in watching.py
        "eval_strategy": "no",
        "report_to": list(settings.log) or "none",
        "run_name": os.path.basename(os.path.dirname(os.path.abspath(output))),  # as trackers show it
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device.startswith("cuda"),
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "push_to_hub": False,
    }


def build(config_class: Any, values: dict[str, Any]) -> Any:
    """Return a config of a library's class. Raises BpError for a name that its version does not know."""
    known = {entry.name for entry in fields(config_class)}
    renamed = {"gradient_checkpointing": "activation_checkpointing"}
    made = {}
    for name, value in values.items():
        now = renamed.get(name, name)
        made[now if now in known else name] = value
    unknown = sorted(set(made) - known)
    if unknown:
        import transformers
        import trl

        raise BpError(
            f"{config_class.__name__} of trl {trl.__version__} and transformers {transformers.__version__} "
            f"knows no {', '.join(unknown)}; install the versions that bptools[train] names"
        )
    return config_class(**made)
