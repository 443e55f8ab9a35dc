"""Tool calls, reasoning and typed markers are the same tokens in every method: those of the renderer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import shared_model
from tests.training_runs import Run

pytest.importorskip("trl")
TOOLS = [{"type": "function", "function": {"name": "add", "description": "Add.",
          "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}}]  # fmt: skip


def calls(name: str, **arguments: Any) -> dict[str, Any]:
    """An answer that calls a tool, its arguments as JSON in a string, as OpenAI writes them."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": function}]}  # fmt: skip


ASKED = [
    {"role": "user", "content": "What is one and two? Write it as <|im_end|>, please."},
    calls("add", a=1, b=[2, {"c": None}]),
    {"role": "tool", "content": "three", "tool_call_id": "c1", "name": "add"},
]
ANSWER = [{"role": "assistant", "content": "three", "reasoning_content": "one and two"}]
CALL = [calls("add", a="one")]
PLAIN = [{"role": "user", "content": "Hello! How are you?"}]
NO = [{"role": "assistant", "content": "no"}]

PREFERENCES: list[dict[str, Any]] = [
    {"prompt": ASKED, "chosen": ANSWER, "rejected": CALL, "tools": TOOLS},
    {"prompt": PLAIN, "chosen": CALL, "rejected": NO, "tools": TOOLS},
    {"prompt": PLAIN, "chosen": ANSWER, "rejected": NO},
]
RATED = [
    {**{name: record[name] for name in ("prompt", "tools") if name in record}, "completion": record[side],
     "label": side == "chosen"}
    for record in PREFERENCES for side in ("chosen", "rejected")
]  # fmt: skip


def rows_of(
    tmp_path: Path, method: str, **settings: Any
) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (renderer, records, the rows that the method's trainer learns from)."""
    from bptools.training.preparing import prepare
    from bptools.training.rows import read_records
    from bptools.training.working import _trainer

    records = RATED if method == "kto" else PREFERENCES
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    run = Run(str(tmp_path / "data.jsonl"), tmp_path / "runs", model=shared_model(), method=method, batch_size=2,
              micro_batch=2, max_length=2000, eval_split="0", chat_template="chatml", **settings)  # fmt: skip
    job = run.job()
    prepared = prepare(job)
    trainer, _ = _trainer(job, prepared)
    batches = [trainer.data_collator([row]) for row in trainer.train_dataset]
    run.planned.run.release()
    spooled = list(read_records(str(run.path / "records.jsonl")))
    assert [record["prompt"] for record in spooled] == [record["prompt"] for record in records]
    return prepared.renderer, spooled, batches


def whole(renderer: Any, record: dict[str, Any], side: str) -> list[int]:
    ids: list[int] = renderer.encode_chat(record["prompt"] + record[side], record.get("tools"))[0]
    return ids


def learnt(renderer: Any, record: dict[str, Any], side: str) -> list[int]:
    """The answer: what follows the prompt."""
    prompt = renderer.encode_prompt(record["prompt"], record.get("tools"))
    ids = whole(renderer, record, side)
    assert ids[: len(prompt)] == prompt
    return ids[len(prompt) :]


def test_a_call_is_rendered_at_all() -> None:
    """The template of these tests writes all that could be lost."""
    from bptools.models import Renderer, load_tokenizer, resolve_template

    tokenizer = load_tokenizer(shared_model())
    text = Renderer(tokenizer, resolve_template(tokenizer, "chatml")).text(ASKED + ANSWER, TOOLS)
    for piece in ('"name": "add"', '"arguments": {"a": 1, "b": [2, {"c": null}]}', "<tool_call>", "<tool_response>",
                  "Add.", "three"):  # fmt: skip
        assert piece in text, piece


@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}])
def test_orpo_learns_the_tokens_of_the_renderer(tmp_path: Path, kwargs: dict[str, Any]) -> None:
    renderer, records, batches = rows_of(tmp_path, "orpo", template_kwargs=kwargs)
    assert len(batches) == len(PREFERENCES)
    for record, batch in zip(records, batches):
        for side in ("chosen", "rejected"):
            assert batch[f"{side}_input_ids"][0].tolist() == whole(renderer, record, side)
            labels = batch[f"{side}_labels"][0].tolist()
            assert [label for label in labels if label != -100] == learnt(renderer, record, side)
            assert labels[: labels.count(-100)] == [-100] * labels.count(-100)


