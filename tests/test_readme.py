"""The README's examples run, in Python and in the shell."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bptools._dev.demo.chats import raw_lines
from tests.golden import ROOT, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_lines_give_what_the_comments_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    capital = '{"prompt":"What is the capital of France?","completion":"The capital of France is Paris."}\n'
    fruit = '{"instruction":"Name a fruit.","output":"An apple is a fruit."}\n'
    (tmp_path / "raw.jsonl").write_text(capital + fruit + capital)
    scope: dict[str, Any] = {}
    checked = 0
    lines = "\n".join(blocks("python")).strip().split("\n")
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("#") or not line:
            continue
        if following.startswith("# "):
            assert eval(line, scope) == eval(following[2:], {}), line
            checked += 1
        else:
            exec(line, scope)
    assert checked == 7


def test_shell_lines_run(tmp_path: Path) -> None:
    # the README's first pipe tolerates no broken line
    whole = [line for line in raw_lines(60, 1) if line.endswith(b"}\n")]
    (tmp_path / "raw.jsonl").write_bytes(b"".join(whole))
    lines = [
        line for block in blocks("sh") for line in block.strip().split("\n") if not line.startswith("make ")
    ]
    assert len(lines) == 21
    for line in lines:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", line],
            cwd=tmp_path,
            env=environment(str(tmp_path)),
            capture_output=True,
        )
        assert done.returncode == 0, (line, done.stderr.decode())
