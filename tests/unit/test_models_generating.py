"""Answers: those of stock transformers, the same whatever the batch, ended where they should be."""

from __future__ import annotations

import functools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from bptools.core.errors import InputError
from bptools.models.contenders import Contenders, Loading
from bptools.models.generating import Generator
from bptools.models.loading import adapter_names, keep_gradients_on_cpu, load_model, load_tokenizer
from bptools.models.matching import Check, first_json, match
from bptools.models.rendering import Renderer
from bptools.models.sampling import Row, Sampler, Sampling, sampling_for
from bptools.models.templates import resolve_template
from tests.golden import ROOT
from tests.tiny import shared_model, tiny_model

PROMPTS = [
    "Hi",
    "What is the capital of France? " * 9,
    "The quick brown fox jumps over the lazy dog.",
    "one two three four five",
    "def add(a, b):",
    "Hello! " * 30,
]


@functools.cache
def loaded(layout: str = "qwen3") -> tuple[Any, Any]:
    folder = shared_model(layout)
    return load_model(folder, device="cpu", dtype="float32"), load_tokenizer(folder)


def generator(layout: str = "qwen3") -> Generator:
    model, tokenizer = loaded(layout)
    return Generator(model, tokenizer, Renderer(tokenizer, resolve_template(tokenizer)), "cpu")


@pytest.mark.parametrize("layout", ["qwen3", "llama"])
def test_greedy_is_what_transformers_generates(layout: str) -> None:
    model, tokenizer = loaded(layout)
    ours = generator(layout).complete(PROMPTS, max_new_tokens=24, raw=True, batch_size=4)
    for prompt, (answer,) in zip(PROMPTS, ours, strict=True):
        ids = tokenizer(prompt, return_tensors="pt")
        out = model.generate(**ids, max_new_tokens=24, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert answer == tokenizer.decode(out, skip_special_tokens=True)
    assert len({answer for (answer,) in ours}) > 1


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.9, "samples": 3}, {"top_k": 5}]
)
def test_the_batch_changes_no_answer(settings: dict[str, Any]) -> None:
    ours = generator()
    alone = ours.complete(PROMPTS, max_new_tokens=16, batch_size=1, seed=3, **settings)
    for size in (2, 3, 64):
        assert ours.complete(PROMPTS, max_new_tokens=16, batch_size=size, seed=3, **settings) == alone
    if settings:
        assert ours.complete(PROMPTS, max_new_tokens=16, seed=4, **settings) != alone


def test_samples_differ_and_keep_their_place() -> None:
    ours = generator()
    three = ours.complete(PROMPTS[:2], max_new_tokens=12, temperature=1.0, samples=3)
    assert [len(set(answers)) for answers in three] == [3, 3]
    one = ours.complete(PROMPTS[:2], max_new_tokens=12, temperature=1.0, samples=1)
    assert [answers[0] for answers in three] == [answers[0] for answers in one]


def test_chance_is_that_of_the_number_in_the_stream() -> None:
    ours = generator()
    encoded = [ours.encode(prompt) for prompt in PROMPTS]
    warm = Sampling(temperature=1.0)
    whole = ours.complete_encoded(encoded, warm, max_new_tokens=8)
    parts = [
        *ours.complete_encoded(encoded[:2], warm, max_new_tokens=8, numbers=[0, 1]),
        *ours.complete_encoded(encoded[2:], warm, max_new_tokens=8, numbers=[2, 3, 4, 5]),
    ]
    assert parts == whole


def ending_model(end: str) -> Generator:
    """Return a generator whose model says `end` after any token, by its output layer."""
    folder = shared_model()
    model = load_model(folder, device="cpu", dtype="float32")
    tokenizer = load_tokenizer(folder)
    number = tokenizer.convert_tokens_to_ids(end)
    model.lm_head.weight.data[number] = 0
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(model.config.vocab_size))
    model.lm_head.bias.data[number] = 100
    return Generator(model, tokenizer, Renderer(tokenizer, resolve_template(tokenizer)), "cpu")


def test_the_turn_end_and_eos_end_an_answer() -> None:
    assert ending_model("<|im_end|>").complete(["Hi"], max_new_tokens=8) == [[""]]
    endless = ending_model("!").complete(["Hi"], max_new_tokens=8)
    assert endless == [["!" * 8]]


