"""What another tool's key for steps, optimizer, evaluation or checkpoints means for bp-train.

Readers as in config_readers.py.
"""

from __future__ import annotations

from bptools.training.config_readers import Layer, Meaning, Reader
from bptools.training.config_said import Said
from bptools.training.config_tables import OPTIMIZERS, SCHEDULES

_LOGS = ("wandb", "tensorboard", "trackio", "mlflow", "clearml")


def excess(said: Said, layer: Layer) -> Meaning:
    """Read what axolotl does with long records."""
    if said.value not in ("drop", "truncate"):
        raise said.refuse("drop or truncate")
    return {"long": said.value}


def neat_packing(said: Said, layer: Layer) -> Meaning:
    """Read LLaMA-Factory's packing without attention across, which is how ours is; false says nothing."""
    return {"packing": True} if said.truth() else {}


def held_out(said: Said, layer: Layer) -> Meaning:
    """Read a share below 1, or a number of records."""
    number = said.number()
    if number >= 1:
        return {"eval_split": str(said.whole())}
    return {"eval_split": "0" if number <= 0 else f"{number * 100:g}%"}


def trigger(said: Said, layer: Layer) -> Meaning:
    """Read 500, [100, 500], {every: 500} or {at: ...}. {at: 1000} is step 1000, not every 1000 steps."""
    value = said.value
    if isinstance(value, dict):
        if len(value) != 1 or set(value) - {"at", "every"}:
            raise said.refuse("every: N or at: [N, N]")
        ((kind, value),) = value.items()
        if kind == "every" and isinstance(value, list):
            raise said.refuse("every: N or at: [N, N]")
        if kind == "at":
            value = value if isinstance(value, list) else [value]
    if isinstance(value, list):
        return {"eval_every": "at:" + ",".join(str(said._replace(value=step).whole()) for step in value)}
    return {"eval_every": str(said._replace(value=value).whole())}


def save_trigger(said: Said, layer: Layer) -> Meaning:
    """Read how often to save; single steps cannot be named."""
    every = (trigger(said, layer) or {})["eval_every"]
    return None if every.startswith("at:") else {"save_every": int(every)}


def own_eval_every(said: Said, layer: Layer) -> Meaning:
    """Read our own eval_every, which may be a table too."""
    return {"eval_every": said.value} if isinstance(said.value, str) else trigger(said, layer)


def steps_between(option: str) -> Reader:
    """Return the reader of eval_steps and save_steps; a share of all steps cannot be named."""

    def read(said: Said, layer: Layer) -> Meaning:
        other = layer.get("save_strategy")
        elsewhere = option == "save_every" and other is not None and other.value in (False, "no", "epoch")
        if said.number() < 1 or elsewhere:
            return None
        return {option: str(said.whole()) if option == "eval_every" else said.whole()}

    return read


def strategy(said: Said, layer: Layer) -> Meaning:
    """Read when to evaluate: `no` is what YAML reads as false."""
    name = "no" if said.value is False else str(said.value)
    return {"eval_strategy": name} if name in ("no", "epoch", "best") else {}


def saving(said: Said, layer: Layer) -> Meaning:
    """Read when to save: every so many steps, as here, or else."""
    return {} if said.value in ("steps", "best") else None


def resuming(said: Said, layer: Layer) -> Meaning:
    """Read resume_from_checkpoint: bp-train goes on by itself, from the last one."""
    return {} if isinstance(said.value, bool) else None


def kept(said: Said, layer: Layer) -> Meaning:
    """Read how many checkpoints stay; 0 is all of them, which cannot be said here."""
    return {"keep_checkpoints": said.whole()} if said.number() >= 1 else None


def micro(said: Said, layer: Layer) -> Meaning:
    """Read the rows of a forward pass."""
    return {"micro_batch": said.whole()}


def accumulation(said: Said, layer: Layer) -> Meaning:
    """Read the forward passes of a step."""
    if said.value == "auto":  # of DeepSpeed files
        return None
    return {"accumulation": said.whole()}


def max_steps(said: Said, layer: Layer) -> Meaning:
    """Read the number of steps; -1 leaves it to the epochs."""
    return {"steps": said.whole()} if said.number() > 0 else {}


def warmup_steps(said: Said, layer: Layer) -> Meaning:
    """Read steps, or a share below 1 as transformers 5 has it."""
    number, share = said.number(), layer.get("warmup_ratio")
    if not number and share is not None and share.value:
        return {}  # the share counts where there are no steps, as in transformers
    return {"warmup": number if number < 1 else said.whole()}


def warmup_ratio(said: Said, layer: Layer) -> Meaning:
    """Read a share of the steps."""
    if said.number() >= 1 or said.number() < 0:
        raise said.refuse("a share below 1; steps are warmup_steps")
    steps = layer.get("warmup_steps")
    return {} if not said.number() and steps is not None and steps.value else {"warmup": said.number()}


def optimizer(said: Said, layer: Layer) -> Meaning:
    """Read the name of an optimizer, as transformers or as torch call it."""
    return {"optimizer": OPTIMIZERS.get(str(said.value).lower(), said.value)}


def schedule(said: Said, layer: Layer) -> Meaning:
    """Read the name of a schedule, as transformers or as torch call it."""
    return {"schedule": SCHEDULES.get(str(said.value).lower(), said.value)}


def checkpointing(said: Said, layer: Layer) -> Meaning:
    """Read gradient_checkpointing; unsloth's and the offloading ones are on as well."""
    if said.value in ("unsloth", "offload", "offload_disk"):
        return {"checkpointing": True}
    return {"checkpointing": said.truth()}


def no_checkpointing(said: Said, layer: Layer) -> Meaning:
    """Read disable_gradient_checkpointing."""
    return {"checkpointing": False} if said.truth() else {}


def reports(said: Said, layer: Layer) -> Meaning:
    """Read where else to report: `none` is nowhere."""
    names = [name for name in said.words() if name not in ("none", "None")]
    if any(name not in _LOGS for name in names):
        return None
    return {"log": names} if names else {}


def reporting_to(name: str) -> Reader:
    """Return the reader of use_wandb and its like."""
    return lambda said, layer: {"log": [name]} if said.truth() else {}


RUN_READERS: dict[str, Reader] = {
    "accumulate_grad_batches": accumulation,
    "disable_gradient_checkpointing": no_checkpointing,
    "eval_every": own_eval_every,
    "eval_steps": steps_between("eval_every"),
    "eval_strategy": strategy,
    "evaluation_strategy": strategy,
    "excess_length_strategy": excess,
    "gradient_accumulation_steps": accumulation,
    "gradient_checkpointing": checkpointing,
    "logging_backends": reports,
    "lr_scheduler": schedule,
    "lr_scheduler_type": schedule,
    "max_steps": max_steps,
    "max_training_steps": max_steps,
    "micro_batch_size": micro,
    "neat_packing": neat_packing,
    "optim": optimizer,
    "optimizer": optimizer,
    "per_device_batch_size": micro,
    "per_device_train_batch_size": micro,
    "report_to": reports,
    "save_step_trigger": save_trigger,
    "resume_from_checkpoint": resuming,
    "save_strategy": saving,
    "save_steps": steps_between("save_every"),
    "save_total_limit": kept,
    "use_mlflow": reporting_to("mlflow"),
    "use_tensorboard": reporting_to("tensorboard"),
    "use_wandb": reporting_to("wandb"),
    "test_split_size": held_out,
    "val_set_size": held_out,
    "val_size": held_out,
    "validation_step_trigger": trigger,
    "warmup_ratio": warmup_ratio,
    "warmup_steps": warmup_steps,
}
