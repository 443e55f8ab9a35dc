"""Golden cases: folders `tests/cases/<command>/<what-it-shows>/` with cmd, stdin, stdout, stderr, exit.

`cmd` is one shell line run in a copy of the folder, so that other files in it are inputs. A missing stdin is empty,
a missing exit 0, a missing stderr is not compared. `python -m tests.golden` rewrites stdout, stderr and exit;
the change is reviewed as a diff.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "cases"


class Outcome(NamedTuple):
    """What a command line did."""

    stdout: bytes
    stderr: bytes
    code: int


def environment(home: str) -> dict[str, str]:
    """Return a bare environment in which the checkout's commands are found, run by this Python."""
    return {
        "PATH": os.pathsep.join([str(ROOT / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "HOME": home,
        "LC_ALL": "C",
        "HF_HUB_OFFLINE": "1",
    }


def all_cases() -> list[Path]:
    """Return every case folder, sorted."""
    return sorted(path.parent for path in CASES.glob("*/*/cmd"))


def run_case(case: Path) -> Outcome:
    """Run a case's line with bash in a copy of its folder."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "case"
        shutil.copytree(case, folder)
        stdin = case / "stdin"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", (case / "cmd").read_text()],
            input=stdin.read_bytes() if stdin.exists() else b"",
            capture_output=True,
            cwd=folder,
            env=environment(scratch),
            timeout=120,
        )
    return Outcome(done.stdout, done.stderr, done.returncode)


def expected(case: Path) -> tuple[bytes, bytes | None, int]:
    """Return (stdout, stderr or None, exit status) as the case's files say."""
    stderr = case / "stderr"
    code = case / "exit"
    return (
        (case / "stdout").read_bytes() if (case / "stdout").exists() else b"",
        stderr.read_bytes() if stderr.exists() else None,
        int(code.read_text()) if code.exists() else 0,
    )


def update(case: Path) -> None:
    """Rewrite what a case expects from what happens now."""
    outcome = run_case(case)
    (case / "stdout").write_bytes(outcome.stdout)
    (case / "stderr").write_bytes(outcome.stderr)
    if outcome.code:
        (case / "exit").write_text(f"{outcome.code}\n")
    else:
        (case / "exit").unlink(missing_ok=True)


if __name__ == "__main__":
    wanted = sys.argv[1:]
    for found in all_cases():
        if not wanted or any(word in str(found) for word in wanted):
            update(found)
