"""bptools trace: from what was made back to the raw files, by manifests and the ledger."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bptools.core.errors import InputError
from bptools.core.trace import Changed, Trace, as_json, as_text, trace
from tests.golden import environment
from tests.training_runs import write_records

RAW = [
    {"prompt": word, "completion": word.upper()}
    for word in ["hello", "world", "hello", "bye", "a", "b", "c", "d", "e", "f"]
]


def shell(line: str, folder: Path, **more: str) -> str:
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line],
        cwd=folder,
        env={**environment(str(folder)), "BP_QUIET": "1", **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RAW))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def chain(found: Trace) -> list[str]:
    """Return the commands from the artifact down its first inputs, and the last file."""
    names, file = [], found.artifact
    while file.maker is not None:
        names.append(file.maker.command)
        file = file.maker.inputs[0]
    return [*names, file.name]


def test_a_chain_of_files_leads_to_the_raw_one_from_anywhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell(
        "mkdir made && bp-chatml raw.jsonl -o made/clean.jsonl && bp-dedup made/clean.jsonl -o unique.jsonl",
        folder,
    )
    found = trace("unique.jsonl")
    assert chain(found) == ["bp-dedup", "bp-chatml", "raw.jsonl"]
    assert found.stages[0].counts["drops"] == {"exact-duplicate": 1}
    assert [file.link for file in (found.artifact, found.stages[0].inputs[0])] == ["manifest", "manifest"]
    monkeypatch.chdir(folder / "made")
    (raw,) = trace(str(folder / "unique.jsonl"), verify=True).stages[1].inputs
    assert (raw.path, raw.state) == (str(folder / "raw.jsonl"), "unchanged")


def test_a_pipe_is_joined_by_the_ledger_alone(folder: Path) -> None:
    line = "bp-chatml raw.jsonl | bp-dedup | bp-filter --min-turns 1 -o out.jsonl"
    shell(line, folder, BP_LEDGER="ledger")
    assert chain(trace("out.jsonl")) == ["bp-filter", "<stdin>"]
    assert "<stdin>" in as_text(trace("out.jsonl")) and "unknown origin" in as_text(trace("out.jsonl"))
    found = trace("out.jsonl", "ledger")
    assert chain(found) == ["bp-filter", "bp-dedup", "bp-chatml", "raw.jsonl"]
    assert "unknown origin" not in as_text(found)


def test_stages_that_write_the_same_bytes_all_have_a_place_in_the_ledger(folder: Path) -> None:
    shell(
        "bp-chatml raw.jsonl | bp-filter --min-turns 1 | bp-dedup | bp-filter --max-turns 9 | bp-filter --min-chars 1 > o",
        folder,
        BP_LEDGER="ledger",
    )
    assert (
        len(os.listdir("ledger")) == 4
    )  # the last two filters read and wrote the same bytes: one run says it
    found = trace("o", "ledger")
    assert chain(found) == ["bp-dedup", "bp-chatml", "raw.jsonl"]
    (passed,) = found.artifact.passed
    assert passed.command == "bp-filter"
    assert "passed unchanged by bp-filter" in as_text(found)


def test_a_raw_file_that_was_clean_already_is_made_by_nobody(folder: Path) -> None:
    shell("bp-chatml raw.jsonl > clean.jsonl; rm raw.jsonl; mv clean.jsonl raw.jsonl", folder)
    shell("bp-chatml raw.jsonl | bp-dedup --exact raw > unique.jsonl", folder, BP_LEDGER="ledger")
    shell("bp-dedup --tag raw.jsonl > tagged.jsonl", folder, BP_LEDGER="ledger")
    assert chain(trace("unique.jsonl", "ledger")) == ["bp-dedup", "bp-chatml", "raw.jsonl"]
    with pytest.raises(InputError, match="no entry"):
        trace("raw.jsonl", "ledger")


def test_what_was_read_twice_is_shown_once(folder: Path) -> None:
    shell(
        "bp-chatml raw.jsonl -o clean.jsonl; bp-filter clean.jsonl -o a.jsonl; bp-filter --min-chars 1 clean.jsonl -o b.jsonl",
        folder,
    )
    shell("bp-dedup a.jsonl b.jsonl -o all.jsonl", folder)
    found = trace("all.jsonl")
    assert [stage.command for stage in found.stages].count("bp-chatml") == 1
    text = as_text(found)
    assert text.count("raw.jsonl") == 1
    assert "[4] bp-chatml" in text and "bp-chatml [4], see above" in text
    left, right = found.stages[0].inputs
    assert left.maker is not None and right.maker is not None
    assert left.maker.inputs[0].maker is right.maker.inputs[0].maker


def test_folders_their_files_and_what_is_made_of_them(folder: Path) -> None:
    shell(
        "bp-filter --split a=.5,b=.5 --out-dir sets raw.jsonl && bp-chatml sets -o both.jsonl",
        folder,
        BP_LEDGER="l",
    )
    parts = {part.name for part in trace("sets").parts}
    assert parts <= {"a.jsonl", "b.jsonl"} and parts
    name = sorted(parts)[0]
    assert chain(trace(f"sets/{name}")) == ["bp-filter", "raw.jsonl"]
    assert chain(trace("both.jsonl")) == ["bp-chatml", "bp-filter", "raw.jsonl"]
    shutil.copy(f"sets/{name}", "copy.jsonl")
    shutil.rmtree("sets")
    assert chain(trace("copy.jsonl", "l")) == ["bp-filter", "raw.jsonl"]
    assert chain(trace("both.jsonl", "l")) == ["bp-chatml", "bp-filter", "raw.jsonl"]


def test_verify_says_changed_and_missing_and_no_more(folder: Path) -> None:
    shell("bp-chatml raw.jsonl -o clean.jsonl; bp-dedup clean.jsonl -o unique.jsonl", folder)
    assert trace("unique.jsonl", verify=True).changed() == []
    Path("clean.jsonl").unlink()
    found = trace("unique.jsonl", verify=True)
    assert (found.changed(), found.stages[0].inputs[0].state) == ([], "missing")
    assert chain(found)[-1] == "raw.jsonl"  # the manifest of what is gone is there
    raw = Path("raw.jsonl").read_text()
    Path("raw.jsonl").write_text(raw.replace("hello", "hallo"))
    assert trace("unique.jsonl").changed() == []  # the size is the same
    assert [file.name for file in trace("unique.jsonl", verify=True).changed()] == ["raw.jsonl"]
    assert str(Changed(trace("unique.jsonl", verify=True).changed())) == (
        "not as recorded: 'raw.jsonl'; what was made of it cannot be made again from it"
    )
    Path("unique.jsonl").write_text("")
    assert [file.name for file in trace("unique.jsonl").changed()] == ["unique.jsonl"]
    said = str(Changed(trace("unique.jsonl").changed()))
    assert said == "the artifact is not as it was made: 'unique.jsonl'"
    said = str(Changed(trace("unique.jsonl", verify=True).changed()))
    assert said.startswith(
        "the artifact is not as it was made: 'unique.jsonl'; not as recorded: 'raw.jsonl'; what"
    )


def test_a_parquet_file_is_hashed_whole(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    chance = random.Random(5)
    texts = [chance.randbytes(300).hex() for _ in range(3000)]
    table = pyarrow.table({"prompt": texts, "completion": texts})
    parquet.write_table(table, "raw.parquet", row_group_size=700, compression="none")
    shell("bp-chatml raw.parquet -o clean.jsonl", folder)
    (raw,) = trace("clean.jsonl", verify=True).stages[0].inputs
    data = (folder / "raw.parquet").read_bytes()
    assert (raw.bytes, raw.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (raw.complete, raw.state) == (True, "unchanged")
    (folder / "raw.parquet").write_bytes(data[:900_000] + b"x" + data[900_001:])
    (raw,) = trace("clean.jsonl", verify=True).stages[0].inputs
    assert raw.state == "changed"
    (folder / "raw.parquet").write_bytes(data)
    shell("bp-chatml raw.parquet --limit 3 -o few.jsonl", folder)
    (raw,) = trace("few.jsonl", verify=True).stages[0].inputs
    assert (raw.complete, raw.state) == (False, "unchanged")


def test_a_file_that_was_read_in_part_may_have_grown(folder: Path) -> None:
    Path("raw.jsonl").write_text(json.dumps(RAW[0]) + "\n" + ("x" * 200 + "\n") * 20_000)
    shell("bp-chatml --limit 1 raw.jsonl -o one.jsonl", folder)
    with open("raw.jsonl", "a") as file:
        file.write("more\n")
    (raw,) = trace("one.jsonl", verify=True).stages[0].inputs
    assert (raw.complete, raw.state) == (False, "unchanged")


def test_a_rebuilt_file_is_not_taken_for_what_was_read(folder: Path) -> None:
    shell("bp-chatml raw.jsonl -o clean.jsonl; bp-dedup clean.jsonl -o unique.jsonl", folder, BP_LEDGER="l")
    shell("head -n 1 raw.jsonl > new.jsonl; bp-chatml new.jsonl -o clean.jsonl", folder)
    found = trace("unique.jsonl")
    assert chain(found) == ["bp-dedup", "clean.jsonl"]
    assert found.stages[0].inputs[0].state == "changed"
    assert chain(trace("unique.jsonl", "l")) == ["bp-dedup", "bp-chatml", "raw.jsonl"]


def test_empty_streams_join_nobody(folder: Path) -> None:
    shell(
        "bp-filter --min-chars 999 raw.jsonl > empty; bp-chatml --text < empty > nothing",
        folder,
        BP_LEDGER="l",
    )
    with pytest.raises(InputError, match="nothing says where 'nothing' comes from"):
        trace("nothing", "l")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b'{"command":7}', b'{"command":"x","inputs":7,"counts":[],"settings":[],"output":[]}',
     b'{"command":"x","inputs":[7,{"name":7,"bytes":"7","sha256":7}],"settings":{"a":7,"b":{"origin":7,"value":{}}},'
     b'"counts":{"in":"7","drops":{"a":"b"}},"output":{"name":7}}',
     b'{"command":"bp-train","records_sha256":"","model":7,"result":{"eval_loss":"x","steps":"y"},"recipe":7,'
     b'"options":{"adapter":{"value":["x",7],"origin":"o"}},"files":{"a":7,"model.jsonl":{"bytes":-1}},"inputs":[]}'],
)  # fmt: skip
def test_any_bytes_in_a_manifest_give_a_tree_or_a_message(folder: Path, content: bytes) -> None:
    for place in (Path("raw.jsonl.manifest.json"), Path("manifest.json")):
        place.write_bytes(content)
    os.mkdir("l")
    (folder / "l" / "0000000000000000-x-00000000.json").write_bytes(content)
    for artifact in ("raw.jsonl", "."):
        try:
            found = trace(artifact, "l", verify=True)
        except InputError:
            continue
        assert as_text(found)
        assert json.dumps(as_json(found))


def test_a_circle_of_manifests_ends(folder: Path) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        sha = {name: name * 64 for name in "ab"}
        manifest = {
            "command": "bp-x",
            "inputs": [{"name": other, "bytes": 1, "sha256": sha[other]}],
            "output": {"name": one, "bytes": 1, "sha256": sha[one]},
        }
        Path(one).write_text("x")
        Path(one + ".manifest.json").write_text(json.dumps(manifest))
    found = trace("a")
    assert len(found.stages) == 2
    assert "bp-x [1], see above" in as_text(found)


def test_the_record_says_what_the_tree_shows(folder: Path) -> None:
    shell("bp-chatml raw.jsonl | bp-dedup -o unique.jsonl", folder, BP_LEDGER="ledger")
    found: dict[str, Any] = as_json(trace("unique.jsonl", "ledger", verify=True))
    assert set(found) == {"artifact", "verified", "files", "stages"}
    assert (found["artifact"]["made_by"], found["artifact"]["link"], found["verified"]) == (
        0,
        "manifest",
        True,
    )
    first, second = found["stages"]
    assert (first["command"], first["counts"]["dropped"], first["inputs"][0]["made_by"]) == ("bp-dedup", 1, 1)
    assert first["inputs"][0]["link"] == "ledger"
    assert second["inputs"][0] | {"sha256": ""} == {
        "name": "raw.jsonl", "option": None, "bytes": second["inputs"][0]["bytes"], "sha256": "", "revision": None, "complete": True,
        "path": "raw.jsonl", "state": "unchanged", "made_by": None, "link": None, "passed_by": [], "others": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("revision", "shown"),
    [("ab" * 20, "commit abababab"), ("main", "revision main"), (None, "read in part\n")],
)
def test_only_a_commit_of_the_hub_is_called_one(
    revision: str | None, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = {
        "command": "bp-x",
        "settings": {},
        "inputs": [{"name": "hf:me/chat", "revision": revision, "complete": False}],
        "output": {"name": "a", "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()},
    }
    Path("a").write_text("x")
    Path("a.manifest.json").write_text(json.dumps(manifest))
    assert shown in as_text(trace("a"))


# trainings


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an adapter from a pipe, and one that goes on with it."""
    pytest.importorskip("trl")
    folder = tmp_path_factory.mktemp("trained")
    write_records(folder / "raw.jsonl", "chat", 40)
    options = "--preset nano --steps 2 --samples 0 --threads 1 --batch-size 2 --learning-rate 5e-2"
    shell(f"bp-chatml raw.jsonl | bp-dedup --minhash | bp-train {options}", folder, BP_LEDGER="ledger")
    write_records(folder / "held.jsonl", "chat", 5, seed=2)
    options += " --eval held.jsonl --adapter runs/latest/adapter"
    shell(f"bp-train raw.jsonl {options} -o second", folder, BP_LEDGER="ledger")
    return folder


