"""What is read: batches, slices and mixtures give the same records, and each its own line."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from bptools.core.intake import Intake
from bptools.core.messages import Messages
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.records import Reject
from bptools.core.report import Counts
from bptools.core.sources.base import Source
from bptools.core.streams import Input, open_input
from bptools.quality.mix import interleave

FILES = {
    "a.jsonl": "".join(f'{{"a":{number}}}\n' for number in range(3000)),
    "b.jsonl": '{"b":0}\n\nbroken\n{"b":1}\r\n{"b":2}',
    "c.json": '[{"c":0},{"c":1},3]',
    "d.csv": "d,e\n0,x\n1,y\n",
}


def intake(
    folder: Path, names: list[str], **settings: Any
) -> tuple[Intake, list[tuple[str, int, str]], Counts]:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    counts, refused = Counts(), []
    values = PipelineSettings(sources=[str(folder / name) for name in names], **settings)

    def refuse(line: int, why: Reject, raw: bytes) -> None:
        refused.append((Path(made.source.name).name, line, why.reason))

    made = Intake(values, counts, Messages("bp-x", quiet=True), refuse, hashing=True)
    return made, refused, counts


def by_batches(made: Intake) -> list[tuple[str, int, dict[str, Any]]]:
    found = []
    for _, records in made.batches():
        for index, record in enumerate(records):
            made.locate(index)
            found.append((Path(made.source.name).name, made.line, record))
    return found


def one_by_one(made: Intake) -> list[tuple[str, int, dict[str, Any]]]:
    return [(Path(made.source.name).name, made.line, record) for _, record in made]


@pytest.mark.parametrize(
    ("skip", "cut"), [(0, None), (5, None), (2999, None), (3002, None), (0, "0:0"), (0, "2990:3004"), (0, "1:2"), (9999, None)]
)  # fmt: skip
def test_batches_and_single_records_are_the_same(tmp_path: Path, skip: int, cut: str | None) -> None:
    names = list(FILES)
    whole = by_batches(intake(tmp_path, names)[0])
    assert len(whole) == 3000 + 3 + 2 + 2
    assert whole[-7:-4] == [("b.jsonl", 1, {"b": 0}), ("b.jsonl", 4, {"b": 1}), ("b.jsonl", 5, {"b": 2})]
    first, last = (int(part) for part in cut.split(":")) if cut else (skip, len(whole))
    for read in (by_batches, one_by_one):
        assert read(intake(tmp_path, names, skip=skip, slice=cut)[0]) == whole[first:last]


def test_rejects_and_blank_lines_are_told_once(tmp_path: Path) -> None:
    for read in (by_batches, one_by_one):
        made, refused, counts = intake(tmp_path, list(FILES))
        read(made)
        assert refused == [("b.jsonl", 3, "invalid-json"), ("c.json", 1, "not-object")]
        assert counts.blank == 1


def test_a_mixture_names_the_file_of_each_record_and_reject(tmp_path: Path) -> None:
    made, refused, _ = intake(tmp_path, ["b.jsonl", "c.json", "d.csv"])
    made.schedule = lambda sources: (item for _, item in interleave(sources, None, "all"))
    found = one_by_one(made)
    assert [name for name, _, _ in found[:3]] == ["b.jsonl", "c.json", "d.csv"]
    assert found[3] == ("b.jsonl", 4, {"b": 1})
    assert refused[0] == ("b.jsonl", 3, "invalid-json")
    assert {Path(entry["name"]).name for entry in made.hashes()} == {"b.jsonl", "c.json", "d.csv"}


def test_a_mixture_that_ends_early_closes_what_it_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Input] = []

    def noted(source: Source, digest: Any) -> Input:
        opened.append(open_input(source, digest))
        return opened[-1]

    monkeypatch.setattr("bptools.core.intake.open_input", noted)
    made, _, _ = intake(tmp_path, ["a.jsonl", "b.jsonl"])
    made.schedule = lambda sources: chain([next(sources[1])], [next(sources[0])])
    assert [record for _, record in made] == [{"b": 0}, {"a": 0}]
    assert len(opened) == 2 and all(file.stream.closed for file in opened)
    assert all(entry["bytes"] for entry in made.hashes())


def test_a_pipe_between_commands_carries_single_lines_at_once(tmp_path: Path) -> None:
    """A line goes through bp-filter while the writer is still there and silent."""
    import os
    import select
    import subprocess
    import sys

    from tests.golden import ROOT, environment

    line = json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode() + b"\n"
    command = [sys.executable, str(ROOT / "bin" / "bp-filter"), "-q", "--line-buffered", "--min-turns", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(str(tmp_path))) as done:  # fmt: skip
        assert done.stdin is not None and done.stdout is not None
        for _ in range(3):
            os.write(done.stdin.fileno(), line)
            assert select.select([done.stdout], [], [], 20)[0]
            assert os.read(done.stdout.fileno(), 1000) == line
        done.stdin.close()
    assert done.returncode == 0
