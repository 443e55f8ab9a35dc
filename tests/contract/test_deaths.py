"""A share of the kill matrix: the full one runs under `make chaos`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.deaths import deaths, full_disk
from tests.contract.commands import DATA_COMMANDS


@pytest.mark.slow
def test_deaths_leave_no_half_written_file(tmp_path: Path) -> None:
    counts = deaths("bp-chatml", 20, 1, tmp_path)
    assert counts["died"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_a_full_disk_leaves_nothing(name: str, tmp_path: Path) -> None:
    if full_disk(name, tmp_path, [0x10000, 0x40000]) == 0:
        pytest.skip("mounting a small disk is not allowed here")
