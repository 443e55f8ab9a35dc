"""Windows kept on disk and gone through again."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bptools.core.errors import DataError, ReadWriteError
from bptools.core.pipeline import Pipeline
from bptools.core.pipeline_settings import PipelineSettings
from bptools.core.records import Drop, Reject, loads
from bptools.core.window import Refused, Window
from bptools.core.window_spool import WindowSpool

LINES = [
    b'{"a":1}\n',
    b'{"a":12345678901234567890123}\n',  # which orjson rounds
    b'{"a":"\\ud800"}\n',  # which orjson refuses
    b'{ "b" : 0.1,"a":1e22, "a": -0.0}\n',
]


def facts(window: Window) -> list[Any]:
    """Everything about a window but what was seen in it."""
    refused = [(*each[:3], each.why.reason, each.why.detail, each.raw) for each in window.refused]
    places = [(window.at(number), window.blank(number)) for number in range(len(window))]
    return [
        window.raws,
        window.records,
        [type(record.get("a")) for record in window.records],
        window.pause,
        window.lines_only,
        refused,
        places,
        window.sources(),
    ]


def window_of(lines: list[bytes], source: str = "x", line: int = 1, blank: int = 0) -> Window:
    window = Window()
    window.add(lines, [loads(each) for each in lines], source, line, blank)  # type: ignore[misc]
    return window


def test_windows_come_back_as_they_were() -> None:
    spool = WindowSpool()
    windows = [Window(), window_of(LINES), window_of([])]
    windows[1].add([LINES[0]], [{"a": 1}], "x", 7, 2)
    windows[1].add([LINES[0]], [{"a": 1}], "caf\udce9 \u2028 {}", 1, 0)
    windows[1].refused += [
        Refused(0, "x", 3, Reject("invalid-json", "at \udce9"), b"\xff\n"),
        Refused(5, "x", 8, Reject("not-object"), b""),
    ]
    windows[2].refused.append(Refused(0, "x", 3, Reject("too-long", "t"), b"l" * 100_000))
    windows[2].pause = True
    for number, window in enumerate(windows):
        spool.add(window)
        for _ in range(2):
            assert [facts(each) for each in spool] == [facts(each) for each in windows[: number + 1]]
    assert spool.records == 6
    assert all(facts(one) == facts(other) for one, other in zip(spool, spool, strict=True))
    spool.close()


def test_records_without_a_line_of_their_own() -> None:
    deep: dict[str, Any] = {}
    for _ in range(3000):
        deep = {"a": deep}
    records = [
        {"a": 1, "b": [None, True, "é", {}]},
        {"a": 12345678901234567890123},  # an integer stays one
        {"a": 1.2345678901234568e22},
        {"a": "\ud800"},
        deep,
        {"a": -0.0, "long": "1234567890123456789012345"},
    ]
    window = window_of(LINES)
    window.add([None] * len(records), records, "y.json", 1, 0)
    spool = WindowSpool()
    spool.add(window)
    spool.add(window)
    assert not window.lines_only
    for again in spool:
        assert again.records.pop(8) is deep  # comparing it would take too many frames
        assert [repr(record) for record in again.records] == [
            repr(record) for record in window.records if record is not deep
        ]
        assert again.raws == window.raws and not again.lines_only
        assert again.at(9) == ("y.json", 6)


def test_a_window_whose_records_were_let_go() -> None:
    window = Window()
    window.add_lines(LINES, "x", 1, 0)
    assert not window.records
    spool = WindowSpool()
    spool.add(window)
    (again,) = spool
    assert (again.records, again.raws, again.seen, len(again)) == ([], LINES, None, 4)
    assert again.record(0) == {"a": 1}


def test_a_file_that_becomes_shorter() -> None:
    spool = WindowSpool()
    spool.add(window_of(LINES))
    spool._file._file.truncate(100)
    with pytest.raises(ReadWriteError, match="shorter"):
        list(spool)


def judge(record: dict[str, Any]) -> Drop | Reject | None:
    number = record.get("n", 0)
    if type(number) is int and number % 5 == 1:
        return Drop("many", number, 4)
    return Reject("bad-type", f"{number}") if number == 7 else None


Gather = Callable[[Pipeline], Iterator[Window]]


def at_once(pipe: Pipeline) -> Iterator[Window]:
    yield from pipe.windows(100)


def with_a_spool(pipe: Pipeline) -> Iterator[Window]:
    with WindowSpool() as spool:
        for window in pipe.windows(100):
            spool.add(window)
        yield from spool


@pytest.mark.parametrize("more", [{}, {"tag": True, "explain": True}, {"strict": True}, {"limit": 20}])
def test_a_run_with_a_spool_is_one_without(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], more: dict[str, Any]
) -> None:
    lines = [b'{"n":%d,"text":"%s"}' % (number, b"x" * (number % 30)) for number in range(40)]
    lines[12:12] = [b"", b"no record", b"[1]", b""]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines[:20])))
    array = [{"n": 1, "big": 10**30}, {"n": 2, "bad": "\ud800"}, {"n": 8}]
    (tmp_path / "c.json").write_text(json.dumps(array))
    (tmp_path / "e.jsonl").write_bytes(b"no record\n{}\n")
    outcomes = []
    for number, gather in enumerate([at_once, with_a_spool]):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        names = ["out", "dropped", "rejects", "report"]
        output, dropped, rejects, report = (str(folder / name) for name in names)
        settings = PipelineSettings(
            sources=[str(tmp_path / name) for name in ("a.jsonl", "b.jsonl.gz", "c.json", "e.jsonl")],
            output=output, dropped=dropped, rejects=rejects, report=report, max_rejects="100", **more,
        )  # fmt: skip
        error: object = None
        try:
            with Pipeline("bp-x", settings) as pipe:
                for window in gather(pipe):
                    pipe.settle_window(window, [judge(window.record(index)) for index in range(len(window))])
        except DataError as refused:
            error = str(refused)
        left = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
        if more.keys() & {"strict", "limit"}:  # which end it early: all was read by then
            left["report"] = re.sub(rb'"blank":[0-9]+', b"", left["report"])
        outcomes.append((error, left, capfd.readouterr().err))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1]["dropped" if "tag" not in more else "out"]


def test_only_one_window_is_in_memory() -> None:
    program = (
        "import resource, sys\n"
        "from bptools.core.window import Window\nfrom bptools.core.window_spool import WindowSpool\n"
        "def peak():\n"
        "    try: return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "    except OSError: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "spool = WindowSpool()\n"
        "before = peak()\n"
        "for number in range(100):\n"
        "    window = Window()\n"
        '    window.add([b\'{"a":"%s"}\\n\' % (b"x" * 990)] * 1000, [{"a": "x"}] * 1000, "x", 1 + 1000 * number, 0)\n'
        "    spool.add(window)\n"
        "assert sum(len(window.raws) for window in spool) == spool.records == 100_000\n"
        "print(peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(done.stdout) < 24_000  # of 100 MB


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_one_line_and_names_the_folder(tmp_path: Path) -> None:
    program = (
        "import resource\nfrom bptools.core.window import Window\n"
        "from bptools.core.window_spool import WindowSpool\n"
        "from bptools.core.errors import ReadWriteError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "window = Window()\nwindow.add([b'{}\\n'] * 100_000, [{}] * 100_000, 'x', 1, 0)\n"
        "try: WindowSpool().add(window)\n"
        "except ReadWriteError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == (
        f"cannot write temporary file in '{tmp_path}': file too large; TMPDIR names another place\n"
    ), done.stderr
