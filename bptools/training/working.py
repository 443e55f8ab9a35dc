"""One training from its first token to its adapter, in the child."""

from __future__ import annotations

import math
import os
import random
import shutil
import time
from typing import Any

from bptools.training import checkpoints, finishing
from bptools.training.batching import divisor, fit_batch, is_out_of_memory, probe_longest, release
from bptools.training.events import AGAIN
from bptools.training.job import Job
from bptools.training.modelling import make_model, parameter_counts
from bptools.training.preparing import Prepared, prepare
from bptools.training.rows import row_length
from bptools.training.run_directory import CHECKPOINTS, METRICS, RESULT, STATE, TENSORBOARD
from bptools.training.sample_answers import Sampler
from bptools.training.settings import Settings
from bptools.training.triggers import parse_trigger, spaced
from bptools.training.watching import Watch, as_callback

_CPU_TOKENS = 4_096  # of a forward pass: beyond, a CPU gains nothing
_SAVES = 10
_LONG_SECONDS = 600


def work(job: Job) -> int:
    """Carry out a job; return the exit status of the command, or AGAIN."""
    from transformers import set_seed

    begun = time.monotonic()
    prepared = prepare(job)
    if job.plan.get("dry_run"):
        from bptools.training.estimating import expectations

        job.emit("estimate", **expectations(job, prepared))
        return 0
    set_seed(job.settings.seed)
    if "tensorboard" in job.settings.log:  # else among the checkpoints, which go when the run is finished
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", os.path.abspath(job.run.file(TENSORBOARD)))
    trainer, micro = _trainer(job, prepared)
    steps = steps_of(job.settings, len(trainer.train_dataset), prepared.rows_per_step)
    watch = _watch(job, micro, steps, prepared.evaluation is not None)
    if job.device == "cpu" and not job.plan.get("small"):
        _say_hours(job, prepared, trainer, steps)
    watch.trainer = trainer
    sampler = Sampler(job, prepared)
    watch.on_eval = lambda step: sampler.at(step, trainer.accelerator.unwrap_model(trainer.model))
    trainer.add_callback(as_callback(watch))
    start = _resume(job, watch, micro)
    trained, total = parameter_counts(trainer.model)
    job.emit(
        "start", step=watch_step(start), steps=steps, micro_batch=micro, trained=trained, parameters=total
    )
    if start is None and prepared.evaluation is not None and not finishing.base_returns(job):
        watch_before = trainer.evaluate()
        job.emit("eval", step=0, loss=watch_before.get("eval_loss"))
    try:
        if start is not None and (watch.stopped_early or watch_step(start) >= steps):
            finishing.take_up(job, trainer, start, watch.tokens)  # a trainer would make one more step
        else:
            trainer.train(resume_from_checkpoint=start)
    except Exception as error:
        if not is_out_of_memory(error) or micro <= least_rows(job.settings):
            raise
        return _smaller(job, trainer, watch, micro, prepared.rows_per_step)
    if job.stop.signal:
        return 128 + job.stop.signal
    result = finishing.finish(job, prepared, trainer, watch, sampler)
    result["seconds"] = round(time.monotonic() - begun, 3)
    job.run.write(RESULT, result)
    job.stop.ended = True
    job.emit("run_end", **result)
    return 0


def watch_step(start: str | None) -> int:
    """Return the step that a checkpoint is of, 0 for none."""
    return int(start.rpartition("-")[2]) if start else 0


def _say_hours(job: Job, prepared: Prepared, trainer: Any, steps: int) -> None:
    """On a CPU say beforehand how long it will take, if that is long."""
    from bptools.core.sizes import shown_duration
    from bptools.models.presets import shape_of
    from bptools.training.estimating import expected_seconds

    seconds = expected_seconds(job, prepared, shape_of(trainer.model.config.to_dict()), steps)
    if seconds > _LONG_SECONDS:
        job.emit(
            "note",
            message=f"on this CPU it takes about {shown_duration(seconds)}; "
            "Ctrl-C saves, the same line goes on",
        )


def _trainer(job: Job, prepared: Prepared) -> tuple[Any, int]:
    from bptools.training.backends.trainers import make_trainer

    settings, batch = job.settings, prepared.rows_per_step

    def build(micro: int) -> Any:
        model, peft_config = make_model(job, prepared.tokenizer)
        return make_trainer(
            settings,
            model,
            prepared.tokenizer,
            prepared.train,
            prepared.evaluation,
            output=job.run.file(CHECKPOINTS),
            micro=micro,
            batch=batch,
            device=job.device,
            dtype=job.dtype,
            peft_config=peft_config,
            reference=_reference(job),
        )

    given = micro_batch(job, prepared)
    if given is not None:
        return build(given), _remember(job, given)
    held: dict[str, Any] = {}

    def probe(micro: int) -> None:
        held.clear()
        release()
        held["trainer"] = build(micro)
        rows = held["trainer"].train_dataset
        order = sorted(range(min(len(rows), 20_000)), key=lambda index: -row_length(rows[index]))
        with _same_chance():
            probe_longest(held["trainer"], [rows[index] for index in order[:micro]])

    micro, probes = fit_batch(batch, batch, probe, least_rows(job.settings))
    job.emit("note", message=f"micro batch {micro} of {batch}, found in {probes} probes")
    return held["trainer"], _remember(job, micro)


