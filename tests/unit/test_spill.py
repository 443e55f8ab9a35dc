"""Lines that outgrow memory: sorted, or kept to be read again."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core import spill as module
from bptools.core.errors import OutputError, ReadWriteError
from bptools.core.spill import SortedSpill, Spool

LINES = st.binary(max_size=40)
BUDGETS = st.sampled_from([1, 500, 5000, 1 << 24])
INTEGERS = st.one_of(st.integers(0, 3), st.integers(0, 2**64 - 1), st.just(2**64 - 1))
FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.7e308]), st.floats(allow_nan=False, allow_infinity=False)
)


def by_key(items: list[tuple[float, bytes]]) -> list[bytes]:
    return [line for _, line in sorted(items, key=lambda item: item[0])]


@settings(deadline=None)
@given(st.one_of(st.lists(st.tuples(INTEGERS, LINES)), st.lists(st.tuples(FLOATS, LINES))), BUDGETS)
def test_the_order_is_that_of_a_stable_sort(items: list[tuple[float, bytes]], budget: int) -> None:
    with SortedSpill(budget) as spill:
        for key, line in items:
            spill.add(key, line)
        assert len(spill) == len(items)
        assert list(spill) == by_key(items)
        assert list(spill) == by_key(items)


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("budget", [1, 3000, 1 << 18])
def test_many_runs_are_merged_in_levels(budget: int, kind: type) -> None:
    source = random.Random(1)
    items = [(kind(source.choice([7, source.getrandbits(53)])), b"%d" % index) for index in range(6000)]
    with SortedSpill(budget) as spill:
        for key, line in items[:5000]:
            spill.add(key, line)
        assert list(spill) == by_key(items[:5000])
        for key, line in items[5000:]:  # it goes on after a look
            spill.add(key, line)
        assert list(spill) == by_key(items)


def test_huge_lines_pass(tmp_path: Path) -> None:
    items = [
        (number % 7, bytes([number]) * size) for number, size in enumerate([0, 65_520, 65_536, 10**6] * 8)
    ]
    items.append((3, b"\n" * 65_521))
    with SortedSpill(1 << 20) as spill, Spool(1 << 20) as spool:
        for key, line in items:
            spill.add(key, line)
            spool.append(line)
        assert list(spill) == by_key(items)
        assert list(spool) == [line for _, line in items]


# Peak memory in kB. Not ru_maxrss where it can be helped: on Linux a process starts with its parent's.
PEAK = """
import resource, sys
def peak():
    try:
        status = open("/proc/self/status").read()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    return int(status.split("VmHWM:")[1].split()[0])
