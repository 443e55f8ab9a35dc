"""A folder of files that appear together."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bptools.core.errors import Busy, DataError, Exit, OutputError
from bptools.core.folder import MANIFEST, UNFINISHED, OutputFolder
from bptools.core.streams import allow_descriptors


def make(
    path: Path, files: dict[str, bytes], declare: bool = True, manifest: dict[str, object] | None = None
) -> None:
    with OutputFolder(str(path)) as folder:
        if declare:
            folder.declare(files)
        for name, content in files.items():
            for line in content.splitlines(keepends=True):
                folder.write(name, line)
        folder.commit(manifest)


def content_of(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in os.listdir(path)}


def test_files_and_manifest(tmp_path: Path) -> None:
    make(
        tmp_path / "a" / "b",
        {"train.jsonl": b"{}\n{}\n", "val.jsonl": b""},
        manifest={"command": "x", "seed": 1},
    )
    assert sorted(os.listdir(tmp_path / "a" / "b")) == [MANIFEST, "train.jsonl", "val.jsonl"]
    assert json.loads((tmp_path / "a" / "b" / MANIFEST).read_bytes()) == {
        "command": "x",
        "seed": 1,
        "files": {
            "train.jsonl": {"records": 2, "bytes": 6, "sha256": hashlib.sha256(b"{}\n{}\n").hexdigest()},
            "val.jsonl": {"records": 0, "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
        },
    }


def test_nothing_is_there_before_commit_and_after_abort(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path / "new" / "out"))
    folder.declare(["a.jsonl"])
    for _ in range(1000):
        folder.write("a.jsonl", b"x" * 1000 + b"\n")
    assert folder.files()["a.jsonl"]["bytes"] == 1_001_000
    assert os.listdir(tmp_path / "new" / "out") == []
    folder.abort()
    folder.abort()
    assert os.listdir(tmp_path) == []


def test_an_error_inside_leaves_what_was_there(tmp_path: Path) -> None:
    make(tmp_path, {"a.jsonl": b"old\n"})
    before = content_of(tmp_path)
    with pytest.raises(RuntimeError), OutputFolder(str(tmp_path)) as folder:
        folder.write("a.jsonl", b"new\n")
        raise RuntimeError
    assert content_of(tmp_path) == before


def test_abort_keeps_a_folder_that_is_not_ours_or_not_empty(tmp_path: Path) -> None:
    OutputFolder(str(tmp_path)).abort()
    assert tmp_path.is_dir()
    folder = OutputFolder(str(tmp_path / "x" / "y"))
    (tmp_path / "x" / "mine").write_bytes(b"")
    folder.abort()
    assert os.listdir(tmp_path / "x") == ["mine"]


@pytest.mark.parametrize("declare", [True, False])
def test_the_same_set_is_replaced(tmp_path: Path, declare: bool) -> None:
    make(tmp_path, {"a.jsonl": b"1\n", "b.jsonl": b"2\n"}, declare)
    make(tmp_path, {"a.jsonl": b"3\n", "b.jsonl": b"", "c.jsonl": b"4\n"}, True)
    content = content_of(tmp_path)
    assert set(json.loads(content.pop(MANIFEST))["files"]) == {"a.jsonl", "b.jsonl", "c.jsonl"}
    assert content == {"a.jsonl": b"3\n", "b.jsonl": b"", "c.jsonl": b"4\n"}


@pytest.mark.parametrize("declare", [True, False])
def test_files_of_an_earlier_run_are_not_left_beside_new_ones(tmp_path: Path, declare: bool) -> None:
    make(tmp_path, {"train.jsonl": b"1\n", "val.jsonl": b"2\n"}, declare)
    before = content_of(tmp_path)
    with pytest.raises(
        OutputError, match=r"holds 'val\.jsonl' of an earlier run.*; remove it or name another"
    ):
        make(tmp_path, {"train.jsonl": b"3\n"}, declare)
    assert content_of(tmp_path) == before
    (tmp_path / "val.jsonl").unlink()  # the fix that was named
    make(tmp_path, {"train.jsonl": b"3\n"}, declare)
    assert (tmp_path / "train.jsonl").read_bytes() == b"3\n"


def test_declared_files_are_refused_before_the_work(tmp_path: Path) -> None:
    make(tmp_path, {"train.jsonl": b"1\n", "val.jsonl": b"2\n"})
    with OutputFolder(str(tmp_path)) as folder, pytest.raises(OutputError, match="earlier run"):
        folder.declare(["train.jsonl"])


@pytest.mark.parametrize("declare", [True, False])
def test_a_file_that_is_not_ours_is_not_replaced(tmp_path: Path, declare: bool) -> None:
    (tmp_path / "train.jsonl").write_bytes(b"precious")
    with pytest.raises(
        OutputError, match=r"holds 'train\.jsonl', which no manifest\.json there lists as ours"
    ):
        make(tmp_path, {"train.jsonl": b"1\n"}, declare)
    assert content_of(tmp_path) == {"train.jsonl": b"precious"}


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README").write_bytes(b"mine")
    (tmp_path / ".README.1-0123abcd.tmp").write_bytes(b"mine too")
    make(tmp_path, {"a.jsonl": b"1\n"})
    make(tmp_path, {"a.jsonl": b"1\n"})
    assert content_of(tmp_path)["README"] == b"mine"
    assert set(os.listdir(tmp_path)) == {"README", ".README.1-0123abcd.tmp", "a.jsonl", MANIFEST}


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"files": 3}', b'{"files": [{}]}', b"\xff", b"null"]
)
def test_a_manifest_of_somebody_else_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(OutputError, match="not of bptools' making"):
        OutputFolder(str(tmp_path))
    assert content_of(tmp_path) == {MANIFEST: content}
    (tmp_path / MANIFEST).unlink()
    OutputFolder(str(tmp_path)).abort()  # no lock is left


def test_what_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot create folder"):
            OutputFolder(str(path))
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(OutputError, match="cannot create folder"):
        OutputFolder(str(tmp_path / "link"))


def test_a_link_to_a_folder_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make(tmp_path / "link", {"a.jsonl": b"1\n"})
    assert set(os.listdir(tmp_path / "real")) == {"a.jsonl", MANIFEST}


@pytest.mark.parametrize("name", ["", "a/b", "/a", ".", "..", MANIFEST, UNFINISHED])
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with OutputFolder(str(tmp_path)) as folder, pytest.raises(ValueError, match="cannot be a file"):
        folder.write(name, b"")


def test_only_declared_files_are_written(tmp_path: Path) -> None:
    with OutputFolder(str(tmp_path)) as folder:
        folder.declare(["a.jsonl"])
        with pytest.raises(ValueError, match="declared"):
            folder.write("b.jsonl", b"")


def test_too_many_files(tmp_path: Path) -> None:
    with OutputFolder(str(tmp_path), most_files=3) as folder:
        for number in range(3):
            folder.write(f"{number}.jsonl", b"")
        folder.write("0.jsonl", b"")
        with pytest.raises(DataError, match=r"more than 3 files in .*the next would be 3\.jsonl"):
            folder.write("3.jsonl", b"")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no limit to raise")
def test_the_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    program = (
        "import os, resource, sys\nfrom bptools.core.folder import OutputFolder\n"
        "os.fsync = lambda fd: None  # 500 of them take seconds\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))\n"
        "with OutputFolder(sys.argv[1]) as folder:\n"
        "    for number in range(10_000): folder.write(f'{number % 500}.jsonl', b'%d\\n' % number)\n"
        "    folder.commit()"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert len(os.listdir(tmp_path)) == 501
    assert (tmp_path / "499.jsonl").read_bytes().split() == [b"%d" % n for n in range(499, 10_000, 500)]


@pytest.mark.skipif(sys.platform == "win32", reason="no limit to hit")
def test_a_limit_that_cannot_be_raised_changes_nothing(tmp_path: Path) -> None:
    program = (
        "import os, resource, sys\nfrom bptools.core.folder import OutputFolder\n"
        "from bptools.core.errors import OutputError\n"
        "os.fsync = lambda fd: None  # 50 of them take a while\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)\n"
        "try:\n"
        "    with OutputFolder(sys.argv[1]) as folder:\n"
        "        for number in range(50): folder.write(f'{number}.jsonl', b'')\n"
        "        folder.commit()\n"
        "except OutputError as error: print(error)"
    )
    seen = set()
    for limit in (30, 50, *range(52, 62)):  # at some it fails only once everything is written
        path = tmp_path / str(limit)
        done = subprocess.run(
            [sys.executable, "-c", program, str(path), str(limit)], capture_output=True, text=True, check=True
        )
        complete = path.exists()
        assert complete == (done.stdout == ""), done
        assert not complete or len(os.listdir(path)) == 51
        assert complete or "too many open files" in done.stdout
        seen.add(complete)
    assert seen == {True, False}


def test_names_that_differ_in_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def both() -> None:
        with OutputFolder(str(tmp_path)) as folder:
            folder.write("EN.jsonl", b"1\n")
            folder.write("en.jsonl", b"2\n")
            folder.commit()

    (tmp_path / "probe").write_bytes(b"")
    if (tmp_path / "PROBE").exists():  # as on most Macs
        with pytest.raises(DataError, match=r"EN\.jsonl and en\.jsonl are the same file"):
            both()
        return
    (tmp_path / "probe").unlink()
    both()
    assert content_of(tmp_path).keys() == {"EN.jsonl", "en.jsonl", MANIFEST}
    monkeypatch.setattr(OutputFolder, "_ignores_case", lambda self: True)
    before = content_of(tmp_path)
    with pytest.raises(DataError, match=r"EN\.jsonl and en\.jsonl are the same file"):
        both()
    assert content_of(tmp_path) == before


def test_a_second_run_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = OutputFolder(str(tmp_path))
    with pytest.raises(Busy, match="another run is writing into") as caught:
        OutputFolder(str(tmp_path))
    assert caught.value.exit_code == Exit.TEMPFAIL
    first.write("a.jsonl", b"1\n")
    first.commit()
    make(tmp_path, {"a.jsonl": b"2\n"})  # the first has not even been closed
    first.abort()
    assert (tmp_path / "a.jsonl").read_bytes() == b"2\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    folder = OutputFolder(str(tmp_path))
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    folder.commit()
    OutputFolder(str(tmp_path)).abort()
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom bptools.core.folder import OutputFolder\n"
        "folder = OutputFolder(sys.argv[1]); folder.write('a.jsonl', b'x' * 300_000)\n"
        "print('ready', flush=True); input()"
    )
    path = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    with pytest.raises(Busy):
        OutputFolder(str(path))
    process.kill()
    process.communicate()
    make(path, {"a.jsonl": b"1\n"})
    assert set(os.listdir(path)) == {"a.jsonl", MANIFEST}


def run(path: Path, countdown: int, tag: str, *names: str) -> int:
    """Write the files in a process that is killed at its so many-th change to the disk (0: never)."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = countdown

    def tick() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def killing(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            tick()
            result = real(*arguments, **options)
            tick()
            return result

        return call

    status = 1
    try:
        for name in ("replace", "unlink", "link", "mkdir", "open", "write"):
            setattr(os, name, killing(getattr(os, name)))
        os.fsync = lambda fd: tick()
        make(path, {name: tag.encode() + b"\n" for name in names}, manifest={"tag": tag})
        status = 0
    finally:
        os._exit(status)


def check(path: Path, tag: str, names: tuple[str, ...]) -> None:
    content = content_of(path)
    manifest = json.loads(content.pop(MANIFEST))
    assert manifest["tag"] == tag
    assert content == {name: tag.encode() + b"\n" for name in names}
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == hashlib.sha256(content[name]).hexdigest()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("earlier", [False, True])
def test_killed_at_any_moment_the_same_run_succeeds(tmp_path: Path, earlier: bool) -> None:
    names = ("a.jsonl", "b.jsonl")
    for countdown in range(1, 200):
        path = tmp_path / str(countdown)
        if earlier:
            run(path, 0, "old", *names)
        status = run(path, countdown, "new", *names)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        if (path / MANIFEST).exists():  # manifest present means complete
            tag = json.loads((path / MANIFEST).read_bytes())["tag"]
            assert {(path / name).read_bytes() for name in names} == {tag.encode() + b"\n"}
        assert run(path, 0, "new", *names) == 0
        check(path, "new", names)
    else:
        pytest.fail("it never came to its end")
    assert countdown > 20


def test_after_a_kill_another_set_is_still_refused(tmp_path: Path) -> None:
    make(tmp_path, {"a.jsonl": b"1\n", "b.jsonl": b"2\n"})
    os.unlink(tmp_path / MANIFEST)  # as between the renames
    (tmp_path / UNFINISHED).write_bytes(b'{"files":{"a.jsonl":null,"b.jsonl":null}}\n')
    with pytest.raises(OutputError, match=r"holds 'b\.jsonl' of an earlier run"):
        make(tmp_path, {"a.jsonl": b"3\n", "c.jsonl": b"3\n"}, declare=False)
    make(tmp_path, {"a.jsonl": b"3\n", "b.jsonl": b"3\n"})
    assert set(os.listdir(tmp_path)) == {"a.jsonl", "b.jsonl", MANIFEST}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_end_of_the_commit(
    tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Came(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Came

    real = os.replace

    def replace(source: str, target: str) -> None:
        os.kill(os.getpid(), number)
        real(source, target)

    former = signal.signal(number, handler)
    try:
        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(Came):
            make(tmp_path / "out", {"a.jsonl": b"1\n", "b.jsonl": b"2\n"})
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, former)
    assert set(os.listdir(tmp_path / "out")) == {"a.jsonl", "b.jsonl", MANIFEST}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_replaces_nothing(tmp_path: Path) -> None:
    make(tmp_path, {"a.jsonl": b"old\n", "b.jsonl": b"old\n"})
    before = content_of(tmp_path)
    program = (
        "import resource, sys\nfrom bptools.core.folder import OutputFolder\n"
        "from bptools.core.errors import ReadWriteError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    with OutputFolder(sys.argv[1]) as folder:\n"
        "        folder.write('a.jsonl', b'new\\n'); folder.write('b.jsonl', b'x' * 50_000); folder.commit()\n"
        "except ReadWriteError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"cannot write '{tmp_path}/b.jsonl': file too large\n"
    assert content_of(tmp_path) == before


def test_modes_follow_the_umask_and_stay(tmp_path: Path) -> None:
    former = os.umask(0o027)
    try:
        make(tmp_path / "out", {"a.jsonl": b""})
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "out" / "a.jsonl").stat().st_mode) == 0o640


def test_the_limit_is_left_alone_when_it_is_enough() -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_descriptors(1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
