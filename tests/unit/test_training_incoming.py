"""Records that are still being read: no other run takes their folder away, and a dead one leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from bptools.core.errors import Busy, OutputError
from bptools.core.locks import take_lock
from bptools.training import incoming
from bptools.training.incoming import PREFIX, make_incoming
from tests.golden import ROOT


def folders(parent: Path) -> list[str]:
    return sorted(name for name in os.listdir(parent) if name.startswith(PREFIX))


def test_a_folder_of_somebody_who_lives_is_left_alone(tmp_path: Path) -> None:
    first = make_incoming(str(tmp_path))
    with pytest.raises(Busy):
        take_lock(os.path.join(first.path, ".lock"), 0, "it")
    second = make_incoming(str(tmp_path))
    assert folders(tmp_path) == sorted(os.path.basename(made.path) for made in (first, second))
    first.remove()
    assert folders(tmp_path) == [os.path.basename(second.path)]
    second.remove()
    assert os.listdir(tmp_path) == []


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    program = (
        "import os, sys; from bptools.training.incoming import make_incoming\n"
        "made = make_incoming(sys.argv[1]); open(made.path + '/records.jsonl', 'w').close(); os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 9
    assert len(folders(tmp_path)) == 1
    (tmp_path / f"{PREFIX}1-0000aa").mkdir()  # and of one that died before its lock
    made = make_incoming(str(tmp_path))
    assert folders(tmp_path) == [os.path.basename(made.path)]
    made.remove()


@pytest.mark.parametrize("moment", ["before the lock", "while it is taken", "after it was opened"])
def test_a_folder_that_is_taken_for_dead_before_its_lock_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    taken: list[str] = []

    def late(path: str, wait: float, what: str) -> Any:
        """The owner's lock: somebody else looks around just before."""
        folder = os.path.dirname(path)
        taken.append(folder)
        monkeypatch.setattr(incoming, "take_lock", take_lock)
        if moment == "before the lock":
            incoming._remove_if_dead(folder)
            raise OutputError("no such folder")  # where the library does not make it again
        if moment == "while it is taken":
            cleaner = take_lock(path, 0, what)
            try:
                return take_lock(path, wait, what)
            finally:
                incoming.Incoming(folder, cleaner).remove()
        mine = take_lock(path, wait, what)  # of a file that is gone by the time it is had
        os.unlink(path)
        os.rmdir(folder)
        return mine

    monkeypatch.setattr(incoming, "take_lock", late)
    made = make_incoming(str(tmp_path))
    assert made.path != taken[0]
    assert folders(tmp_path) == [os.path.basename(made.path)]
    with pytest.raises(Busy):
        take_lock(os.path.join(made.path, ".lock"), 0, "it")
    made.remove()


def test_many_at_once(tmp_path: Path) -> None:
    faults: list[str] = []

    def work(name: int) -> None:
        try:
            for _ in range(25):
                made = make_incoming(str(tmp_path))
                path = Path(made.path, "records.jsonl")
                path.write_text(str(name))
                if path.read_text() != str(name):
                    faults.append("other content")
                made.remove()
        except Exception as error:
            faults.append(repr(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert os.listdir(tmp_path) == []


def test_a_place_that_cannot_be_written_is_73(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot create"):
        make_incoming(str(tmp_path / "file" / "runs"))

    def none(*_: Any) -> Any:
        raise OutputError("cannot lock: the file system has no locks")

    monkeypatch.setattr(incoming, "take_lock", none)
    with pytest.raises(OutputError, match="no locks"):
        make_incoming(str(tmp_path))
    assert os.listdir(tmp_path) == ["file"]


def test_a_run_that_starts_while_another_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of both arrive, though the second looked around while the first was reading."""
    pytest.importorskip("trl")
    from bptools.training import plan
    from tests.tiny import shared_model
    from tests.training_runs import Run, write_records

    real, second = plan.fill, []

    def fill(*given: Any) -> None:
        real(*given)
        if not second:
            second.append(None)
            other = write_records(tmp_path / "b.jsonl", "chat", 9, seed=2)
            second[0] = Run(other, tmp_path / "runs", model=shared_model(), eval_split="0")

    monkeypatch.setattr(plan, "fill", fill)
    source = write_records(tmp_path / "a.jsonl", "chat", 12)
    first = Run(source, tmp_path / "runs", model=shared_model(), eval_split="0")
    for run, count in ((first, 12), (second[0], 9)):
        assert len((run.path / "records.jsonl").read_text().split("\n")) == count + 1
        run.planned.run.release()
    assert folders(tmp_path / "runs") == []


def test_only_what_is_surely_ours_is_removed(tmp_path: Path) -> None:
    """A folder of a like name, and one with files but without our lock, belong to somebody else."""
    for name in (f"{PREFIX}mail", f"{PREFIX}1-0000aa-old", f"{PREFIX}1-0000ab"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").touch()
    before = folders(tmp_path)
    make_incoming(str(tmp_path)).remove()
    assert folders(tmp_path) == before


def test_a_directory_that_can_be_written_in_one_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trl")
    from tests.tiny import shared_model
    from tests.training_runs import Run, write_records

    real = os.mkdir

    def mkdir(path: str, *more: Any) -> None:
        if os.path.dirname(path) == str(tmp_path / "root"):
            raise PermissionError(13, "Permission denied", path)
        real(path, *more)

    out = tmp_path / "root" / "out"
    out.mkdir(parents=True)
    monkeypatch.setattr(incoming.os, "mkdir", mkdir)
    source = write_records(tmp_path / "a.jsonl", "chat", 12)
    run = Run(source, tmp_path / "root", name="out", model=shared_model(), eval_split="0")
    run.planned.run.release()
    assert folders(out) == []
    assert (out / "records.jsonl").exists()
    with pytest.raises(OutputError, match="cannot create"):
        Run(source, tmp_path / "root", name="other", model=shared_model(), eval_split="0")
