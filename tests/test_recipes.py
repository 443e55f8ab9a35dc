"""The recipes do what they say, in a folder with a user's data: with nano, no HOME, no terminal and few steps."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from bptools.core.recipes import folder, listed, write
from bptools.core.registry import COMMANDS
from tests.golden import ROOT
from tests.recipe_runs import (
    FEW,
    PPL,
    RETRAIN,
    bare,
    chats,
    fail,
    litter,
    made,
    raw_chats,
    records,
    result,
    run,
    start,
    times,
)  # fmt: skip
from tests.training_runs import sentence

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("make", "jq", "flock")), reason="needs make, jq and flock"
)

# all of them


@pytest.mark.parametrize("recipe", listed(), ids=lambda recipe: recipe.name)
def test_a_recipe_uses_options_that_there_are(recipe: Any) -> None:
    from bptools._dev.parameters import interface

    known = {
        entry.name: {name for option in interface(entry).options for name in option.names}
        for entry in COMMANDS
    }
    text = (Path(folder()) / recipe.file).read_text().replace("\\\n", " ")
    for line in text.split("\n"):
        for command, options in re.findall(r"(bp-[a-z]+) ([^|;>`]*)", line):
            if command in known:
                assert set(re.findall(r"(?<![\w-])--[a-z-]+", options)) <= known[command], line


def test_the_page_names_the_recipes() -> None:
    page = (ROOT / "bptools" / "commands" / "pages" / "bptools.txt").read_text()
    section = page.split("\nRECIPES\n")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^    (\w+) ", section, re.MULTILINE)) == [recipe.name for recipe in listed()]


@pytest.mark.parametrize("recipe", listed(), ids=lambda recipe: recipe.name)
def test_a_recipe_does_not_promise_every_tenth_record(recipe: Any) -> None:
    text = (Path(folder()) / recipe.file).read_text()
    assert "every tenth" not in text  # a hash draws about a tenth
    assert ("A hash" in text) == ("HOLD_OUT" in text)


def why(line: list[str], place: Path, **variables: str) -> list[str]:
    """Run a line of which a step must end with 65, in the same way twice; return what is said but by make."""
    said = fail(line, place, **variables)
    assert said == fail(line, place, **variables)  # what failed is not taken for made
    assert re.search(r"^make.* Error 65$", said, re.MULTILINE)
    assert litter(place) == [] and not (place / ".topics").exists() and not (place / "runs").exists()
    return [each for each in said.splitlines() if not re.match(r"make[:\[]", each)]


EMPTY = "{made}.jsonl would be empty: there is no record in {where}/; see also {made}.rejects.jsonl"
NOTHING = [
    (
        "retrain",
        "raw",
        "clean.jsonl would be empty: there is no chat in raw/, or DEDUP or PPL dropped them all; "
        "see also rejects.jsonl",
    ),
    ("curriculum", "raw", "there is no chat in raw/; see also rejects.jsonl"),
    ("decontaminate", "raw", "there is no record in raw/; see also rejects.jsonl"),
    ("decontaminate", "eval", "there is no record in eval/, so nothing can be compared"),
    ("preference", "chats", EMPTY.format(made="chats", where="chats")),
    ("preference", "pairs", EMPTY.format(made="pairs", where="pairs")),
    ("documents", "docs", EMPTY.format(made="pieces", where="docs")),
    ("documents", "chats", EMPTY.format(made="chats", where="chats")),
]


def pairs(path: Path, count: int) -> None:
    chance = random.Random(3)
    path.parent.mkdir()
    with open(path, "w") as file:
        for _ in range(count):
            pair = {"prompt": sentence(chance, 5), "chosen": sentence(chance, 9), "rejected": "no"}
            file.write(json.dumps(pair) + "\n")


@pytest.mark.parametrize(("name", "where", "reason"), NOTHING, ids=lambda given: given.split(" ")[0])
def test_files_without_a_record_are_named_before_the_training(
    name: str, where: str, reason: str, tmp_path: Path
) -> None:
    for folder_name in ("raw", "eval", "chats"):
        chats(tmp_path / folder_name / "a.jsonl", 12)
    pairs(tmp_path / "pairs" / "a.jsonl", 12)
    chats(tmp_path / "docs" / "a.txt", 12)
    (empty,) = (tmp_path / where).iterdir()
    empty.write_bytes(b"\n")
    line = made(name, tmp_path)
    assert why(line, tmp_path, HOLD_OUT="50", **PPL) == [f"{name}: {reason}"]


@pytest.mark.parametrize(
    ("name", "what", "options"),
    [("preference", "pairs", ["sft", "dpo"]), ("documents", "chats", ["read", "answer"])],
)
def test_where_nothing_is_held_out_no_answers_are_made(
    name: str, what: str, options: list[str], tmp_path: Path
) -> None:
    chats(tmp_path / "chats" / "a.jsonl", 12)
    chats(tmp_path / "docs" / "a.txt", 12)
    pairs(tmp_path / "pairs" / "a.jsonl", 12)
    line, more = made(name, tmp_path), {"ANSWER": "", "DPO": ""}
    few = f"{name}: 12 {what} are too few for HOLD_OUT=2% to hold one out; raise it"
    assert why(line, tmp_path, **more) == [few]
    wanted = ["chats.jsonl", "pairs.jsonl" if name == "preference" else "pieces.jsonl"]
    run(
        [*line, *wanted, ".enough", *(f".{each}.options" for each in options)],
        tmp_path,
        **more,
        HOLD_OUT="50",
    )
    (tmp_path / "kept" / "adapter").mkdir(parents=True)  # as if it were trained, and the hash had drawn none
    (tmp_path / "kept" / "eval.jsonl").touch()
    for target in ("sft", "reader", "bot"):
        (tmp_path / target).write_text("kept/adapter\n")
    none = f"{name}: no record was held out to be answered; raise HOLD_OUT"
    assert why(line, tmp_path, **more, HOLD_OUT="50") == [none]


def test_too_many_rejects_name_the_variable(tmp_path: Path) -> None:
    chats(tmp_path / "raw" / "a.jsonl", 12)
    with open(tmp_path / "raw" / "a.jsonl", "a") as file:
        file.write("broken\nbroken\n")
    line = [*made("retrain", tmp_path), "clean.jsonl"]
    said = fail(line, tmp_path, PPL="cat").split("\n")
    lines = [each for each in said if each.startswith("bp-chatml: ") and "MAX_REJECTS" in each]
    assert lines == said[2:3]  # after the two rejects, and before what make says
    assert "2 of 14 records rejected; --max-rejects 2, here MAX_REJECTS=2, tolerates them" in lines[0]
    run(line, tmp_path, PPL="cat", MAX_REJECTS="2")
    assert "MAX_REJECTS" not in fail([*line, ".enough"], tmp_path, PPL="cat", MAX_REJECTS="2")


# decontaminate


def test_decontaminate_says_what_all_its_files_are(tmp_path: Path) -> None:
    chats(tmp_path / "raw" / "a.jsonl", 3)
    chats(tmp_path / "eval" / "a.jsonl", 3)
    run(made("decontaminate", tmp_path), tmp_path)
    assert (tmp_path / "clean.jsonl").read_bytes() == b""  # that all is asked is a result
    head = (tmp_path / "decontaminate.mk").read_text().split("\n\n")[0]
    for path in tmp_path.glob("[!.]*.json*"):
        assert path.suffix == ".log" or re.search(rf"[ ;]{re.escape(path.name)} ", head), path


def test_decontaminate_takes_out_what_is_asked_and_says_which(tmp_path: Path) -> None:
    chats(tmp_path / "raw" / "a.jsonl", 40)
    chats(tmp_path / "raw" / "deep" / "b.jsonl", 20, seed=2)
    chats(tmp_path / "eval" / "questions.jsonl", 3)  # the first three of a
    line = made("decontaminate", tmp_path)
    run(line, tmp_path)
    clean, contaminated = records(tmp_path / "clean.jsonl"), records(tmp_path / "contaminated.jsonl")
    assert (len(clean), len(contaminated)) == (57, 3)
    assert [Path(record["bp"]["dup_at"]).name for record in contaminated] == [
        f"questions.jsonl:{n}" for n in (1, 2, 3)
    ]
    before = times(tmp_path)
    run(line, tmp_path)
    assert times(tmp_path) == before
    chats(tmp_path / "eval" / "more.jsonl", 2, seed=2)  # a new file
    run(line, tmp_path)
    assert (len(records(tmp_path / "clean.jsonl")), len(records(tmp_path / "contaminated.jsonl"))) == (55, 5)
    (tmp_path / "eval" / "more.jsonl").unlink()
    run(line, tmp_path)
    assert len(records(tmp_path / "clean.jsonl")) == 57
    run(line, tmp_path, THRESHOLD="0.1", NGRAM="1")  # another option
    assert len(records(tmp_path / "clean.jsonl")) < 55
    kept = (tmp_path / "clean.jsonl").read_bytes()
    (tmp_path / "raw" / "a.jsonl").write_text("no record\n")
    said = fail(line, tmp_path, THRESHOLD="0.1", NGRAM="1")
    assert "raw/a.jsonl:1: invalid-json" in said and "--max-rejects" in said
    assert (tmp_path / "clean.jsonl").read_bytes() == kept or not (tmp_path / "clean.jsonl").exists()
    assert litter(tmp_path) == []


# crontab


def cron_lines() -> list[str]:
    text = (Path(folder()) / "crontab").read_text()
    return [re.sub(r"^(?:\S+ ){5}", "", line) for line in text.split("\n") if re.match(r"\d", line)]


def cron(line: str, home: Path, **more: str) -> tuple[int, str]:
    """Run a line of the crontab as cron does, from the home folder; return the status and the mail."""
    assert "%" not in line.replace("\\%", "")
    done = subprocess.run(
        ["/bin/bash", "-c", line.replace("\\%", "%")],
        cwd=home,
        env={**bare(home), "HOME": str(home), "SHELL": "/bin/bash", **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
    )
    return done.returncode, (done.stdout + done.stderr).decode()


def test_cron_mails_one_line_when_something_is_wrong_and_leaves_a_run_in_peace(tmp_path: Path) -> None:
    retrain, prune = cron_lines()
    code, mail = cron(retrain, tmp_path)
    assert mail.count("\n") == 1 and "bot" in mail  # there is no such folder yet
    (tmp_path / "bot" / "raw").mkdir(parents=True)
    (tmp_path / "bot" / "raw" / "new.jsonl").write_text("no record\n")
    write(["retrain"], str(tmp_path / "bot"))
    code, mail = cron(retrain, tmp_path)
    assert code == 0
    assert re.fullmatch(
        r"bot: retraining failed with 2: bp-chatml: .*--max-rejects 1, here MAX_REJECTS=1, .*\n", mail
    )
    assert "invalid-json" in (tmp_path / "bot" / "retrain.log").read_text()
    with subprocess.Popen(["flock", tmp_path / "bot" / ".lock", "sleep", "60"]) as holder:
        while cron("cd bot && flock -n .lock true && echo free", tmp_path)[1]:
            time.sleep(0.05)
        (tmp_path / "bot" / "retrain.log").unlink()
        assert cron(retrain, tmp_path) == (0, "")
        assert not (tmp_path / "bot" / "retrain.log").read_text()
        subprocess.run(["kill", str(holder.pid)])
    assert cron(prune, tmp_path) == (0, "")


@pytest.mark.slow
def test_cron_is_silent_when_all_is_well(tmp_path: Path, retrained: Path) -> None:
    retrain, prune = cron_lines()
    shutil.copytree(retrained, tmp_path / "bot", symlinks=True)
    (tmp_path / "bot" / "answers.jsonl").unlink()  # so that there is something to do
    assert cron(retrain, tmp_path, **RETRAIN) == (0, "")
    assert result(tmp_path / "bot") == result(retrained)
    assert cron(prune, tmp_path) == (0, "")
    assert (tmp_path / "bot" / "runs" / "latest" / "manifest.json").exists()


# retrain


@pytest.fixture(scope="module")
def retrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("trl")
    place = tmp_path_factory.mktemp("retrained")
    raw_chats(place)
    run(made("retrain", place), place, **RETRAIN)
    return place


@pytest.mark.slow
def test_retrain_does_only_what_changed(retrained: Path, tmp_path: Path) -> None:
    place = tmp_path / "again"
    shutil.copytree(retrained, place, symlinks=True)
    line = ["make", "-s", "-f", "retrain.mk"]
    assert len(records(place / "rejects.jsonl")) == 1
    assert [record["bp"]["match"] for record in records(place / "answers.jsonl")] == [False, False]
    before = times(place)
    run(line, place, **RETRAIN)
    assert times(place) == before
    os.utime(place / "raw" / "b.jsonl")  # touched and not changed: the training is known to be finished
    run(line, place, **RETRAIN)
    changed = {name for name, when in times(place).items() if before.get(name) != when}
    assert {"clean.jsonl", "bot", "answers.jsonl"} <= changed
    assert not [name for name in changed if name.startswith("runs/") and name.endswith(".safetensors")]
    assert result(place) == result(retrained)
    said = fail(line, place, **RETRAIN, CHECK="match>=.9")
    assert "match is 0" in said
    assert "match is 0" in fail(
        line, place, **RETRAIN, CHECK="match>=.9"
    )  # what failed is not taken for made
    assert litter(place) == []


def test_links_are_followed_as_the_commands_do(tmp_path: Path) -> None:
    raw_chats(tmp_path)
    (tmp_path / "raw").rename(tmp_path / "disk")
    (tmp_path / "raw").symlink_to("disk")
    line = [*made("retrain", tmp_path), "clean.jsonl"]
    run(line, tmp_path, PPL="cat")
    count = len(records(tmp_path / "clean.jsonl"))
    chats(tmp_path / "elsewhere.jsonl", 5, seed=77)
    (tmp_path / "disk" / "new.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    run(line, tmp_path, PPL="cat")
    assert len(records(tmp_path / "clean.jsonl")) == count + 5


def test_two_makes_at_once_make_the_same(tmp_path: Path) -> None:
    raw_chats(tmp_path)
    line = [*made("retrain", tmp_path), "clean.jsonl"]
    variables = {"PPL": "cat", "DEDUP": "{ sleep 0.5; cat; }"}
    both = [start(line, tmp_path, variables) for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, b"")
    alone = (tmp_path / "clean.jsonl").read_bytes()
    (tmp_path / "clean.jsonl").unlink()
    for number in (4194304, os.getpid()):  # of makes that were killed; somebody else may have the number now
        (tmp_path / f"clean.jsonl.{number}.part").touch()
    run(line, tmp_path, **variables)
    assert (tmp_path / "clean.jsonl").read_bytes() == alone and alone
    assert litter(tmp_path) == []


@pytest.mark.slow
def test_retrain_is_traced_back_to_the_raw_files(retrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bptools.core.trace import as_text, trace

    monkeypatch.chdir(retrained)
    found = trace(Path("bot").read_text().strip(), ".ledger", verify=True)
    text = as_text(found)
    assert found.changed() == [] and "unknown origin" not in text
    assert "raw/a.jsonl" in text and "raw/b.jsonl" in text and "1 rejected (1 invalid-json)" in text


# of each stage what is written when it ends, and what when it begins
STAGES = {
    "bp-chatml": ("rejects.jsonl", ".clean.options"),
    "bp-dedup": ("rejects.jsonl", ".clean.options"),
    "bp-ppl": ("clean.jsonl", ".clean.options"),
    "bp-train": ("bot", ".enough"),
    "bp-generate": ("answers.jsonl", "bot"),
}


def process_of(stage: str, group: int) -> int | None:
    """Return the number of the process of a command, among all that a make started."""
    listing = subprocess.run(["ps", "-A", "-o", "pgid=,pid=,args="], capture_output=True, check=True).stdout
    for line in listing.decode(errors="replace").split("\n"):
        words = line.split()  # group, number, python, command
        if len(words) > 3 and words[0] == str(group) and os.path.basename(words[3]) == stage:
            return int(words[1])
    return None


def kill(line: list[str], place: Path, stage: str, after: float, alone: bool) -> str:
    """Kill a command, or it and all that make started, so long after it began; "" if it had ended before."""
    process = start(line, place, RETRAIN)
    while process.poll() is None and process_of(stage, process.pid) is None:
        time.sleep(0.02)
    time.sleep(after)
    victim = process_of(stage, process.pid)
    if victim is not None and alone:
        os.kill(victim, signal.SIGKILL)
    elif process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=300)
    if victim is None or not process.returncode:
        return ""
    return f"{stage}{'' if alone else ' with make'} after {after:.2f} s"


MADE = {
    "clean.jsonl": ("clean.jsonl", "rejects.jsonl", ".scores", ".ledger", "answers.jsonl"),
    "bot": ("runs", "bot", ".ledger", "answers.jsonl"),
    "answers.jsonl": ("answers.jsonl",),
}


def unmake(place: Path, target: str) -> None:
    """Remove a target, with what it leaves. A training stays unless it is the target: it knows its records."""
    for name in MADE[target]:
        path = place / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "stages"),
    [
        ("clean.jsonl", ["bp-chatml", "bp-dedup"] + ["bp-ppl"] * (not PPL)),
        ("bot", ["bp-train"]),
        ("answers.jsonl", ["bp-generate"]),
    ],
)
def test_retrain_killed_three_times_in_each_stage_gives_the_same(
    target: str, stages: list[str], retrained: Path, tmp_path: Path
) -> None:
    place = tmp_path / "killed"
    shutil.copytree(retrained, place, symlinks=True)
    unmake(place, target)
    line = ["make", "-s", "-f", "retrain.mk"]
    chance = random.Random(f"7 {target}")
    killed: list[str] = []
    for number in range(3 * len(stages)):
        stage = stages[number // 3]
        ended, began = ((retrained / name).stat().st_mtime for name in STAGES[stage])
        alone = (True, False, chance.random() < 0.5)[number % 3]
        after = chance.uniform(0, ended - began)
        while not (what := kill(line, place, stage, after, alone)):
            assert after > 0.001, f"{stage} was never seen; before: {killed}"
            after /= 2
            unmake(place, target)
        killed.append(f"{what} of {ended - began:.2f}")
    assert not (place / target).exists(), killed
    run(line, place, **RETRAIN)
    expected, found = result(retrained), result(place)
    assert [name for name in expected if found[name] != expected[name]] == [], killed
    assert litter(place) == [], killed


# trainings in two phases


@pytest.mark.slow
def test_preference_goes_on_from_chats(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    chats(tmp_path / "chats" / "a.jsonl", 40)
    pairs(tmp_path / "pairs" / "a.jsonl", 40)
    line, options = made("preference", tmp_path), {"SFT": FEW, "DPO": FEW, "HOLD_OUT": "3", "ANSWERS": "1"}
    run(line, tmp_path, **options)
    sft, bot = ((tmp_path / name).read_text().strip() for name in ("sft", "bot"))
    manifest = json.loads((tmp_path / bot).parent.joinpath("manifest.json").read_bytes())
    assert (manifest["settings"]["method"], manifest["settings"]["adapter"]) == ("dpo", sft)
    (compared,) = records(tmp_path / "compared.jsonl")
    assert len(compared["bp"]["completions"]) == 3
    before = times(tmp_path)
    run(line, tmp_path, **options)
    assert times(tmp_path) == before


@pytest.mark.slow
def test_documents_are_read_before_chats_by_one_adapter(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    chance = random.Random(3)
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    for name in ("a.md", "b.txt", "deep/c.md"):
        text = "\n\n".join(f"# {sentence(chance, 3)}\n\n{sentence(chance, 90)}" for _ in range(6))
        (tmp_path / "docs" / name).write_text(text)
    chats(tmp_path / "chats" / "a.jsonl", 40)
    line = made("documents", tmp_path)
    options = {"READ": FEW, "ANSWER": FEW, "HOLD_OUT": "2", "ANSWERS": "1", "CHUNK": "100tokens"}
    run(line, tmp_path, **options)
    reader, bot = ((tmp_path / name).read_text().strip() for name in ("reader", "bot"))
    phases = [
        json.loads((tmp_path / path).parent.joinpath("manifest.json").read_bytes())["settings"]
        for path in (reader, bot)
    ]
    assert [(phase["method"], phase["adapter"]) for phase in phases] == [("cpt", None), ("sft", reader)]
    assert len(records(tmp_path / "answers.jsonl")) == 1
    before = times(tmp_path)
    run(line, tmp_path, **options)
    assert times(tmp_path) == before


def test_a_curriculum_without_its_field_trains_nothing(tmp_path: Path) -> None:
    chats(tmp_path / "raw" / "a.jsonl", 12, topic="words")
    line = made("curriculum", tmp_path)
    for topics in ({}, {"TOPICS": "words"}):
        *warned, said = why(line, tmp_path, FIELD="nope", **topics)
        assert said == "curriculum: no record has the field 'nope'; set FIELD"
        assert all(each.startswith("bp-filter: no record has the field 'nope'") for each in warned)
        assert list((tmp_path / "topics").glob("*.jsonl")) == []
    chats(tmp_path / "raw" / "b.jsonl", 2, seed=2)  # some without it are a topic of their own
    line.append("topics/.split")
    run(line, tmp_path)
    found = {path.name: len(records(path)) for path in (tmp_path / "topics").glob("*.jsonl")}
    assert found == {"words.jsonl": 12, "_missing.jsonl": 2}
    before = times(tmp_path)
    run(line, tmp_path)
    assert times(tmp_path) == before
    why(line, tmp_path, FIELD="nope")  # and takes away nothing
    assert {path.name: len(records(path)) for path in (tmp_path / "topics").glob("*.jsonl")} == found


@pytest.mark.slow
def test_a_curriculum_goes_on_from_topic_to_topic_with_dpo_where_it_falls_short(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    chance = random.Random(3)
    (tmp_path / "raw").mkdir()
    with open(tmp_path / "raw" / "a.jsonl", "w") as file:
        for number in range(60):  # as expressions: one that any answer matches, and one that none does
            topic, answer = (("words", "."), ("letters", "zzz"))[number % 2]
            record = {"instruction": sentence(chance, 6), "output": answer, "topic": topic}
            file.write(json.dumps(record) + "\n")
    line = made("curriculum", tmp_path)
    options = {
        "SFT": FEW,
        "DPO": FEW,
        "HOLD_OUT": "2",
        "ASK": "4",
        "TOPICS": "words letters",
        "SCORE": "regex",
    }
    run(line, tmp_path, **options)
    assert (tmp_path / "scores.tsv").read_text() == "words\t2\t2\tsft\nletters\t0\t2\tdpo\n"
    course = tmp_path / "course"
    paths = [(course / name).read_text().strip() for name in ("words.sft", "letters.sft", "letters.bot")]
    assert (course / "words.bot").read_text().strip() == paths[0]
    assert (tmp_path / "bot").read_text().strip() == paths[2]
    manifests = [
        json.loads((tmp_path / path).parent.joinpath("manifest.json").read_bytes()) for path in paths
    ]
    followed = [(made["settings"]["method"], made["settings"]["adapter"]) for made in manifests]
    assert followed == [("sft", None), ("sft", paths[0]), ("dpo", paths[1])]
    assert manifests[2]["records"] == 4
    before = times(tmp_path)
    run(line, tmp_path, **options)
    assert times(tmp_path) == before
    assert litter(tmp_path) == []