def test_a_turn_end_of_text_ends_an_answer_too() -> None:
    ours = ending_model("!")
    object.__setattr__(ours.renderer.template, "turn_end", "!!!")
    ours = Generator(ours.model, ours.tokenizer, ours.renderer, "cpu")
    assert ours.complete(["Hi"], max_new_tokens=8) == [[""]]
    assert ours.complete(["Hi"], max_new_tokens=8, raw=True) == [["!" * 8]]


def test_an_answer_ends_before_a_stop() -> None:
    ours = generator()
    ((whole,),) = ours.complete(PROMPTS[:1], max_new_tokens=24, raw=True)
    stop = whole[5:9]
    ((cut,),) = ours.complete(PROMPTS[:1], max_new_tokens=24, raw=True, stop=[stop])
    assert cut == whole[: whole.index(stop)]


def test_the_end_of_the_context_cuts_only_who_reaches_it() -> None:
    ours = generator()
    long = ours.encode("one " * 2000, raw=True)[:2040]
    short = ours.encode("Hi", raw=True)
    answers = ours.complete_encoded([short, long], Sampling(), max_new_tokens=16, raw=True)
    assert answers[0] == ours.complete_encoded([short], Sampling(), max_new_tokens=16, raw=True)[0]
    eight = ours.model.generate(torch.tensor([long]), max_new_tokens=8, do_sample=False)[0, 2040:]
    assert answers[1] == [ours.tokenizer.decode(eight, skip_special_tokens=True)]


def test_pieces_come_as_they_are_made_and_add_up() -> None:
    ours = generator()
    pieces: list[str] = []
    ((answer,),) = ours.complete(
        PROMPTS[2:3], max_new_tokens=24, temperature=1.0, raw=True, stream=pieces.append
    )
    assert "".join(pieces) == answer
    assert len(pieces) > 5
    pieces.clear()
    stop = answer[6:10]
    ((cut,),) = ours.complete(
        PROMPTS[2:3], max_new_tokens=24, temperature=1.0, raw=True, stop=[stop], stream=pieces.append
    )
    assert "".join(pieces) == cut == answer[: answer.index(stop)]


def test_an_empty_prompt_is_continued() -> None:
    assert generator().complete([""], max_new_tokens=4, raw=True)[0][0] != ""


def test_too_little_memory_halves_the_batch() -> None:
    """The same answers come out when batches of more than two rows do not fit."""
    ours = generator()
    expected = ours.complete(PROMPTS, max_new_tokens=8, temperature=1.0)
    whole = ours._batch
    seen: list[int] = []

    def narrow(rows: list[Row], *arguments: Any) -> list[str]:
        seen.append(len(rows))
        if len(rows) > 2:
            [row.chance.random() for row in rows]
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(rows, *arguments)

    ours._batch = narrow  # type: ignore[method-assign]
    assert ours.complete(PROMPTS, max_new_tokens=8, temperature=1.0) == expected
    assert seen == [6, 3, 1, 2, 3, 1, 2]


# the sampler


