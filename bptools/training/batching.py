"""The micro batch: as many records per forward pass as memory takes, the effective batch always the same.

A probe runs the longest rows forward and back before the first step, so that a lack of memory shows now and
not after hours. It halves, at most log2(batch) times; only divisors of the batch are tried, so that
accumulation keeps the effective batch exactly.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from bptools.core.errors import BpError, Exit


class NoMemory(BpError):
    """Not even one record fits."""

    exit_code = Exit.NOMEMORY


def divisor(batch: int, most: int) -> int:
    """Return the largest divisor of the batch that is at most `most`."""
    return next(size for size in range(min(batch, max(1, most)), 0, -1) if batch % size == 0)


def fit_batch(batch: int, start: int, probe: Callable[[int], None], least: int = 1) -> tuple[int, int]:
    """Return (micro batch, probes). Where it does not fit `probe` raises what `is_out_of_memory` knows.

    Raises NoMemory when the least that is possible does not fit: one record.
    """
    micro, probes = divisor(batch, start), 0
    while True:
        probes += 1
        try:
            probe(micro)
            return micro, probes
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        release()
        if micro <= least:
            few = "one record does" if micro == 1 else f"{micro} records do"
            raise NoMemory(f"{few} not fit into memory; take a shorter --max-length or a smaller model")
        micro = divisor(batch, micro // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out, of a GPU or of the machine."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text or "CUBLAS_STATUS_ALLOC_FAILED" in text
    )


def release() -> None:
    """Give freed memory back to the device."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def probe_longest(trainer: Any, rows: list[dict[str, Any]]) -> None:
    """Run one training step's forward and backward on rows, and forget the gradients."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.training_step(trainer.model, trainer.data_collator(rows))
    trainer.model.zero_grad()
