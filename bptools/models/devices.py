"""Which device and number format: the machine as a record, the choice as functions of it.

machine = this_machine()
device = choose_device("auto", machine)                      # 'cuda'
dtype = choose_dtype("auto", device, machine, "train")       # 'bfloat16'
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from typing import Literal

from bptools.core.errors import Unavailable, UsageError

Dtype = Literal["auto", "float32", "bfloat16", "float16", "fp32", "bf16", "fp16"]
"""What --dtype takes in every command."""
DTYPES = ("float32", "bfloat16", "float16")
_ALIASES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_DEVICE = re.compile(r"auto|(cpu|cuda|mps)(:[0-9]+)?")
Purpose = Literal["train", "score"]


@dataclass(frozen=True)
class Machine:
    """What a choice depends on.

    devices: what torch can use, the best first. bf16: whether the best one computes in bfloat16 by itself.
    """

    devices: tuple[str, ...] = ("cpu",)
    bf16: bool = False


def check_device(wanted: str) -> None:
    """Refuse what is no name of a device; whether there is one, only torch knows. Raises UsageError."""
    if _DEVICE.fullmatch(wanted) is None:
        raise UsageError(f"--device is auto, cpu, cuda, cuda:N or mps, not '{wanted}'")


def choose_device(wanted: str, machine: Machine) -> str:
    """Return cuda, cuda:N, mps or cpu. `auto` is the best there is. Raises Unavailable, UsageError."""
    check_device(wanted)
    if wanted == "auto":
        return machine.devices[0]
    kind = wanted.partition(":")[0]
    if kind not in machine.devices:
        raise Unavailable(f"no {kind} device on this machine; it has {', '.join(machine.devices)}")
    return wanted


def choose_dtype(wanted: str, device: str, machine: Machine, purpose: Purpose = "train") -> str:
    """Return float32, bfloat16 or float16. Raises UsageError.

    auto: bfloat16 on devices that compute in it. A GPU from before 2020 scores in float16 and trains in
    float32: its bfloat16 is emulated, and float16 overflows in training without loss scaling. A CPU scores in
    float32, so that results are the same on every machine. On Apple bfloat16 from macOS 14 on, never float16.
    """
    wanted = _ALIASES.get(wanted, wanted)
    if wanted != "auto":
        if wanted not in DTYPES:
            raise UsageError(f"--dtype is auto, {', '.join(DTYPES)}, not '{wanted}'")
        if wanted == "float16" and device == "cpu":
            raise UsageError("float16 is slow and overflows on a CPU; --dtype float32 or bfloat16")
        return wanted
    if device == "cpu":
        native = machine.devices[0] == "cpu" and machine.bf16
        return "bfloat16" if native and purpose == "train" else "float32"
    if machine.bf16:
        return "bfloat16"
    return "float16" if device.startswith("cuda") and purpose == "score" else "float32"


def this_machine() -> Machine:
    """Return the machine we are on; loads torch if it is installed."""
    try:
        import torch
    except ImportError:
        return Machine()
    if torch.cuda.is_available():
        capability = torch.cuda.get_device_capability(0)
        return Machine(("cuda", "cpu"), torch.version.hip is not None or capability >= (8, 0))
    if torch.backends.mps.is_available():
        release = int((platform.mac_ver()[0] or "0").split(".")[0])
        return Machine(("mps", "cpu"), release >= 14)
    return Machine(bf16=cpu_has_bf16())


def cpu_has_bf16() -> bool:
    """Say whether the processor computes in bfloat16 (AVX512-BF16 or AMX), from what Linux says of it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return False
    return any(flag in ("avx512_bf16", "amx_bf16", "bf16") for flag in flags.split())


def main_memory() -> int:
    """Return the bytes of main memory, 0 where they cannot be known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def cpu_threads() -> int:
    """Return how many threads to compute with: OMP_NUM_THREADS, else the physical cores less the load, at
    least 1.

    Threads that wait for a busy core cost more than they give: with both cores busy, two threads were three
    to seven times slower than one on a small model.
    """
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if given.isdigit() and int(given) > 0:
        return int(given)
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    cores = min(usable, _physical_cores() or usable)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, cores - round(load))


def _physical_cores() -> int:
    cores = set()
    package = "0"
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "physical id":
                    package = value.strip()
                elif name.strip() == "core id":
                    cores.add((package, value.strip()))
    except OSError:
        return 0
    return len(cores)
