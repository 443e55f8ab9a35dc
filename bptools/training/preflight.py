"""What can be known before anything heavy is done: whether it fits, on what, and if not, what would.

Runs in the parent: nothing is downloaded for it, and no torch is loaded.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bptools.core.errors import MissingExtra, ReadWriteError
from bptools.core.sizes import shown_size
from bptools.training import memory
from bptools.training.batching import NoMemory

if TYPE_CHECKING:
    from bptools.models.presets import Preset
    from bptools.training.settings import Settings

_NEEDED = ("torch", "transformers", "trl", "peft", "datasets")


def check_packages() -> None:
    """Raise MissingExtra for what is not installed."""
    from importlib.util import find_spec

    for name in _NEEDED:
        if find_spec(name) is None:
            raise MissingExtra(name, "train")


def likely_device(settings: Settings) -> str:
    """Return the device that the child will choose, from what the system says."""
    if settings.device != "auto":
        return settings.device
    if memory.available("cuda"):
        return "cuda"
    import platform

    return "mps" if sys.platform == "darwin" and platform.machine() == "arm64" else "cpu"


def choose_quant(settings: Settings, preset: Preset) -> tuple[str, str]:
    """Return (how the frozen weights are held, why): in 4 bits on a GPU without room for 16."""
    device = likely_device(settings)
    free = memory.available(device)
    if settings.full or not device.startswith("cuda") or not free:
        return "none", "all weights are trained" if settings.full else device
    length = settings.max_length or preset.max_length
    need = memory.estimate(
        preset.shape, replace(settings, quant="none"), device=device, rows=1, length=length
    )
    if need.total <= free:
        return "none", f"16 bits fit on {device}"
    return "nf4", f"16 bits take {shown_size(need.total)}, {shown_size(free)} are free"


def check_memory(settings: Settings, preset: Preset, name: str) -> dict[str, Any]:
    """Return {device, need, free, micro_batch} of the closed form, in bytes and rows.

    Raises NoMemory, naming the largest preset that fits, where not even one short row does.
    """
    device = likely_device(settings)
    free = memory.available(device)
    shape, length = preset.shape, settings.max_length or preset.max_length
    need = memory.estimate(shape, settings, device=device, rows=1, length=length)
    micro = (
        memory.largest_micro_batch(shape, settings, device=device, length=length, free=free) if free else None
    )
    facts = {"device": device, "need": need.total, "free": free, "micro_batch": micro}
    least = memory.estimate(shape, settings, device=device, rows=1, length=min(length, 128))
    if not free or least.total <= free:
        return facts
    fitting = memory.largest_preset(settings, device=device, free=free)
    instead = f"--preset {fitting.name} would fit" if fitting is not None else "no preset fits"
    if device.startswith("cuda") and settings.quant != "nf4" and not settings.full:
        instead = f"--quant nf4 takes less, or {instead}"
    raise NoMemory(
        f"{name} takes {shown_size(least.total)} to train on {device}, {shown_size(free)} are free; {instead}"
    )


def check_disk(settings: Settings, preset: Preset, records_bytes: int, path: str) -> None:
    """Raise ReadWriteError where the disk has no room for rows, checkpoints and the result."""
    need = memory.estimate(preset.shape, settings, device="cpu", rows=1, length=8)
    wanted = memory.disk_need(0, records_bytes // 3, need, settings)
    free = memory.free_disk(path)
    if wanted > free:
        raise ReadWriteError(
            f"the run takes up to {shown_size(wanted)} of disk, {shown_size(free)} are free in '{path}'; "
            "--runs DIR puts it elsewhere, --keep-checkpoints 1 takes less"
        )
