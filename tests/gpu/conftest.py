"""Where the checks run: on a CUDA device, or in rehearsal on the CPU, where the same lines run on tiny models."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.gpu.stand import forget

DEVICES = [
    pytest.param("cuda", marks=pytest.mark.gpu),
    pytest.param("cpu", marks=pytest.mark.slow, id="cpu-rehearsal"),
]


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where to run; cuda is skipped where there is none, and begins and ends empty."""
    for package in ("torch", "trl", "peft"):
        pytest.importorskip(package)
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    forget(request.param)
    yield request.param
    forget(request.param)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Show a figure that was measured, also where the check passes."""

    def show(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return show