@pytest.mark.slow
def test_an_adapter_leads_back_to_the_raw_file_with_counts_and_settings(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    for artifact in ("runs/latest/adapter", "runs/latest", "runs/latest/adapter/adapter_model.safetensors"):
        found = trace(artifact, "ledger", verify=True)
        assert chain(found)[0] == "bp-train" and chain(found)[-2:] == ["bp-chatml", "raw.jsonl"]
        assert found.changed() == []
    training = found.stages[0].training
    assert (training["method"], training["model"], training["steps"]) == ("sft", "nano", 2)
    assert training["records"] + training["held_out"] == 40
    assert found.stages[0].settings["steps"] == {"value": 2, "origin": "command line"}
    assert "bp-train --batch-size 2" in as_text(found)


@pytest.mark.slow
def test_an_adapter_that_another_goes_on_with_is_followed(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained)
    found = trace("second/adapter", "ledger", verify=True)
    raw, held, first = found.stages[0].inputs
    assert [(file.name, file.option) for file in (raw, held)] == [
        ("raw.jsonl", None),
        ("held.jsonl", "--eval"),
    ]
    assert (first.option, first.state, first.link) == ("--adapter", "unchanged", "manifest")
    assert "├─ --eval held.jsonl  " in as_text(found)
    assert first.maker is not None and first.maker.command == "bp-train"
    assert "bp-chatml" in as_text(found)


@pytest.mark.slow
def test_a_weight_that_changed_is_noticed(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "copy", symlinks=True)
    weights = tmp_path / "copy" / "second" / "adapter" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    readme = weights.parent / "README.md"
    readme.write_text("mine\n")
    shell("! bptools trace --verify second > tree.txt 2> said.txt", tmp_path / "copy")
    said = (tmp_path / "copy" / "said.txt").read_text()
    assert "the artifact is not as it was made: " in said and "README.md" in said and "again" not in said
    assert "adapter/adapter_model.safetensors" in (tmp_path / "copy" / "tree.txt").read_text()
    found = trace(str(tmp_path / "copy" / "second" / "adapter"), verify=True)
    assert {Path(file.path or "").name for file in found.changed()} == {
        "README.md",
        "adapter_model.safetensors",
    }


@pytest.mark.parametrize("kind", ["a file", "read-only"])
def test_a_ledger_that_takes_nothing_is_told_before_an_output_is_replaced(kind: str, folder: Path) -> None:
    if kind == "read-only" and os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (folder / "out.jsonl").write_text("of before\n")
    if kind == "a file":
        (folder / "ledger").write_text("")
    else:
        (folder / "ledger").mkdir(mode=0o500)
    done = subprocess.run(
        ["bp-chatml", "raw.jsonl", "-o", "out.jsonl"],
        env={**environment(str(folder)), "BP_LEDGER": "ledger"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 73
    assert "ledger 'ledger'" in done.stderr and done.stderr.count("\n") == 1
    assert (folder / "out.jsonl").read_text() == "of before\n"
    assert not [name for name in os.listdir(folder) if name.startswith(".out")]
