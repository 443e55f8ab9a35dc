"""How the contract suite runs a command: in a process of its own, from the checkout, with a bare environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bptools.core.registry import COMMANDS
from tests.golden import ROOT, Outcome, environment
from tests.tiny import shared_model

DATA_COMMANDS = [entry.name for entry in COMMANDS if entry.kind == "data"]
MODEL_COMMANDS = [entry.name for entry in COMMANDS if entry.kind == "model"]
READING_COMMANDS = DATA_COMMANDS + MODEL_COMMANDS  # for promises that are kept before a model is loaded
ALL_COMMANDS = [entry.name for entry in COMMANDS]

# the options that make a command pass every record on; a new data command adds its own if it needs some
PASS_ALL: dict[str, list[str]] = {"bp-detect": ["--each"]}
# the options that make the work of a model short, and long
SHORT: dict[str, list[str]] = {"bp-generate": ["--max-new-tokens", "4"]}
LONG: dict[str, list[str]] = {"bp-generate": ["--max-new-tokens", "400"]}

GOOD = (
    b'{"messages":[{"role":"user","content":"one"},{"role":"assistant","content":"1"}],"id":1}\n'
    b'{"messages":[{"role":"user","content":"two \xc3\xa9"},{"role":"assistant","content":"2"}], "id":  2.50}\n'
    b'{"messages":[{"role":"user","content":"three"},{"role":"assistant","content":"\\ud83d\\ude00"}],"id":18446744073709551617}\n'
)


def many(times: int) -> bytes:
    """Return three records for each time, all of them different."""
    return b"".join(GOOD.replace(b'"content":"', b'"content":"%d ' % number) for number in range(times))


def invocation(name: str, *options: str) -> list[str]:
    """Return the argument vector of a command as the checkout runs it."""
    model = ["--model", shared_model(), *SHORT.get(name, [])] if name in MODEL_COMMANDS else []
    return [str(ROOT / "bin" / name), *PASS_ALL.get(name, []), *model, *options]


def run(
    name: str, *options: str, stdin: bytes = b"", cwd: Path, env: dict[str, str] | None = None
) -> Outcome:
    """Run a command to its end."""
    done = subprocess.run(
        invocation(name, *options),
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env={**environment(str(cwd)), **(env or {})},
        timeout=60,
    )
    return Outcome(done.stdout, done.stderr, done.returncode)
