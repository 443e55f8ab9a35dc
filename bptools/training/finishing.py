"""The end of a training: the best weights, what it was worth, a few answers, and the result on disk."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from bptools.training import checkpoints
from bptools.training.job import Job
from bptools.training.preparing import Prepared
from bptools.training.rows import read_records
from bptools.training.run_directory import CHECKPOINTS, EVALUATION, RECORDS, sync, sync_all

if TYPE_CHECKING:
    from bptools.training.watching import Watch

_SAMPLE_TOKENS = 64


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
    result["samples"] = sampler.before_and_after(model)
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


class Sampler:
    """Answers of the model in training to the same few prompts: those of the first records held out."""

    def __init__(self, job: Job, prepared: Prepared) -> None:
        self._job = job
        self._prepared = prepared
        self.prompts: list[Any] = []
        self.references: list[str] = []
        wanted = job.settings.samples if job.settings.method != "pretrain" else 0
        path = job.run.file(EVALUATION)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            path = job.run.file(RECORDS)
        for record in read_records(path) if wanted else ():
            prompt, reference = _prompt_of(record)
            if prompt:
                self.prompts.append(prompt)
                self.references.append(reference)
            if len(self.prompts) == wanted:
                break

    def answers(self, model: Any) -> list[str]:
        """Return one greedy answer for each prompt; no chance is used, and the model is left as it was."""
        from bptools.models import Generator

        training, cached = model.training, model.config.use_cache
        model.eval()
        model.config.use_cache = True
        generator = Generator(model, self._prepared.tokenizer, self._prepared.renderer, self._job.device)
        raw = isinstance(self.prompts[0], str)
        import torch

        half = self._job.dtype != "float32"  # what is trained is in float32, the rest in 16 bits
        dtype = getattr(torch, self._job.dtype) if half else None
        with torch.autocast(self._job.device.partition(":")[0], dtype=dtype, enabled=half):
            made = generator.complete(self.prompts, max_new_tokens=_SAMPLE_TOKENS, temperature=0, raw=raw)
        model.config.use_cache = cached
        model.train(training)
        return [several[0] for several in made]

    def at(self, step: int, model: Any) -> None:
        """Say the answers of a step."""
        if self.prompts:
            for prompt, answer in zip(self.prompts, self.answers(model)):
                self._job.emit("answer", step=step, prompt=_shown(prompt), text=answer)

    def before_and_after(self, model: Any) -> list[dict[str, Any]]:
        """Return [{prompt, reference, before, after}]; `before` is None where the untrained model is gone."""
        if not self.prompts:
            return []
        after = self.answers(model)
        before: list[str | None] = [None] * len(after)
        if base_returns(self._job):
            with model.disable_adapter():
                before = list(self.answers(model))
        return [
            {"prompt": _shown(prompt), "reference": reference, "before": old, "after": new}
            for prompt, reference, old, new in zip(self.prompts, self.references, before, after)
        ]


def _shown(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _prompt_of(record: dict[str, Any]) -> tuple[Any, str]:
    """Return (what to answer, how the data answers it); a text is continued from its first words."""
    if "text" in record:
        words = record["text"].split(" ")
        return " ".join(words[:12]), " ".join(words[12:40])
    if "messages" in record:
        for index, message in enumerate(record["messages"]):
            if message["role"] == "assistant" and index:
                return record["messages"][:index], str(message["content"])
        return [], ""
    answer = record["chosen"] if "chosen" in record else record["completion"]
    return record["prompt"], str(answer[-1]["content"])


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
        for name in os.listdir(part):  # transformers writes weights for their owner only
            os.chmod(os.path.join(part, name), 0o644)
    prepared.tokenizer.save_pretrained(part)
    _name_tokenizer(part)
    sync_all(part)  # the manifest vouches for them, and checkpoints are removed after it
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)
    sync(job.run.path)


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
