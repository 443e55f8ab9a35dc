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
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_leave_no_target_and_no_litter(name: str, number: int, code: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        invocation(name, "-o", "out.jsonl", "--rejects", "bad.jsonl"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(str(tmp_path)),
        # nohup and jobs in the background ignore some of them
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert process.stdin and process.stderr
    process.stdin.write(GOOD * 1000)
    process.stdin.flush()
    time.sleep(0.4)
    for _ in range(2):  # a terminal that closes hangs up twice
        process.send_signal(number)
        time.sleep(0.005)
    assert process.wait(30) == code
    process.stdin.close()
    said = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}[number]
    assert one_line(process.stderr.read(), name) == f"{name}: {said}"
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
def test_nothing_that_is_read_is_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "a.yaml").write_text("skip: 0\n")
    os.link(tmp_path / "in" / "a.jsonl", tmp_path / "same.jsonl")
    before = sorted(tmp_path.rglob("*"))
    for source in ("in", "in/*.jsonl", "in/a.jsonl"):
        for target in ("in/a.jsonl", "same.jsonl"):
            outcome = run(name, source, "--rejects", target, cwd=tmp_path)
            assert outcome.code == 2
            assert "--rejects would replace the source 'in/a.jsonl'" in one_line(outcome.stderr, name)
    assert run(name, "in/a.jsonl", "-c", "a.yaml", "-o", "a.yaml", cwd=tmp_path).code == 2
    with open(tmp_path / "in" / "a.jsonl", "rb") as redirected:
        done = subprocess.run(
            invocation(name, "--report", "in/a.jsonl"), stdin=redirected, stderr=subprocess.PIPE, cwd=tmp_path,
            env=environment(str(tmp_path)), timeout=30,
        )  # fmt: skip
    assert done.returncode == 2
    assert b"--report would replace the source" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "in" / "a.jsonl").read_bytes() == GOOD


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_no_output_is_put_where_the_next_run_reads(name: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "link").symlink_to("in")
    for option, file in [("-o", "in/b.jsonl"), ("--rejects", "in/deep/b.jsonl"), ("--report", "link/b.json")]:
        outcome = run(name, "in", option, file, cwd=tmp_path)
        assert outcome.code == 2
        assert f"{option} lies in the source folder 'in', and the next run would read it" in one_line(
            outcome.stderr, name
        )
    for pattern in ("in/*.jsonl", "i?", "**/b.*"):
        outcome = run(name, pattern, "-o", "in/b.jsonl", cwd=tmp_path)
        assert outcome.code == 2
        assert f"-o is matched by the source pattern '{pattern}'" in one_line(outcome.stderr, name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.jsonl", "deep", "in", "link"]
    for file in ("in/.b.jsonl", "in/b.log", "b.jsonl"):  # which nobody reads
        assert run(name, "in", "-o", file, cwd=tmp_path).code == 0


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_an_empty_name_is_no_output(name: str, tmp_path: Path) -> None:
    outcome = run(name, "-o", "", cwd=tmp_path)
    assert outcome.code == 2
    assert "--output is empty; - is standard output" in one_line(outcome.stderr, name)
    outcome = run(name, "--rejects", "", cwd=tmp_path)
    assert outcome.code == 2
    assert "--rejects is empty; name a file" in one_line(outcome.stderr, name)


@pytest.mark.parametrize("name", READING_COMMANDS)
def test_a_bad_value_is_named_by_its_origin(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("skip: x\n")
    outcome = run(name, "-c", "a.yaml", cwd=tmp_path)
    assert outcome.code == 78
    assert ": a.yaml: skip: 'x' is no whole number" in one_line(outcome.stderr, name)
    (tmp_path / "a.yaml").write_text("max-rejects: x\n")
    outcome = run(name, "-c", "a.yaml", cwd=tmp_path)
    assert outcome.code == 78
    assert ": a.yaml: --max-rejects 'x'" in one_line(outcome.stderr, name)
    outcome = run(name, cwd=tmp_path, env={"BP_SKIP": "x"})
    assert outcome.code == 2
    assert ": BP_SKIP: 'x' is no whole number" in one_line(outcome.stderr, name)
    (tmp_path / ".env").write_text("BP_SKIP=x\n")
    outcome = run(name, cwd=tmp_path)
    assert outcome.code == 78
    assert ": .env:1: BP_SKIP: 'x' is no whole number" in one_line(outcome.stderr, name)


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_a_line_of_dotenv_that_is_no_assignment(name: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('# a\n\nexport KEY="a\nb c"\nBP_SKIP 3\nBP_SKIP: 3\nBP_QUIET=1\n')
    outcome = run(name, stdin=GOOD, cwd=tmp_path)
    assert outcome.code == 0
    assert ".env:5: no assignment, ignored, and 1 more" in one_line(outcome.stderr, name)


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_variables_of_repeatable_options(name: str, tmp_path: Path) -> None:
    def shown(value: str) -> str:
        text = run(name, "--show-config", cwd=tmp_path, env={"BP_MAP": value}).stdout.decode()
        return next(line for line in text.splitlines() if line.startswith("map = "))

    assert shown("a=b c=d") == 'map = ["a=b", "c=d"]  # BP_MAP'
    assert shown('["a=b c", "d=e"]') == 'map = ["a=b c", "d=e"]  # BP_MAP'
    assert shown("[a=b]") == 'map = ["[a=b]"]  # BP_MAP'


@pytest.mark.parametrize("name", DATA_COMMANDS)
@pytest.mark.parametrize("options", [[], ["--strict"]])
def test_the_counts_come_last(name: str, options: list[str], tmp_path: Path) -> None:
    outcome = run(name, *options, stdin=GOOD + b"bad\n" * 30, cwd=tmp_path)
    assert outcome.code == 65
    assert " in, " in outcome.stderr.decode().splitlines()[-1]


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
    assert [message["level"] for message in messages] == ["warning", "error", "info"]
    assert all(message["command"] == name for message in messages)


def _through_bash(line: str, name: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    command = " ".join(invocation(name))
    return subprocess.run(
        ["bash", "-c", line.replace("COMMAND", command)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
        cwd=cwd, env=environment(str(cwd)), timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_what_stands_behind_a_descriptor_is_gone_on_with(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "all.jsonl").write_bytes(b"before\n")
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "other").symlink_to("/dev/stdout")
    (tmp_path / "dev").symlink_to("/dev")
    targets = ("/dev/stdout", "/proc/self/fd/1", "/dev//stdout", "/dev/../dev/fd/1", "link", "dev/stdout")
    for target in (*(f"-o {name} >>" for name in targets), "-o /dev/fd/3 3>>"):
        done = _through_bash(f"COMMAND a.jsonl {target} all.jsonl", name, tmp_path)
        assert done.returncode == 0, done.stderr
    kept = (tmp_path / "all.jsonl").read_bytes()
    assert kept.startswith(b"before\n") and kept.count(b"\n") == 1 + 7 * GOOD.count(b"\n")
    done = _through_bash("COMMAND a.jsonl -o b.jsonl --report /dev/stderr 2>> log", name, tmp_path)
    assert done.returncode == 0 and (tmp_path / "log").read_bytes().startswith(b"{")
    assert b" in, " in (tmp_path / "log").read_bytes()
    for number in (9, 10**20):
        done = _through_bash(f"COMMAND a.jsonl -o /dev/fd/{number}", name, tmp_path)
        assert (done.returncode, b"it is not open" in done.stderr) == (73, True)


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_standard_output_is_no_input_and_no_other_output(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "in" / "z.jsonl").write_bytes(GOOD)
    for line in (
        "COMMAND in >> in/z.jsonl",
        "COMMAND in/*.jsonl >> in/z.jsonl",
        "COMMAND 'in/*.jsonl' >> in/z.jsonl",
        "COMMAND < in/z.jsonl >> in/z.jsonl",
        "COMMAND in/z.jsonl -o /dev/stdout >> in/z.jsonl",
        "COMMAND in/z.jsonl -o /dev//stdout >> in/z.jsonl",
        "COMMAND in/z.jsonl --rejects /dev/fd/3 3>> in/z.jsonl",
    ):
        done = _through_bash(line, name, tmp_path)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), line
        assert (tmp_path / "in" / "z.jsonl").read_bytes() == GOOD
    done = _through_bash("COMMAND in --rejects out > out", name, tmp_path)
    assert done.returncode == 2 and b"where standard output goes" in done.stderr


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_a_manifest_that_has_no_place_is_told_before_the_output_is_replaced(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    for long in ("x" * 246, "\u3042" * 82):  # with what is added 260 bytes
        (tmp_path / long).write_bytes(b"before")
        outcome = run(name, "a.jsonl", "-o", long, cwd=tmp_path)
        assert outcome.code == 73
        assert "file name too long" in one_line(outcome.stderr, name).lower()
        assert (tmp_path / long).read_bytes() == b"before"
    (tmp_path / "o.manifest.json").mkdir()
    (tmp_path / "o").write_bytes(b"before")
    assert run(name, "a.jsonl", "-o", "o", cwd=tmp_path).code == 73
    assert (tmp_path / "o").read_bytes() == b"before"
    assert run(name, "a.jsonl", "-o", "\u3042" * 80, cwd=tmp_path).code == 0
    assert (tmp_path / ("\u3042" * 80 + ".manifest.json")).exists()


@pytest.mark.parametrize("name", DATA_COMMANDS)
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-o", "o", "--rejects", "r", "--report", "none/x"], 73),
        (["-o", "o", "--rejects", "r", "--slice", "x"], 2),
        (["-o", "none/o", "--rejects", "r", "--report", "p"], 73),
        (["-o", "o", "--rejects", "r", "missing.jsonl"], 66),
    ],
)
def test_no_litter_where_files_cannot_be_unnamed(
    name: str, options: list[str], code: int, tmp_path: Path
) -> None:
    """What macOS and some network file systems lack is taken away by a sitecustomize.py."""
    (tmp_path / "place").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os\nos.O_TMPFILE = 0\n")
    (tmp_path / "place" / "a.jsonl").write_bytes(GOOD)
    env = {"PYTHONPATH": str(tmp_path / "site")}
    assert run(name, "a.jsonl", *options, cwd=tmp_path / "place", env=env).code == code
    assert os.listdir(tmp_path / "place") == ["a.jsonl"]


@pytest.mark.parametrize("name", DATA_COMMANDS)
def test_no_variable_puts_anything_but_records_on_standard_output(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    plain = run(name, "a.jsonl", cwd=tmp_path)
    env = {"BP_VERSION": "1", "BP_SHOW_CONFIG": "1", "BP_HELP": "1"}
    assert run(name, "a.jsonl", cwd=tmp_path, env=env) == plain