def test_dpo_learns_the_tokens_of_the_renderer(tmp_path: Path) -> None:
    renderer, records, batches = rows_of(tmp_path, "dpo")
    for record, batch in zip(records, batches):
        for line, side in enumerate(("chosen", "rejected")):
            there = batch["attention_mask"][line].bool()
            assert batch["input_ids"][line][there].tolist() == whole(renderer, record, side)
            answer = batch["completion_mask"][line].bool()
            assert batch["input_ids"][line][answer].tolist() == learnt(renderer, record, side)


def test_kto_learns_the_tokens_of_the_renderer(tmp_path: Path) -> None:
    renderer, records, batches = rows_of(tmp_path, "kto")
    answers = [learnt(renderer, record, "completion") for record in records]
    assert [batch["label"].tolist() for batch in batches] == [[record["label"]] for record in records]
    for index, (record, batch) in enumerate(zip(records, batches)):
        assert batch["input_ids"][0].tolist() == whole(renderer, record, "completion")
        assert batch["input_ids"][0][batch["completion_mask"][0].bool()].tolist() == answers[index]
        other = batch["KL_input_ids"][0][batch["KL_completion_mask"][0].bool()].tolist()
        assert other == answers[index ^ 1]  # of its neighbour in a micro batch of two


@pytest.mark.parametrize("method", ["orpo", "kto"])
def test_the_losses_of_plain_rows_are_those_of_trl(tmp_path: Path, method: str) -> None:
    """Where nothing can be lost, tokens of ours and messages that TRL renders are the same training."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import KTOConfig, KTOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    from tests.training_runs import write_records

    shape = {"orpo": "preference", "kto": "rated"}[method]
    source = write_records(tmp_path / "data.jsonl", shape, 24)
    run = Run(source, tmp_path / "runs", model=shared_model(), method=method, batch_size=8, micro_batch=4, steps=3,
              learning_rate=1e-2, rank=8, alpha=16.0, eval_split="0", max_length=200, chat_template=str(template(tmp_path)),
              warmup=0.0, schedule="constant").finish()  # fmt: skip
    names = ("prompt", "chosen", "rejected") if method == "orpo" else ("prompt", "completion", "label")
    with open(source, encoding="utf-8") as file:
        records = [{name: json.loads(line)[name] for name in names} for line in file]
    tokenizer = AutoTokenizer.from_pretrained(shared_model())
    tokenizer.chat_template = template(tmp_path).read_text()
    config, trainer_class = {"orpo": (ORPOConfig, ORPOTrainer), "kto": (KTOConfig, KTOTrainer)}[method]
    torch.manual_seed(42)
    trainer = trainer_class(
        model=AutoModelForCausalLM.from_pretrained(shared_model()),
        train_dataset=Dataset.from_list(records),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
        args=config(
            str(tmp_path / "trl"), per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=3,
            learning_rate=1e-2, lr_scheduler_type="constant", max_length=200, optim="adamw_torch", seed=42,
            use_cpu=True, bf16=False, logging_steps=1, report_to="none", save_strategy="no", disable_tqdm=True,
            remove_unused_columns=False,
        ),
    )  # fmt: skip
    trainer.train()
    expected = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert run.losses == pytest.approx(expected, abs=1e-4)


def template(tmp_path: Path) -> Path:
    """ChatML that ends with the end of the turn, so that TRL's trainer of orpo adds none of its own."""
    path = tmp_path / "plain.jinja"
    path.write_text(
        "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    return path
