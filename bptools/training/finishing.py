"""The end of a training: the best weights, what it was worth, a few answers, and the result on disk."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from bptools.training import checkpoints
from bptools.training.job import Job
from bptools.training.preparing import Prepared
from bptools.training.run_directory import CHECKPOINTS, sync, sync_all

if TYPE_CHECKING:
    from bptools.training.sample_answers import Sampler
    from bptools.training.watching import Watch


def finish(job: Job, prepared: Prepared, trainer: Any, watch: Watch, sampler: Sampler) -> dict[str, Any]:
    """Leave the result in its place; return what the manifest says about the training."""
    state = trainer.state
    result: dict[str, Any] = {
        "steps": state.global_step,
        "epochs": state.epoch,
        "final_loss": watch.losses[-1] if watch.losses else None,
        "tokens": getattr(trainer, "_total_train_tokens", None),
        "stopped_early": watch.stopped_early,
        "best_step": watch.best_step,
        "eval_loss": watch.last_eval,
        "micro_batch": trainer.args.per_device_train_batch_size,
        "rows_per_step": prepared.rows_per_step,
    }
    if _take_best(job, trainer, watch):
        result["eval_loss"] = watch.best_loss
    model = trainer.accelerator.unwrap_model(trainer.model)
    if base_returns(job) and prepared.evaluation is not None:
        trainer.log = lambda *_, **__: None  # trackers would take it for the last point of the curve
        with model.disable_adapter():
            result["eval_loss_before"] = trainer.evaluate().get("eval_loss")
    result["samples"] = sampler.before_and_after(model, base_returns(job))
    for sample in result["samples"]:
        job.emit("sample", **sample)
    save(job, prepared, model)
    return result


def base_returns(job: Job) -> bool:
    """Say whether the untrained model can be had again by switching the adapter off."""
    return job.makes_adapter and not job.settings.adapter and not job.settings.modules_to_save


def _take_best(job: Job, trainer: Any, watch: Watch) -> bool:
    """Go back to the best weights if those of the end are not. Say whether that was done."""
    best = watch.best_step
    if not job.settings.keep_best or best is None or best == trainer.state.global_step:
        return False
    path = checkpoints.path_of(job.run.file(CHECKPOINTS), best)
    if checkpoints.verify(path)[0] is None:
        job.emit(
            "note", message=f"the checkpoint of step {watch.best_step}, the best, is gone; keeping the last"
        )
        return False
    load_weights(job, trainer, path)
    job.emit("note", message=f"step {watch.best_step} was the best; taking its weights")
    return True


def load_weights(job: Job, trainer: Any, path: str) -> None:
    """Put the weights of a checkpoint into the model of a trainer."""
    from safetensors.torch import load_file

    if job.makes_adapter:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(trainer.model, load_file(os.path.join(path, "adapter_model.safetensors")))
    else:
        trainer.model.load_state_dict(load_file(os.path.join(path, "model.safetensors")), strict=False)
        trainer.model.tie_weights()


def take_up(job: Job, trainer: Any, path: str, tokens: int) -> None:
    """Bring a trainer to where a checkpoint was made, without another step."""
    from transformers import TrainerState

    load_weights(job, trainer, path)
    trainer.state = TrainerState.load_from_json(os.path.join(path, "trainer_state.json"))
    trainer._total_train_tokens = tokens


def save(job: Job, prepared: Prepared, model: Any) -> None:
    """Write adapter (or model), tokenizer and chat template, whole or not at all."""
    target = job.run.file(job.plan["result"])
    part = target + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    if job.makes_adapter:
        model.save_pretrained(part, selected_adapters=["default"])  # not `ref`, which DPO adds
        _name_base(job, part)
    else:
        import torch

        model.config.use_cache = True  # off while training
        model.to(getattr(torch, job.dtype)).save_pretrained(part)
    prepared.tokenizer.save_pretrained(part)
    _name_tokenizer(part)
    _let_read(part)
    sync_all(part)  # the manifest vouches for them, and checkpoints are removed after it
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)
    sync(job.run.path)


def _let_read(folder: str) -> None:
    """Give files the permissions that the umask says: safetensors writes weights for their owner only."""
    mask = os.umask(0)
    os.umask(mask)
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            os.chmod(path, 0o666 & ~mask)


def _name_tokenizer(folder: str) -> None:
    """Name a plain tokenizer as transformers 4 knows it too: version 5 calls it and its tokens otherwise."""
    path = os.path.join(folder, "tokenizer_config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    if config.get("tokenizer_class") != "TokenizersBackend":
        return
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.pop("backend", None)
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")


def _name_base(job: Job, folder: str) -> None:
    """Let the adapter name its base as the user did, not as a path of the cache."""
    path = os.path.join(folder, "adapter_config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    model = job.plan["model"]
    config["base_model_name_or_path"] = (
        model["name"] if model["kind"] == "hub" else os.path.abspath(model["path"])
    )
    config["revision"] = model.get("revision")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2, sort_keys=True)
        file.write("\n")
