"""Every golden case does what its files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import CASES, all_cases, expected, run_case


@pytest.mark.parametrize("case", all_cases(), ids=lambda path: str(path.relative_to(CASES)))
def test_case(case: Path) -> None:
    outcome = run_case(case)
    stdout, stderr, code = expected(case)
    assert outcome.stdout.decode("utf-8", "backslashreplace") == stdout.decode("utf-8", "backslashreplace")
    if stderr is not None:
        assert outcome.stderr.decode() == stderr.decode()
    assert outcome.code == code
