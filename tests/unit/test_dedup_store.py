"""The index that lasts from run to run."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bptools.core.errors import Busy, OutputError, ReadWriteError, UsageError
from bptools.core.output import _RawFile
from bptools.quality.dedup.segment import checks_of
from bptools.quality.dedup.sets import ShingleFile
from bptools.quality.dedup.store import HEAD_BYTES, BatchDigest, IndexStore

BANDS = 3
NEAR = {"exact": "content", "on": "all", "minhash": True, "threshold": 0.7, "bands": BANDS}
EXACT = {"exact": "content", "on": "all", "minhash": False}


class Batch:
    """What a run might keep, made up from a seed."""

    def __init__(self, seed: int, count: int = 50, near: bool = True) -> None:
        source = np.random.default_rng(seed)
        self.lines = b"".join(b'{"n":%d,"of":%d}\n' % (number, seed) for number in range(count))
        self.near = near
        self.keys = source.integers(0, 2**64, (count, 2), np.uint64)
        self.idents = source.bytes(16 * count)
        self.checks = source.integers(0, 2**32, (BANDS, count), np.uint32)
        counts = source.integers(0, 5, count)
        self.ends = np.cumsum(counts, dtype=np.int64)
        self.sets = source.integers(0, 2**32, int(counts.sum()), np.uint32).astype("<u4").tobytes()

    def parts(self) -> Iterator[np.ndarray]:
        for first in range(0, self.checks.shape[1], 7):
            yield self.checks[:, first : first + 7]

    def digest(self) -> BatchDigest:
        digest = BatchDigest()
        for line in self.lines.splitlines(keepends=True):
            digest.update(line)
        return digest

    def commit(self, store: IndexStore, **more: Any) -> None:
        digest = self.digest()
        if self.near:
            more = {
                "idents": self.idents,
                "checks": self.parts(),
                "sets": [self.sets[:9], self.sets[9:]],
                "ends": self.ends,
                **more,
            }
        store.commit(digest.sha256, digest.head, self.lines.count(b"\n"), self.keys, **more)


def holds(store: IndexStore, batches: list[Batch], until: int | None = None) -> bool:
    """Say whether an index holds these batches and no others, every byte of them."""
    segments = store.segments(until)
    near = bool(batches) and batches[0].near
    file = ShingleFile()
    for segment, batch in zip(segments, batches, strict=True):
        assert segment.count == len(batch.keys)
        assert (segment.keys() == batch.keys).all()
        assert segment.idents() == (batch.idents if near else b"")
        checks = list(segment.checks())
        if not near:
            assert not checks and not len(segment.ends())
            continue
        if batch.keys.size:
            assert (np.concatenate(checks, axis=1) == batch.checks).all()
        assert (segment.ends() == batch.ends).all()
        file.attach(segment.path, segment.ends(), segment.sums())
    found, _ = file.read(np.arange(len(file)))
    assert found.tobytes() == (b"".join(batch.sets for batch in batches) if near else b"")
    file.close()
    return True


@pytest.mark.parametrize("near", [True, False])
def test_batches_come_back(tmp_path: Path, near: bool) -> None:
    path = str(tmp_path / "new" / "in dex {}")
    settings = NEAR if near else EXACT
    batches = [Batch(seed, count, near) for seed, count in enumerate([50, 0, 1, 40_000])]
    for number, batch in enumerate(batches):
        with IndexStore(path, settings) as store:
            assert holds(store, batches[:number])
            batch.commit(store)
            assert holds(store, batches[: number + 1])
    with IndexStore(path, settings) as store:
        assert holds(store, batches)
        assert holds(store, batches[:2], until=2)
        assert store.segments(until=0) == []
    assert sorted(os.listdir(path)) == [
        ".lock",
        *(f"{number:06}-{batch.digest().sha256[:16]}.batch" for number, batch in enumerate(batches)),
        "index.json",
    ]


def test_what_index_json_says(tmp_path: Path) -> None:
    batch = Batch(1, 50)
    with IndexStore(str(tmp_path), NEAR) as store:
        batch.commit(store, kept=53)
    content = json.loads((tmp_path / "index.json").read_bytes())
    (entry,) = content["batches"]
    assert (content["kind"], content["format"], content["settings"]) == ("bp-dedup index", 1, NEAR)
    assert entry["sha256"] == sha256(batch.lines).hexdigest()
    assert entry["head_sha256"] == sha256(batch.lines).hexdigest()
    assert (entry["head_bytes"], entry["records"], entry["kept"]) == (len(batch.lines), 50, 53)
    file = tmp_path / entry["file"]
    assert entry["bytes"] == file.stat().st_size
    sizes = {section["name"]: section["bytes"] for section in entry["sections"]}
    assert sizes == {
        "sets": len(batch.sets), "keys": 800, "idents": 800, "counts": 200, "sums": 200, "checks": 600,
    }  # fmt: skip
    assert list(sizes) == ["sets", "keys", "idents", "counts", "sums", "checks"]
    assert file.read_bytes().startswith(batch.sets + batch.keys.tobytes() + batch.idents)


def test_the_same_commits_make_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        for seed in range(3):
            with IndexStore(str(tmp_path / name), NEAR) as store:
                Batch(seed).commit(store)
    names = os.listdir(tmp_path / "a")
    assert sorted(names) == sorted(os.listdir(tmp_path / "b"))
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_batch_is_known_again(tmp_path: Path) -> None:
    short, long, longer = Batch(1, 10), Batch(2, 30_000), Batch(2, 30_001)
    assert len(long.lines) > HEAD_BYTES and longer.lines.startswith(long.lines)
    with IndexStore(str(tmp_path), NEAR) as store:
        assert not store.head_matches(short.lines, True)
        assert store.position(short.digest().sha256) is None
        short.commit(store)
        long.commit(store)
    with IndexStore(str(tmp_path), NEAR) as store:
        assert store.head_matches(short.lines, True)
        assert not store.head_matches(short.lines[:-1], True)
        assert not store.head_matches(short.lines + long.lines, False)
        assert not store.head_matches(b"", True)
        for batch in (long, longer):  # only the hash of everything tells them apart
            assert store.head_matches(batch.digest().head, False)
            assert store.head_matches(batch.lines, True)
        with pytest.raises(ValueError, match="not whole"):
            store.head_matches(short.lines, False)
        assert store.position(short.digest().sha256) == 0
        assert store.position(long.digest().sha256) == 1
        assert store.position(longer.digest().sha256) is None
        with pytest.raises(ValueError, match="committed already"):
            short.commit(store)


def test_the_empty_input_is_a_batch_like_others(tmp_path: Path) -> None:
    empty = Batch(1, 0)
    with IndexStore(str(tmp_path), NEAR) as store:
        empty.commit(store)
        assert store.head_matches(b"", True)
        assert store.position(sha256(b"").hexdigest()) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"threshold": 0.8}, "was made with --threshold 0.7, not --threshold 0.8"),
        ({"minhash": False}, "was made with --minhash, not no --minhash"),
        ({"on": "user"}, "was made with --on all, not --on user"),
        ({"bands": 20}, "was made with bands 3, not bands 20"),
        ({"max_words": 3}, "was made with no --max-words, not --max-words 3"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
    with pytest.raises(UsageError) as caught:
        IndexStore(str(tmp_path), {**NEAR, **changed})
    assert str(caught.value) == f"index '{tmp_path}' {message}; choose the same, or name another --index"
    with IndexStore(str(tmp_path), dict(reversed(NEAR.items()))) as store:  # and the lock was let go
        assert holds(store, [Batch(1)])


def test_settings_do_not_bind_before_the_first_batch(tmp_path: Path) -> None:
    IndexStore(str(tmp_path), NEAR).close()
    with IndexStore(str(tmp_path), {**EXACT, "on": "\udce9"}) as store:
        Batch(1, near=False).commit(store)
    with IndexStore(str(tmp_path), {**EXACT, "on": "\udce9"}) as store:
        assert holds(store, [Batch(1, near=False)])


def test_another_format_is_refused(tmp_path: Path) -> None:
    IndexStore(str(tmp_path), NEAR).close()
    index = tmp_path / "index.json"
    index.write_bytes(index.read_bytes().replace(b'"format":1', b'"format":2'))
    with pytest.raises(UsageError, match="has format 2, this version of bptools reads 1; name another one"):
        IndexStore(str(tmp_path), NEAR)


@pytest.mark.parametrize("name", ["notes.txt", "index.json"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"weight_map":{}}')
    with pytest.raises(OutputError, match=r"is no index"):
        IndexStore(str(tmp_path), NEAR)
    assert os.listdir(tmp_path) == [name]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(OutputError, match=f"cannot create index '{path}': "):
            IndexStore(str(path), NEAR)


def test_files_of_others_and_of_the_system_stay(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("")
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
    (tmp_path / "README").write_text("ours")
    with IndexStore(str(tmp_path), NEAR) as store:
        assert holds(store, [Batch(1)])
    assert {".DS_Store", "README"} < set(os.listdir(tmp_path))


def test_litter_of_a_killed_run_is_deleted(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
    before = set(os.listdir(tmp_path))
    name = f"000001-{'0' * 16}.batch"
    for litter in (name, f".{name}.123-0123abcd.tmp", ".index.json.9-0123abcd.tmp"):
        (tmp_path / litter).write_text("half")
    with IndexStore(str(tmp_path), NEAR) as store:
        assert holds(store, [Batch(1)])
        assert set(os.listdir(tmp_path)) == before


def test_an_index_without_its_index_json_is_not_litter(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
    os.unlink(tmp_path / "index.json")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ReadWriteError, match=r"is damaged: index\.json is missing; restore it from a copy"):
        IndexStore(str(tmp_path), NEAR)
    assert sorted(os.listdir(tmp_path)) == before


# damage


def test_a_truncated_or_missing_file_is_noticed_at_once(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
    (batch,) = tmp_path.glob("*.batch")
    whole = batch.read_bytes()
    for size in (0, 1, len(whole) - 1, len(whole) + 1):
        batch.write_bytes((whole + b"x")[:size])
        with pytest.raises(ReadWriteError) as caught:
            IndexStore(str(tmp_path), NEAR)
        assert str(caught.value) == (
            f"index '{tmp_path}' is damaged: {batch.name} has {size} bytes, not {len(whole)};"
            " restore it from a copy or name another one"
        )
    batch.unlink()
    with pytest.raises(ReadWriteError, match=r"\.batch is missing"):
        IndexStore(str(tmp_path), NEAR)


def test_every_flipped_byte_of_a_batch_is_noticed(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1, 20).commit(store)
    (file,) = tmp_path.glob("*.batch")
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        with IndexStore(str(tmp_path), NEAR) as store, pytest.raises(ReadWriteError, match="damaged"):
            holds_still(store)


def holds_still(store: IndexStore) -> None:
    """Read everything as a run does, and compare nothing."""
    file = ShingleFile()
    for segment in store.segments():
        segment.keys(), segment.idents(), list(segment.checks())
        file.attach(segment.path, segment.ends(), segment.sums())
    try:
        file.read(np.arange(len(file)))
    finally:
        file.close()


def test_every_flipped_byte_of_index_json_is_noticed(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), EXACT) as store:
        Batch(1, 5, near=False).commit(store)
    index = tmp_path / "index.json"
    whole = index.read_bytes()
    for place in range(len(whole) - 1):
        for damaged in (
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
            whole[:place],
            whole[:place] + whole[place + 1 :],
        ):
            index.write_bytes(damaged)
            with pytest.raises((ReadWriteError, OutputError, UsageError), match=r"damaged|no index|format"):
                IndexStore(str(tmp_path), EXACT)
    index.write_bytes(b"[" * 100_000)
    with pytest.raises(ReadWriteError, match="damaged"):
        IndexStore(str(tmp_path), EXACT)
    index.write_bytes(whole)
    with IndexStore(str(tmp_path), EXACT) as store:
        assert holds(store, [Batch(1, 5, near=False)])


def test_a_file_that_becomes_shorter_while_it_is_used(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
        segment = store.segments()[0]
        os.truncate(segment.path, 900)
        with pytest.raises(ReadWriteError, match="damaged"):
            list(segment.checks())
        os.unlink(segment.path)
        with pytest.raises(ReadWriteError, match=r"cannot read '.*': no such file"):
            segment.keys()


@pytest.mark.parametrize(
    "wrong",
    [
        {"ends": np.array([1, 2])}, {"sets": [b"1234"]}, {"sets": []}, {"checks": []}, {"idents": b"x"},
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        with pytest.raises(ValueError, match="not those"):
            Batch(1).commit(store, **wrong)
        assert sorted(os.listdir(tmp_path)) == [".lock", "index.json"]
        Batch(1).commit(store)
        assert holds(store, [Batch(1)])


# full disks, other runs, sudden ends


def test_a_full_disk_leaves_the_index_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _RawFile.write
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    for full in (".batch", "index.json"):

        def write(file: _RawFile, data: Any, full: str = full) -> int:
            if full in file.name and not file.stopped:
                file.stopped = True
                raise ReadWriteError(f"cannot write {file.name}: {os.strerror(errno.ENOSPC).lower()}")
            return real(file, data)

        with monkeypatch.context() as patch, IndexStore(str(tmp_path), NEAR) as store:
            patch.setattr(_RawFile, "write", write)
            with pytest.raises(ReadWriteError, match="no space left on device"):
                Batch(2).commit(store)
            assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
            assert holds(store, [Batch(1)])
            patch.undo()
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(2).commit(store)
        assert holds(store, [Batch(1), Batch(2)])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), NEAR) as store:
        Batch(1).commit(store)
    program = PROGRAM + (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from bptools.core.errors import ReadWriteError\n"
        "with IndexStore(sys.argv[1], NEAR) as store:\n"
        "    try: Batch(2, 5000).commit(store)\n"
        "    except ReadWriteError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.endswith(".batch': file too large\n"), done.stderr
    with IndexStore(str(tmp_path), NEAR) as store:
        assert holds(store, [Batch(1)])


PROGRAM = "import sys\nfrom tests.unit.test_dedup_store import NEAR, Batch, IndexStore\n"


def test_two_runs_at_once(tmp_path: Path) -> None:
    with IndexStore(str(tmp_path), NEAR):
        begin = time.monotonic()
        with pytest.raises(Busy) as caught:
            IndexStore(str(tmp_path), NEAR)
        assert time.monotonic() - begin < 0.5
        assert str(caught.value) == (
            f"the index '{tmp_path}' is in use by another run; try again when it is done,"
            " or let --wait wait for it"
        )
        program = PROGRAM + (
            "from bptools.core.errors import Busy\n"
            "try: IndexStore(sys.argv[1], NEAR, wait=0.3)\n"
            "except Busy as error: print(error.exit_code, error)"
        )
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
        waited = "in use by another run after 0.3 seconds of waiting; try again when it is done"
        assert done.stdout == f"75 the index '{tmp_path}' is {waited}\n", done.stderr
    IndexStore(str(tmp_path), NEAR).close()


def test_waiting_for_a_run_that_is_killed(tmp_path: Path) -> None:
    program = PROGRAM + "store = IndexStore(sys.argv[1], NEAR)\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Busy):
            IndexStore(str(tmp_path), NEAR)
        other.send_signal(signal.SIGKILL)
        with IndexStore(str(tmp_path), NEAR, wait=10) as store:
            Batch(1).commit(store)


def test_the_second_run_sees_what_the_first_has_committed(tmp_path: Path) -> None:
    program = PROGRAM + (
        "print(flush=True)\n"
        "with IndexStore(sys.argv[1], NEAR, wait=30) as store: Batch(len(store.batches)).commit(store)"
    )
    with IndexStore(str(tmp_path), NEAR) as store:
        others = [
            subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
            for _ in range(3)
        ]
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        Batch(0).commit(store)
    assert [(other.communicate(), other.returncode)[1] for other in others] == [0, 0, 0]
    with IndexStore(str(tmp_path), NEAR) as store:
        assert holds(store, [Batch(seed) for seed in range(4)])


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Each run commits batches until it is killed; a batch that the next one finds is whole."""
    program = PROGRAM + (
        "print(flush=True)\n"
        "while True:\n"
        "    with IndexStore(sys.argv[1], NEAR) as store: Batch(len(store.batches)).commit(store)"
    )
    source = random.Random(seed)
    committed = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            time.sleep(source.uniform(0.0, 0.15))
            other.kill()
        with IndexStore(str(tmp_path), NEAR) as store:
            now = len(store.batches)
            assert now >= committed
            assert holds(store, [Batch(number) for number in range(now)])
            Batch(now).commit(store)
            committed = now + 1
            assert len(list(tmp_path.iterdir())) == committed + 2


