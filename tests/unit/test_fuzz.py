"""A share of the fuzzing, with seeds of its own: the full run is `make chaos`."""

from __future__ import annotations

import pytest

from tests.chaos.fuzz import fuzz


@pytest.mark.parametrize("seed", range(900, 920))
def test_hostile_bytes_give_records_and_rejects(seed: int) -> None:
    counts = fuzz(400, seed)
    assert counts["records"] > 300 and counts["rejects"] > 100