def _reference(job: Job) -> Any:
    """Return the frozen model that --ref-model names, None where the trained one is its own reference."""
    folder = job.plan.get("reference")
    if not folder:
        return None
    from bptools.models import load_model

    return load_model(folder, device=job.device, dtype=job.dtype)


def micro_batch(job: Job, prepared: Prepared) -> int | None:
    """Return the rows per forward pass, None where only a probe can tell.

    The smaller one of that of an interrupted run and the one given. A CPU takes one packed row, or what makes
    some 4,096 tokens.
    """
    settings, batch = job.settings, prepared.rows_per_step
    known = [(job.run.read(STATE) or {}).get("micro_batch"), settings.micro_batch]
    given = min((size for size in known if size), default=None)
    if given is None:
        if job.device != "cpu":
            return None
        packed = settings.packing and settings.method != "pretrain"
        wanted = 1 if packed else _CPU_TOKENS // prepared.counts.longest
        return divisor(batch, max(wanted, least_rows(settings)))
    micro = divisor(batch, given)
    if micro != given:
        job.emit(
            "note", message=f"micro batch {given} does not divide the {batch} rows of a step; taking {micro}"
        )
    return micro


def least_rows(settings: Settings) -> int:
    """Return the fewest rows of a forward pass: kto compares each one with another of its micro batch."""
    return 2 if settings.method == "kto" else 1


def _remember(job: Job, micro: int) -> int:
    """Keep the micro batch for a run that is resumed: another one rounds differently."""
    state = job.run.read(STATE) or {}
    if state.get("micro_batch") != micro:
        job.run.write(STATE, {**state, "micro_batch": micro})
    return micro


class _same_chance:  # noqa: N801
    """What happens inside does not change what chance brings afterwards."""

    def __enter__(self) -> None:
        import numpy as np
        import torch

        self._kept = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None

    def __exit__(self, *_: object) -> None:
        import numpy as np
        import torch

        random.setstate(self._kept[0])
        np.random.set_state(self._kept[1])
        torch.set_rng_state(self._kept[2])
        if self._cuda is not None:
            torch.cuda.set_rng_state_all(self._cuda)


def steps_of(settings: Settings, rows: int, rows_per_step: int) -> int:
    """Return the optimizer steps that a training will make."""
    if settings.steps:
        return settings.steps
    return math.ceil((settings.epochs or 1) * math.ceil(rows / rows_per_step))


def _watch(job: Job, micro: int, steps: int, has_evaluation: bool) -> Watch:
    settings = job.settings
    evaluate = settings.eval_every or spaced(steps, 5, 20, 500)
    save = str(settings.save_every) if settings.save_every else spaced(steps, _SAVES, 10, 500)
    if job.plan["evaluation"] and not has_evaluation:
        job.emit("note", message="none of the records held out is left to evaluate on; nothing is evaluated")
    return Watch(
        job.emit,
        job.stop,
        metrics_path=job.run.file(METRICS),
        folder=job.run.file(CHECKPOINTS),
        evaluate_at=parse_trigger(evaluate if has_evaluation else "never", "--eval-every"),
        save_at=parse_trigger(save, "--save-every"),
        keep=settings.keep_checkpoints,
        keep_best=settings.keep_best,
        patience=settings.early_stopping,
        facts={"id": job.plan["id"], "micro_batch": micro, "device": job.device, "dtype": job.dtype},
    )


def _resume(job: Job, watch: Watch, micro: int) -> str | None:
    """Return the checkpoint to go on from, if there is a whole one of this very run."""
    folder = job.run.file(CHECKPOINTS)
    path, sealed, complaints = checkpoints.newest(folder)
    for complaint in complaints:
        job.emit("note", message=complaint)
    if path is not None and sealed["id"] != job.plan["id"]:
        path = None
    if path is None:
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.exists(job.run.file(METRICS)):
            os.unlink(job.run.file(METRICS))
        return None
    watch.restore(sealed, sealed["step"])
    job.emit("note", message=f"going on from step {sealed['step']}")
    return path


def _smaller(job: Job, trainer: Any, watch: Watch, micro: int, batch: int) -> int:
    """Memory ran out in the middle: save the last whole step, halve, and let a new child go on."""
    smaller = divisor(batch, micro // 2)
    job.emit(
        "note",
        message=f"out of memory at step {trainer.state.global_step + 1}; micro batch {micro} -> {smaller}",
    )
    try:
        trainer.model.zero_grad(set_to_none=True)
        release()
        if trainer.state.global_step > watch_step(checkpoints.newest(job.run.file(CHECKPOINTS))[0]):
            trainer._save_checkpoint(trainer.model, trial=None)
            watch.on_save(trainer.args, trainer.state, trainer.control)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    _remember(job, smaller)
    return AGAIN
