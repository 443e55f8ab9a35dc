"""What this machine has: Python, packages, devices, extras, and the line that installs what is missing.

Nothing heavy is imported: versions come from metadata, and a package counts as broken when its metadata or
its module cannot be found. `imports=True` really imports each, in a process of its own.
"""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from bptools import __version__
from bptools.core.errors import pip_install

# as in pyproject.toml, without markers; a test compares them
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "core": (
        "typer>=0.28,<0.29", "orjson>=3.10", "rich>=13", "numpy>=1.24", "xxhash>=3.4", "msgspec>=0.19",
        "pyyaml>=6", "filelock>=3.12", "backports.zstd>=1.0", "tomli>=2",
    ),
    "hf": ("datasets>=3.0", "pyarrow>=15"),
    "train": (
        "torch>=2.4", "transformers>=4.51", "peft>=0.15", "trl>=0.19", "accelerate>=1.2", "matplotlib>=3.8",
    ),
    "redact": ("phonenumbers>=9",),
    "language": ("py3langid>=0.4", "numpy>=2"),
    "bnb": ("bitsandbytes>=0.45",),
    "mlx": ("mlx>=0.25", "mlx-lm>=0.24"),
    "gguf": ("gguf>=0.16", "xllamacpp>=0.2"),
    "llama-cpp": ("llama-cpp-python>=0.3",),
    "gpu": ("nvidia-ml-py>=12",),
    "unsloth": ("unsloth",),
}  # fmt: skip
WHAT_FOR = {
    "core": "every data command",
    "hf": "hf: sources and Parquet",
    "train": "training, scoring and asking models; takes [hf] along",
    "redact": "bp-filter --redact phone",
    "language": "bp-filter --language",
    "bnb": "4-bit and 8-bit base models on CUDA",
    "mlx": "MLX; no command uses it yet",
    "gguf": "GGUF files; no command uses it yet",
    "llama-cpp": "llama.cpp from Python, compiles for minutes; no command uses it yet",
    "gpu": "NVIDIA readings",
    "unsloth": "wants an environment of its own; no command uses it yet",
}
_MODULES = {  # where the module is not named like the package
    "pyyaml": "yaml",
    "nvidia-ml-py": "pynvml",
    "mlx": "mlx.core",
    "mlx-lm": "mlx_lm",
    "llama-cpp-python": "llama_cpp",
}
_IMPORT_SECONDS = 120


def diagnosis(imports: bool = False) -> dict[str, Any]:
    """Return everything that `bptools doctor` shows. Raises nothing because of what is installed."""
    return {
        "bptools": __version__,
        "python": {
            "version": platform.python_version(),
            "executable": sys.executable,
            "virtual_environment": sys.prefix != sys.base_prefix,
        },
        "platform": {
            "system": platform.system(),
            "release": platform.release(),
            "machine": platform.machine(),
        },
        "devices": devices(),
        "extras": extras(imports),
    }


def extras(imports: bool = False) -> dict[str, dict[str, Any]]:
    """Return {extra: {for, state, packages, install}}.

    `state` is ok, missing, broken or unsupported (not for this machine); `install` is the pip line that mends
    it, or None. `packages` is {name: {version, state, detail}}.
    """
    found: dict[str, dict[str, Any]] = {}
    for extra, requirements in REQUIREMENTS.items():
        states = dict(package(text, imports) for text in requirements if _wanted_here(text))
        worst = "ok" if states else "unsupported"
        for state in ("missing", "broken"):
            if any(entry["state"] == state for entry in states.values()):
                worst = state
        broken = [text for text in requirements if states.get(_split(text)[0], {}).get("state") == "broken"]
        line = None
        if worst in ("missing", "broken"):
            line = f"{pip_install()} " + ("bptools" if extra == "core" else f"'bptools[{extra}]'")
            if broken:
                quoted = " ".join(f"'{text}'" for text in broken)
                line = f"{pip_install()} --force-reinstall --no-deps {quoted} && {line}"
        found[extra] = {"for": WHAT_FOR[extra], "state": worst, "packages": states, "install": line}
    return found


def package(requirement: str, imports: bool = False) -> tuple[str, dict[str, Any]]:
    """Return (name, {version, state, detail}) of a requirement such as `typer>=0.28,<0.29`."""
    name, bounds = _split(requirement)
    try:
        from importlib.metadata import PackageNotFoundError, version

        try:
            installed = version(name)
        except PackageNotFoundError:
            return name, {"version": None, "state": "missing", "detail": ""}
        fault = _fault(name, installed, bounds, imports)
    except Exception as error:  # a damaged installation must not stop its own diagnosis
        return name, {"version": None, "state": "broken", "detail": f"{type(error).__name__}: {error}"}
    return name, {"version": installed, "state": "broken" if fault else "ok", "detail": fault}


