"""What this machine has: Python, packages, devices, extras, and the line that installs what is missing."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from bptools import __version__

EXTRAS: dict[str, tuple[str, ...]] = {
    "core": ("typer", "rich", "orjson", "numpy", "xxhash", "pyyaml", "filelock"),
    "hf": ("datasets", "pyarrow", "huggingface-hub"),
    "train": ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "pyarrow"),
    "bnb": ("bitsandbytes",),
    "mlx": ("mlx", "mlx-lm"),
    "gguf": ("gguf", "xllamacpp"),
    "llama-cpp": ("llama-cpp-python",),
    "gpu": ("nvidia-ml-py",),
    "unsloth": ("unsloth",),
}
WHAT_FOR = {
    "core": "every data command",
    "hf": "Parquet, hf: sources",
    "train": "torch and the training stack",
    "bnb": "4-bit and 8-bit bases on CUDA",
    "mlx": "Apple silicon",
    "gguf": "GGUF and its quantization",
    "llama-cpp": "llama.cpp from Python (compiles)",
    "gpu": "NVIDIA readings",
    "unsloth": "faster training on CUDA, in an environment of its own",
}


def package_version(name: str) -> str | None:
    """Return a package's version without importing it, None when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name) or "broken"  # a half-removed package has no version
    except PackageNotFoundError:
        return None
    except Exception:  # damaged metadata must not stop a diagnosis
        return "broken"


def extras() -> dict[str, dict[str, Any]]:
    """Return {extra: {for, packages, missing, install}}; `install` is None when everything is there."""
    found: dict[str, dict[str, Any]] = {}
    for extra, names in EXTRAS.items():
        packages = {name: package_version(name) for name in names}
        missing = [name for name, version in packages.items() if version is None]
        line = "pip install bptools" if extra == "core" else f"pip install 'bptools[{extra}]'"
        found[extra] = {
            "for": WHAT_FOR[extra],
            "packages": packages,
            "missing": missing,
            "install": line if missing else None,
        }
    return found


def devices() -> dict[str, Any]:
    """Return CPU cores, memory in bytes, NVIDIA GPUs (name, memory) and whether this is Apple silicon."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": platform.machine(),
        "cores": cores,
        "memory": _memory(),
        "cuda": _nvidia(),
        "mps": sys.platform == "darwin" and platform.machine() == "arm64",
    }


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _nvidia() -> list[dict[str, Any]]:
    """Ask nvidia-smi, which is there wherever the driver is; no CUDA context is made."""
    import shutil
    import subprocess

    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return []
    gpus = []
    for line in done.stdout.splitlines() if done.returncode == 0 else []:
        name, memory, driver = (part.strip() for part in line.split(",", 2))
        gpus.append({"name": name, "memory_mib": memory, "driver": driver})
    return gpus


def diagnosis() -> dict[str, Any]:
    """Return everything that `bptools doctor` shows."""
    return {
        "bptools": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "devices": devices(),
        "extras": extras(),
    }


def diagnosis_text(found: dict[str, Any]) -> str:
    """Return the diagnosis as lines for a person."""
    device = found["devices"]
    memory = f", {device['memory'] / 2**30:.1f} GiB" if device["memory"] else ""
    lines = [
        f"bptools    {found['bptools']}",
        f"python     {found['python']}  {found['executable']}",
        f"platform   {found['platform']}",
        f"cpu        {device['cpu']}, {device['cores']} cores{memory}",
    ]
    for gpu in device["cuda"]:
        lines.append(f"cuda       {gpu['name']}, {gpu['memory_mib']} MiB, driver {gpu['driver']}")
    if not device["cuda"]:
        lines.append("cuda       none")
    lines.append(f"mps        {'yes' if device['mps'] else 'no'}")
    for extra, entry in found["extras"].items():
        lines.append("")
        state = "complete" if entry["install"] is None else entry["install"]
        lines.append(f"[{extra}] {entry['for']}: {state}")
        lines += [f"    {name:<18} {version or 'missing'}" for name, version in entry["packages"].items()]
    return "\n".join(lines) + "\n"
