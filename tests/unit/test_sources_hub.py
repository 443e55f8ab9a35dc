"""hf: names, and reading them with the real `datasets` from a hub on a loopback port."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bptools.core.errors import InputError
from bptools.core.sources.hub import parse_hub_name
from tests.golden import environment
from tests.unit.loopback_hub import LoopbackHub

needs_datasets = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="datasets is not installed"
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hf:name", ("name", None, None, None)),
        ("hf:owner/name", ("owner/name", None, None, None)),
        ("hf:owner/name/config", ("owner/name", "config", None, None)),
        ("hf:name//config:test", ("name", "config", None, "test")),
        ("hf:owner/name@refs/pr/1", ("owner/name", None, "refs/pr/1", None)),
        ("hf:owner/name/config@v1.0:train[:10]", ("owner/name", "config", "v1.0", "train[:10]")),
    ],
)
def test_names(text: str, parts: tuple) -> None:
    assert parse_hub_name(text) == parts


@pytest.mark.parametrize(
    "text", ["hf:", "hf:/a", "hf:a/", "hf:a/b/c/d", "hf:a/b@", "hf:a/b:", "hf:a//", "hf:@x", "hf:a/b/"]
)
def test_bad_names(text: str) -> None:
    with pytest.raises(InputError):
        parse_hub_name(text)


def lines(*rows: dict) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


CHAT = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "id": 1},
    {"messages": [{"role": "user", "content": "c", "name": "n"}], "id": None},
]
CARD = b"---\nconfigs:\n- config_name: en\n  data_files: en.jsonl\n- config_name: de\n  data_files: de.jsonl\n---\n"
REPOSITORIES = {
    "me/chat": {"train.jsonl": lines(*CHAT), "test.jsonl": lines(CHAT[0])},
    "me/only": {"data/test.jsonl": lines({"text": "only"})},
    "me/sft": {"train_sft.jsonl": lines({"text": "x"}), "test_sft.jsonl": lines({"text": "y"})},
    "me/configs": {"README.md": CARD, "en.jsonl": lines({"text": "hello"}), "de.jsonl": lines({"text": "hallo"})},
    "me/odd": {
        "README.md": b"---\nconfigs:\n- config_name: default\n  data_files:\n  - split: a\n    path: a.jsonl\n"
        b"  - split: b\n    path: b.jsonl\n---\n",
        "a.jsonl": lines({"text": "x"}), "b.jsonl": lines({"text": "y"}),
    },
    "me/broken": {"train.jsonl": lines({"text": "x"}) + b"{broken\n"},
    "me/gated": {"train.jsonl": lines({"text": "x"})},
    "me/empty": {"README.md": b"# nothing\n"},
}  # fmt: skip

READ = """
import json, sys
from bptools.core.errors import BpError
from bptools.core.sources.base import ReadOptions
from bptools.core.sources.hub import HubReader
out = []
for name in sys.argv[1:]:
    rejects = []
    try:
        reader = HubReader(name, ReadOptions(), lambda line, why, raw: rejects.append([line, why.reason]))
        records = [[reader.line, record] for _, record in reader]
        out.append({"records": records, "rejects": rejects, "revision": reader.revision})
    except BpError as error:
        out.append({"error": str(error), "exit": error.exit_code})
sys.stdout.write(json.dumps(out))
"""


def run(home: Path, endpoint: str, *names: str, **environment: str) -> list[dict[str, Any]]:
    """Read the names in one fresh process, whose only home is `home`; nothing may be said on stderr."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    kept.update(
        HF_ENDPOINT=endpoint, HF_HOME=str(home / "hf"), HOME=str(home), TMPDIR=str(home), **environment
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", READ, *names], env=kept, cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == "" and done.returncode == 0
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub(REPOSITORIES, gated=("me/gated",)) as served:
        yield served


