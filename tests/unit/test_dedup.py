"""bp-dedup as a whole: the same bytes whatever comes in between, and an index that forgets nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.golden import ROOT, environment
from tests.test_pages import listed_names

PAGE = ROOT / "bptools" / "commands" / "pages" / "bp-dedup.txt"
DEDUP = [sys.executable, str(ROOT / "bin" / "bp-dedup")]


def records(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return chats of which a third are exact or edited copies of earlier ones."""
    chance = random.Random(seed)
    vocabulary = [f"{chr(97 + number % 26)}{number}" for number in range(900)]
    made: list[dict[str, Any]] = []
    for number in range(count):
        draw = chance.random()
        if made and draw < 0.12:
            answer = chance.choice(made)["messages"][1]["content"]
        elif made and draw < 0.35:
            words = chance.choice(made)["messages"][1]["content"].split()
            words[chance.randrange(len(words))] = "changed"
            answer = " ".join(words)
        else:
            answer = " ".join(chance.choices(vocabulary, k=chance.randrange(8, 60)))
        messages = [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": answer}]
        made.append({"messages": messages, "id": number, "score": chance.randrange(10)})
    return made


def lines(made: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in made)


def dedup(*options: str, data: bytes = b"", folder: Path, code: int = 0) -> bytes:
    done = subprocess.run(
        [*DEDUP, *options], input=data, capture_output=True, cwd=folder, env=environment(str(folder))
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def data() -> bytes:
    return lines(records(1500))


@pytest.mark.parametrize(
    "options", [["--minhash"], ["--minhash", "--tag"], ["--tag", "--exact", "normalized"]]
)
def test_cores_and_pieces_of_input_change_nothing(options: list[str], data: bytes, tmp_path: Path) -> None:
    whole = dedup(*options, data=data, folder=tmp_path)
    assert 0 < whole.count(b"\n") <= 1500
    assert dedup(*options, "-j", "3", data=data, folder=tmp_path) == whole
    for size in (100, 5_000, 70_000):
        process = subprocess.Popen(
            [*DEDUP, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment(str(tmp_path)),
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        with open(tmp_path / "out", "wb") as out:
            reader = subprocess.Popen(["cat"], stdin=process.stdout, stdout=out)
            for start in range(0, len(data), size):
                process.stdin.write(data[start : start + size])
                process.stdin.flush()
            process.stdin.close()
            assert (process.wait(), reader.wait()) == (0, 0)
        assert (tmp_path / "out").read_bytes() == whole


def test_what_is_dropped_names_a_record_that_stays(data: bytes, tmp_path: Path) -> None:
    kept = dedup("--minhash", "--dropped", "copies.jsonl", data=data, folder=tmp_path)
    tagged = [
        json.loads(line) for line in dedup("--minhash", "--tag", data=data, folder=tmp_path).splitlines()
    ]
    copies = [json.loads(line) for line in (tmp_path / "copies.jsonl").read_bytes().splitlines()]
    assert copies == [record for record in tagged if "bp" in record]
    assert len(copies) > 300
    from bptools.chat.identity import ContentKeys

    keys = {f"{ContentKeys().key(None, json.loads(line)):032x}" for line in kept.splitlines()}
    for record in copies:
        assert record["bp"]["dup_of"] in keys
        assert (record["bp"]["drop"][0]["reason"] == "near-duplicate") == ("jaccard" in record["bp"])
    # tagged again, the marks of the first time are gone over, and the outcome is the same
    again = dedup("--minhash", "--tag", data=lines(tagged), folder=tmp_path)
    assert [json.loads(line)["bp"]["dup_of"] for line in again.splitlines() if b"dup_of" in line] == [
        record["bp"]["dup_of"] for record in copies
    ]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_record_goes_out_while_the_writer_is_silent(jobs: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*DEDUP, "-q", "--minhash", "--line-buffered", "-j", jobs], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment(str(tmp_path)),
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    for text in ("One.", "Another.", "And a third."):
        line = json.dumps({"text": text}).encode() + b"\n"
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline() == line  # hangs if it is held back
    process.stdin.close()
    assert process.wait() == 0


def test_weeks_with_an_index_are_one_stream(tmp_path: Path) -> None:
    made = records(900, seed=2)
    weeks = [lines(made[start : start + 300]) for start in range(0, 900, 300)]
    whole = dedup("--minhash", data=b"".join(weeks), folder=tmp_path)
    outputs = [dedup("--minhash", "--index", "seen", data=week, folder=tmp_path) for week in weeks]
    assert b"".join(outputs) == whole
    for week, output in zip(weeks, outputs):  # in any order, again
        assert dedup("--minhash", "--index", "seen", data=week, folder=tmp_path) == output
    tagged = dedup("--minhash", "--index", "seen", "--tag", data=weeks[2], folder=tmp_path)
    assert tagged.count(b'"dup_in":"index"') > 10


@pytest.mark.parametrize("options", [["--on", "assistant"], ["--prefer", "best:score"], ["--exact", "raw"]])
def test_an_index_with_other_options_is_as_one_stream_too(options: list[str], tmp_path: Path) -> None:
    made = records(400, seed=4)
    first, second = lines(made[:200]), lines(made[200:])
    options = ["--minhash", "--index", "seen", "--tag", *options]
    outputs = [dedup(*options, data=part, folder=tmp_path) for part in (first, second)]
    assert b'"dup_in":"index"' in outputs[1]
    assert [dedup(*options, data=part, folder=tmp_path) for part in (first, second)] == outputs


def test_a_run_whose_reader_died_is_run_again(tmp_path: Path) -> None:
    """The promise for cron: kill what is behind the pipe, run the line again, get the same bytes."""
    week = lines(records(4000, seed=3))
    (tmp_path / "week.jsonl").write_bytes(week)
    dedup("--minhash", "--index", "other", data=week, folder=tmp_path)
    wanted = dedup("--minhash", data=week, folder=tmp_path)
    process = subprocess.Popen(
        [*DEDUP, "--minhash", "--index", "seen", "week.jsonl"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(str(tmp_path)),
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait() == 141
    assert json.loads((tmp_path / "seen" / "index.json").read_bytes())["batches"] == []
    for _ in range(2):
        assert dedup("--minhash", "--index", "seen", "week.jsonl", folder=tmp_path) == wanted
    assert len(json.loads((tmp_path / "seen" / "index.json").read_bytes())["batches"]) == 1


def test_a_reader_that_died_with_all_in_the_pipe_is_noticed(tmp_path: Path) -> None:
    """What fits into the pipe is written without an error, though nobody will ever read it."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*DEDUP, "--index", "seen"], stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.DEVNULL,
        cwd=tmp_path, env=environment(str(tmp_path)),
    )  # fmt: skip
    os.close(writing)
    assert process.stdin is not None
    process.stdin.write(lines(records(3)))
    process.stdin.flush()
    assert process.poll() is None
    time.sleep(0.5)
    os.close(reading)
    process.stdin.close()
    assert process.wait() == 141
    assert json.loads((tmp_path / "seen" / "index.json").read_bytes())["batches"] == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_adds_nothing_and_leaves_the_index_free(how: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*DEDUP, "--minhash", "--index", "seen"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd=tmp_path, env=environment(str(tmp_path)),
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(lines(records(200)))
    process.stdin.flush()
    while not (tmp_path / "seen" / "index.json").exists():
        time.sleep(0.02)
    dedup("--minhash", "--index", "seen", data=lines(records(3)), folder=tmp_path, code=75)
    process.send_signal(how)
    process.wait()
    week = lines(records(200))
    assert dedup("--minhash", "--index", "seen", data=week, folder=tmp_path) == dedup(
        "--minhash", data=week, folder=tmp_path
    )


def test_too_many_rejects_add_nothing(tmp_path: Path) -> None:
    week = lines(records(20)) + b"{\n"
    out = dedup("--index", "seen", data=week, folder=tmp_path, code=65)
    assert json.loads((tmp_path / "seen" / "index.json").read_bytes())["batches"] == []
    assert dedup("--index", "seen", "--max-rejects", "1", data=week, folder=tmp_path) == out


def test_against_finds_what_the_stream_would(tmp_path: Path) -> None:
    made = records(600, seed=8)
    (tmp_path / "eval.jsonl").write_bytes(lines(made[:200]))
    train = made[200:]
    out = dedup("--minhash", "--against", "eval.jsonl", "--tag", data=lines(train), folder=tmp_path)
    tagged = [json.loads(line).get("bp", {}) for line in out.splitlines()]
    matched = [marks for marks in tagged if marks.get("dup_in") == "against"]
    assert len(matched) > 20
    for marks in matched:
        name, line = marks["dup_at"].split(":")
        assert name == "eval.jsonl" and 1 <= int(line) <= 200
    # nothing of what stays is a copy of the evaluation set
    stays = [record for record, marks in zip(train, tagged) if not marks]
    alone = dedup("--minhash", "--against", "eval.jsonl", data=lines(stays), folder=tmp_path)
    assert alone == lines(stays)


@pytest.mark.parametrize("how", [[], ["--on", "assistant"], ["--exact", "normalized"], ["--prefer", "last"]])
def test_what_is_compared_against_changes_no_original(how: list[str], tmp_path: Path) -> None:
    """Names, keys and places of originals are those of a run that compares against nothing."""
    (tmp_path / "other.jsonl").write_bytes(lines(records(300, seed=11)))
    (tmp_path / "in.jsonl").write_bytes(lines(records(200, seed=12)))
    said = {}
    for beside in ([], ["--against", "other.jsonl"]):
        name = f"{len(beside)}"
        options = [*how, "--minhash", "in.jsonl", "--report", f"{name}.json", "--signatures", f"{name}.sig"]
        done = subprocess.run(
            [*DEDUP, *options, "--tag", "--explain", "--index", f"{name}.index", *beside],
            capture_output=True, cwd=tmp_path, env=environment(str(tmp_path)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        report = json.loads((tmp_path / f"{name}.json").read_bytes())
        index = [path.read_bytes() for path in sorted((tmp_path / f"{name}.index").glob("*.batch"))]
        said[name] = (
            done.stdout, done.stderr, (tmp_path / f"{name}.sig").read_bytes(), index,
            report["duplicates"]["largest"],
        )  # fmt: skip
        assert b'"dup_of":"' in done.stdout and b'"dup_of":""' not in done.stdout
        assert index and report["duplicates"]["largest"]
    assert said["0"] == said["2"]


@pytest.mark.parametrize("how", [[], ["--on", "assistant"], ["--on", "assistant", "--prefer", "last"]])
def test_a_match_has_the_key_of_what_it_matched(how: list[str], tmp_path: Path) -> None:
    made = lines(records(40, seed=13))
    (tmp_path / "eval.jsonl").write_bytes(made)
    out = dedup(*how, "--against", "eval.jsonl", "--tag", data=made, folder=tmp_path)
    again = dedup("--tag", data=made + made, folder=tmp_path)  # the same records, all found in the stream
    keys = [json.loads(line)["bp"]["dup_of"] for line in again.splitlines()[40:]]
    firsts = dict(zip(made.splitlines(), keys))
    for line in out.splitlines():
        marks = json.loads(line)["bp"]
        number = int(marks["dup_at"].split(":")[1])
        assert marks["dup_of"] == firsts[made.splitlines()[number - 1]]


def test_report_adds_up(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    (tmp_path / "b.jsonl").write_bytes(lines(records(300, seed=9)))
    (tmp_path / "eval.jsonl").write_bytes((tmp_path / "b.jsonl").read_bytes())
    dedup("--minhash", "--report", "r.json", "a.jsonl", "b.jsonl", "--against", "eval.jsonl", folder=tmp_path)
    report = json.loads((tmp_path / "r.json").read_bytes())
    found = report["duplicates"]
    assert found["exact"] == report["drops"]["exact-duplicate"]
    assert found["near"] == report["drops"]["near-duplicate"]
    assert sum(found["of"].values()) == report["dropped"] and found["of"]["against"] >= 300
    assert {name: each["in"] for name, each in found["sources"].items()} == {"a.jsonl": 1500, "b.jsonl": 300}
    assert sum(each["exact"] + each["near"] for each in found["sources"].values()) == report["dropped"]
    assert sum(found["cluster_sizes"].values()) == found["clusters"]
    high = sum(count for value, count in found["jaccard"].items() if float(value) >= 0.7)
    assert high == found["near"]
    assert set(found) == listed_names(PAGE, "REPORT")


@pytest.mark.parametrize("options", [[], ["--tag"]])
def test_report_of_a_limit_adds_up_too(options: list[str], data: bytes, tmp_path: Path) -> None:
    options = ["--minhash", "--limit", "700", "--report", "r.json", *options]
    assert dedup(*options, data=data, folder=tmp_path).count(b"\n") == 700
    report = json.loads((tmp_path / "r.json").read_bytes())
    found = report["duplicates"]
    assert found["exact"] == report["drops"]["exact-duplicate"]
    assert found["near"] == report["drops"]["near-duplicate"]
    assert found["sources"]["<stdin>"]["in"] == report["in"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--minhash", "--threshold", "nan", "a"], "no similarity from 0.05 to 1"),
        (["--against", "-"], "cannot be both"),
        (["--against", "./a", "a"], "nothing would be left"),
        (["--minhash", "--signatures", "s", "--limit", "2", "a"], "--slice"),
        (["--minhash", "--index", "i", "--max-memory", "1G", "a"], "--max-memory"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(lines(records(3)))
    done = subprocess.run(
        [*DEDUP, *options], input=b"", capture_output=True, cwd=tmp_path, env=environment(str(tmp_path))
    )
    assert done.returncode == 2
    assert message in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_a_cluster_of_any_size_is_counted(tmp_path: Path) -> None:
    made = b'{"text":"a"}\n' * 700 + b'{"text":"b"}\n' * 300 + b'{"text":"c"}\n' * 2
    dedup("--report", "r.json", data=made, folder=tmp_path)
    found = json.loads((tmp_path / "r.json").read_bytes())["duplicates"]
    assert [each["records"] for each in found["largest"]] == [700, 300, 2]
    assert found["exact"] == 999 and found["cluster_sizes"] == {"2": 1, "257-512": 1, "513-1024": 1}