def draws(sampling: Sampling, scores: list[float], count: int = 4000) -> Counter[int]:
    rows = [Row([0], number, 0, 1, number) for number in range(count)]
    sampler = Sampler(rows, sampling, 1)
    out = sampler(torch.zeros(count, 1, dtype=torch.long), torch.tensor([scores]).repeat(count, 1))
    assert torch.isfinite(out).sum(dim=1).eq(1).all()
    return Counter(out.argmax(dim=1).tolist())


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(1.0), [0.5, 0.25, 0.15, 0.1]),
        (Sampling(0.5), [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345]),
        (Sampling(1.0, top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(1.0, top_p=0.7), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(1.0, top_p=0.5), [1, 0, 0, 0]),
        (Sampling(1.0, top_k=3, top_p=0.6), [2 / 3, 1 / 3, 0, 0]),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_they_should_be(sampling: Sampling, expected: list[float]) -> None:
    order = [2, 0, 3, 1]  # where the shares stand
    scores = [0.0] * 4
    for place, share in zip(order, [0.5, 0.25, 0.15, 0.1], strict=True):
        scores[place] = math.log(share)
    found = draws(sampling, scores)
    for place, share in zip(order, expected, strict=True):
        assert found[place] / 4000 == pytest.approx(share, abs=0.025)
        assert share or not found[place]


def test_the_shares_that_stay_are_those_of_transformers() -> None:
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    scores = torch.randn(1, 50, generator=torch.Generator().manual_seed(1)) * 2
    for sampling, warper in [
        (Sampling(1.0, top_k=7), TopKLogitsWarper(7)),
        (Sampling(1.0, top_p=0.8), TopPLogitsWarper(0.8)),
    ]:
        kept = torch.isfinite(warper(None, scores))[0].nonzero()[:, 0].tolist()
        assert set(draws(sampling, scores[0].tolist(), 20000)) == set(kept)


def test_a_penalty_is_that_of_transformers_and_skips_the_padding() -> None:
    from transformers import RepetitionPenaltyLogitsProcessor

    scores = torch.randn(2, 20, generator=torch.Generator().manual_seed(1))
    ids = torch.tensor([[3, 4, 5, 6], [0, 0, 7, 8]])
    ours = Sampler([Row([3, 4, 5], 0, 0, 0, 0), Row([7], 1, 0, 0, 1)], Sampling(repetition_penalty=1.3), 3)
    theirs = RepetitionPenaltyLogitsProcessor(1.3)
    out = ours(ids, scores)
    assert torch.equal(out[0], theirs(ids[:1], scores[:1].clone())[0])
    assert torch.equal(out[1], theirs(ids[1:, 2:], scores[1:].clone())[0])


def test_the_models_own_settings_hold_unless_something_is_asked_for(tmp_path: Path) -> None:
    folder = tiny_model(str(tmp_path / "m"), tied=False)
    model = load_model(folder, device="cpu", dtype="float32")
    assert sampling_for(model) == Sampling()
    own = model.generation_config
    own.do_sample, own.temperature, own.top_p, own.top_k, own.repetition_penalty = True, 0.6, 0.9, 20, 1.1
    assert sampling_for(model) == Sampling(0.6, 0.9, 20, 1.1)
    assert sampling_for(model, 0.0) == Sampling(0.0, 1.0, 0, 1.1)
    assert sampling_for(model, top_k=3) == Sampling(1.0, 1.0, 3, 1.1)
    # the penalty is applied once, by us: the answer is that of transformers with the same settings
    tokenizer = load_tokenizer(folder)
    ours = Generator(model, tokenizer, Renderer(tokenizer, resolve_template(tokenizer)), "cpu")
    ((answer,),) = ours.complete(PROMPTS[2:3], temperature=0, max_new_tokens=24, raw=True)
    ids = tokenizer(PROMPTS[2], return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=24, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert answer == tokenizer.decode(out, skip_special_tokens=True)


# loading


def adapter(folder: str, base: str, seed: int) -> str:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = load_model(base, device="cpu", dtype="float32")
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.3)
    adapted.peft_config["default"].base_model_name_or_path = base
    adapted.save_pretrained(folder)
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(torch.tensor([[5, 6, 7, 8]])).logits
    return found


def test_a_model_is_stock_transformers(capfd: pytest.CaptureFixture[str]) -> None:
    from transformers import AutoModelForCausalLM

    model = load_model(shared_model(), device="cpu", dtype="float32")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert not model.training
    assert model.dtype == torch.float32
    stock = AutoModelForCausalLM.from_pretrained(shared_model(), dtype=torch.float32).eval()
    assert torch.equal(logits(model), logits(stock))
    assert load_model(shared_model(), device="cpu", dtype="bfloat16").dtype == torch.bfloat16


def test_adapters_are_stock_peft_and_change_by_name(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = shared_model()
    folders = [adapter(str(tmp_path / name), base, seed) for seed, name in enumerate(("one", "two"))]
    model = load_model(base, device="cpu", dtype="float32", adapter=folders)
    for name, folder in adapter_names(folders).items():
        model.set_adapter(name)
        stock = PeftModel.from_pretrained(
            AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), folder
        )
        assert torch.equal(logits(model), logits(stock.eval()))
    assert adapter_names(["a/x", "b/x", "c.d"]) == {"x": "a/x", "x-2": "b/x", "c_d": "c.d"}


def test_contenders_switch_between_the_model_and_its_adapters(tmp_path: Path) -> None:
    base = shared_model()
    folder = adapter(str(tmp_path / "run" / "adapter"), base, 1)
    contenders = Contenders([], ["none", folder], loading=Loading("cpu", "float32"))
    contenders.load()
    found = {}
    for contender in contenders:
        contender.select()
        found[contender.label] = logits(contender.generator.model)
    alone = load_model(base, device="cpu", dtype="float32")
    adapted = load_model(base, device="cpu", dtype="float32", adapter=folder)
    assert list(found) == [Path(base).name, "run"]
    assert torch.equal(found[Path(base).name], logits(alone))
    assert torch.equal(found["run"], logits(adapted))
    assert not torch.equal(found["run"], logits(alone))


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nonesuch"}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match="has no tokenizer that can be read"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(str(tmp_path), device="cpu", dtype="float32")
    with pytest.raises(InputError, match=r"there is no adapter_config\.json"):
        load_model(shared_model(), device="cpu", dtype="float32", adapter=str(tmp_path))
    other = tiny_model(str(tmp_path / "llama"), layout="llama")
    adapter(str(tmp_path / "a"), other, 0)
    with pytest.raises(InputError, match="is no adapter"):
        Contenders([], [str(tmp_path)])


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    folder = Path(tiny_model(str(tmp_path / "m")))
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="pickles are not read"):
        load_model(str(folder), device="cpu", dtype="float32")