@needs_datasets
def test_reading(hub: LoopbackHub, tmp_path: Path) -> None:
    commit = hub.commit("me/chat")
    chat, test, pinned, only, sft, english, broken = run(
        tmp_path, hub.url, "hf:me/chat", "hf:me/chat:test", f"hf:me/chat@{commit}", "hf:me/only", "hf:me/sft",
        "hf:me/configs/en", "hf:me/broken",
    )  # fmt: skip
    assert chat["records"] == [[1, CHAT[0]], [2, {"messages": CHAT[1]["messages"]}]]
    assert chat["revision"] == commit and pinned == chat
    assert test["records"] == [[1, CHAT[0]]]
    assert only["records"] == [[1, {"text": "only"}]] and sft["records"] == [[1, {"text": "x"}]]
    assert english["records"] == [[1, {"text": "hello"}]]
    assert broken["rejects"] and broken["rejects"][0][1] == "corrupt-data"
    assert [path.name for path in tmp_path.iterdir() if path.name != "hf"] == []


@needs_datasets
def test_a_trace_leads_to_the_commit(hub: LoopbackHub, tmp_path: Path) -> None:
    env = {**environment(str(tmp_path)), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        env.pop(name, None)
    line = "bp-chatml hf:me/chat -o clean.jsonl && bp-chatml hf:me/chat --limit 1 -o one.jsonl && bptools trace clean.jsonl"
    done = subprocess.run(["bash", "-ec", line], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    commit = hub.commit("me/chat")
    (read,) = json.loads((tmp_path / "clean.jsonl.manifest.json").read_bytes())["inputs"]
    assert read == {"name": "hf:me/chat", "revision": commit, "complete": True}
    assert done.stdout.endswith(f"└─ hf:me/chat  commit {commit[:12]}\n")
    (part,) = json.loads((tmp_path / "one.jsonl.manifest.json").read_bytes())["inputs"]
    assert part == {**read, "complete": False}


@needs_datasets
def test_choices_and_failures_are_one_clear_line(hub: LoopbackHub, tmp_path: Path) -> None:
    outcomes = run(
        tmp_path, hub.url, "hf:me/nope", "hf:me/chat@nope", "hf:me/chat:nope", "hf:me/configs", "hf:me/configs/fr",
        "hf:me/odd", "hf:me/gated", "hf:me/empty", "hf:me/bad..name",
    )  # fmt: skip
    assert [(outcome["error"], outcome["exit"]) for outcome in outcomes] == [
        ("hf:me/nope: no data set me/nope on the hub, or it is private: then set HF_TOKEN", 66),
        ("hf:me/chat@nope: no revision 'nope'", 66),
        ("hf:me/chat:nope: no split 'nope'; it has train, test: choose one with :SPLIT", 66),
        ("hf:me/configs: choose a config, as in hf:me/configs/CONFIG: en, de", 66),
        ("hf:me/configs/fr: no config 'fr'; it has en, de", 66),
        ("hf:me/odd: no split train; it has a, b: choose one with :SPLIT", 66),
        (
            "hf:me/gated: the data set is gated; accept its terms on the hub and set HF_TOKEN to your token",
            69,
        ),
        ("hf:me/empty: the data set holds no data files that can be read", 66),
        ("cannot read 'hf:me/bad..name': me/bad..name is no name a data set can have", 66),
    ]


@needs_datasets
@pytest.mark.slow
def test_offline(tmp_path: Path) -> None:
    away = (
        "cannot reach http://127.0.0.1:9 for 'hf:me/chat', and it is not in the cache; "
        "check the network, HF_ENDPOINT, HF_HUB_OFFLINE"
    )
    offline = "'hf:me/chat' is not in the cache, and HF_HUB_OFFLINE keeps from fetching it"
    for more, line in (({}, away), ({"HF_HUB_OFFLINE": "1"}, offline)):
        (outcome,) = run(tmp_path, "http://127.0.0.1:9", "hf:me/chat", **more)
        assert (outcome["error"], outcome["exit"]) == (line, 69)
