"""What is decided where nothing is said: settings, batches, triggers, checkpoints, memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from bptools.core.errors import UsageError
from bptools.models.presets import preset
from bptools.training import checkpoints, memory
from bptools.training.batching import NoMemory, divisor, fit_batch
from bptools.training.run_directory import run_id, run_name
from bptools.training.settings import SHAPES, Method, Settings, complete, from_json
from bptools.training.triggers import parse_trigger, spaced


@pytest.mark.parametrize(
    ("method", "records", "settings", "rate", "warmup"),
    [
        ("sft", 500, {}, 5e-4, 0.15),
        ("sft", 5_000, {}, 2e-4, 0.1),
        ("sft", 50_000, {}, 2e-4, 0.05),
        ("sft", 5_000, {"full": True}, 2e-5, 0.1),
        ("sft", 5_000, {"style": "fast"}, 5e-4, 0.1),
        ("sft", 5_000, {"style": "quality"}, 1e-4, 0.1),
        ("dpo", 500, {}, 5e-6, 0.1),
        ("pretrain", 5_000, {}, 3e-3, 0.05),
        ("sft", 500, {"learning_rate": 1e-5, "warmup": 7.0}, 1e-5, 7.0),
    ],
)
def test_rates(method: Method, records: int, settings: dict[str, Any], rate: float, warmup: float) -> None:
    wanted = Settings(method=method, **settings)
    made, reasons = complete(wanted, preset("qwen3b", wanted.style), method, records)
    assert made.learning_rate == pytest.approx(rate)
    assert made.warmup == warmup
    assert ("learning_rate" in reasons) == ("learning_rate" not in settings)


def test_complete_decides_everything_and_changes_nothing_given() -> None:
    for method in get_args(Method):
        made, _ = complete(Settings(), preset("nano"), method, 100)
        for name in (
            "rank",
            "alpha",
            "targets",
            "max_length",
            "batch_size",
            "long",
            "packing",
            "learning_rate",
        ):
            assert getattr(made, name) is not None, name
        assert SHAPES[method]
        assert from_json(made.as_json()) == made
    given = Settings(rank=4, alpha=3.0, steps=5, long="truncate", packing=False)
    made, reasons = complete(given, preset("nano"), "sft", 100)
    assert (made.rank, made.alpha, made.steps, made.epochs, made.long) == (4, 3.0, 5, None, "truncate")
    assert not {"rank", "alpha", "steps", "epochs", "long", "packing"} & set(reasons)
    assert complete(Settings(rank=8), preset("nano"), "sft", 100)[0].alpha == 16


def test_the_name_hangs_on_what_changes_the_result_alone() -> None:
    base = Settings(model="nano")
    same = [Settings(model="nano", device="cuda"), Settings(model="nano", micro_batch=2),
            Settings(model="nano", log=("wandb",)), Settings(model="nano", samples=9)]  # fmt: skip
    other = [
        Settings(model="nano", seed=1),
        Settings(model="nano", rank=4),
        Settings(model="nano", eval_every="7"),
    ]
    name = run_id(base.recipe(), "a", None)
    assert {run_id(settings.recipe(), "a", None) for settings in same} == {name}
    assert len({run_id(settings.recipe(), "a", None) for settings in [base, *other]}) == 4
    assert run_id(base.recipe(), "b", None) != name != run_id(base.recipe(), "a", "b")
    assert run_name("Qwen/Qwen2.5 (x)", name) == f"Qwen2.5-x-{name}"
    assert run_name("../", name).startswith("model-") or "/" not in run_name("../", name)


class OutOfMemoryError(RuntimeError):
    """As torch says it."""

    def __init__(self) -> None:
        super().__init__("CUDA out of memory. Tried to allocate 1 GiB")


@pytest.mark.parametrize(
    ("batch", "fits", "micro", "probes"),
    [
        (16, 16, 16, 1),
        (16, 5, 4, 3),
        (16, 1, 1, 5),
        (12, 5, 3, 3),
        (7, 3, 1, 2),
        (1, 1, 1, 1),
        (24, 11, 6, 3),
    ],
)
def test_the_batch_is_halved_until_it_fits(batch: int, fits: int, micro: int, probes: int) -> None:
    def probe(size: int) -> None:
        assert batch % size == 0
        if size > fits:
            raise OutOfMemoryError

    assert fit_batch(batch, batch, probe) == (micro, probes)
    assert probes <= batch.bit_length()


def test_one_record_that_does_not_fit_is_71() -> None:
    def probe(size: int) -> None:
        raise OutOfMemoryError

    for least, said in ((1, "one record does not fit"), (2, "2 records do not fit")):
        with pytest.raises(NoMemory, match=said) as caught:
            fit_batch(8, 8, probe, least)
        assert caught.value.exit_code == 71

    def broken(size: int) -> None:
        raise ValueError("no such tensor")

    with pytest.raises(ValueError, match="no such tensor"):
        fit_batch(8, 8, broken)
    assert [divisor(12, most) for most in (12, 7, 5, 0)] == [12, 6, 4, 1]


@pytest.mark.parametrize(
    ("device", "given", "made"), [("cpu", None, False), ("cuda", None, True), ("cuda", False, False)]
)
def test_activations_are_computed_twice_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, given: bool | None, made: bool
) -> None:
    pytest.importorskip("trl")
    from bptools.training import memory
    from tests.tiny import shared_model
    from tests.training_runs import Run, write_records

    monkeypatch.setattr(memory, "available", lambda where: 8 << 30)
    source = write_records(tmp_path / "data.jsonl", "chat", 8)
    run = Run(source, tmp_path, model=shared_model(), device=device, checkpointing=given, eval_split="0")
    run.planned.run.release()
    assert run.planned.plan["settings"]["checkpointing"] is made


def test_triggers() -> None:
    def due(text: str, steps: int = 10) -> list[int]:
        trigger = parse_trigger(text, "--eval-every")
        return [step for step in range(1, steps + 1) if trigger(step, step == steps)]

    assert due("3") == [3, 6, 9, 10]
    assert due("at:2,5") == [2, 5, 10]
    assert due("never") == []
    for text in ("0", "x", "1,2", "at:", "at:0", "-3"):
        with pytest.raises(UsageError, match="--eval-every"):
            parse_trigger(text, "--eval-every")
    assert [spaced(steps, 5, 20, 500) for steps in (3, 200, 10_000)] == ["20", "40", "500"]


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in (*checkpoints.NEEDED, "adapter_model.safetensors"):
        (path / name).write_bytes(f"{name} of {step}".encode())
    return path


def test_only_sealed_and_unchanged_checkpoints_count(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert checkpoints.newest(folder) == (None, {}, [])
    for step in (5, 10, 15, 20, 25):
        path = checkpoint(tmp_path, step)
        if step != 25:
            checkpoints.seal(str(path), {"step": step})
    (tmp_path / "checkpoint-20" / "optimizer.pt").write_bytes(b"cut")
    (tmp_path / "checkpoint-15" / "rng_state.pth").unlink()
    path, sealed, complaints = checkpoints.newest(folder)
    assert (path, sealed["step"]) == (str(tmp_path / "checkpoint-10"), 10)
    assert [line.split(": ")[1] for line in complaints] == [
        "it was not finished", "optimizer.pt has changed", "rng_state.pth is missing",
    ]  # fmt: skip
    assert checkpoints.steps(folder) == [5, 10]


def test_a_seal_without_an_optimizer_is_none(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 3)
    (path / "optimizer.pt").unlink()
    checkpoints.seal(str(path), {"step": 3})
    assert checkpoints.verify(str(path)) == (None, "optimizer.pt is missing")


def test_pruning_keeps_the_best(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        checkpoint(tmp_path, step)
    checkpoints.prune(str(tmp_path), 2, 1)
    assert checkpoints.steps(str(tmp_path)) == [1, 3, 4]
    checkpoints.prune(str(tmp_path), 2, None)
    assert checkpoints.steps(str(tmp_path)) == [3, 4]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rows", "length"), [("qwen0.5b", 4, 1024), ("qwen0.5b", 1, 512), ("nano", 4, 512)]
)
def test_the_closed_form_is_near_the_counted_step(name: str, rows: int, length: int) -> None:
    pytest.importorskip("transformers")
    from transformers import AutoConfig

    shape = preset(name).shape
    config = AutoConfig.for_model(
        "qwen2", vocab_size=shape.vocab, hidden_size=shape.hidden_size, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
    )  # fmt: skip
    counted = memory.exact(config, 16, rows=rows, length=length, dtype="bfloat16", checkpointing=True)
    settings = Settings(model=name, rank=16, checkpointing=True, dtype="bfloat16")
    closed = memory.estimate(shape, settings, device="cuda", rows=rows, length=length)
    assert closed.weights == pytest.approx(counted["weights"], rel=0.02)
    assert 0.8 < (closed.total - closed.fixed) / counted["total"] < 1.6


def test_the_largest_preset_that_fits() -> None:
    settings = Settings(quant="nf4", checkpointing=True, dtype="bfloat16")
    names = []
    for gigabytes in (1, 6, 12, 24):
        found = memory.largest_preset(settings, device="cuda", free=gigabytes << 30)
        names.append(found.parameters if found else 0)
    assert names == sorted(names)
    assert names[0] < 0.5
    assert names[-1] >= 7
    assert memory.largest_preset(settings, device="cuda", free=1 << 20) is None


def test_what_was_read_of_files_is_free_memory(tmp_path: Path) -> None:
    def group(**files: str) -> int | None:
        for name, content in files.items():
            (tmp_path / f"memory.{name}").write_text(content)
        return memory._free_in_group(str(tmp_path))

    assert group() is None
    assert group(max="max\n", current="700\n") is None
    assert group(max="1000\n") == 300
    assert group(stat="anon 100\nfile 600\ninactive_file 500\nactive_file 100\n") == 800


def test_what_an_adapter_brings_with_it(tmp_path: Path) -> None:
    import json

    from bptools.training.checking import with_adapters_sizes

    config = {"r": 8, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    found = with_adapters_sizes(Settings(adapter=str(tmp_path), targets="v_proj,q_proj"))
    assert (found.rank, found.alpha) == (8, 32)
    assert with_adapters_sizes(Settings(adapter=str(tmp_path), rank=8, targets="all-linear")).rank == 8
    for option, given in {"--rank": {"rank": 16}, "--dora": {"dora": True}, "--targets": {"targets": "q_proj"},
                          "--modules-to-save": {"modules_to_save": ("lm_head",)}}.items():  # fmt: skip
        with pytest.raises(UsageError, match=f"{option} is for a fresh adapter"):
            with_adapters_sizes(Settings(adapter=str(tmp_path), **given))
    assert with_adapters_sizes(Settings(rank=16)).rank == 16
