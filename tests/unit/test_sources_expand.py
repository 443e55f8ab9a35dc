"""Operands become sources in one order everywhere, and a wrong one is an error with its fix."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bptools.core.errors import InputError
from bptools.core.sources.expand import expand, is_data_file, suffix_of


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "d/b.jsonl", "d/a/z.json.gz", "d/a/README.md", "d/a-b.csv", "d/B.txt", "d/.hidden.jsonl", "d/.git/x.json",
        "d/picture.png", "d/dataset_info.json", "d/b.jsonl.manifest.json", "d/manifest.json", "d/c.parquet",
        "d/LICENSE", "d/é.ndjson.zst", "[x].jsonl", "empty/notes.pdf",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*operands: str) -> list[str]:
    return [source.name for source in expand(operands).sources]


def message(*operands: str) -> str:
    with pytest.raises(InputError) as caught:
        expand(operands)
    assert caught.value.exit_code == 66
    return str(caught.value)


def test_standard_input() -> None:
    for operands in ([], ["-"]):
        (source,) = expand(operands).sources
        assert (source.name, source.path, source.kind) == ("<stdin>", None, "stdin")
    assert names("-", "-") == ["<stdin>", "<stdin>"]


def test_hub_names_are_not_looked_at() -> None:
    (source,) = expand(["hf:owner/name@v1:test"]).sources
    assert (source.name, source.path, source.kind) == ("hf:owner/name@v1:test", None, "hub")


def test_folder_is_recursive_sorted_and_says_what_it_passed_over(tree: Path) -> None:
    expansion = expand(["d"])
    assert [source.path for source in expansion.sources] == [
        "d/B.txt", "d/a/README.md", "d/a/z.json.gz", "d/a-b.csv", "d/b.jsonl", "d/c.parquet", "d/é.ndjson.zst",
    ]  # fmt: skip
    assert expansion.passed_over == [
        "d/LICENSE", "d/b.jsonl.manifest.json", "d/dataset_info.json", "d/manifest.json", "d/picture.png",
    ]  # fmt: skip


def test_named_file_is_read_whatever_its_suffix_and_as_often_as_named(tree: Path) -> None:
    assert names("d/LICENSE", "d/.hidden.jsonl", "d/LICENSE") == ["d/LICENSE", "d/.hidden.jsonl", "d/LICENSE"]


def test_patterns(tree: Path) -> None:
    assert names("d/*.jsonl") == ["d/b.jsonl"]
    assert names("d/**/*.[jm]*") == [
        "d/a/README.md", "d/a/z.json.gz", "d/b.jsonl", "d/b.jsonl.manifest.json", "d/dataset_info.json",
        "d/manifest.json",
    ]  # fmt: skip
    assert names("[x].jsonl") == ["[x].jsonl"]  # it exists, so it is no pattern
    assert names("d/?") == ["d/a/README.md", "d/a/z.json.gz"]
    assert message("d/*.nope") == "no file matches 'd/*.nope'"


def test_missing_paths(tree: Path) -> None:
    assert message("nope") == "cannot open 'nope': no such file"
    assert message("owner/name") == "cannot open 'owner/name': no such file; did you mean hf:owner/name?"
    assert message("d/nope.jsonl") == "cannot open 'd/nope.jsonl': no such file"
    assert message("/owner/name") == "cannot open '/owner/name': no such file"
    assert message("") == "cannot open '': no such file"
    assert message("a\0b").startswith("cannot open 'a\\x00b': embedded null")
    assert "file name too long" in message("x" * 5000)
    assert message("empty").startswith("no data file in 'empty'")


def test_links(tree: Path) -> None:
    os.symlink("..", tree / "d" / "a" / "up")
    os.symlink("a", tree / "d" / "again")
    os.symlink("nowhere", tree / "d" / "a" / "gone.json")
    assert names("d/a") == [
        "d/a/README.md", "d/a/gone.json", "d/a/up/B.txt", "d/a/up/a-b.csv", "d/a/up/b.jsonl", "d/a/up/c.parquet",
        "d/a/up/é.ndjson.zst", "d/a/z.json.gz",
    ]  # fmt: skip
    assert message("d/a/gone.json") == "cannot open 'd/a/gone.json': no such file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_folder_without_permission(tree: Path) -> None:
    os.chmod(tree / "d" / "a", 0)
    try:
        assert message("d") == "cannot read 'd/a': permission denied"
    finally:
        os.chmod(tree / "d" / "a", 0o755)


def test_names_are_safe_to_show(tree: Path) -> None:
    (tree / "x\n\x1b[31m.jsonl").write_text("{}\n")
    (source,) = expand(["x\n\x1b[31m.jsonl"]).sources
    assert source.path == "x\n\x1b[31m.jsonl"
    assert source.name == "x\\n\\x1b[31m.jsonl"
    assert "\x1b" not in message("\x1b[2J")


def test_pipes_in_folders_are_not_opened(tree: Path) -> None:
    os.mkfifo(tree / "d" / "pipe.jsonl")
    assert "d/pipe.jsonl" not in names("d")
    assert names("d/pipe.jsonl") == ["d/pipe.jsonl"]


def test_suffixes() -> None:
    assert (
        suffix_of("a/b.JSONL.gz") == ".jsonl"
        and suffix_of("x.csv.zst") == ".csv"
        and suffix_of("<stdin>") == ""
    )
    assert is_data_file("a.md.gz") and not is_data_file("state.json.gz") and not is_data_file("a.jsonl.bak")
