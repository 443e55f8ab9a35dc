"""The promises about failure: right exit status, one clear line, neither target nor litter."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.contract.commands import ALL_COMMANDS, DATA_COMMANDS, GOOD, READING_COMMANDS, invocation, many, run
from tests.golden import environment


def one_line(stderr: bytes, name: str) -> str:
    lines = stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"{name}: ")
    assert not lines[0].endswith(".")
    assert "\x1b" not in lines[0]
    return lines[0]


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_unknown_option_is_2(name: str, tmp_path: Path) -> None:
    outcome = run(name, "--no-such-option", cwd=tmp_path)
    assert outcome.code == 2
    assert "--no-such-option" in one_line(outcome.stderr, name)


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_help_and_version_go_to_stdout(name: str, tmp_path: Path) -> None:
    for option in ("-h", "--help", "--version"):
        outcome = run(name, option, cwd=tmp_path)
        assert outcome.code == 0
        assert outcome.stderr == b""
        assert b"\x1b" not in outcome.stdout
    assert run(name, "--version", cwd=tmp_path).stdout.decode().startswith(name)


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_missing_source_is_66(name: str, tmp_path: Path) -> None:
    outcome = run(name, "no-such.jsonl", cwd=tmp_path)
    assert outcome.code == 66
    assert "cannot open 'no-such.jsonl'" in one_line(outcome.stderr, name)
    outcome = run(name, "owner/name", cwd=tmp_path)
    assert outcome.code == 66
    assert "did you mean hf:owner/name?" in one_line(outcome.stderr, name)


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_output_that_cannot_be_created_is_73(name: str, tmp_path: Path) -> None:
    outcome = run(name, "-o", "missing/out.jsonl", stdin=GOOD, cwd=tmp_path)
    assert outcome.code == 73
    assert "missing/out.jsonl" in one_line(outcome.stderr, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", DATA_COMMANDS)
@pytest.mark.parametrize("target", ["stdout", "-o"])
def test_a_full_device_is_74(name: str, target: str, tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        options = ["-o", "/dev/full"] if target == "-o" else []
        done = subprocess.run(
            invocation(name, *options),
            input=many(100),
            stdout=full if target == "stdout" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(str(tmp_path)),
        )
    assert done.returncode == 74
    assert "no space left on device" in one_line(done.stderr, name)


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_bad_configuration_is_78(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("limt: 3\n")
    outcome = run(name, "-c", "a.yaml", cwd=tmp_path)
    assert outcome.code == 78
    assert "did you mean 'limit'?" in one_line(outcome.stderr, name)
    (tmp_path / "bptools.toml").write_text("[oops\n")
    assert run(name, cwd=tmp_path).code == 78


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_precedence_and_show_config(name: str, tmp_path: Path) -> None:
    (tmp_path / "bptools.toml").write_text(
        f'[{name}]\nlimit = 1\nskip = 1\nmax-rejects = "9"\nreport = "t"\n'
    )
    (tmp_path / "a.yaml").write_text("limit: 2\nskip: 2\nmax-rejects: 8\n")
    (tmp_path / ".env").write_text("BP_LIMIT=3\nBP_SKIP=3\n")
    shown = run(name, "-c", "a.yaml", "--limit", "4", "--show-config", cwd=tmp_path).stdout.decode()
    assert "limit = 4  # command line\n" in shown
    assert "skip = 3  # BP_SKIP\n" in shown
    assert 'max-rejects = "8"  # a.yaml\n' in shown
    assert 'report = "t"  # bptools.toml\n' in shown
    assert "strict = false  # default\n" in shown


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_quiet_is_silent_on_success(name: str, tmp_path: Path) -> None:
    assert run(name, "-q", stdin=GOOD, cwd=tmp_path).stderr == b""
    assert run(name, stdin=GOOD, cwd=tmp_path, env={"BP_QUIET": "1"}).stderr == b""


@pytest.mark.parametrize("name", DATA_COMMANDS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_no_target_and_no_litter(name: str, number: int, code: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        invocation(name, "-o", "out.jsonl", "--rejects", "bad.jsonl"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(str(tmp_path)),
    )
    assert process.stdin and process.stderr
    process.stdin.write(GOOD * 1000)
    process.stdin.flush()
    time.sleep(0.4)
    process.send_signal(number)
    assert process.wait(30) == code
    process.stdin.close()
    one_line(process.stderr.read(), name)
    process.stderr.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_reading_its_own_output_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    with open(tmp_path / "a.jsonl", "ab") as appended:
        done = subprocess.run(
            invocation(name, "a.jsonl"), stdout=appended, stderr=subprocess.PIPE, cwd=tmp_path,
            env=environment(str(tmp_path)), timeout=30,
        )  # fmt: skip
    assert done.returncode == 2
    assert (tmp_path / "a.jsonl").read_bytes() == GOOD
    assert run(name, "a.jsonl", "-o", "a.jsonl", cwd=tmp_path).code == 0


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_outputs_do_not_replace_each_other_or_a_source(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    assert run(name, "a.jsonl", "--rejects", "./a.jsonl", cwd=tmp_path).code == 2
    assert run(name, "a.jsonl", "--report", "a.jsonl", cwd=tmp_path).code == 2
    outcome = run(name, "a.jsonl", "-o", "b", "--rejects", "b", cwd=tmp_path)
    assert outcome.code == 2
    assert "--output and --rejects are both 'b'" in one_line(outcome.stderr, name)
    assert (tmp_path / "a.jsonl").read_bytes() == GOOD
    assert run(name, "a.jsonl", "--rejects", "/dev/null", "--report", "/dev/null", cwd=tmp_path).code == 0


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_side_outputs_are_opened_before_work_starts(name: str, tmp_path: Path) -> None:
    for option in ("--report", "--rejects"):
        outcome = run(name, "-o", "out.jsonl", option, "missing/x", stdin=GOOD, cwd=tmp_path)
        assert outcome.code == 73
        assert "missing/x" in one_line(outcome.stderr, name)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_an_output_name_that_is_not_utf_8(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*map(os.fsencode, invocation(name)), b"-o", b"\xff.jsonl"], input=GOOD, stderr=subprocess.PIPE,
        cwd=tmp_path, env=environment(str(tmp_path)), timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [b"\xff.jsonl", b"\xff.jsonl.manifest.json"]


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_closed_standard_descriptors(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"bad\n")
    command = " ".join(invocation(name, "--max-rejects", "1", "a.jsonl"))

    def shell(line: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", line],
            capture_output=True,
            cwd=tmp_path,
            env=environment(str(tmp_path)),
            timeout=30,
        )

    assert shell(f"{command} -o out.jsonl 2>&-").returncode == 0
    assert b"bad" not in (tmp_path / "out.jsonl").read_bytes()
    assert shell(f"{command} -o out2.jsonl >&-").returncode == 0
    assert (tmp_path / "out2.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    closed = shell(f"{command} --rejects bad.jsonl >&-")
    assert closed.returncode == 74
    assert b"Traceback" not in closed.stderr
    assert shell(f"{command} -o out3.jsonl <&-").returncode == 0
    assert b"standard input" in shell(f"{command.removesuffix('a.jsonl')} <&-").stderr


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_json_messages_are_json(name: str, tmp_path: Path) -> None:
    import json

    outcome = run(name, "--log-format", "json", stdin=b"bad\n", cwd=tmp_path)
    messages = [json.loads(line) for line in outcome.stderr.splitlines()]
    assert [message["level"] for message in messages] == ["warning", "info", "error"]
    assert all(message["command"] == name for message in messages)
