"""The examples of the pages run, as the shell lines that they are."""

from __future__ import annotations

import ast
import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from bptools._dev.demo.chats import raw_lines
from bptools._dev.docs import TEXTS
from bptools._dev.markup import Listing, Literal, parse
from bptools.core.pages import FOLDER
from tests.golden import ROOT, environment

# what cannot run here, by a piece of the line, and why
NOT_RUN = {"hf:": "reads a data set of the hub"}
# what runs up to its options here, with --show-config, and why
OPTIONS_ONLY = {
    "bp-generate": "names models of the hub, or adapters that a run has made",
    "bp-ppl --adapter": "names an adapter that a run has made",
    "bp-ppl --model": "names a model of the hub",
}

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
SHAREGPT = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
PAIR = {
    "prompt": [{"role": "user", "content": "Hi"}],
    "chosen": [{"role": "assistant", "content": "Hello."}],
    "rejected": [{"role": "assistant", "content": "No."}],
}
CUTOFFS = {
    "format": "bptools-cutoffs",
    "metric": "ppl",
    "scorer": None,
    "by": None,
    "all": None,
    "groups": {},
}
ALPACA = {"instruction": "Add.", "input": "1, 2", "output": "3"}


def texts() -> list[Path]:
    return sorted([*Path(FOLDER).glob("*.txt"), *TEXTS.glob("*.txt")])


def literal(page: Path, title: str) -> list[str]:
    """Return the literal lines of a section."""
    blocks = parse(page.read_text(encoding="utf-8"), page.name).get(title, [])
    return [line for block in blocks if isinstance(block, Literal) for line in block.lines]


def examples() -> list[tuple[str, str]]:
    return [(page.name, line) for page in texts() for line in literal(page, "EXAMPLES")]


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def write_inputs(folder: Path) -> None:
    """Make the files that the examples name, and what an example before would have made."""
    (folder / "raw.jsonl").write_text(lines(SHAREGPT, ALPACA, CHAT))
    (folder / "mixed.jsonl").write_text(lines(ALPACA, SHAREGPT, CHAT))
    (folder / "clean.jsonl").write_text(lines(CHAT, CHAT))
    (folder / "chat.jsonl").write_text(lines(CHAT, CHAT, CHAT))
    (folder / "code.jsonl").write_text(lines(CHAT))
    (folder / "eval.jsonl").write_text(lines(SHAREGPT))
    (folder / "new.jsonl").write_text(lines(CHAT))
    (folder / "cutoffs.json").write_text(json.dumps(CUTOFFS))
    (folder / "scored.jsonl").write_text(lines({**CHAT, "source": "dolly", "score": 0.7}))
    (folder / "raw.csv").write_text('query,reply\n"Say\nhi",Hi\n')
    (folder / "more.json.gz").write_bytes(gzip.compress(json.dumps([CHAT, ALPACA]).encode()))
    (folder / "bad.jsonl").write_text(
        lines({"file": "a", "line": 1, "reason": "r", "detail": "", "raw": "{"})
    )
    (folder / "axolotl.yaml").write_text("base_model: Qwen/Qwen2.5-0.5B-Instruct\nadapter: lora\nlora_r: 8\n")
    (folder / "pairs.jsonl").write_text(lines(PAIR, PAIR))
    for name, text in {"chats/one.jsonl": lines(CHAT), "docs/page.md": "# Title\n\nSome words.\n"}.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", line], cwd=folder, env=environment(str(folder)), capture_output=True
    )


