"""What can be known before anything heavy is done: whether it fits, on what, and if not, what would.

Runs in the parent: nothing is downloaded for it, and no torch is loaded.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from bptools.core.errors import MissingExtra, ReadWriteError, Unavailable, UsageError
from bptools.core.sizes import shown_size
from bptools.training import memory
from bptools.training.batching import NoMemory

if TYPE_CHECKING:
    from bptools.models.presets import Preset
    from bptools.training.settings import Settings

# of NVIDIA, of its boards with memory in common, of AMD, of Windows below a Linux
_DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
_NEEDED = ("torch", "transformers", "trl", "peft", "datasets")
TRACKERS = {
    "wandb": ("wandb",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "mlflow": ("mlflow",),
    "clearml": ("clearml",),
}
"""What --log takes, as transformers' report_to calls it, and the packages of which one must be there."""


def check_packages(settings: Settings) -> None:
    """Raise MissingExtra or Unavailable for what is not there, UsageError for a --log that is no tracker."""
    for name in _NEEDED:
        if not _installed(name):
            raise MissingExtra(name, "train")
    if settings.quant in ("nf4", "int8") and not _installed("bitsandbytes"):
        raise MissingExtra("bitsandbytes", "bnb")
    for tracker in settings.log:
        if tracker not in TRACKERS:
            raise UsageError(f"--log '{tracker}' is no tracker; it takes {', '.join(TRACKERS)}")
        if not any(map(_installed, TRACKERS[tracker])):
            package = TRACKERS[tracker][0]
            raise Unavailable(
                f"{package} is not installed, which --log {tracker} needs; pip install {package}"
            )


def _installed(name: str) -> bool:
    """Say whether a package is there; a mere folder of that name, as wandb leaves behind, is none."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def check_device(settings: Settings) -> None:
    """Raise Unavailable for a kind of device that this system cannot have; what it has, torch knows."""
    kind = settings.device.partition(":")[0]
    if kind == "mps":
        lacks = sys.platform != "darwin"
    elif kind == "cuda":
        drives = sys.platform == "win32" or any(map(os.path.exists, _DRIVERS))
        lacks = not drives and not memory.available("cuda")
    else:
        return
    if lacks:
        raise Unavailable(f"no {kind} device on this machine; --device auto takes what it has")


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


def check_disk(settings: Settings, preset: Preset, records_bytes: int, path: str, option: str) -> None:
    """Raise ReadWriteError where the disk has no room for rows, checkpoints and the result.

    path: in the folder that the run is to be in. option: the one that says where, for the message.
    """
    need = memory.estimate(preset.shape, settings, device="cpu", rows=1, length=8)
    wanted = memory.disk_need(0, records_bytes // 3, need, settings)
    free = memory.free_disk(path)
    if wanted > free:
        raise ReadWriteError(
            f"the run takes up to {shown_size(wanted)} of disk, {shown_size(free)} are free in "
            f"'{os.path.dirname(path)}'; {option} DIR puts it elsewhere, --keep-checkpoints 1 takes less"
        )
