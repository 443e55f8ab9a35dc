"""What the three shells offer at a press of the Tab key, asked of the shells themselves."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.golden import ROOT, environment

FOLDER = ROOT / "completions"


def fish_offers(command: str, line: str, cwd: Path) -> list[str]:
    program = f"source {FOLDER / 'fish' / command}.fish; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", program],
        cwd=cwd,
        env=environment(str(cwd)),
        capture_output=True,
        text=True,
    )
    return [row.split("\t")[0] for row in done.stdout.split("\n") if row]


def bash_offers(command: str, line: str, cwd: Path) -> list[str]:
    program = (
        f"source {FOLDER / 'bash' / command}; COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; "
        'read -ra COMP_WORDS <<<"$COMP_LINE"; [[ $COMP_LINE != *" " ]] || COMP_WORDS+=(""); '
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); "
        f"function=$(complete -p {command} | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        f'$function {command} "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program], cwd=cwd, env=environment(str(cwd)), capture_output=True, text=True
    )
    return [row for row in done.stdout.split("\n") if row]


def zsh_line(line: str, cwd: Path) -> str:
    """Return the line that an interactive zsh holds after Tab; ^X hands it over and leaves."""
    import pty

    setup = (
        f"PS1=; fpath=({FOLDER / 'zsh'} $fpath); autoload -Uz compinit; compinit -D -u; "
        "keep() { print -r -- $BUFFER > buffer; exit }; zle -N keep; bindkey '^X' keep; print rea''dy\n"
    )
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**environment(str(cwd)), "TERM": "dumb"})
    deadline = time.monotonic() + 30
    seen = b""

    def read_until(mark: bytes) -> None:
        nonlocal seen
        while mark not in seen and time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    data = os.read(terminal, 4096)
                except OSError:  # Linux: the other side is closed
                    return
                if not data:
                    return
                seen += data

    os.write(terminal, setup.encode())
    read_until(b"ready\r\n")
    os.write(terminal, f"{line}\t\x18".encode())
    read_until(b"(never said)")
    os.close(terminal)
    os.waitpid(child, 0)
    return (cwd / "buffer").read_text().rstrip()


LINES = [
    ("bp-detect --sk", ["--skip"]),
    ("bp-detect --split-on ", ["file", "line", "paragraph"]),
    ("bp-detect raw", ["raw.jsonl"]),
    ("bp-detect -o raw", ["raw.jsonl"]),
    ("bp-detect raw.jsonl oth", ["other.csv"]),
    ("bp-detect raw.jsonl other.csv --ful", ["--full"]),
    ("bp-detect -c other.csv -c raw", ["raw.jsonl"]),
    ("bp-chatml --to pref", ["preference"]),
    ("bptools doc", ["doctor"]),
    ("bptools doctor --js", ["--json"]),
    ("bptools recipe re", ["retrain"]),
    ("bptools recipe retrain cr", ["crontab"]),
    ("bptools presets smo", ["smollm"]),
    ("bp-train --preset qwen3-1", ["qwen3-1.7b"]),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw.jsonl").touch()
    (tmp_path / "other.csv").touch()
    return tmp_path


@pytest.mark.parametrize(("line", "offered"), LINES, ids=[line for line, _ in LINES])
@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_tab_offers(shell: str, line: str, offered: list[str], folder: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    offers = bash_offers if shell == "bash" else fish_offers
    assert sorted(offers(line.split()[0], line, folder)) == offered


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh")
@pytest.mark.parametrize(
    ("line", "offered"), [pytest.param(*entry, id=entry[0]) for entry in LINES if len(entry[1]) == 1]
)
def test_tab_completes_in_zsh(line: str, offered: list[str], folder: Path) -> None:
    begun = line.rpartition(" ")[0]
    assert zsh_line(line, folder) == f"{begun} {offered[0]}"
