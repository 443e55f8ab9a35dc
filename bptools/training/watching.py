"""What is looked at and kept while a model learns: losses, evaluations, checkpoints, the wish to stop.

One callback decides at each step whether to evaluate, save or stop, so that a run that was resumed does at
each step what one that was never interrupted does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import orjson

from bptools.training import checkpoints
from bptools.training.events import Emitter
from bptools.training.stopping import Stop
from bptools.training.triggers import Trigger

_STEP_FIELDS = ("loss", "learning_rate", "grad_norm", "mean_token_accuracy", "num_tokens", "rewards/margins",
                "rewards/accuracies")  # fmt: skip


class Watch:
    """Writes metrics.jsonl and events, evaluates, seals checkpoints, finds the best, stops when asked."""

    def __init__(
        self,
        emit: Emitter,
        stop: Stop,
        *,
        metrics_path: str,
        folder: str,
        evaluate_at: Trigger,
        save_at: Trigger,
        keep: int,
        keep_best: bool,
        patience: int | None,
        facts: dict[str, Any],
    ) -> None:
        self._emit = emit
        self._stop = stop
        self._metrics_path = metrics_path
        self._metrics: Any = None
        self._folder = folder
        self._evaluate_at = evaluate_at
        self._save_at = save_at
        self._keep = keep
        self._keep_best = keep_best
        self._patience = patience
        self._facts = facts
        self.on_eval: Callable[[int], None] = lambda step: None  # called after each evaluation
        self._began = 0.0
        self.tokens = 0
        self.best_step: int | None = None
        self.best_loss = float("inf")
        self.evaluated_at: int | None = None
        self.last_eval: float | None = None
        self.stopped_early = False
        self._worse = 0
        self.losses: list[float] = []
        self.trainer: Any = None  # set before training; TRL's count of tokens is kept over interruptions

    def restore(self, sealed: dict[str, Any], step: int) -> None:
        """Take up what a checkpoint of that step remembers; forget the metrics of later steps."""
        watched = sealed["watched"]
        self.best_step = watched["best_step"]
        self.best_loss = float("inf") if watched["best_loss"] is None else watched["best_loss"]
        self._worse = watched["worse"]
        self.evaluated_at, self.last_eval = watched["evaluated_at"], watched["last_eval"]
        self.tokens = watched["tokens"]
        self.stopped_early = watched["stopped_early"]
        self.losses = cut_lines(self._metrics_path, step)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the metrics."""
        self._metrics = open(self._metrics_path, "ab", buffering=0)  # noqa: SIM115 - closed at the end of training
        self._began = time.monotonic()
        self._stop.steps_running = True
        if self.tokens:
            self.trainer._total_train_tokens = self.tokens
        self._emit("run_start", step=state.global_step, steps=state.max_steps, epochs=args.num_train_epochs)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Decide what this step is for."""
        step = state.global_step
        last = step >= state.max_steps
        if self._evaluate_at(step, last):
            control.should_evaluate = True
        if self._stop.signal:
            control.should_save = True
            control.should_training_stop = True
        elif self._save_at(step, last):
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """Write one line per step."""
        if "loss" not in logs or self._metrics is None:
            return
        self.losses.append(logs["loss"])
        line: dict[str, Any] = {"step": state.global_step, "epoch": state.epoch}
        line |= {name: logs[name] for name in _STEP_FIELDS if name in logs}
        line["seconds"] = round(time.monotonic() - self._began, 3)
        self._metrics.write(orjson.dumps(line) + b"\n")
        self._emit("step", steps=state.max_steps, **line)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, Any], **_: Any) -> None:
        """Remember the best, and stop early when nothing gets better."""
        loss, step = metrics.get("eval_loss"), state.global_step
        if loss is None or not self._stop.steps_running:
            return
        self.evaluated_at, self.last_eval = step, loss
        self._emit("eval", step=step, loss=loss)
        self.on_eval(step)
        if loss < self.best_loss:
            self.best_step, self.best_loss, self._worse = step, loss, 0
            control.should_save = control.should_save or self._keep_best
        else:
            self._worse += 1
            if self._patience is not None and self._worse >= self._patience:
                self.stopped_early = True
                control.should_training_stop = True
                control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the checkpoint, then prune."""
        watched = {
            "best_step": self.best_step,
            "best_loss": self.best_loss,
            "worse": self._worse,
            "evaluated_at": self.evaluated_at,
            "last_eval": self.last_eval,
            "stopped_early": self.stopped_early,
            "tokens": getattr(self.trainer, "_total_train_tokens", 0),
        }
        path = checkpoints.path_of(self._folder, state.global_step)
        checkpoints.seal(path, {**self._facts, "step": state.global_step, "watched": watched})
        checkpoints.prune(self._folder, self._keep, self.best_step if self._keep_best else None)
        self._emit("save", step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the metrics."""
        self._stop.steps_running = False
        if self._metrics is not None:
            os.fsync(self._metrics.fileno())
            self._metrics.close()
            self._metrics = None


def as_callback(watch: Watch) -> Any:
    """Return the callback of transformers that calls a watch."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):  # type: ignore[misc]
        on_train_begin = watch.on_train_begin
        on_step_end = watch.on_step_end
        on_log = watch.on_log
        on_evaluate = watch.on_evaluate
        on_save = watch.on_save
        on_train_end = watch.on_train_end

    return Callback()


def cut_lines(path: str, step: int) -> list[float]:
    """Remove the lines of later steps, and a last one that was cut; return the losses of the others."""
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return []
    kept = [line for line in lines[:-1] if orjson.loads(line)["step"] <= step]
    temporary = path + ".cut"
    with open(temporary, "wb") as file:
        file.write(b"".join(line + b"\n" for line in kept))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return [orjson.loads(line)["loss"] for line in kept]
