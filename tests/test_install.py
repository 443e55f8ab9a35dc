"""A plain installation: the wheel without extras, in an environment of its own, on every Python that is here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bptools import __version__
from bptools.core.registry import COMMANDS
from tests.golden import ROOT, environment

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
CHATS = (
    '{"prompt":"What is a file?","completion":"A named sequence of bytes."}\n'
    '{"conversations":[{"from":"human","value":"What is a file?"},{"from":"gpt","value":"A named sequence of bytes."}]}\n'
    '{"instruction":"Add.","input":"1 2","output":"3"}\n'
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("*.whl")
    return found


def interpreter(version: str) -> str | None:
    """Return a Python of that version, of pyenv too where it is not the one in use."""
    found = [shutil.which(f"python{version}")]
    if shutil.which("pyenv"):
        root = subprocess.run(["pyenv", "root"], capture_output=True, text=True).stdout.strip()
        found += map(str, sorted(Path(root, "versions").glob(f"{version}.*/bin/python{version}")))
    works = (
        python
        for python in found
        if python and not subprocess.run([python, "-c", ""], capture_output=True).returncode
    )
    return next(works, None)


@pytest.fixture(scope="module", params=PYTHONS)
def installed(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment that holds bptools and what it cannot do without."""
    python = interpreter(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} here")
    home = tmp_path_factory.mktemp("home")
    made = subprocess.run([python, "-m", "venv", "--without-pip", str(home)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"Python {request.param} makes no environments: {made.stderr.strip()}")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        str(home / "bin/python"),
        "install",
        "-q",
        str(wheel),
    ]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode and "connection" in done.stderr.lower():
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return home / "bin"


def run(folder: Path, line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {
        **environment(str(cwd)),
        "PATH": os.pathsep.join([str(folder), "/usr/bin", "/bin"]),
        "BP_QUIET": "0",
    }
    clean.pop("PYTHONPATH", None)
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line],
        cwd=cwd,
        env=clean,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_plain_installation_works(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text(CHATS)
    assert run(installed, "python -c 'import torch'", tmp_path).returncode == 1
    for command in COMMANDS:
        shown = run(installed, f"{command.name} --version", tmp_path)
        assert (shown.returncode, shown.stdout.split()[-1]) == (0, __version__), shown.stderr
        assert run(installed, f"{command.name} --help", tmp_path).stdout.startswith("Usage: ")
        assert (installed.parent / "share/man/man1" / f"{command.name}.1").is_file()
    pipe = "bp-chatml raw.jsonl | bp-filter --min-chars 1 | bp-dedup --minhash"
    done = run(installed, pipe, tmp_path)
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["messages"][1]["content"] for record in records] == ["A named sequence of bytes.", "3"]


def test_what_is_missing_is_said_with_the_line_that_installs_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text(CHATS)
    for line in ("bp-ppl raw.jsonl", "bp-train raw.jsonl", "bp-generate raw.jsonl"):
        done = run(installed, line, tmp_path)
        assert done.returncode == 69, (line, done.stderr)
        assert "pip install 'bptools[train]'" in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_recipes_come_along(installed: Path, tmp_path: Path) -> None:
    assert run(installed, "bptools recipe retrain", tmp_path).returncode == 0
    assert (tmp_path / "retrain.mk").read_bytes() == (ROOT / "recipes/retrain.mk").read_bytes()
