"""What make does with a recipe before it trains: missing input, file names, broken lines, options, and only looking."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bptools.core.errors import UsageError
from bptools.core.recipes import write
from tests.recipe_runs import bare, chats, fail, made, records, run, times

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# the folder that is read first, what it wants, what is made of it, and where its rejects are
RECIPES = {
    "retrain": ("raw", "chats", "clean.jsonl", "rejects.jsonl"),
    "decontaminate": ("raw", "records", "clean.jsonl", "rejects.jsonl"),
    "documents": ("chats", "chats", "chats.jsonl", "chats.rejects.jsonl"),
    "preference": ("chats", "chats", "chats.jsonl", "chats.rejects.jsonl"),
    "curriculum": ("raw", "chats", "topics/.split", "rejects.jsonl"),
}
FAST = {"PPL": "cat"}


def looked(line: list[str], place: Path, flag: str) -> tuple[int, str]:
    """Run make with a flag that lets it only look; return its status and what it said on standard error."""
    done = subprocess.run(
        [*line, flag], cwd=place, env=bare(place), stdin=subprocess.DEVNULL, capture_output=True
    )
    return done.returncode, done.stderr.decode()


def one_target(name: str, place: Path) -> list[str]:
    """Return the line that makes what is made first, with something to read for all that it needs."""
    chats(place / "eval" / "e:1.jsonl", 1, seed=9)
    return [*made(name, place), RECIPES[name][2]]


@pytest.mark.parametrize("name", RECIPES)
def test_a_missing_and_an_empty_folder_are_named_in_one_line(name: str, tmp_path: Path) -> None:
    folder, what, target, _ = RECIPES[name]
    line = [*made(name, tmp_path), target]
    wanted = rf"{name}\.mk:\d+: \*\*\* put {what} into {folder}/ first\.  Stop\.\n"
    for _ in range(2):
        assert re.fullmatch(wanted, fail(line, tmp_path))
        (tmp_path / folder).mkdir(exist_ok=True)
    whole = line[:-1]
    assert re.fullmatch(r"[a-z]+\.mk:\d+: \*\*\* put \w+ into \w+/ first\.  Stop\.\n", fail(whole, tmp_path))
    assert looked(whole, tmp_path, "-n") == (0, "")


@pytest.mark.parametrize("name", RECIPES)
def test_names_with_colons_and_some_broken_lines_are_taken(name: str, tmp_path: Path) -> None:
    folder, _, _, rejects = RECIPES[name]
    line = one_target(name, tmp_path)
    for number, file in enumerate(
        ("2026-11-21T03:17.jsonl", "50%.jsonl", "a#b.jsonl", "deep:er/it's=$x.jsonl")
    ):
        chats(tmp_path / folder / file, 30, seed=number, topic="one")
    with open(tmp_path / folder / "50%.jsonl", "a") as file_with_more:
        file_with_more.write("broken\n")
    run(line, tmp_path, **FAST)
    assert [record["raw"] for record in records(tmp_path / rejects)] == ["broken"]
    before = times(tmp_path)
    run(line, tmp_path, **FAST)
    assert times(tmp_path) == before
    assert looked(line, tmp_path, "-q")[0] == (name == "retrain")  # which has other options now
    os.utime(tmp_path / folder / "2026-11-21T03:17.jsonl")
    assert looked(line, tmp_path, "-q")[0] == 1
    run(line, tmp_path, **FAST)
    assert times(tmp_path)[line[-1]] > before[line[-1]]
    said = fail(line, tmp_path, **FAST, MAX_REJECTS="0")
    assert "50%.jsonl:31: invalid-json" in said and "--max-rejects" in said


def test_a_name_that_make_cannot_take_is_refused_by_name(tmp_path: Path) -> None:
    line = one_target("retrain", tmp_path)
    chats(tmp_path / "raw" / "good.jsonl", 3)
    run(line, tmp_path, **FAST)
    for file in ("a b.jsonl", "deep er/a.jsonl", "a;b.jsonl", "x(1).jsonl", "a|b", "a\\b"):
        chats(tmp_path / "raw" / file, 3)
        said = fail(line, tmp_path, **FAST)
        assert f"rename 'raw/{file}': make takes no blank" in said and said.count("\n") == 1
        assert looked(line, tmp_path, "-n") == (0, "")
        (tmp_path / "raw" / file).unlink()
    run(line, tmp_path, **FAST)


def test_a_topic_that_make_cannot_take_is_refused_by_name(tmp_path: Path) -> None:
    line = one_target("curriculum", tmp_path)
    chats(tmp_path / "raw" / "a.jsonl", 3, topic="letters")
    chats(tmp_path / "raw" / "b.jsonl", 3, seed=2, topic="two words")
    assert "curriculum: no file can be named after 'two words.jsonl'; rename" in fail(line, tmp_path)
    run(line, tmp_path, TOPICS="letters")


@pytest.mark.parametrize("flag", ["-n", "-q", "-nk"])
def test_make_that_only_looks_changes_nothing(flag: str, tmp_path: Path) -> None:
    line = one_target("retrain", tmp_path)
    chats(tmp_path / "raw" / "a.jsonl", 3)
    before = times(tmp_path)
    looked([*line, "PPL=cat"], tmp_path, flag)
    assert times(tmp_path) == before
    run(line, tmp_path, **FAST)
    (tmp_path / "bot").write_text("runs/pruned/adapter\n")
    before = times(tmp_path)
    code, _ = looked([*line[:-1], "PPL=cat", "DEDUP=bp-dedup", "PRESET=x", "CHECK=match>=.9"], tmp_path, flag)
    assert (code, times(tmp_path)) == (flag == "-q", before)
    run(line, tmp_path, **FAST)
    assert times(tmp_path) == before
    run(line, tmp_path, **FAST, DEDUP="bp-dedup")
    assert times(tmp_path)["clean.jsonl"] > before["clean.jsonl"]


@pytest.mark.parametrize("hold_out", ["2%", ".02", "50", "0"])
def test_too_few_records_to_hold_one_out_are_known_before_the_training(hold_out: str, tmp_path: Path) -> None:
    line = one_target("retrain", tmp_path)
    chats(tmp_path / "raw" / "a.jsonl", 9)
    said = fail(line[:-1], tmp_path, **FAST, HOLD_OUT=hold_out)
    assert f"retrain: 9 records are too few for HOLD_OUT={hold_out} to hold one out; raise it\n" in said
    assert not (tmp_path / "runs").exists()
    line[-1] = ".enough"
    run(line, tmp_path, **FAST, HOLD_OUT="12%")
    run(line, tmp_path, **FAST, TRAIN="--eval other.jsonl")


def test_several_recipes_are_not_poured_into_one_stream(tmp_path: Path) -> None:
    for output in ("-", str(tmp_path / "x.mk")):
        with pytest.raises(UsageError, match="2 recipes do not fit into one file"):
            write(["retrain", "crontab"], output)
    assert list(tmp_path.iterdir()) == []
