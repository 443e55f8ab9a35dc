"""bptools runs: what it lists, compares and removes, and what it never touches."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from bptools.commands.bptools import app
from bptools.core import cli
from bptools.core.errors import Busy, InputError, OutputError
from bptools.core.locks import take_lock
from bptools.training import earlier
from bptools.training.pruning import Pruning, prunable, remove
from bptools.training.run_directory import RunDirectory
from bptools.training.runs import choose, differences, find_runs, is_held, is_run, read_run
from bptools.training.runs_report import aligned, size_text
from tests.unit.run_directories import write_run

DAY = 86_400


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BP_RUNS", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def command(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.call(app, "bptools", ["runs", *arguments])
    said = capfd.readouterr()
    return code, said.out, said.err


def listed(capfd: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    code, out, _ = command(capfd, "--json", *arguments)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def some_runs() -> None:
    """Four runs, the newest first: c3 unfinished, b2 and a1 finished, d4 a dry run."""
    runs = Path("runs")
    write_run(runs, "a1", time=1_700_000_000)
    write_run(runs, "b2", time=1_700_100_000, rank=4)
    write_run(runs, "c3", time=1_700_200_000, done=5, finished=False, learning_rate=1e-3)
    write_run(runs, "d4", time=1_600_000_000, done=0, finished=False)
    plan = orjson.loads((runs / "tiny-d4" / "plan.json").read_bytes())
    (runs / "tiny-d4" / "plan.json").write_bytes(orjson.dumps(plan | {"dry_run": True}))
    os.utime(runs / "tiny-d4" / "plan.json", (1_600_000_000, 1_600_000_000))
    os.symlink("tiny-b2", runs / "latest")


# listing


def test_runs_are_listed_newest_first_with_what_came_of_them(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    c3, b2, a1, d4 = listed(capfd)
    assert b2 == {
        "path": "runs/tiny-b2",
        "name": "tiny-b2",
        "state": "finished",
        "detail": "",
        "id": "b2",
        "method": "sft",
        "model": "/models/tiny",
        "records": 93,
        "step": 12,
        "steps": 12,
        "final_loss": 2.25,
        "eval_loss_before": 5.5,
        "eval_loss": 2.125,
        "seconds": 72.5,
        "size": sum(path.stat().st_size for path in Path("runs/tiny-b2").rglob("*") if path.is_file()),
        "time": "2023-11-16T02:00:00Z",
    }
    assert [run["name"] for run in (c3, b2, a1, d4)] == ["tiny-c3", "tiny-b2", "tiny-a1", "tiny-d4"]
    assert (c3["state"], c3["step"], c3["steps"], c3["seconds"]) == ("unfinished", 5, 12, 0.5)
    assert c3["final_loss"] == pytest.approx(2 + 3 * 2.718281828 ** (-5 / 20))
    assert (c3["eval_loss"], c3["eval_loss_before"]) == (2.125, None)
    assert (d4["state"], d4["step"], d4["final_loss"]) == ("unfinished", 0, None)


def test_table(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    code, out, err = command(capfd)
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == [
        "NAME", "STATE", "METHOD", "MODEL", "RECORDS", "STEPS", "LOSS", "EVALUATION", "TIME", "SIZE", "WHEN",
    ]  # fmt: skip
    assert lines[1].split()[:7] == ["tiny-c3", "unfinished", "sft", "tiny", "93", "5/12", "4.3364"]
    assert "5.5000 -> 2.1250  1:12" in lines[2]
    assert lines[2].endswith("2023-11-16 02:00")
    assert all(line == line.rstrip() for line in lines)


def test_where_runs_are(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(Path("elsewhere"), "a1")
    monkeypatch.setenv("BP_RUNS", "elsewhere")
    assert [run["path"] for run in listed(capfd)] == ["elsewhere/tiny-a1"]
    monkeypatch.delenv("BP_RUNS")
    assert [run["path"] for run in listed(capfd, "elsewhere")] == ["elsewhere/tiny-a1"]
    assert [run["name"] for run in listed(capfd, "elsewhere/tiny-a1")] == ["tiny-a1"]  # one run


def test_nothing_there(capfd: pytest.CaptureFixture[str]) -> None:
    said = "bptools: there is no folder 'runs' yet; bp-train makes it, BP_RUNS names another\n"
    assert command(capfd) == (0, "", said)
    Path("runs").mkdir()
    assert command(capfd) == (0, "", "bptools: there are no runs in 'runs'\n")
    assert command(capfd, "--json") == (0, "", "bptools: there are no runs in 'runs'\n")
    assert command(capfd, "nope") == (66, "", "bptools: cannot open 'nope': no such folder\n")
    Path("file").touch()
    assert command(capfd, "file") == (66, "", "bptools: cannot open 'file': not a directory\n")


def test_a_lock_that_is_held_is_a_run_at_work(capfd: pytest.CaptureFixture[str]) -> None:
    run = write_run(Path("runs"), "a1", done=5, finished=False)
    lock = take_lock(str(run / ".lock"), 0, "it")
    try:
        assert [one["state"] for one in listed(capfd)] == ["running"]
    finally:
        lock.release()
    assert [one["state"] for one in listed(capfd)] == ["unfinished"]
    (run / ".lock").unlink()
    assert not is_held(str(run))
    assert not (run / ".lock").exists()  # looking leaves nothing


@pytest.mark.parametrize(
    "manifest",
    [b"", b"{", b"[]", b"null", b'{"files":[]}', b'{"files":{"plan.json":3}}', b'{"files":{"plan.json":{}}}', b"\xff",
     b'{"files":{"plan.json":{"bytes":1}}}', b'{"files":null,"result":3,"packages":[]}', b"{}"],
)  # fmt: skip
def test_damaged_manifest_hides_no_other_run(manifest: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    Path("runs/tiny-b2/manifest.json").write_bytes(manifest)
    found = {run["name"]: run["state"] for run in listed(capfd)}
    assert found["tiny-b2"] == "damaged"
    assert found["tiny-a1"] == "finished"
    code, _, err = command(capfd)
    assert code == 0
    assert "bptools: 'runs/tiny-b2' is damaged: " in err


@pytest.mark.parametrize("plan", [b"", b"{", b"[]", b"{}", b'{"id":3}', b"\xff\x00"])
def test_damaged_plan_is_said_and_never_removed(plan: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    run = write_run(Path("runs"), "a1")
    (run / "plan.json").write_bytes(plan)
    assert [one["state"] for one in listed(capfd)] == ["damaged"]
    assert command(capfd, "--prune", "--keep", "0")[:2] == (0, "")
    assert (run / "manifest.json").exists()


def test_any_json_in_any_file_is_survived() -> None:
    run = write_run(Path("runs"), "a1")
    for value in (None, 3, "x", [], {}, [{}], {"a": 1}):
        plan = {"id": "a1"} | dict.fromkeys(
            ("settings", "model", "records", "dry_run", "inputs", "result"), value
        )
        (run / "plan.json").write_bytes(orjson.dumps(plan))
        (run / "manifest.json").write_bytes(orjson.dumps(plan | {"files": value}))
        line = dict.fromkeys(("event", "step", "steps", "loss", "seconds"), value)
        (run / "metrics.jsonl").write_bytes(orjson.dumps(line) + b"\n" + orjson.dumps(value) + b"\n")
        (run / "events.jsonl").write_bytes(orjson.dumps(line) + b"\n" + orjson.dumps(value) + b"\n")
        found = read_run(str(run))
        assert (found.state, found.id, found.step) == (
            "damaged",
            "a1",
            3 if value == 3 else 0,
        )
        assert found.as_json()["final_loss"] is None or value == 3


def test_last_line_of_long_metrics_is_found_without_reading_all() -> None:
    run = write_run(Path("runs"), "a1", finished=False)
    with open(run / "metrics.jsonl", "ab") as file:
        file.writelines(b'{"step":%d,"loss":1.5,"seconds":9}\n' % step for step in range(13, 20_000))
        file.write(b'{"step":20000,"lo')  # what kill -9 left
    assert (read_run(str(run)).step, read_run(str(run)).final_loss) == (19_999, 1.5)


def test_names_that_are_no_text_and_names_that_move_the_cursor(capfd: pytest.CaptureFixture[str]) -> None:
    write_run(Path("runs"), "a\x1b[2J1")
    os.rename("runs/tiny-a\x1b[2J1", b"runs/tiny-\xff\x1b[2J")
    code, out, _ = command(capfd)
    assert code == 0
    assert "\x1b" not in out and "\\udcff\\x1b[2J" in out
    assert listed(capfd)[0]["name"] == "tiny-\ufffd\x1b[2J"


# comparing


def test_compare_shows_what_differs_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    code, out, err = command(capfd, "--compare", "tiny-a1", "tiny-b2")
    assert (code, err) == (0, "")
    assert out == "      tiny-a1  tiny-b2\nrank  16       4\n"
    code, out, _ = command(capfd, "--compare", "a1", "c3", "b2", "--json")
    rows = {row["name"]: row["values"] for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert json.loads(out.splitlines()[0])["runs"] == ["tiny-a1", "tiny-c3", "tiny-b2"]
    assert rows["state"] == ["finished", "unfinished", "finished"]
    assert rows["rank"] == [16, 16, 4]
    assert rows["learning_rate"] == [5e-4, 1e-3, 5e-4]
    assert rows["result.steps"] == [12, 5, 12]
    assert rows["package.torch"] == ["2.13.0", None, "2.13.0"]
    assert "seed" not in rows and "result.samples" not in rows


def test_compare_in_another_folder_by_path_and_by_link(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    os.rename("runs", "other")
    same = command(capfd, "--compare", "other", "a1", "b2")
    assert same[:2] == (0, "      tiny-a1  tiny-b2\nrank  16       4\n")
    assert command(capfd, "--compare", "other/tiny-a1", "other/latest") == same
    assert command(capfd, "--compare", "other", "a1", "a1") == (0, "", "bptools: the runs do not differ\n")


def test_which_run_is_meant() -> None:
    some_runs()
    assert choose("runs", "latest") == "runs/tiny-b2"
    assert choose("runs", "c3") == "runs/tiny-c3"
    with pytest.raises(InputError, match="names 4 runs: tiny-c3, tiny-b2"):
        choose("runs", "tiny-")
    with pytest.raises(InputError, match="no run 'zz' in 'runs'"):
        choose("runs", "zz")
    Path("runs/tiny-a1/plan.json").write_bytes(b"{")
    with pytest.raises(InputError, match=r"plan\.json is damaged"):
        differences(["runs/tiny-a1", "runs/tiny-b2"])


# removing


def names(runs: Path = Path("runs")) -> list[str]:
    return sorted(path.name for path in runs.iterdir() if not path.is_symlink())


@pytest.mark.parametrize(
    ("wanted", "gone"),
    [
        (Pruning(keep=2), ["tiny-a1", "tiny-d4"]),
        (Pruning(keep=0), ["tiny-c3", "tiny-b2", "tiny-a1", "tiny-d4"]),
        (Pruning(keep=9), []),
        (Pruning(older_than=1.5 * DAY), ["tiny-b2", "tiny-a1", "tiny-d4"]),
        (Pruning(unfinished=True), ["tiny-c3", "tiny-d4"]),
        (Pruning(unfinished=True, keep=1), ["tiny-d4"]),
        (Pruning(unfinished=True, older_than=1.5 * DAY), ["tiny-d4"]),
        (Pruning(keep=2, older_than=30 * DAY), ["tiny-d4"]),
    ],
)
def test_what_pruning_names(wanted: Pruning, gone: list[str]) -> None:
    some_runs()
    assert [run.name for run in prunable(find_runs("runs"), wanted, now=1_700_200_000 + DAY)] == gone


def test_prune_removes_and_says_what(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    before = names()
    code, out, err = command(capfd, "--prune", "--keep", "2", "-n")
    assert (code, out) == (0, "runs/tiny-a1\nruns/tiny-d4\n")
    assert err.startswith("bptools: 2 of 4 runs would be removed, ")
    assert names() == before
    code, out, err = command(capfd, "--prune", "--keep", "2")
    assert (code, out) == (0, "runs/tiny-a1\nruns/tiny-d4\n")
    assert err.startswith("bptools: 2 of 4 runs removed, ")
    assert names() == ["tiny-b2", "tiny-c3"]
    assert os.readlink("runs/latest") == "tiny-b2"
    code, out, _ = command(capfd, "--prune", "--older-than", "30d", "--json")
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["tiny-c3", "tiny-b2"]
    assert os.listdir("runs") == []  # a link to nothing goes too


def test_latest_leads_to_the_newest_that_is_left(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    os.utime("runs/tiny-b2/manifest.json", (1_500_000_000, 1_500_000_000))
    code, out, _ = command(capfd, "--prune", "--keep", "3")
    assert (code, out) == (0, "runs/tiny-b2\n")
    assert os.readlink("runs/latest") == "tiny-a1"


def test_prune_touches_nothing_that_is_no_run(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    runs = Path("runs")
    outside = write_run(Path("outside"), "e5")
    os.symlink("../outside/tiny-e5", runs / "linked")  # a run, but it lies elsewhere
    (runs / "notes").mkdir()
    (runs / "notes" / "plan.json").write_text('{"plan": "world"}')
    (runs / "merged").mkdir()
    (runs / "merged" / "manifest.json").write_text('{"id": "x", "files": {}}')
    (runs / ".incoming-1-aa").mkdir()
    (runs / "todo.txt").touch()
    os.symlink(outside.resolve(), runs / "tiny-a1" / "data")  # inside a run that goes
    code, out, _ = command(capfd, "--prune", "--keep", "0")
    assert code == 0
    assert out.split() == ["runs/tiny-c3", "runs/tiny-b2", "runs/tiny-a1", "runs/tiny-d4"]
    assert names() == [".incoming-1-aa", "merged", "notes", "todo.txt"]
    assert os.path.islink("runs/linked")
    assert (outside / "manifest.json").exists() and (
        outside / "adapter" / "adapter_model.safetensors"
    ).exists()


def test_a_run_at_work_stays(capfd: pytest.CaptureFixture[str]) -> None:
    some_runs()
    found = find_runs("runs")
    lock = take_lock("runs/tiny-c3/.lock", 0, "it")
    try:
        code, out, _ = command(capfd, "--prune", "--unfinished")
        assert (code, out) == (0, "runs/tiny-d4\n")
        with pytest.raises(Busy, match="in use by another run"):
            remove(found[0])  # it began after it was listed
    finally:
        lock.release()
    assert (Path("runs/tiny-c3") / "metrics.jsonl").exists()


def test_a_run_that_was_finished_meanwhile_stays() -> None:
    run = write_run(Path("runs"), "a1", finished=False)
    (found,) = find_runs("runs")
    (run / "manifest.json").write_text("{}")
    with pytest.raises(Busy, match="finished by now"):
        remove(found)
    (run / "manifest.json").unlink()
    (run / "plan.json").unlink()
    with pytest.raises(OutputError, match="no run any more"):
        remove(found)
    assert (run / "records.jsonl").exists()


def aside(run: Path, moved: int) -> None:
    """Set a finished run aside as --fresh does, killed after so many files, or at the end before its own plan."""
    real, left = os.replace, [moved]

    def replace(source: str, target: str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(earlier.os, "replace", replace)
        with contextlib.suppress(KeyboardInterrupt):
            earlier.set_aside(RunDirectory(str(run)))


@pytest.mark.parametrize("moved", [1, 3, 99])
@pytest.mark.parametrize("begun", [False, True])
def test_a_finished_run_that_waits_aside_is_no_unfinished_one(
    moved: int, begun: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    run = write_run(Path("runs"), "a1", time=1_700_000_000)
    before = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    aside(run, moved)
    if begun and moved == 99:
        (run / "plan.json").write_text('{"id": "another"}')
    (found,) = find_runs("runs")
    if moved == 99:
        assert (found.state, found.id, found.step, choose("runs", "a1")) == ("finished", "a1", 12, str(run))
        assert listed(capfd, "runs/tiny-a1")[0]["state"] == "finished"
    code, out, _ = command(capfd, "--prune", "--unfinished", "--older-than", "7d")
    assert (code, out) == (0 if moved == 99 else 75, "")
    assert command(capfd, "--prune", "--unfinished")[:2] == (0, "")
    if moved == 99:
        assert command(capfd, "--prune", "--keep", "1")[:2] == (0, "")
        earlier.recover(RunDirectory(str(run)))
    after = {path.name: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert {name: after[name] for name in before} == before
    aside(run, moved)
    codes = [command(capfd, "--prune", "--keep", "0")[0] for _ in range(2)]
    assert codes == [0 if moved == 99 else 75, 0]
    assert not run.exists()


def test_a_run_is_seen_where_nothing_whole_waits_aside() -> None:
    run = write_run(Path("runs"), "a1", finished=False)
    (run / ".earlier").mkdir()
    (run / ".earlier" / "manifest.json").write_text("{}")
    assert [found.id for found in find_runs("runs")] == ["a1"]


def test_one_that_cannot_be_removed_does_not_keep_the_others(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some_runs()
    from bptools.training import pruning

    real = pruning.shutil.rmtree

    def rmtree(path: str, ignore_errors: bool = False) -> None:
        if "tiny-a1" in path and not ignore_errors:
            raise PermissionError(13, "Permission denied")
        real(path, ignore_errors)

    monkeypatch.setattr(pruning.shutil, "rmtree", rmtree)
    code, out, err = command(capfd, "--prune", "--keep", "1")
    assert (code, out) == (73, "runs/tiny-b2\nruns/tiny-d4\n")
    assert "bptools: cannot remove 'runs/tiny-a1': permission denied\n" in err
    assert is_run("runs/tiny-a1")  # half removed, it can still be
    monkeypatch.setattr(pruning.shutil, "rmtree", real)
    assert [run.name for run in prunable(find_runs("runs"), Pruning(keep=1))] == ["tiny-a1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--prune"],
            "--prune removes what --keep N, --older-than 30d or --unfinished name; give one of them",
        ),
        (["--keep", "3"], "--keep, --older-than, --unfinished and --dry-run belong to --prune"),
        (["-n"], "--keep, --older-than, --unfinished and --dry-run belong to --prune"),
        (
            ["--prune", "--older-than", "soon"],
            "--older-than 'soon' is no duration; write it as 30, 10m or 2h",
        ),
        (["--prune", "--keep", "1", "--compare"], "--compare and --prune are two things to do; take one"),
        (["--compare", "runs/tiny-a1"], "--compare takes two runs or more: bptools runs --compare RUN RUN"),
        (["runs", "runs"], "one folder at a time, not 2; --compare takes several runs"),
        (
            ["--prune", "--keep", "0", "runs/tiny-a1"],
            "--prune takes a folder of runs; 'runs/tiny-a1' is a run",
        ),
    ],
)
def test_options_that_cannot_be_meant(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    some_runs()
    assert command(capfd, *arguments) == (2, "", f"bptools: {message}\n")
    assert len(names()) == 4


# how it looks


def test_columns() -> None:
    assert aligned([["a", "10"], ["bcd", "2"]], {1}) == "a    10\nbcd   2\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0K"),
        (155_152, "151.5K"),
        (1_040_000, "1.0M"),
        (5 << 40, "5.0T"),
    ],
)
def test_size(size: int, text: str) -> None:
    assert size_text(size) == text