@pytest.mark.parametrize(("page", "line"), examples())
def test_example_runs(page: str, line: str, tmp_path: Path) -> None:
    parsed = subprocess.run(["bash", "-n", "-c", line], capture_output=True)
    assert (parsed.returncode, parsed.stderr) == (0, b"")
    for piece, why in NOT_RUN.items():
        if piece in line:
            pytest.skip(why)
    write_inputs(tmp_path)
    for name in OPTIONS_ONLY:
        if name in line:
            line = re.findall(rf"{name}(?:'[^']*'|[^|>'])*", line)[0] + " --show-config"
    done = shell(line, tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout or ">" in line or " -o " in line or " --out-dir " in line or "doctor" in line


def test_every_reason_not_to_run_is_needed() -> None:
    for piece in (*NOT_RUN, *OPTIONS_ONLY):
        assert any(piece in line for _, line in examples())


# what bptools(7) shows outside EXAMPLES

TUTORIAL = TEXTS / "bptools.7.txt"


@pytest.mark.slow
def test_the_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_bytes(b"".join(raw_lines(250, 1)))
    shown = literal(TUTORIAL, "TUTORIAL")
    assert [line.split()[0] for line in shown if line.startswith("bp")] == [
        "bp-detect", "bp-chatml", "bp-dedup", "bp-ppl", "bp-filter", "bp-train", "bp-train", "bp-generate", "bptools",
        "bptools",
    ]  # fmt: skip
    # a training of some steps shows as much as a whole one, and takes a tenth
    (tmp_path / "bptools.toml").write_text("[bp-train]\nsteps = 8\n")
    done = shell("\n".join(shown), tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    for made in ("rejects.jsonl", "copies.jsonl", "odd.jsonl", "bot/report.html", "nightly/answers.jsonl"):
        assert (tmp_path / made).stat().st_size, made


def recipe() -> str:
    """Return the Makefile of the page; make takes a line for a recipe only when it begins with a tab."""
    shown = literal(TUTORIAL, "PIPES, MAKE AND CRON")
    return "\n".join(shown[: next(n for n, line in enumerate(shown) if "* * *" in line)]) + "\n"


def test_make_recipe_makes_its_target_and_leaves_none_when_a_stage_fails(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    (tmp_path / "clean.jsonl").unlink()
    (tmp_path / "Makefile").write_text(recipe())
    done = shell("make -s clean.jsonl", tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "clean.jsonl").read_bytes().count(b"\n") == 3

    (tmp_path / "clean.jsonl").unlink()
    (tmp_path / "raw.jsonl").write_text("no record\n" * 9)
    assert shell("make -s clean.jsonl", tmp_path).returncode != 0
    assert not (tmp_path / "clean.jsonl").exists()


def test_cron_line_works_once_its_folder_is_there(tmp_path: Path) -> None:
    (line,) = [line for line in literal(TUTORIAL, "PIPES, MAKE AND CRON") if "* * *" in line]
    (tmp_path / "bot" / "new").mkdir(parents=True)
    (tmp_path / "bot" / "new" / "today.jsonl").write_text(lines(CHAT))
    done = shell(line.split("* ")[3], tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "bot" / "clean.jsonl").read_text() == lines(CHAT)


def test_configuration_of_the_page_is_read(tmp_path: Path) -> None:
    shown = literal(TUTORIAL, "CONFIGURATION")
    start = shown.index("[bp-chatml]")
    (tmp_path / "bptools.toml").write_text("\n".join(shown[start:]) + "\n")
    done = shell("bp-chatml --show-config", tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    for line in shown[start + 1 :]:
        assert f"{line}  # bptools.toml" in done.stdout.decode()


def test_order_of_configuration_is_the_one_of_the_page(tmp_path: Path) -> None:
    def chosen(*, flag: bool = False, variable: bool = False) -> str:
        line = "bp-chatml -c a.toml -c b.yaml --show-config" + (" --eos flag" if flag else "")
        done = shell(("BP_EOS=variable " if variable else "") + line, tmp_path)
        (found,) = [row for row in done.stdout.decode().split("\n") if row.startswith("eos = ")]
        return found.split('"')[1]

    files = {".config/bptools/config.toml": '[bp-chatml]\neos = "user"\n', "bptools.toml": '[bp-chatml]\neos = "project"\n',
             "a.toml": 'eos = "a"\n', "b.yaml": "bp-chatml:\n  eos: b\n", ".env": "BP_EOS=dotenv\n"}  # fmt: skip
    for name in ("a.toml", "b.yaml"):
        (tmp_path / name).write_text("")
    seen = [chosen()]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        seen.append(chosen())
    seen += [chosen(variable=True), chosen(variable=True, flag=True)]
    assert seen == ["", "user", "project", "a", "b", "dotenv", "variable", "flag"]


# what the pages list is what the code has


def test_exit_statuses_of_the_pages_are_ours() -> None:
    from bptools.core.errors import Exit

    ours = {str(value) for name, value in vars(Exit).items() if name.isupper()} | {"129"}
    for page in texts():
        section = parse(page.read_text(encoding="utf-8"), page.name).get("EXIT STATUS", [])
        listed = {code.strip() for block in section for name, _ in block.items for code in name.split(",")}
        assert listed <= ours, page.name
        if page == TUTORIAL:
            assert listed == ours


def test_readme_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|bptools|man|bin|recipes)/[\w./-]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def reasons_in_the_code() -> set[str]:
    """Return every reason code that a Reject is made with, wherever it is made."""
    found: set[str] = set()
    for path in sorted((ROOT / "bptools").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            reason = node.args[0]
            if name not in ("Reject", "_refuse"):
                continue
            if isinstance(reason, ast.Constant) and isinstance(reason.value, str):
                found |= {reason.value} - {""}
            elif isinstance(reason, ast.JoinedStr) and isinstance(reason.values[0], ast.Constant):
                found |= {f"{reason.values[0].value}{archive}" for archive in ("gzip", "zstd")}
    return found


def test_reject_reasons_of_the_page_are_those_of_the_code() -> None:
    blocks = parse((Path(FOLDER) / "bp-chatml.txt").read_text(encoding="utf-8"), "bp-chatml.txt")["RECORDS"]
    (text,) = [block.text for block in blocks if "Reject reasons: " in getattr(block, "text", "")]
    listed = re.sub(r" \([^)]*\)", "", text.split("Reject reasons: ")[1].rstrip(".")).split(", ")
    assert len(listed) == len(set(listed))
    assert set(listed) == reasons_in_the_code()


# the fields that bptools-jsonl(5) lists are those that are written


def listed_names(page: str, title: str) -> set[str]:
    blocks = parse((TEXTS / page).read_text(encoding="utf-8"), page)[title]
    items = [name for block in blocks if isinstance(block, Listing) for name, _ in block.items]
    return {name.strip() for item in items for name in item.split(",")}


def test_rejects_reports_and_manifests_have_the_fields_of_their_page(tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_bytes(lines(CHAT).encode() + b'{"a":"\xff"}\n')
    line = "bp-chatml raw.jsonl -o out.jsonl --rejects bad.jsonl --report report.json --max-rejects 1"
    done = shell(line, tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    written = {
        name: json.loads((tmp_path / name).read_text())
        for name in ("bad.jsonl", "report.json", "out.jsonl.manifest.json")
    }
    assert set(written["bad.jsonl"]) | {"offset"} == listed_names("bptools-jsonl.5.txt", "KEPT REJECTS")
    assert set(written["report.json"]) == listed_names("bptools-jsonl.5.txt", "REPORTS")
    manifest = written["out.jsonl.manifest.json"]
    assert set(manifest) == listed_names("bptools-jsonl.5.txt", "MANIFESTS")
    assert set(manifest["counts"]) == set(written["report.json"]) - {"command", "version"}
