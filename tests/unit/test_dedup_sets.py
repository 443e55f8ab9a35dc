"""Sets of shingles on disk, those of earlier runs in their own files."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from bptools.core.errors import ReadWriteError
from bptools.quality.dedup.sets import Ragged, ShingleFile, checksum, similarities, take

Sets = list[list[int]]


def ragged(sets: Sets) -> Ragged:
    offsets = np.zeros(len(sets) + 1, np.int64)
    np.cumsum([len(each) for each in sets], out=offsets[1:])
    return np.array([value for each in sets for value in each], np.uint32), offsets


def plain(sets: Ragged) -> Sets:
    return [sets[0][begin:end].tolist() for begin, end in zip(sets[1], sets[1][1:])]


def made(count: int, seed: int, largest: int = 20) -> Sets:
    source = random.Random(seed)
    return [
        sorted(source.sample(range(2**32), source.choice([0, 1, source.randrange(largest)])))
        for _ in range(count)
    ]


def written(folder: Path, name: str, sets: Sets) -> tuple[str, np.ndarray, np.ndarray]:
    path = folder / name
    lines = [np.array(each, "<u4").tobytes() for each in sets]
    path.write_bytes(b"".join(lines) + b"what follows is none of it")
    ends = np.cumsum([len(each) for each in sets], dtype=np.int64)
    return str(path), ends, np.array([checksum(line) for line in lines], np.uint32)


def test_sets_come_back_by_id() -> None:
    sets = made(3000, 1)
    file = ShingleFile()
    for first in range(0, 3000, 700):
        file.append(ragged(sets[first : first + 700]))
    assert len(file) == 3000
    ids = np.array([0, 2999, 5, 5, 1234])
    assert plain(file.read(ids)) == [sets[number] for number in ids]
    assert plain(file.read(np.zeros(0, np.int64))) == []
    file.close()


@pytest.mark.parametrize("sums", [True, False])
@pytest.mark.parametrize("pread", [True, False])
def test_ids_go_on_over_the_files_of_earlier_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sums: bool, pread: bool
) -> None:
    if not pread:
        monkeypatch.delattr(os, "pread")
    parts = [made(500, 2), [], [[]], made(3, 3), made(2000, 4)]
    ours = made(400, 5)
    file = ShingleFile()
    for number, part in enumerate(parts):
        path, ends, checks = written(tmp_path, f"{number}", part)
        file.attach(path, ends, checks if sums else None)
    file.append(ragged(ours[:100]))
    file.append(ragged(ours[100:]))
    everything = [each for part in [*parts, ours] for each in part]
    assert len(file) == len(everything)
    ids = np.array(random.Random(6).choices(range(len(everything)), k=3000))
    assert plain(file.read(ids)) == [everything[number] for number in ids]
    file.close()
    file.close()


def test_what_was_appended_can_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bptools.quality.dedup.sets._COPIED", 50)
    for earlier in (0, 7):
        file = ShingleFile()
        if earlier:
            path, ends, sums = written(tmp_path, "a", made(earlier, 1))
            file.attach(path, ends, sums)
        ours = made(500, 2, 100)
        file.append(ragged(ours))
        for first in (earlier, earlier + 1, earlier + 499, earlier + 500):
            left = ours[first - earlier :]
            assert b"".join(file.copy_from(first)) == ragged(left)[0].astype("<u4").tobytes()
            assert file.counts(first, len(file)).tolist() == [len(each) for each in left]
            assert file.ends_from(first).tolist() == ragged(left)[1][1:].tolist()
        assert max(map(len, file.copy_from(earlier))) <= 4 * 100
        if earlier:
            with pytest.raises(ValueError, match="in their files"):
                next(file.copy_from(earlier - 1))


def test_earlier_runs_come_first(tmp_path: Path) -> None:
    path, ends, sums = written(tmp_path, "a", made(5, 1))
    file = ShingleFile()
    file.append(ragged([[]]))
    with pytest.raises(ValueError, match="first"):
        file.attach(path, ends, sums)


def test_a_file_that_is_gone_or_shorter(tmp_path: Path) -> None:
    path, ends, sums = written(tmp_path, "a", [[1, 2, 3], [4, 5, 6]])
    file = ShingleFile()
    with pytest.raises(ReadWriteError, match=r"cannot read '.*/b': no such file or directory"):
        file.attach(str(tmp_path / "b"), ends, sums)
    assert len(file) == 0
    file.attach(path, ends, sums)
    os.truncate(path, 20)
    assert plain(file.read(np.array([0]))) == [[1, 2, 3]]
    with pytest.raises(ReadWriteError, match=r"cannot read '.*/a': it has become shorter"):
        file.read(np.array([1]))
    with pytest.raises(ReadWriteError, match="shorter"):
        ShingleFile().attach(path, ends, sums)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path, ends, sums = written(tmp_path, "a", [[1, 2, 3], [70_000, 2**31]])
    whole = Path(path).read_bytes()
    for bit in range(8 * 20):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        Path(path).write_bytes(damaged)
        file = ShingleFile()
        file.attach(path, ends, sums)
        with pytest.raises(ReadWriteError, match=r"cannot read '.*/a': it is damaged; restore it"):
            file.read(np.array([0, 1]))
        file.close()


def test_more_files_than_a_process_may_usually_open(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    sets = made(3, 1)
    path, ends, sums = written(tmp_path, "a", sets)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 40, hard))
    file = ShingleFile()
    try:
        for _ in range(300):
            file.attach(path, ends, sums)
        assert plain(file.read(np.arange(900))) == sets * 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        file.close()


def test_short_reads_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = made(50, 1, 100)
    path, ends, sums = written(tmp_path, "a", sets)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, offset: real(fd, min(count, 7), offset))
    file = ShingleFile()
    file.attach(path, ends, sums)
    assert plain(file.read(np.arange(50))) == sets


def test_similarity_is_that_of_sets() -> None:
    source = random.Random(1)
    left = [sorted(source.sample(range(40), source.randrange(30))) for _ in range(500)]
    right = [sorted(source.sample(range(40), source.randrange(30))) for _ in range(500)]
    wanted = [
        len({*one} & {*other}) / len({*one} | {*other}) if one or other else 0.0
        for one, other in zip(left, right)
    ]
    assert similarities(ragged(left), ragged(right)).tolist() == wanted
    assert plain(take(ragged(left), np.array([3, 0, 3]))) == [left[3], left[0], left[3]]
