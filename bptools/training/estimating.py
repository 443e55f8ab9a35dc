"""For --dry-run: what the real run would take of memory and time, from this machine's own speed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bptools.training import memory
from bptools.training.job import Job
from bptools.training.preparing import Prepared

if TYPE_CHECKING:
    from bptools.models.presets import Shape

_UTILISATION = 0.27  # of the speed of a plain product: nano, 36 steps in 37 s on one thread
_PROBE_SECONDS = 0.3
# forward passes beside those that learn, each 2: of the reference; for kto of mismatched pairs too, by both
_WITHOUT_GRADIENT = {"dpo": 2, "kto": 6}


def expectations(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Return {memory, free, steps, seconds}: bytes of one step, and the time of the whole run.

    Raises UsageError for modules that the model lacks, as the real run does.
    """
    from transformers import AutoConfig

    from bptools.models.presets import shape_of
    from bptools.training.modelling import check_modules
    from bptools.training.pretraining import make_config
    from bptools.training.working import micro_batch, steps_of

    settings, folder = job.settings, job.model_folder
    if folder is None:
        config = make_config(prepared.tokenizer, settings.model_config)
    else:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=settings.trust_remote_code)
    check_modules(job, config)
    micro = micro_batch(job, prepared) or 1
    sides = 2 if settings.method in ("dpo", "orpo") else 1  # of a preference, in one pass
    need = memory.exact(
        config,
        settings.rank if job.makes_adapter else None,
        rows=micro * sides,
        length=prepared.counts.longest,
        dtype=job.dtype if job.makes_adapter else "float32",
        checkpointing=bool(settings.checkpointing),
    )
    steps = steps_of(settings, len(prepared.train), prepared.rows_per_step)
    seconds = expected_seconds(job, prepared, shape_of(config.to_dict()), steps)
    return {"memory": need["total"], "free": memory.available(job.device), "steps": steps, "seconds": seconds}


def expected_seconds(job: Job, prepared: Prepared, shape: Shape, steps: int) -> float:
    """Return about how long that many steps take, by the speed of a plain product measured in a moment."""
    settings = job.settings
    weights = shape.computed_parameters + shape.vocab * shape.hidden_size  # the head too, tied or not
    passes = (4 if job.makes_adapter else 6) + (2 if settings.checkpointing else 0)  # of each weight
    passes += _WITHOUT_GRADIENT.get(settings.method or "", 0)
    tokens = prepared.counts.tokens / max(1, len(prepared.train)) * prepared.rows_per_step * steps
    return passes * weights * tokens / (_UTILISATION * speed(job.device, job.dtype))


def speed(device: str, dtype: str) -> float:
    """Return multiplications and additions per second of a plain product, measured in a moment."""
    import torch

    size = 4096 if device.startswith("cuda") else 768
    left = torch.ones(size, size, device=device, dtype=getattr(torch, dtype))
    right = left.clone()
    left @ right
    begun, count = time.perf_counter(), 0
    while True:
        left = (left @ right).clamp_(max=1)
        count += 1
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        passed = time.perf_counter() - begun
        if passed > _PROBE_SECONDS:
            return 2.0 * size**3 * count / passed
