"""A sample ends where it is full, whatever fills it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.golden import ROOT, environment


@pytest.mark.parametrize(
    "endless",
    ["yes", "yes '{}'", """yes '{"text":"a"}'""", """(yes '{"text":"a"}' | head -999; yes)"""],
    ids=["rejects", "unknown", "records", "a-reject-fills-it"],
)
def test_an_endless_pipe_is_sampled(endless: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{endless} | {ROOT / 'bin' / 'bp-detect'}"],
        capture_output=True, cwd=tmp_path, env=environment(str(tmp_path)), timeout=20,
    )  # fmt: skip
    report = json.loads(done.stdout)
    assert (report["judged"], report["sample"], report["records"]) == (1000, "head", None)
