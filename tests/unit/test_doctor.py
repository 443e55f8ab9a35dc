"""bptools doctor: what it finds, and that nothing that is installed can break it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bptools.core import environment
from bptools.core.errors import pip_install
from tests.golden import ROOT
from tests.golden import environment as bare

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def install(folder: Path, name: str, version: str | None, module: str | None = "") -> None:
    """Make a package as pip leaves it: metadata, and a module unless it is None."""
    metadata = folder / f"{name.replace('-', '_')}-1.dist-info"
    metadata.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\n" + (f"Version: {version}\n" if version is not None else "")
    (metadata / "METADATA").write_text(text)
    if module is not None:
        (folder / f"{name.replace('-', '_')}.py").write_text(module)


def test_requirements_are_those_of_the_package() -> None:
    def stripped(lines: list[str]) -> tuple[str, ...]:
        return tuple(line.split(";")[0].strip() for line in lines if not line.startswith("bptools["))

    declared = {"core": stripped(PROJECT["dependencies"])}
    for extra, lines in PROJECT["optional-dependencies"].items():
        if extra not in ("all", "dev"):
            declared[extra] = stripped(lines)
    assert declared == environment.REQUIREMENTS
    assert environment.WHAT_FOR.keys() == environment.REQUIREMENTS.keys()


def test_all_is_every_extra_that_goes_together() -> None:
    (line,) = PROJECT["optional-dependencies"]["all"]
    assert set(re.findall(r"[\w-]+", line)) - {"bptools"} == {
        "train",
        "redact",
        "language",
        "bnb",
        "gguf",
        "gpu",
        "mlx",
    }


def test_good_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "bp-probe", "1.2.3")
    (tmp_path / "bp-probe.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert environment.package("bp-probe>=1.2,<2") == (
        "bp-probe",
        {"version": "1.2.3", "state": "ok", "detail": ""},
    )


def test_missing_package() -> None:
    name, state = environment.package("bp-no-such-package>=1")
    assert (name, state["state"], state["version"]) == ("bp-no-such-package", "missing", None)


@pytest.mark.parametrize(
    ("version", "module", "requirement", "detail"),
    [
        ("1.2", "", "bpprobe>=1.10", "too old; needs >=1.10"),
        ("2.0.0", "", "bpprobe>=1,<2", "too new; needs <2"),
        ("1.0", None, "bpprobe", "no module bpprobe"),
        (None, "", "bpprobe", ""),
    ],
    ids=["too-old", "too-new", "no-module", "no-version"],
)
def test_broken_package(
    version: str | None,
    module: str | None,
    requirement: str,
    detail: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(tmp_path, "bpprobe", version, module)
    monkeypatch.syspath_prepend(str(tmp_path))
    state = environment.package(requirement)[1]
    assert state["state"] == "broken"
    assert detail in state["detail"]


def test_damaged_metadata_is_broken_not_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bpprobe-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_bytes(b"\xff\xfe\x00")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert environment.package("bpprobe>=1")[1]["state"] == "broken"


@pytest.mark.parametrize(
    ("module", "state", "detail"),
    [
        ("", "ok", ""),
        ("raise OSError('libmissing.so: cannot open')", "broken", "OSError: libmissing.so: cannot open"),
        ("import os; os._exit(3)", "broken", "import ends with status 3"),
    ],
)
def test_imports_are_tried_in_a_process_of_their_own(
    module: str, state: str, detail: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "bpprobe", "1", module)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = environment.package("bpprobe", imports=True)[1]
    assert (found["state"], found["detail"]) == (state, detail)
    assert "bpprobe" not in sys.modules


def test_extra_names_the_line_that_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        environment, "REQUIREMENTS", {"hf": ("bp-no-such-package>=1",), "core": ("typer>=99",)}
    )
    found = environment.extras()
    assert (found["hf"]["state"], found["hf"]["install"]) == ("missing", f"{pip_install()} 'bptools[hf]'")
    assert found["core"]["state"] == "broken"
    assert (
        found["core"]["install"]
        == f"{pip_install()} --force-reinstall --no-deps 'typer>=99' && {pip_install()} bptools"
    )


def test_the_line_that_installs_is_for_this_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pip").write_text("#!/bin/sh\n")
    (tmp_path / "pip").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pip_install() == f"{sys.executable} -m pip install"
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    assert pip_install() == "pip install"


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.13.0+cpu", (2, 13)), ("1.0rc1", (1, 0)), ("0.29", (0, 29)), ("1.2.3.dev4", (1, 2, 3)), ("x", ())],
)
def test_release_numbers(version: str, numbers: tuple[int, ...]) -> None:
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    assert environment._release(version) == numbers


def test_gpus_are_read_from_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA H200, 143771, 570.1"\necho "NVIDIA GB10, [N/A], 580.2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert environment._nvidia_smi() == [
        {"name": "NVIDIA H200", "memory": 143771 << 20, "driver": "570.1"},
        {"name": "NVIDIA GB10", "memory": None, "driver": "580.2"},
    ]


def test_json_is_one_object(tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "bin" / "bptools", "doctor", "--json"],
        cwd=tmp_path,
        env=bare(str(tmp_path)),
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert done.stdout.count(b"\n") == 1
    assert Path(found["python"]["executable"]).parent == Path(sys.executable).parent
    assert found["extras"]["core"]["state"] == "ok"
    assert found["devices"]["cpu_cores"] >= 1
    text = environment.diagnosis_text(found)
    assert text.endswith("\n")
    assert all(f"\n{extra}: " in text for extra in environment.REQUIREMENTS)


def test_diagnosis_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from bptools.core.environment import diagnosis; diagnosis(); "
        "print(sorted({'numpy', 'torch', 'transformers', 'datasets', 'rich', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.gpu
def test_gpu_of_this_machine_is_seen() -> None:
    if not environment._nvidia_smi():
        pytest.skip("no NVIDIA GPU")
    assert environment._nvidia() == environment._nvidia_smi() or environment._nvidia()[0]["memory"]


@pytest.mark.parametrize("arguments", [[], ["no-such"], ["doctor", "--no-such"]])
def test_wrong_use_is_2_with_one_line(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [ROOT / "bin" / "bptools", *arguments],
        cwd=tmp_path,
        env=bare(str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bptools: ")
    assert done.stderr.count("\n") == 1