@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_killed_at_each_step(tmp_path: Path, step: str) -> None:
    program = PROGRAM + (
        "import os, signal\nname, last = sys.argv[2], int(sys.argv[3])\nreal, count = getattr(os, name), 0\n"
        "def step(*args, **named):\n"
        "    global count\n    count += 1\n"
        "    if count == last: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(*args, **named)\n"
        "with IndexStore(sys.argv[1], NEAR) as store:\n"
        "    setattr(os, name, step)\n    Batch(len(store.batches)).commit(store)\n"
        "    setattr(os, name, real)\n"
    )
    killed = []
    for last in range(1, 20):
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path), step, str(last)])
        with IndexStore(str(tmp_path), NEAR) as store:
            now = len(store.batches)
            assert holds(store, [Batch(number) for number in range(now)])
            assert len(list(tmp_path.iterdir())) == now + 2
        if done.returncode == 0:
            break
        killed.append(now)
    assert done.returncode == 0
    assert len(killed) >= 2 and killed[0] == 0  # before anything is in its place


def test_hundreds_of_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [Batch(seed, 3) for seed in range(300)]
    with IndexStore(str(tmp_path), NEAR) as store:
        for batch in batches:
            batch.commit(store)
    with IndexStore(str(tmp_path), NEAR) as store:
        assert holds(store, batches)
        for block in (1, 100, 1 << 15):
            monkeypatch.setattr("bptools.quality.dedup.segment._BLOCK", block)
            found = list(checks_of(store.segments()))
            assert len(found) == {1: 900, 100: 9, 1 << 15: 1}[block]
            assert (
                np.concatenate(found, axis=1) == np.concatenate([batch.checks for batch in batches], axis=1)
            ).all()
        assert list(checks_of([])) == []