"""


def test_merging_holds_one_huge_line_not_one_of_each_run() -> None:
    program = PEAK + (
        "from bptools.core.spill import SortedSpill\n"
        "with SortedSpill(1 << 20) as spill:\n"
        "    for number in range(40): spill.add(number * 7 % 40, bytes([number]) * 10_000_000)\n"
        "    assert [line[0] * 7 % 40 for line in spill] == list(range(40))\n"
        "print(peak())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(done.stdout) < 120_000  # 40 of them would be 400 MB


def test_memory_is_bounded() -> None:
    program = PEAK + (
        "from bptools.core.spill import SortedSpill, Spool\n"
        "kind = {'sort': SortedSpill, 'spool': Spool}[sys.argv[1]]\n"
        "with kind(4 << 20) as spill:\n"
        "    before = peak()\n"
        "    for n in range(400_000):\n"
        "        line = b'%090d' % n\n"
        "        spill.add(n * 11400714819323198485 % 2**64, line) if kind is SortedSpill else spill.append(line)\n"
        "    assert sum(map(len, spill)) == 36_000_000\n"
        "print(peak() - before)"
    )
    for kind in ("sort", "spool"):
        done = subprocess.run([sys.executable, "-c", program, kind], capture_output=True, check=True)
        kilobytes = int(done.stdout)
        assert kilobytes < 16 << 10, kind


def test_nothing_is_written_while_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    with SortedSpill() as spill, Spool() as spool:
        for number in range(1000):
            spill.add(number, b"x" * 100)
            spool.append(b"x" * 100)
        assert len(list(spill)) == len(list(spool)) == len(spool) == 1000


def test_the_temporary_file_has_no_name_and_honours_tmpdir(tmp_path: Path) -> None:
    program = (
        "import os, signal\nfrom bptools.core.spill import SortedSpill\n"
        "spill = SortedSpill(1)\nspill.add(1, b'x')\n"
        "places = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if os.path.lexists(f'/proc/self/fd/{fd}')] if os.path.exists('/proc/self/fd') else []\n"
        "assert not places or any(place.startswith(os.environ['TMPDIR'] + '/') for place in places), places\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (-9, b"")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("key", [-1, 2**64, 1.5, True, "x", None])
def test_wrong_integer_keys_are_refused(key: object) -> None:
    for budget in (1, 1 << 20):
        with SortedSpill(budget) as spill, pytest.raises(ValueError, match="key"):
            spill.add(1, b"")
            spill.add(key, b"")  # type: ignore[arg-type]
            list(spill)


@pytest.mark.parametrize("key", [1, float("nan"), float("inf"), "x"])
def test_wrong_float_keys_are_refused(key: object) -> None:
    for budget in (1, 1 << 20):
        with SortedSpill(budget) as spill, pytest.raises(ValueError, match="key"):
            spill.add(1.5, b"")
            spill.add(key, b"")  # type: ignore[arg-type]
            list(spill)


def test_empty() -> None:
    with SortedSpill(1) as spill, Spool(1) as spool:
        assert list(spill) == list(spool) == []
        spill.add(0, b"")
        spool.append(b"")
        assert list(spill) == list(spool) == [b""]


@given(st.lists(LINES), BUDGETS)
def test_a_spool_gives_back_what_it_got(lines: list[bytes], budget: int) -> None:
    with Spool(budget) as spool:
        for number, line in enumerate(lines):
            spool.append(line)
            if number % 7 == 0:
                assert list(spool) == lines[: number + 1]
        assert list(spool) == list(spool) == lines
        assert len(spool) == len(lines)


def test_two_readers_of_a_spool_do_not_disturb_each_other() -> None:
    with Spool(1000) as spool:
        for number in range(20_000):
            spool.append(b"%d" % number)
        assert all(first == second for first, second in zip(spool, spool, strict=True))


def test_without_pread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pread")
    test_many_runs_are_merged_in_levels(1, int)
    test_two_readers_of_a_spool_do_not_disturb_each_other()


def test_short_reads_and_writes_are_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: real(fd, min(count, 1000), offset))
    file = module.TemporaryFile()
    whole = os.urandom(10_000)
    file.append(whole)
    assert file.read(0, 10_000) == whole
    assert file.read(5, 1001) == whole[5:1006]
    file._file.truncate(500)
    with pytest.raises(ReadWriteError, match="shorter"):
        file.read(0, 10_000)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_one_line_and_names_the_folder(tmp_path: Path) -> None:
    program = (
        "import resource\nfrom bptools.core.spill import SortedSpill, Spool\n"
        "from bptools.core.errors import ReadWriteError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "for spill in SortedSpill(100_000), Spool(100_000):\n"
        "    try:\n"
        "        for n in range(10_000): spill.add(n, b'x' * 100) if hasattr(spill, 'add') else spill.append(b'x' * 100)\n"
        "    except ReadWriteError as error: print(error)\n"
        "    spill.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    line = f"cannot write temporary file in '{tmp_path}': file too large; TMPDIR names another place"
    assert done.stdout.splitlines() == [line, line], done.stderr
    assert os.listdir(tmp_path) == []


def test_no_space_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            pass

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with SortedSpill(1) as spill, pytest.raises(ReadWriteError) as caught:
        spill.add(1, b"x")
    assert str(caught.value) == (
        f"cannot write temporary file in '{tmp_path}': no space left on device; TMPDIR names another place"
    )


def test_a_folder_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with (
        SortedSpill(1) as spill,
        pytest.raises(OutputError, match=r"cannot create temporary file in '.*gone'"),
    ):
        spill.add(1, b"x")


def test_space_of_merged_runs_is_given_back() -> None:
    with SortedSpill(1) as spill:
        for number in range(1000):
            spill.add(number, b"x")
        list(spill)
        assert len(spill._files) == 2  # what was left as it was, and what was merged
