"""What is said of an option that is wrong: what it should be, or what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from bptools.core.suggesting import did_you_mean
from tests.contract.commands import GOOD, run
from tests.golden import environment
from tests.unit.run_directories import write_run


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bp-chatml --limit x", "invalid value for '--limit': 'x' is no whole number; see bp-chatml --help"),
        ("bp-chatml --limit 2.5", "invalid value for '--limit': '2.5' is no whole number; see bp-chatml --help"),
        ("bp-chatml --limit 0", "invalid value for '--limit': 0 is less than 1; see bp-chatml --help"),
        ("bp-dedup --threshold x", "invalid value for '--threshold': 'x' is no number; see bp-dedup --help"),
        ("bp-chatml --nope", "no such option: --nope; see bp-chatml --help"),
        ("bp-chatml --role-mop a=b", "no such option: --role-mop; did you mean '--role-map'?"),
        ("bptools tracee", "no such command 'tracee'; did you mean 'trace'?"),
        ("bp-chatml --role-map a", "--role-map 'a' is not NAME=ROLE"),
        ("bp-chatml --map a", "--map 'a' is not FIELD=COLUMN"),
        ("bp-filter --stats --tag", "--stats writes no records, --tag is about what is written; leave one out"),
        ("bp-filter --stats --shuffle", "--stats writes no records, --shuffle is about what is written; leave one out"),
    ],
)  # fmt: skip
def test_one_line_that_helps(line: str, said: str, tmp_path: Path) -> None:
    name, *options = line.split()
    outcome = run(name, *options, cwd=tmp_path)
    assert (outcome.code, outcome.stderr.decode()) == (2, f"{name}: {said}\n")


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ({"BP_LIMIT": "x"}, "BP_LIMIT: 'x' is no whole number"),
        ({"BP_LIMIT": "-1"}, "BP_LIMIT: -1 is less than 1"),
        ({"BP_QUIET": "maybe"}, "BP_QUIET: 'maybe' is neither true nor false; write 1 or 0"),
    ],
)
def test_variables_alike(variable: dict[str, str], said: str, tmp_path: Path) -> None:
    outcome = run("bp-chatml", cwd=tmp_path, env={**environment(str(tmp_path)), **variable})
    assert (outcome.code, outcome.stderr.decode()) == (2, f"bp-chatml: {said}\n")


def test_what_is_not_alike_is_not_guessed() -> None:
    for given, known in (
        ("foo_bar", "dpo-beta"),
        ("foo", "lomo"),
        ("nope", "gopher"),
        ("--nope", "--dropped"),
    ):
        assert did_you_mean(given, [known], "!") == "!"
    assert did_you_mean("gofer", ["gopher", "c4"]) == "; did you mean 'gopher'?"
    assert did_you_mean("Role_Mop", ["--role-map"]) == "; did you mean '--role-map'?"


def test_rejects_that_are_kept_are_named(tmp_path: Path) -> None:
    outcome = run("bp-chatml", "--rejects", "kept.jsonl", stdin=GOOD + b"{\n", cwd=tmp_path)
    assert outcome.code == 65
    last = outcome.stderr.decode().split("\n")[-3]
    assert (
        last == "bp-chatml: 1 of 4 records rejected; --max-rejects 1 tolerates them, they are in 'kept.jsonl'"
    )
    assert (tmp_path / "kept.jsonl").read_bytes().count(b"\n") == 1
    outcome = run("bp-chatml", stdin=GOOD + b"{\n", cwd=tmp_path)
    assert outcome.stderr.decode().split("\n")[-3].endswith("--rejects FILE keeps them")


def test_a_run_that_is_named_for_its_adapter(tmp_path: Path) -> None:
    path = write_run(tmp_path, "a1")
    (path / "adapter" / "adapter_config.json").write_text("{}")
    outcome = run("bp-generate", "--adapter", str(path), stdin=GOOD, cwd=tmp_path)
    assert outcome.code == 66
    assert outcome.stderr.decode().endswith(f"adapter_config.json in it; did you mean '{path}/adapter'?\n")


@pytest.mark.parametrize(
    "line", ["bp-chatml -c gone", "bp-ppl --cutoffs gone", "bptools trace gone", "bp-dedup gone"]
)
def test_what_is_not_there_is_told_in_the_same_words(line: str, tmp_path: Path) -> None:
    name, *options = line.split()
    outcome = run(name, *options, cwd=tmp_path)
    assert outcome.stderr.decode() == f"{name}: cannot open 'gone': no such file\n"