def test_four_bit_layers_lose_the_kernel_without_a_gradient() -> None:
    class Linear4bit(torch.nn.Linear):
        support_avx512bf16_for_cpu = True

    model = torch.nn.Sequential(
        torch.nn.Linear(2, 2), Linear4bit(2, 2), torch.nn.Sequential(Linear4bit(2, 2))
    )
    assert keep_gradients_on_cpu(model) == 2
    assert not any(getattr(module, "support_avx512bf16_for_cpu", False) for module in model.modules())


# matching


@pytest.mark.parametrize(
    ("how", "answer", "reference", "expected"),
    [
        ("exact", " Paris\n is ", "Paris is", True),
        ("exact", "paris", "Paris", False),
        ("contains", "It is  PARIS.", "paris", True),
        ("contains", "It is Rome.", "paris", False),
        ("json", '{"a": 1, "b": [true]}', '{"b":[true],"a":1.0}', True),
        ("json", '{"a": 1}', '{"a": true}', False),
        ("json", 'Sure:\n```json\n{"a": 1}\n```', '{"a": 1}', True),
        ("json", 'Here {it} is: {"a": [1, 2]} fine', '{"a": [1, 2]}', True),
        ("json", "nothing", '{"a": 1}', False),
        ("json", "{}", "no json", None),
        ("regex", "It is 42.", r"\b4\d\b", True),
        ("regex", "It is 52.", r"\b4\d\b", False),
        ("regex", "x", "(", None),
        ("regex", "x", "x{99999999999}", None),
    ],
)
def test_a_match_is_what_the_page_says(how: Any, answer: str, reference: str, expected: bool | None) -> None:
    assert match(how, answer, reference) is expected


def test_a_check_is_a_comparison_of_a_share() -> None:
    from bptools.core.errors import UsageError

    assert Check.parse("match>=.7").met(0.7)
    assert not Check.parse("match > 70%").met(0.7)
    assert str(Check.parse("match>=70%")) == "match>=0.7"
    for text in ("match", "match>=2", "ppl<3", "match=>1", "match>=.7 or"):
        with pytest.raises(UsageError, match="is not match>=SHARE"):
            Check.parse(text)
    assert first_json("[1") is None


def test_the_template_saved_with_an_adapter_is_the_one_used(tmp_path: Path) -> None:
    base = shared_model(template=False)
    folder = adapter(str(tmp_path / "adapter"), base, 1)
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = "{% for m in messages %}Q: {{ m.content }}<|im_end|>{% endfor %}"
    tokenizer.save_pretrained(folder)
    contenders = Contenders([], ["none", folder], loading=Loading("cpu", "float32"))
    contenders.load()
    alone, adapted = (contender.generator.renderer for contender in contenders)
    assert alone.template.name == "chatml"
    assert adapted.text([{"role": "user", "content": "Hi"}]) == "Q: Hi<|im_end|>"


def test_a_process_that_loads_an_adapter_says_nothing(tmp_path: Path) -> None:
    """What peft imports (bitsandbytes, where it is installed) would advise on standard error."""
    import subprocess
    import sys

    import peft

    model = load_model(shared_model(), device="cpu", dtype="float32")
    folder = str(tmp_path / "adapter")
    peft.get_peft_model(model, peft.LoraConfig(target_modules="all-linear")).save_pretrained(folder)
    program = (
        "from bptools.models import load_model\n"
        f"load_model({shared_model()!r}, device='cpu', dtype='float32', adapter={folder!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
