"""One training as the child sees it: its plan, its directory, its device, and where to say what happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bptools.training.events import Emitter
from bptools.training.run_directory import PLAN, RunDirectory
from bptools.training.settings import Settings, from_json
from bptools.training.stopping import Stop


@dataclass
class Job:
    """A plan that is being carried out."""

    run: RunDirectory
    plan: dict[str, Any]
    settings: Settings
    device: str
    dtype: str
    emit: Emitter
    stop: Stop

    @property
    def model_folder(self) -> str | None:
        """Where the base model lies; None where the model is made from nothing."""
        path = self.plan["model"].get("path")
        return str(path) if path else None

    @property
    def makes_adapter(self) -> bool:
        """Whether an adapter is trained, not all weights."""
        return not self.settings.full and self.settings.method != "pretrain"


def open_job(path: str, emit: Emitter, stop: Stop) -> Job:
    """Return the job of a run directory; chooses device, number format and threads of torch."""
    import os

    import torch

    from bptools.models.devices import choose_device, choose_dtype, cpu_threads, this_machine

    run = RunDirectory(path)
    plan = run.read(PLAN) or {}
    settings = from_json(plan["settings"])
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(settings.threads or cpu_threads())
    machine = this_machine()
    device = choose_device(settings.device, machine)
    wanted = settings.dtype or "auto"
    if wanted == "auto" and device == "cpu" and plan.get("small"):
        wanted = (
            "float32"  # of a few million weights bfloat16 takes longer: the casts cost more than they save
        )
    dtype = choose_dtype(wanted, device, machine, "train")
    return Job(run, plan, settings, device, dtype, emit, stop)