def _split(requirement: str) -> tuple[str, list[str]]:
    """Return (name, bounds): "typer>=0.28,<0.29" gives ("typer", [">=0.28", "<0.29"])."""
    cut = min((requirement.index(sign) for sign in "<>" if sign in requirement), default=len(requirement))
    bounds = requirement[cut:]
    return requirement[:cut], bounds.split(",") if bounds else []


def _fault(name: str, installed: str | None, bounds: list[str], imports: bool) -> str:
    """Return what is wrong with an installed package, or nothing."""
    if not installed:
        return "its metadata names no version"
    for bound in bounds:
        limit = _release(bound.lstrip("<>="))
        if bound.startswith(">=") and _release(installed) < limit:
            return f"too old; needs {bound}"
        if bound.startswith("<") and _release(installed) >= limit:
            return f"too new; needs {bound}"
    module = _MODULES.get(name, name)
    if imports:
        return _import_fault(module)
    from importlib.util import find_spec

    try:
        spec = find_spec(module)
        return "" if spec is not None and spec.has_location else f"no module {module}"
    except (ImportError, ValueError) as error:
        return f"no module {module}: {error}"


def _import_fault(module: str) -> str:
    """Import a module in a process of its own, for it may crash; return its last word when it fails."""
    import subprocess

    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            timeout=_IMPORT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"import takes more than {_IMPORT_SECONDS} seconds"
    except OSError as error:
        return f"cannot start {sys.executable}: {error}"
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().split("\n")[-1]
    return said or f"import ends with status {done.returncode}"


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version: 2.13.0+cpu gives (2, 13, 0)."""
    numbers = []
    for part in version.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    while numbers and numbers[-1] == 0:  # 0.29 and 0.29.0 are one
        numbers.pop()
    return tuple(numbers)


def _wanted_here(requirement: str) -> bool:
    name = _split(requirement)[0]
    if name == "backports.zstd":
        return sys.version_info < (3, 14)
    if name == "tomli":
        return sys.version_info < (3, 11)
    return name not in ("mlx", "mlx-lm") or _apple_silicon()


def _apple_silicon() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def devices() -> dict[str, Any]:
    """Return what can compute: usable CPU cores, memory in bytes, NVIDIA GPUs, whether there is Metal."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu_cores": cores, "memory": _memory(), "cuda": _nvidia(), "mps": _apple_silicon()}


def _memory() -> int | None:
    """Return the bytes of memory this process may use: the machine's, or its container's if that is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            return min(total, int(file.read()))
    except (OSError, ValueError):  # no container, or "max"
        return total


def _nvidia() -> list[dict[str, Any]]:
    """Return [{name, memory, driver}] from NVML, or nvidia-smi without its package. Makes no CUDA context."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or a driver of another version
        return _nvidia_smi()
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        gpus = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
            gpus.append({"name": _text(pynvml.nvmlDeviceGetName(handle)), "memory": memory, "driver": driver})
        return gpus
    except Exception:
        return _nvidia_smi()
    finally:
        pynvml.nvmlShutdown()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _nvidia_smi() -> list[dict[str, Any]]:
    import shutil
    import subprocess

    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, check=False, text=True, errors="replace", timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return []
    gpus = []
    for line in done.stdout.split("\n") if done.returncode == 0 else []:
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) == 3:
            memory = int(fields[1]) << 20 if fields[1].isdigit() else None  # unified memory has no number
            gpus.append({"name": fields[0], "memory": memory, "driver": fields[2]})
    return gpus


def diagnosis_text(found: dict[str, Any]) -> str:
    """Return the diagnosis as lines for a person: what is there, then each extra with what it lacks."""
    python, host, device = found["python"], found["platform"], found["devices"]
    cores = f"{device['cpu_cores']} {'core' if device['cpu_cores'] == 1 else 'cores'}"
    lines = [
        f"bptools   {found['bptools']}",
        f"python    {python['version']}  {python['executable']}",
        f"platform  {host['system']} {host['release']} {host['machine']}",
        f"cpu       {cores}, {_gigabytes(device['memory'])}",
    ]
    lines += [
        f"cuda      {gpu['name']}, {_gigabytes(gpu['memory'])}, driver {gpu['driver']}"
        for gpu in device["cuda"]
    ]
    if not device["cuda"]:
        lines.append("cuda      none")
    lines.append(f"metal     {'yes' if device['mps'] else 'none'}")
    for extra, entry in found["extras"].items():
        lines += ["", f"{extra}: {entry['state']} ({entry['for']})"]
        for name, state in entry["packages"].items():
            detail = f"; {state['detail']}" if state["detail"] else ""
            version = state["version"] or ""
            lines.append(f"  {state['state']:<7}  {name} {version}".rstrip() + detail)
        if entry["install"]:
            lines.append(f"  mend it  {entry['install']}")
    return "\n".join(lines) + "\n"


def _gigabytes(count: int | None) -> str:
    return f"{count / 2**30:.1f} GiB" if count is not None else "memory unknown"
