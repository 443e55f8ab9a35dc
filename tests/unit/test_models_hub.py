"""Models of a hub on loopback, with the real huggingface_hub: what is fetched, resumed, kept and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.contract.commands import run
from tests.golden import ROOT, environment
from tests.tiny import shared_model
from tests.unit.loopback_hub import LoopbackHub

NAME = "Qwen/Qwen2.5-0.5B-Instruct"  # a preset's, so that the preset can be named

# a process of its own: huggingface_hub reads its environment when it is imported
PROGRAM = """
import json, os, sys
from bptools.core.errors import BpError
from bptools.models import fetch, resolve, resolved_revision
try:
    model = resolve(sys.argv[1], sys.argv[3] or None)
    folder = fetch(model, sys.argv[2], code="TRUSTED" in os.environ)
    print(json.dumps([resolved_revision(model), sorted(os.listdir(folder)), folder]))
except BpError as error:
    print(json.dumps([error.exit_code, str(error)]))
"""


def ask(
    url: str, home: Path, name: str = NAME, what: str = "all", revision: str = "", **more: str
) -> tuple[list, str]:
    """Return (what the program printed, its stderr)."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), name, what, revision],
        capture_output=True,
        text=True,
        cwd=home,
        timeout=60,
        env={
            **environment(str(home)), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": url, "PYTHONPATH": str(ROOT),
            "HF_HUB_ETAG_TIMEOUT": "3", "HF_HUB_DOWNLOAD_TIMEOUT": "20", **more,
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def repository() -> dict[str, bytes]:
    """Return a model with everything that a repository holds beside."""
    folder = Path(shared_model())
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {
        **files,
        "pytorch_model.bin": b"\x80pickle",
        "modeling_evil.py": b"raise SystemExit",
        "onnx/model.onnx": b"x",
        "original/model.safetensors": b"x",
        "README.md": b"# A model",
    }


def test_a_preset_is_fetched_without_pickles_and_code_and_kept(tmp_path: Path) -> None:
    with LoopbackHub({NAME: repository()}) as hub:
        (commit, files, folder), stderr = ask(hub.url, tmp_path, "qwen0.5b")
        assert commit == hub.commit(NAME)
        assert stderr == ""
        assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= set(files)
        assert not {name for name in files if name.endswith((".bin", ".py", ".md"))} | {
            "onnx",
            "original",
        } & set(files)
        assert (
            Path(folder, "model.safetensors").read_bytes()
            == Path(shared_model(), "model.safetensors").read_bytes()
        )
        before = len(
            [line for line in hub.requests if "model.safetensors" in line and line.startswith("GET")]
        )
        again, _ = ask(hub.url, tmp_path, "qwen0.5b")
        assert again == [commit, files, folder]
        assert (
            len([line for line in hub.requests if "model.safetensors" in line and line.startswith("GET")])
            == before
        )
        trusted, _ = ask(hub.url, tmp_path, "qwen0.5b", TRUSTED="1")
        assert set(trusted[1]) - set(files) == {"modeling_evil.py"}
    files = trusted[1]  # the folder is the same
    gone, _ = ask(hub.url, tmp_path, "qwen0.5b")  # the hub is down, the cache is not
    assert gone == [commit, files, folder]
    offline, _ = ask(hub.url, tmp_path, "qwen0.5b", HF_HUB_OFFLINE="1")
    assert offline == [commit, files, folder]


def test_the_tokenizer_alone_is_small(tmp_path: Path) -> None:
    with LoopbackHub({NAME: repository()}) as hub:
        (_, files, _), _ = ask(hub.url, tmp_path, what="tokenizer")
        assert "tokenizer.json" in files
        assert "model.safetensors" not in files
        (_, files, _), _ = ask(hub.url, tmp_path, what="config")
        assert not any("GET" in line and "model.safetensors" in line for line in hub.requests)
        (_, files, _), _ = ask(hub.url, tmp_path, what="all")
        assert "model.safetensors" in files


def test_a_download_that_was_cut_goes_on_where_it_stopped(tmp_path: Path) -> None:
    files = repository()
    big = os.urandom(21 << 20)  # huggingface_hub writes 10 MiB at a time
    files["model-2.safetensors"] = big
    with LoopbackHub({NAME: files}) as hub:
        hub.cut = {"model-2.safetensors": 15 << 20}
        answer, stderr = ask(hub.url, tmp_path)
        assert stderr == ""
        assert Path(answer[2], "model-2.safetensors").read_bytes() == big
        asked = [first for path, first in hub.ranges if path == "model-2.safetensors"]
        assert asked[0] == 0
        assert asked[-1] >= 10 << 20


def test_a_download_that_never_came_to_its_end_is_69_and_the_next_run_ends_it(tmp_path: Path) -> None:
    with LoopbackHub({NAME: repository()}) as hub:
        hub.cut = {"model.safetensors": 1000}
        (code, message), stderr = ask(hub.url, tmp_path)
        assert (code, stderr) == (69, "")
        assert message.startswith(f"cannot reach {hub.url} for '{NAME}'")
        offline, _ = ask(hub.url, tmp_path, HF_HUB_OFFLINE="1")
        assert offline[0] == 69
        hub.cut = {}
        assert "model.safetensors" in ask(hub.url, tmp_path)[0][1]


def test_a_revision_is_resolved_to_its_commit(tmp_path: Path) -> None:
    with LoopbackHub({NAME: repository()}) as hub:
        commit = hub.commit(NAME)
        assert ask(hub.url, tmp_path, revision="main")[0][0] == commit
        assert ask(hub.url, tmp_path, revision=commit)[0][0] == commit
        code, message = ask(hub.url, tmp_path, revision="v9")[0]
        assert (code, message) == (66, f"'{NAME}' has no revision 'v9'")


def test_each_failure_has_a_line_of_its_own(tmp_path: Path) -> None:
    pickled = {"config.json": b"{}", "pytorch_model.bin": b"x"}
    with LoopbackHub(
        {NAME: repository(), "me/gated": repository(), "me/old": pickled}, gated=("me/gated",)
    ) as hub:
        code, message = ask(hub.url, tmp_path, "me/nothing")[0]
        assert (code, message) == (
            66,
            "'me/nothing' is not on the hub, or private; check the name, or set HF_TOKEN",
        )
        code, message = ask(hub.url, tmp_path, "me/gated")[0]
        assert (code, message) == (66, "'me/gated' is gated; accept its terms on the hub and set HF_TOKEN")
        code, message = ask(hub.url, tmp_path, "me/old")[0]
        assert code == 66
        assert "has no safetensors" in message
    code, message = ask("http://127.0.0.1:9", tmp_path, "qwen0.5b")[0]
    assert code == 69
    assert message.startswith(f"cannot reach http://127.0.0.1:9 for 'qwen0.5b' ({NAME})")
    code, message = ask("http://127.0.0.1:9", tmp_path, "qwen0.5b", HF_HUB_OFFLINE="1")[0]
    assert (code, message) == (
        69,
        "'qwen0.5b' is not in the cache, and HF_HUB_OFFLINE keeps from fetching it",
    )


def test_tokens_are_counted_with_the_tokenizer_of_a_model(tmp_path: Path) -> None:
    """By bp-filter, with nano, a folder and a model of the hub alike; a hub that is away is no missing model."""
    text = "The ferry leaves at six, and nobody knows why it does so. " * 20
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}) + "\n")

    def count(tokenizer: str, **more: str) -> tuple[int, str]:
        done = run(
            "bp-filter", "--tokenizer", tokenizer, "--stats", "--max-tokens", "9999", "a.jsonl",
            cwd=tmp_path, env={"HF_HUB_OFFLINE": "0", "HF_HUB_ETAG_TIMEOUT": "3", **more},
        )  # fmt: skip
        return done.code, (done.stdout if done.code == 0 else done.stderr).decode()

    expected = count("nano")
    assert expected[0] == 0
    with LoopbackHub({NAME: repository(), "me/slow": {"config.json": b"{}"}}) as hub:
        assert count(NAME, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "cache"))[0] == 0
        assert not any("safetensors" in line for line in hub.requests if "GET" in line and "resolve" in line)
        code, said = count("me/slow", HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "cache"))
        assert (code, said) == (66, "bp-filter: 'me/slow' has no tokenizer.json; name a model that has one\n")
        code, said = count("me/nothing", HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "cache"))
        assert (code, said.count("\n"), "is not on the hub, or private" in said) == (66, 1, True)
    code, said = count("me/other", HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "cache"))
    assert (code, said.count("\n")) == (69, 1)
    assert said.startswith("bp-filter: cannot reach http://127.0.0.1:9 for 'me/other'")
    for missing in ("./gone", "gone.json", "me/tokenizer.json"):
        code, said = count(missing)
        assert (code, said) == (
            66,
            f"bp-filter: {missing}: no tokenizer.json there; name the file, its folder, or a model\n",
        )
