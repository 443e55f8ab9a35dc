"""Rows: what is learnt of each record, what happens to long ones, and that everything is counted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bptools.core.errors import DataError, OutputError, UsageError
from bptools.core.messages import Messages
from bptools.training.rows import IGNORED, RowMaker
from bptools.training.run_directory import sha256_of
from bptools.training.settings import Settings
from tests.tiny import shared_model
from tests.training_runs import Run, write_records

pytest.importorskip("transformers")


class Told(Messages):
    """Keeps what is said."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)

    warn = info


def turn(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


@pytest.fixture(scope="module")
def renderer() -> Any:
    from bptools.models import Renderer, load_tokenizer, resolve_template

    tokenizer = load_tokenizer(shared_model())
    return Renderer(tokenizer, resolve_template(tokenizer))


def learnt(renderer: Any, row: dict[str, Any]) -> list[str]:
    """Return the runs of tokens that are learnt, decoded."""
    runs: list[list[int]] = []
    before = IGNORED
    for label in row["labels"]:
        if label != IGNORED:
            if before == IGNORED:
                runs.append([])
            runs[-1].append(label)
        before = label
    return [renderer.tokenizer.decode(run) for run in runs]


CHAT = [turn("system", "Be kind."), turn("user", "One?"), turn("assistant", "One."), turn("user", "Two?"),
        turn("assistant", "Two.")]  # fmt: skip


def test_every_assistant_turn_and_its_end_is_learnt_and_nothing_else(renderer: Any) -> None:
    maker = RowMaker(Settings(method="sft", max_length=200), renderer)
    (row,) = maker.rows([{"messages": CHAT}])
    assert learnt(renderer, row) == ["One.<|im_end|>", "Two.<|im_end|>"]
    (row,) = maker.rows([{"messages": [*CHAT[:2], turn("assistant", "One.", weight=0), *CHAT[3:]]}])
    assert learnt(renderer, row) == ["Two.<|im_end|>"]
    maker = RowMaker(Settings(method="sft", max_length=200, loss_on="all"), renderer)
    (row,) = maker.rows([{"messages": CHAT}])
    assert row["labels"] == row["input_ids"]


def test_records_without_a_learnt_token_are_left_out_and_named(renderer: Any) -> None:
    maker = RowMaker(Settings(method="sft", max_length=200), renderer)
    rows = list(maker.rows([{"messages": CHAT[:2]}, {"messages": CHAT}, {"messages": CHAT[:4][:2]}]))
    assert len(rows) == 1
    assert (maker.counts.records, maker.counts.untrained, maker.counts.untrained_at) == (3, 2, [0, 2])


@pytest.mark.parametrize(("long", "rows", "field"), [("drop", 0, "too_long"), ("truncate", 1, "truncated"),
                                                       ("split", 3, "split")])  # fmt: skip
def test_long_records(renderer: Any, long: str, rows: int, field: str) -> None:
    text = "the quick brown fox jumps over the lazy dog " * 4
    whole = renderer.encode_text(text, add_eos=True)
    most = -(-len(whole) // 3)
    maker = RowMaker(Settings(method="cpt", max_length=most, long=long), renderer)
    made = list(maker.rows([{"text": text}]))
    assert len(made) == rows
    assert getattr(maker.counts, field) == 1
    if long == "split":
        assert [token for row in made for token in row["input_ids"]] == whole
    if long == "truncate":
        assert made[0]["input_ids"] == whole[:most]
    assert maker.counts.tokens == sum(len(row["input_ids"]) for row in made)


def test_text_ends_in_eos_and_is_learnt_whole(renderer: Any) -> None:
    maker = RowMaker(Settings(method="cpt", max_length=200), renderer)
    (row,) = maker.rows([{"text": "the quick brown fox"}])
    assert row["input_ids"][-1] == renderer.tokenizer.eos_token_id
    assert row["labels"] == row["input_ids"]


def test_preferences_are_tokenized_as_trl_does(renderer: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    renderer.tokenizer.chat_template = renderer.template.text
    records = [json.loads(line) for line in open(write_records(tmp_path / "p.jsonl", "preference", 20))]  # noqa: SIM115
    maker = RowMaker(Settings(method="dpo", max_length=500, long="drop"), renderer)
    ours = list(maker.rows(records))
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(shared_model()),
        args=DPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to="none", max_length=500),
        train_dataset=Dataset.from_list(
            [{name: r[name] for name in ("prompt", "chosen", "rejected")} for r in records]
        ),
        processing_class=renderer.tokenizer,
    )
    theirs = trainer.train_dataset
    for row, other in zip(ours, theirs):
        assert row == {name: other[name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")}


def test_long_answers_are_cut_and_long_prompts_left_out(renderer: Any) -> None:
    record = {"prompt": [turn("user", "one two three")], "chosen": [turn("assistant", "four " * 50)],
              "rejected": [turn("assistant", "five")]}  # fmt: skip
    maker = RowMaker(Settings(method="dpo", max_length=30, long="truncate"), renderer)
    (row,) = maker.rows([record])
    assert len(row["prompt_ids"]) + len(row["chosen_ids"]) == 30
    assert maker.counts.truncated == 1
    maker = RowMaker(Settings(method="dpo", max_length=8, long="truncate"), renderer)
    assert list(maker.rows([record])) == []
    assert maker.counts.too_long == 1


def test_nothing_left_says_why(tmp_path: Path) -> None:
    source = write_records(tmp_path / "chats.jsonl", "chat", 8)
    run = Run(source, tmp_path / "runs", model=shared_model(), max_length=8, eval_split="0")
    with pytest.raises(DataError, match=r"none of 8 records is left .* 8 are longer than 8 tokens"):
        run.work()


def test_the_evaluation_part_never_changes_sides(tmp_path: Path) -> None:
    def held_out(count: int, seed: int) -> set[int]:
        source = write_records(tmp_path / f"{count}.jsonl", "chat", count, seed)
        run = Run(source, tmp_path / str(count), model=shared_model(), eval_split="10%")
        run.planned.run.release()
        lines = (run.path / "eval.jsonl").read_text().split("\n")[:-1]
        assert run.planned.plan["evaluation"] == len(lines)
        assert run.planned.plan["records"] + len(lines) == count
        return {json.loads(line)["id"] for line in lines}

    few, many = held_out(200, 3), held_out(400, 3)
    assert 8 <= len(few) <= 35
    assert few == {number for number in many if number < 200}


def test_a_second_set_is_evaluated_on(tmp_path: Path) -> None:
    first = write_records(tmp_path / "a.jsonl", "chat", 20)
    second = write_records(tmp_path / "b.jsonl", "chat", 7, seed=9)
    run = Run(first, tmp_path / "runs", evaluation=second, model=shared_model(), steps=1).finish()
    assert (run.planned.plan["records"], run.planned.plan["evaluation"]) == (20, 7)
    held_out = (run.path / "eval.jsonl").read_text().split("\n")
    assert [json.loads(line) for line in held_out[:-1]] == list(map(json.loads, open(second)))  # noqa: SIM115
    both = [
        {"name": name, "bytes": os.path.getsize(name), "sha256": sha256_of(name), "complete": True}
        for name in (first, second)
    ]
    assert run.manifest["inputs"] == [both[0], {**both[1], "part": "evaluation"}]
    assert run.manifest["evaluation_sha256"] == sha256_of(str(run.path / "eval.jsonl"))
    report = (run.path / "report.html").read_text()
    assert f"<td>{both[1]['sha256']}</td><td>evaluation</td>" in report


def test_a_second_set_that_changed_is_another_run(tmp_path: Path) -> None:
    first = write_records(tmp_path / "a.jsonl", "chat", 20)
    second = write_records(tmp_path / "b.jsonl", "chat", 7, seed=9)

    def planned(name: str | None = None, **more: Any) -> Run:
        run = Run(first, tmp_path / "runs", evaluation=second, name=name, model=shared_model(), **more)
        run.planned.run.release()
        return run

    before = planned().path.name
    planned("bot")
    planned("bot")  # the same: it would go on
    second = str(Path(second).rename(tmp_path / "c.jsonl"))
    assert planned().path.name == before  # the records count, not where they lie
    Path(second).write_text(Path(second).read_text().replace('"id": 3', '"id": 4'))
    assert planned().path.name != before
    with pytest.raises(OutputError, match="holds another run: other evaluation records; --fresh replaces it"):
        planned("bot")
    planned("bot", fresh=True)


@pytest.mark.parametrize("text", ["95%", "x", "-1", "-2%", "1.5", "nan", "inf"])
def test_shares_that_are_none(text: str) -> None:
    from bptools.training.spool import evaluation_share

    with pytest.raises(UsageError, match="--eval-split"):
        evaluation_share(text)


REFUSING = (
    "{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}"
)


def test_a_record_that_the_template_refuses_is_left_out_and_named(tmp_path: Path) -> None:
    from bptools.training.preparing import prepare
    from bptools.training.telling import Teller
    from tests.tiny import CHATML

    (tmp_path / "strict.jinja").write_text(REFUSING + CHATML)
    source, good = tmp_path / "chats.jsonl", CHAT[1:]
    source.write_text("".join(json.dumps({"messages": each}) + "\n" for each in (good, CHAT, good)))
    chosen = {"model": shared_model(), "chat_template": str(tmp_path / "strict.jinja"), "max_length": 128}
    run = Run(str(source), tmp_path / "a", evaluation=str(source), **chosen)
    prepared = prepare(run.job())
    run.planned.run.release()
    assert (prepared.counts.records, prepared.counts.refused) == (3, 1)
    assert len(prepared.evaluation) == 2, "one that is refused is not the end of all evaluation"
    (event,) = run.events.of("preflight")
    assert event["refused_places"] == [f"{source}:2"]
    (note,) = run.events.of("note")
    assert "of the records held out 1 cannot be rendered" in note["message"]
    told = Told("bp-train")
    Teller(told, progress=False, show_rows=0)({**event, "too_long": 2, "truncated": 3})
    assert f"1 left out, refused by the chat template ({source}:2), 3 truncated" in told.lines[0]
    assert "System role not supported" in told.lines[1]

    source.write_text(json.dumps({"messages": CHAT}) + "\n")
    run = Run(str(source), tmp_path / "b", **chosen, eval_split="0")
    with pytest.raises(DataError, match=r"none of 1 records .*: 1 cannot be rendered \(.*System role not"):
        run.work()
    run.planned.run.release()


def test_tokens_of_a_preference_are_those_of_both_sides(renderer: Any) -> None:
    record = {"prompt": [turn("user", "one two three")], "chosen": [turn("assistant", "four five six")],
              "rejected": [turn("assistant", "seven eight")]}  # fmt: skip
    maker = RowMaker(Settings(method="dpo", max_length=100), renderer)
    (row,) = maker.rows([record])
    prompt, chosen, rejected = (len(row[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    assert maker.counts.tokens == 2 * prompt + chosen + rejected
    assert maker.counts.share < 1
    assert maker.counts.longest == prompt + max(chosen, rejected)
