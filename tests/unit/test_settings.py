"""Values of configuration files: YAML as it is meant, and each of the type that its option takes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from bptools.core.options import json_values
from bptools.core.setting_types import as_written
from bptools.core.yaml_text import load_yaml
from tests.contract.commands import run


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on: user", {"on": "user"}),
        ("a: 5:50", {"a": "5:50"}),
        ("a: 010", {"a": "010"}),
        ("a: 1e-4", {"a": 1e-4}),
        ("a: 1.5e3", {"a": 1500.0}),
        ("a: .5", {"a": 0.5}),
        ("a: -.inf", {"a": -math.inf}),
        ("a: 1_000", {"a": 1000}),
        ("a: 0x1f", {"a": 31}),
        ("a: 0", {"a": 0}),
        ("a: yes", {"a": True}),
        ("a: off", {"a": "off"}),
        ("a: ~", {"a": None}),
        ("a: 2026-01-02", {"a": "2026-01-02"}),
        ("a: 1.2.3", {"a": "1.2.3"}),
    ],
)
def test_yaml_as_it_is_meant(text: str, value: Any) -> None:
    assert load_yaml(text.encode(), as_written) == value


@pytest.mark.parametrize(
    "text",
    [
        "a: !!timestamp x", "a: !!bool maybe", 'a: !!int ""', 'a: !!float ""', "a: !!int x", "a: !!binary ä",
        "{" * 20_000, "a: " + "[" * 20_000, "{[]: 1}", "? {}\n: 1", "!!python/object:os.system {}",
    ],
)  # fmt: skip
def test_yaml_that_cannot_be_read_is_an_error_of_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    outcome = run("bp-chatml", "-c", "c.yaml", cwd=tmp_path)
    assert (outcome.code, outcome.stderr.count(b"\n")) == (78, 1), outcome.stderr
    assert outcome.stderr.startswith(b"bp-chatml: c.yaml: ")


@pytest.mark.parametrize(
    ("command", "line", "says"),
    [
        ("bp-chatml", "system: [a, b]", "system takes one value, not a list"),
        ("bp-chatml", "system: {a: b}", "system takes one value, not a table"),
        ("bp-chatml", "system: true", "system takes a text, not true; quote it"),
        ("bp-chatml", "limit: 2.5", "limit takes a whole number, not 2.5"),
        ("bp-chatml", "limit: true", "limit takes a whole number, not true"),
        ("bp-chatml", "limit: .nan", "limit takes a whole number, not nan"),
        ("bp-chatml", "tag: {a: b}", "tag takes one value, not a table"),
        ("bp-chatml", "tag: 1", "tag is true or false, not 1"),
        ("bp-chatml", "map: 3", "--map '3' is not FIELD=COLUMN"),
        ("bp-generate", "template-kwargs: {x: &a {y: *a}}", "template-kwargs holds itself"),
        ("bp-filter", "keep-match: [~]", "keep-match takes a text, not null; quote it"),
        ("bp-filter", "drop-match: true", "drop-match takes a text, not true; quote it"),
        ("bp-filter", "keep-match: [[a]]", "keep-match takes a text, not a list"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_file(
    command: str, line: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "c.yaml").write_text(line)
    (tmp_path / "a.jsonl").write_text('{"prompt": "p", "completion": "c"}\n')
    outcome = run(command, "-c", "c.yaml", "a.jsonl", cwd=tmp_path)
    assert (outcome.code, outcome.stdout) == (78, b"")
    assert outcome.stderr.decode().startswith(f"{command}: c.yaml: {says}")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("limit: 2.0", "limit = 2 "),
        ("limit: 1_000", "limit = 1000 "),
        ("map: {prompt: p}", 'map = ["prompt=p"]'),
        ("skip: '3'", "skip = 3 "),
        # a text that looks like a number is the text that was written
        ("system-default: 1.10", 'system-default = "1.10"'),
        ("system-default: 1234e56", 'system-default = "1234e56"'),
        ("system-default: 12e34567", 'system-default = "12e34567"'),
        ("map: {text: 1.10}", 'map = ["text=1.10"]'),
        ("map: {1.10: text}", 'map = ["1.10=text"]'),
        # but a count that is written like one is a count, also where the option reads more than counts
        ("chunk: 1_000", 'chunk = "1000"'),
        ("max-rejects: 0x10", 'max-rejects = "16"'),
        ("system-default: 7", 'system-default = "7"'),
    ],
)
def test_a_value_that_means_the_same_is_taken(line: str, shown: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(line)
    outcome = run("bp-chatml", "-c", "c.yaml", "--show-config", cwd=tmp_path)
    assert shown in outcome.stdout.decode()


def test_a_number_of_toml_that_a_text_takes_is_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("system-default = 1.10\nmax-rejects = 1e-2\n")
    shown = run("bp-chatml", "-c", "c.toml", "--show-config", cwd=tmp_path).stdout.decode()
    assert 'system-default = "1.10"' in shown and 'max-rejects = "1e-2"' in shown


def test_a_table_of_values_is_read_as_json(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("template-kwargs: {enable_thinking: false, n: 1, t: [a], s: text}")
    shown = run("bp-generate", "-c", "c.yaml", "--show-config", cwd=tmp_path).stdout.decode()
    (line,) = [line for line in shown.split("\n") if line.startswith("template-kwargs")]
    values = json.loads(line.partition("=")[2].partition("  #")[0])
    assert json_values("--template-kwargs", values) == {
        "enable_thinking": False,
        "n": 1,
        "t": ["a"],
        "s": "text",
    }
