"""bp-generate as a whole, on the tiny model: what goes in, what comes out, and the outcome of --score."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bptools.commands.generate import app
from bptools.core.cli import call
from bptools.core.errors import DataError
from bptools.models.generating import Generator
from bptools.models.loading import load_model, load_tokenizer
from bptools.models.rendering import Renderer
from bptools.models.templates import resolve_template
from tests.golden import ROOT, environment
from tests.tiny import shared_model

CHAT = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one two three"},
        {"role": "assistant", "content": "four"},
    ],
    "id": 7,
    "bp": {"tokens": 3},
}


def lines(*records: object) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def generate(
    folder: Path, text: str, *options: str, code: int = 0, model: bool = True
) -> list[dict[str, Any]]:
    """Run the command over a file and return the records that came out."""
    source, out = folder / "in", folder / "out.jsonl"
    source.write_text(text)
    named = ["--model", shared_model()] if model else []
    fixed = ["--max-new-tokens", "12", "--device", "cpu"]
    assert call(app, "bp-generate", [str(source), "-o", str(out), *named, *fixed, *options]) == code
    if not out.exists():
        return []
    found = [json.loads(line) for line in out.read_text().splitlines()]
    out.unlink()
    return found


def answers(prompts: list[Any], **settings: Any) -> list[list[str]]:
    """Return what the Python API answers."""
    tokenizer = load_tokenizer(shared_model())
    model = load_model(shared_model(), device="cpu", dtype="float32")
    generator = Generator(model, tokenizer, Renderer(tokenizer, resolve_template(tokenizer)), "cpu")
    return generator.complete(prompts, max_new_tokens=12, **settings)


def test_a_chat_gets_its_last_answer_anew_and_keeps_the_rest(tmp_path: Path) -> None:
    (record,) = generate(tmp_path, lines(CHAT))
    ((expected,),) = answers([CHAT["messages"][:2]])
    assert record == {
        **CHAT,
        "messages": [*CHAT["messages"][:2], {"role": "assistant", "content": expected}],
    }


def test_every_format_is_a_prompt(tmp_path: Path) -> None:
    asked = "one two three"
    user, answer = {"role": "user", "content": asked}, {"role": "assistant", "content": "four"}
    records = [
        {"messages": [user]},
        {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": "four"}]},
        {"prompt": [user], "chosen": [answer], "rejected": [{**answer, "content": "five"}]},
        {"prompt": [user], "completion": [answer], "label": True},
        {"text": asked},
    ]
    found = generate(tmp_path, lines(*records), "--score", "exact")
    assert [record["messages"][0] for record in found] == [user] * 5
    assert len({record["messages"][1]["content"] for record in found}) == 1
    assert [set(record) for record in found] == [{"messages", "bp"}] * 5
    assert [record["bp"]["match"] for record in found] == [None, False, False, False, None]


def test_lines_of_text_are_turns_of_users(tmp_path: Path) -> None:
    found = generate(tmp_path, "What is it?\n\nHello, you\n")
    assert [record["messages"][0]["content"] for record in found] == ["What is it?", "Hello, you"]
    whole = generate(tmp_path, "What is it?\n\nHello, you\n", "--split-on", "file")
    assert [record["messages"][0]["content"] for record in whole] == ["What is it?\n\nHello, you\n"]


def test_without_a_template_a_text_is_continued(tmp_path: Path) -> None:
    ((expected,),) = answers(["one two"], raw=True)
    (record, ) = generate(tmp_path, lines({"text": "one two", "id": 1}), "--no-template")  # fmt: skip
    assert record == {
        "text": "one two" + expected,
        "id": 1,
        "bp": {"completions": [{"model": Path(shared_model()).name, "text": expected}]},
    }
    assert generate(tmp_path, lines(CHAT), "--no-template") == []


def test_order_and_bytes_do_not_depend_on_batches_or_windows(tmp_path: Path) -> None:
    text = "".join(f"{'word ' * (number * 7 % 23)}{number}\n" for number in range(40))
    whole = generate(tmp_path, text, "--temperature", "1", "--seed", "5")
    for options in (["--batch-size", "1"], ["--batch-size", "3"], ["--line-buffered"]):
        assert generate(tmp_path, text, "--temperature", "1", "--seed", "5", *options) == whole
    assert [record["messages"][0]["content"].split()[-1] for record in whole] == [str(n) for n in range(40)]
    assert generate(tmp_path, text, "--temperature", "1", "--seed", "5", "--limit", "5") == whole[:5]
    assert generate(tmp_path, text, "--temperature", "1", "--seed", "6") != whole


def test_samples_and_several_models_are_all_kept(tmp_path: Path) -> None:
    label = Path(shared_model()).name
    options = ("--temperature", "1", "--samples", "2", "--model", shared_model("llama"))
    (record,) = generate(tmp_path, lines(CHAT), *options)
    completions = record["bp"]["completions"]
    other = Path(shared_model("llama")).name
    assert [entry["model"] for entry in completions] == [label, label, other, other]
    assert len({entry["text"] for entry in completions}) == 4
    assert record["messages"][-1]["content"] == completions[0]["text"]
    assert record["bp"]["tokens"] == 3
    assert [[entry["text"] for entry in completions[:2]]] == answers(
        [CHAT["messages"][:2]], temperature=1.0, samples=2
    )


def test_a_system_prompt_takes_the_place_of_one(tmp_path: Path) -> None:
    bare = {"messages": CHAT["messages"][1:]}
    for record in generate(tmp_path, lines(CHAT, bare), "--system", "Shout."):
        assert [turn["role"] for turn in record["messages"]] == ["system", "user", "assistant"]
        assert record["messages"][0]["content"] == "Shout."


def test_what_cannot_be_asked_is_dropped_with_its_reason(tmp_path: Path) -> None:
    records = [
        {"messages": [CHAT["messages"][2]]},
        {"messages": [{"role": "user", "content": "one " * 4000}]},
        CHAT,
    ]
    dropped = tmp_path / "dropped.jsonl"
    assert len(generate(tmp_path, lines(*records), "--dropped", str(dropped))) == 1
    reasons = [json.loads(line)["bp"]["drop"][0] for line in dropped.read_text().splitlines()]
    assert [reason["reason"] for reason in reasons] == ["no-prompt", "too-long"]
    assert reasons[1]["limit"] == 2048
    tagged = generate(tmp_path, lines(*records), "--tag")
    assert ["drop" in record.get("bp", {}) for record in tagged] == [True, True, False]
    tool = {"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]}
    generate(tmp_path, lines(tool), "--chat-template", "gemma", "--dropped", str(dropped))
    assert json.loads(dropped.read_text())["bp"]["drop"][0]["reason"] == "template"


def test_the_share_that_matches_is_said_checked_and_reported(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ((answer,),) = answers([CHAT["messages"][:2]])
    right = {"messages": [*CHAT["messages"][:2], {"role": "assistant", "content": answer}]}
    report = tmp_path / "report.json"
    options = ("--score", "exact", "--report", str(report))
    found = generate(tmp_path, lines(right, CHAT, right), *options, "--check", "match>=.6")
    assert [record["bp"]["match"] for record in found] == [True, False, True]
    label = Path(shared_model()).name
    said = capfd.readouterr().err.splitlines()
    assert said == [
        f"bp-generate: {label}: match 2/3 (66.7 %)",
        "bp-generate: 3 in, 3 out, 0 dropped, 0 rejected",
    ]
    assert json.loads(report.read_text())["match"] == {label: [2, 3]}
    assert len(generate(tmp_path, lines(right, CHAT), *options, "--check", "match>.5", code=1)) == 2
    assert capfd.readouterr().err.splitlines()[-1] == "bp-generate: match is 0.5, not match>0.5"
    nothing = lines({"messages": CHAT["messages"][:2]})
    generate(tmp_path, nothing, *options, "--check", "match>.5", code=65)
    assert "no record has an answer to compare with" in capfd.readouterr().err


def test_a_record_draws_the_same_whatever_is_left_out_before_it(tmp_path: Path) -> None:
    text = "".join(f"word {number}\n" for number in range(6))
    options = ("--temperature", "1", "--seed", "5")
    whole = generate(tmp_path, text, *options)
    assert generate(tmp_path, text, *options, "--skip", "2") == whole[2:]
    assert generate(tmp_path, text, *options, "--slice", "3:5") == whole[3:5]
    refused = generate(
        tmp_path, lines(*whole[:1]) + "{\n" + lines(*whole[1:]), *options, "--max-rejects", "1"
    )
    assert refused == whole


def test_half_a_surrogate_pair_is_a_reject_and_the_others_are_answered(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    half = "lone \ud800 x"
    user = {"role": "user", "content": "one two"}
    records = [
        {"messages": [{"role": "user", "content": half}]},
        {"messages": [user]},
        {"text": half},
        {"messages": [user, {"role": "assistant", "content": half}]},
        {"messages": [user], "id": "\ud800"},
        {"messages": [user], "tools": [{"type": "function", "function": {"name": half}}]},
    ]
    rejected = f"bp-generate: {tmp_path}/in:%d: bad-unicode: a lone surrogate cannot be written as UTF-8"
    found = generate(tmp_path, lines(*records), "--score", "contains", "--max-rejects", "4")
    assert [record["bp"]["match"] for record in found] == [None, False]
    said = capfd.readouterr().err.splitlines()
    assert said[:4] == [rejected % line for line in (1, 3, 5, 6)]
    raw = generate(tmp_path, lines({"text": half}, {"text": "one"}), "--no-template", "--max-rejects", "1")
    assert [record["text"][:3] for record in raw] == ["one"]
    assert capfd.readouterr().err.splitlines()[0] == rejected % 1
    generate(tmp_path, lines(records[0]), code=65)
    odd = os.fsdecode(b"a\xffb")
    (record,) = generate(
        tmp_path, "one\n", "--system", odd, "--stop", odd, "--template-kwargs", f"name={odd}"
    )
    assert record["messages"][0] == {"role": "system", "content": "a?b"}
    assert answers([half], raw=True) == answers(["lone ? x"], raw=True)


def test_short_names_of_number_formats_are_the_long_ones(tmp_path: Path) -> None:
    whole = generate(tmp_path, "one two\n", "--dtype", "bfloat16")
    assert generate(tmp_path, "one two\n", "--dtype", "bf16") == whole


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--stop="], 2, "--stop asks for a text"),
        (["--stop", "x", "--stop", ""], 2, "--stop asks for a text"),
        (["--model", "qwen3bb"], 66, "did you mean 'qwen3b'?"),
        (["--adapter", "nowhere"], 66, "'nowhere' is no adapter"),
        (["--check", "match>=.7"], 2, "give --score too"),
        (["--check", "best", "--score", "exact"], 2, "is not match>=SHARE"),
        (["--no-template", "--system", "x"], 2, "--system has no place"),
        (["--model", "a/b", "--model", "c/d", "--adapter", "x"], 2, "--adapter goes with one --model"),
        (["--model", "a/b", "--model", "c/d", "--revision", "x"], 2, "--revision goes with one --model"),
        (["--template-kwargs", "x", "--model", "a/b"], 2, "--template-kwargs 'x' is not NAME=VALUE"),
    ],
)
def test_wrong_options_end_before_anything_is_loaded(
    options: list[str], code: int, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    start = time.perf_counter()
    generate(tmp_path, "x\n", *options, code=code, model=False)
    assert said in capfd.readouterr().err
    assert time.perf_counter() - start < 2


def test_a_device_that_is_not_there_is_69(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is one")
    generate(tmp_path, "x\n", "--device", "cuda", code=69)
    assert "no cuda device on this machine; it has cpu" in capfd.readouterr().err


def visible(text: str) -> str:
    """Return an answer as a terminal shows it: no character may steer it."""
    return "".join(char if char in "\n\t" or char.isprintable() else f"\\x{ord(char):02x}" for char in text)


class Terminal:
    """bp-generate on a pseudo-terminal."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "bin" / "bp-generate"), "--model", shared_model(), "--device", "cpu", *options],
            stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
            env={**environment(str(folder)), "TERM": "dumb", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def until(self, pattern: str, seconds: float = 60) -> str:
        """Read until the pattern is shown, and return what was shown since the last time."""
        new = ""
        end = time.monotonic() + seconds
        while not re.search(pattern, new):
            assert time.monotonic() < end, (pattern, new)
            if select.select([self._ours], [], [], 1)[0]:
                new += os.read(self._ours, 65536).decode(errors="replace").replace("\r\n", "\n")
        self.shown += new
        return new

    def say(self, text: str) -> None:
        os.write(self._ours, text.encode())


@pytest.mark.slow
def test_on_a_terminal_it_holds_a_conversation(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--max-new-tokens", "12", "--temperature", "1")
    terminal.until("> $")
    first = [{"role": "user", "content": "one two"}]
    ((expected,),) = answers([first], temperature=1.0)
    terminal.say("one two\n")
    shown = terminal.until("\n> $").removeprefix("one two\n").removesuffix("\n> ")
    plain = visible(expected)
    assert shown.strip() == plain.strip()
    history = [*first, {"role": "assistant", "content": expected}, {"role": "user", "content": "three"}]
    ((second,),) = answers([history], temperature=1.0, seed=1)
    terminal.say("three\n")
    shown = terminal.until("\n> $").removeprefix("three\n").removesuffix("\n> ")
    plain = visible(second)
    assert shown.strip() == plain.strip()
    terminal.say("\x04")
    assert terminal.process.wait(30) == 0


@pytest.mark.slow
def test_ctrl_c_stops_an_answer_and_then_the_conversation(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "--max-new-tokens", "100000", "--temperature", "1")
    terminal.until("> $")
    terminal.say("one two\n")
    terminal.until("one two\n(.|\n){40}")
    os.killpg(terminal.process.pid, 2)
    terminal.until("\n> $")
    assert terminal.process.poll() is None
    time.sleep(1)  # readline misses a signal that comes between its prompt and its wait
    os.killpg(terminal.process.pid, 2)
    assert terminal.process.wait(30) == 130


def test_a_check_of_records_that_were_all_dropped_has_no_answer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lone = lines({"messages": [{"role": "assistant", "content": "four"}]})
    found = generate(tmp_path, lone, "--score", "exact", "--check", "match>.5", "--tag", code=65)
    assert len(found) == 1
    assert "no record has an answer to compare with" in capfd.readouterr().err


def test_a_conversation_forgets_its_oldest_turns_when_the_context_is_full() -> None:
    from bptools.models.conversing import _fitting

    class Words:
        context = 40

        def encode(self, messages: list[dict[str, str]]) -> list[int]:
            return [1] * sum(len(message["content"].split()) for message in messages)

    def turn(role: str, words: int) -> dict[str, str]:
        return {"role": role, "content": "word " * words}

    system, question = turn("system", 5), turn("user", 10)
    old = [turn("user", 10), turn("assistant", 10)]
    assert _fitting(Words(), [system, question], 1, 512) == [system, question]
    assert _fitting(Words(), [system, *old, question], 1, 5) == [system, *old, question]
    assert _fitting(Words(), [system, *old, question], 1, 512) == [system, question], "no room for an answer"
    assert _fitting(Words(), [turn("user", 39)], 0, 512) == [turn("user", 39)]
    with pytest.raises(DataError, match="45 tokens are more than the model's context of 40"):
        _fitting(Words(), [system, *old, turn("user", 40)], 1, 512)
