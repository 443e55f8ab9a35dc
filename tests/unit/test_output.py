"""Files appear whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bptools.core.errors import OutputError
from bptools.core.output import AtomicFile, open_output, write_file


def test_nothing_is_there_until_commit(tmp_path: Path) -> None:
    target = tmp_path / "out"
    output = open_output(str(target))
    output.write(b"x" * 1_000_000)
    output.flush()
    assert not target.exists()
    output.commit()
    output.abort()
    assert target.read_bytes() == b"x" * 1_000_000
    assert os.listdir(tmp_path) == ["out"]


def test_abort_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    output = open_output(str(target))
    output.write(b"new")
    output.abort()
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_mode_and_links_survive(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_bytes(b"old")
    real.chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_file(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert real.read_bytes() == b"new"
    assert real.stat().st_mode & 0o777 == 0o640


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_file(str(tmp_path / "a"), b"")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_devices_are_written_to(tmp_path: Path) -> None:
    write_file("/dev/null", b"x")
    assert not Path("/dev/null").is_file()


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a directory"):
        open_output(str(tmp_path))


def test_without_unnamed_temporaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AtomicFile, "_open_unnamed", lambda self, folder: -1)
    aborted = open_output(str(tmp_path / "a"))
    assert len(os.listdir(tmp_path)) == 1
    aborted.abort()
    assert os.listdir(tmp_path) == []
    write_file(str(tmp_path / "b"), b"b")
    assert os.listdir(tmp_path) == ["b"]


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="needs unnamed temporaries")
def test_kill_9_leaves_no_litter(tmp_path: Path) -> None:
    program = (
        "import sys; from bptools.core.output import open_output\n"
        "o = open_output(sys.argv[1]); o.write(b'x' * 3000000); o.flush(); print('ready', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    assert os.listdir(tmp_path) == []
