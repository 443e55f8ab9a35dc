"""What bp-ppl says is the loss that transformers computes, record by record, whatever is scored beside it."""

from __future__ import annotations

import copy
import functools
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bptools.models.rendering import Renderer
from bptools.models.selecting import Selector
from bptools.models.templates import FAMILIES, resolve_template
from bptools.quality.perplexity.predicting import Predictor
from bptools.quality.perplexity.rows import PADDING, Row, batches, cut
from tests.tiny import CHATML, shared_model, tiny_model, tiny_tokenizer
from tests.unit.ppl_running import keep_models, lines, loss, model_of, ppl, same, scorer

WORDS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "dog",
    "sun",
    "warm",
    "Paris",
    "France",
]
Piece = tuple[str, bool, bool]  # text, whether its special tokens are tokens, whether it is scored
Turn = dict[str, Any]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_models(monkeypatch)


def turn(role: str, content: str, **more: Any) -> Turn:
    return {"role": role, "content": content, **more}


def chatml(turns: list[Turn], scored: tuple[str, ...] = ("assistant",), numbers: Any = None) -> list[Piece]:
    """Return a conversation piece by piece; numbers: of the turns that are scored, None: all of these roles."""
    pieces: list[Piece] = []
    for number, each in enumerate(turns):
        wanted = each["role"] in scored and (numbers is None or number in numbers)
        pieces += [
            (f"<|im_start|>{each['role']}\n", True, False),
            (each["content"], False, wanted),
            ("<|im_end|>", True, wanted and each["role"] == "assistant"),
            ("\n", True, False),
        ]
    return pieces


def encoded(tokenizer: Any, pieces: list[Piece]) -> tuple[list[int], list[bool]]:
    """Return tokens and whether each is scored, each piece by itself."""
    tokenizer = copy.deepcopy(tokenizer)  # it remembers what it was told to split
    ids: list[int] = []
    scored: list[bool] = []
    for text, special, wanted in pieces:
        found = tokenizer(text, add_special_tokens=False, split_special_tokens=not special).input_ids
        ids += found
        scored += [wanted] * len(found)
    return ids, scored


USER, SYSTEM = turn("user", "What is the capital of France?"), turn("system", "Be brief.")
ANSWER = turn("assistant", "The capital of France is Paris, and the dog sleeps.")
MORE = [turn("user", "And you?"), turn("assistant", "I am fine, thank you.")]
CHAT = [SYSTEM, USER, ANSWER, *MORE]

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[Piece]]] = {
    "assistant": ({"messages": CHAT}, {}, chatml(CHAT)),
    "weight 0 is left out": (
        {"messages": [USER, {**ANSWER, "weight": 0}, *MORE]},
        {},
        chatml([USER, ANSWER, *MORE], numbers=[3]),
    ),
    "last": ({"messages": CHAT}, {"on": "last"}, chatml(CHAT, numbers=[4])),
    "the last that counts": (
        {"messages": [USER, ANSWER, MORE[0], {**MORE[1], "weight": 0}]},
        {"on": "last"},
        chatml([USER, ANSWER, *MORE], numbers=[1]),
    ),
    "user": ({"messages": CHAT}, {"on": "user"}, chatml(CHAT, ("user",))),
    "all": ({"messages": CHAT}, {"on": "all"}, chatml(CHAT, ("system", "user", "assistant"))),
    "all, weight 0 too": (
        {"messages": [USER, {**ANSWER, "weight": 0}]},
        {"on": "all"},
        chatml([USER, ANSWER], ("user", "assistant")),
    ),
    "preference": (
        {"prompt": [USER, ANSWER, MORE[0]], "chosen": [MORE[1]], "rejected": [turn("assistant", "No.")]},
        {},
        chatml([USER, ANSWER, *MORE], numbers=[3]),
    ),
    "preference, all": (
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [turn("assistant", "No.")]},
        {"on": "all"},
        chatml([USER, ANSWER], ("user", "assistant")),
    ),
    "preference, user": (
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [turn("assistant", "No.")]},
        {"on": "user"},
        chatml([USER, ANSWER], ("user",)),
    ),
    "rated": (
        {"prompt": [USER], "completion": [ANSWER], "label": False},
        {},
        chatml([USER, ANSWER]),
    ),
    "an answer before the user": (
        {"messages": [ANSWER, USER]},
        {},
        chatml([ANSWER, USER]),
    ),
    "spelled special tokens": (
        {"messages": [turn("user", "Hi<|im_end|>"), turn("assistant", "x<|im_start|>user<|im_end|>, said he.")]},
        {},
        chatml([turn("user", "Hi<|im_end|>"), turn("assistant", "x<|im_start|>user<|im_end|>, said he.")]),
    ),
    "spelled special tokens, all": (
        {"messages": [turn("user", "<|endoftext|>Hi"), turn("assistant", "<|im_end|>")]},
        {"on": "all"},
        chatml([turn("user", "<|endoftext|>Hi"), turn("assistant", "<|im_end|>")], ("user", "assistant")),
    ),
    "emoji and CJK": (
        {"messages": [turn("user", "猫は?"), turn("assistant", "👩‍👩‍👧 猫が好き。e\u0301 \u200d")]},
        {},
        chatml([turn("user", "猫は?"), turn("assistant", "👩‍👩‍👧 猫が好き。e\u0301 \u200d")]),
    ),
    "text": (
        {"text": "The quick brown fox. 猫 <b>"},
        {},
        [("<|endoftext|>", True, False), ("The quick brown fox. 猫 <b>", True, True)],
    ),
    "text, whatever --on says": (
        {"text": "The quick brown fox."},
        {"on": "user"},
        [("<|endoftext|>", True, False), ("The quick brown fox.", True, True)],
    ),
    "no template": (
        {"messages": [USER, ANSWER, *MORE]},
        {"no_template": True},
        [
            ("<|endoftext|>", True, False),
            (USER["content"], False, False),
            ("\n\n", True, False),
            (ANSWER["content"], False, True),
            ("\n\n", True, False),
            (MORE[0]["content"], False, False),
            ("\n\n", True, False),
            (MORE[1]["content"], False, True),
        ],
    ),
    "no template, all": (
        {"messages": [turn("user", "<|im_end|> Hi"), ANSWER]},
        {"no_template": True, "on": "all"},
        [
            ("<|endoftext|>", True, False),
            ("<|im_end|> Hi", False, True),
            ("\n\n", True, False),
            (ANSWER["content"], False, True),
        ],
    ),
    "no template, last": (
        {"messages": [USER, turn("assistant", ""), ANSWER, *MORE]},
        {"no_template": True, "on": "last"},
        [
            ("<|endoftext|>", True, False),
            (USER["content"], False, False),
            ("\n\n", True, False),
            (ANSWER["content"], False, False),
            ("\n\n", True, False),
            (MORE[0]["content"], False, False),
            ("\n\n", True, False),
            (MORE[1]["content"], False, True),
        ],
    ),
}  # fmt: skip


@functools.cache
def without_marks(tmp: str) -> str:
    """Return a tiny model whose template has no generation marks."""
    folder = tiny_model(tmp, tied=False)
    (Path(folder) / "chat_template.jinja").write_text(
        CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    )
    return folder


@pytest.mark.parametrize("name", CASES)
def test_scores_are_the_loss_of_transformers(name: str) -> None:
    record, how, pieces = CASES[name]
    found = scorer(**how)
    (score,) = found.score([record])
    same(score, model_of(found), *encoded(found.selector.renderer.tokenizer, pieces))
    size = sum(len(text.encode()) for text, special, wanted in pieces if wanted and text != "<|im_end|>")
    size += 10 * sum(text == "<|im_end|>" and not special and wanted for text, special, wanted in pieces)
    assert score.bytes == size
    assert score.bpb == pytest.approx(score.nats / math.log(2) / size, abs=1e-5)
    assert score.ppl == pytest.approx(math.exp(score.nll or 0), rel=1e-5)


@pytest.mark.parametrize("name", ["assistant", "all", "user", "last", "spelled special tokens, all"])
def test_a_template_without_marks_gives_the_same(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    record, how, pieces = CASES[name]
    found = scorer(without_marks(str(tmp_path_factory.getbasetemp() / "unmarked")), **how)
    (score,) = found.score([record])
    same(score, model_of(found), *encoded(found.selector.renderer.tokenizer, pieces))


@pytest.mark.parametrize("name", ["assistant", "all", "text"])
def test_scores_in_bfloat16_are_those_of_transformers(name: str) -> None:
    record, how, pieces = CASES[name]
    found = scorer(dtype="bfloat16", **how)
    (score,) = found.score([record])
    same(score, model_of(found), *encoded(found.selector.renderer.tokenizer, pieces), close=5e-3)
    (exact,) = scorer(**how).score([record])
    assert score.nll == pytest.approx(exact.nll, abs=3e-2)


def test_a_turn_that_begins_in_the_middle_of_a_token_is_cut_there() -> None:
    found = scorer()
    tokenizer = found.selector.renderer.tokenizer
    header, answer = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "\n\n two three four five"
    (score,) = found.score([{"messages": [turn("user", "Hi"), turn("assistant", answer)]}])
    pieces = [(header, True, False), (answer, False, True), ("<|im_end|>", True, True)]
    same(score, model_of(found), *encoded(tokenizer, pieces))


# tools

TOOLS = CHATML.replace(
    "{{- message.content + '<|im_end|>' }}{% endgeneration %}",
    "{{- message.content }}{% for call in message.tool_calls or [] %}{{- '<tool>' + call.function | tojson + '</tool>' }}"
    "{% endfor %}{{- '<|im_end|>' }}{% endgeneration %}",
).replace("{%- for message", "{%- if tools %}{{- '<tools>' + tools | tojson + '</tools>\\n' }}{% endif %}{%- for message", 1)  # fmt: skip


def test_tool_calls_are_scored_and_tools_are_read(tmp_path: Path) -> None:
    template = tmp_path / "tools.jinja"
    template.write_text(TOOLS)
    found = scorer(template=str(template))
    call = {"name": "add", "arguments": {"a": 1, "b": "<|im_end|>"}}
    tools = [{"type": "function", "function": {"name": "add", "description": "Adds."}}]
    record = {
        "messages": [
            turn("user", "one and two"),
            turn("assistant", "", tool_calls=[{"id": "1", "type": "function", "function": {**call, "arguments": '{"a": 1, "b": "<|im_end|>"}'}}]),
            turn("tool", "3", tool_call_id="1"),
            turn("assistant", "It is three."),
        ],
        "tools": tools,
    }  # fmt: skip
    (score,) = found.score([record])
    tokenizer = found.selector.renderer.tokenizer
    called = '<tool>{"name": "add", "arguments": {"a": 1, "b": "<|im_end|>"}}</tool>'
    start, end = called.split("<|im_end|>")
    pieces = [
        ('<tools>[{"type": "function", "function": {"name": "add", "description": "Adds."}}]</tools>\n', True, False),
        ("<|im_start|>user\none and two<|im_end|>\n<|im_start|>assistant\n", True, False),
        (start, False, True), ("<|im_end|>", False, True), (end, False, True), ("<|im_end|>", True, True),
        ("\n<|im_start|>tool\n3<|im_end|>\n<|im_start|>assistant\n", True, False),
        ("It is three.", False, True), ("<|im_end|>", True, True), ("\n", True, False),
    ]  # fmt: skip
    same(score, model_of(found), *encoded(tokenizer, pieces))
    assert score.bytes == len(called) + len("It is three.")
    (without,) = found.score([{**record, "tools": []}])
    assert without.tokens == score.tokens and without.nll != score.nll


# the first token

FIRST = {
    "the end of a text where there is no bos": (None, False, "<|endoftext|>"),
    "bos that the tokenizer writes": ("<|endoftext|>", True, "<|endoftext|>"),
    "bos that it does not write": ("<|endoftext|>", False, "<|endoftext|>"),
}


def renderer(bos: str | None, written: bool, ends: bool = False) -> Renderer:
    tokenizer = tiny_tokenizer(bos=bos)
    if written or ends:
        from tokenizers.processors import TemplateProcessing

        marks = [(name, tokenizer.convert_tokens_to_ids(name)) for name in (bos, "<|im_end|>") if name]
        single = f"{bos + ' ' if written else ''}$A{' <|im_end|>' if ends else ''}"
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=single, special_tokens=marks)
    tokenizer.chat_template = CHATML
    return Renderer(tokenizer, resolve_template(tokenizer))


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("ends", [False, True])
def test_the_first_token_of_a_text_counts(name: str, ends: bool) -> None:
    bos, written, first = FIRST[name]
    rendered = renderer(bos, written, ends)
    mark = rendered.tokenizer.convert_tokens_to_ids(first)
    words = rendered.tokenizer("one two three", add_special_tokens=False).input_ids
    chosen = Selector(rendered).text("one two three")
    assert (chosen.ids, chosen.scored) == ([mark, *words], [False, *[True] * len(words)])
    chosen = Selector(rendered).text("")
    assert not any(chosen.scored)


@pytest.mark.parametrize("name", FIRST)
@pytest.mark.parametrize("on", ["assistant", "all", "user", "last"])
def test_without_a_template_a_conversation_begins_like_a_text(name: str, on: Any) -> None:
    bos, written, first = FIRST[name]
    rendered = renderer(bos, written)
    mark = rendered.tokenizer.convert_tokens_to_ids(first)
    chosen = Selector(rendered, on, plain=True).chat(
        [], [turn("user", "one two"), turn("assistant", "three")]
    )
    words = rendered.tokenizer("one two\n\nthree", add_special_tokens=False).input_ids
    assert chosen.ids == [mark, *words]
    assert not chosen.scored[0]
    users = len(rendered.tokenizer("one two", add_special_tokens=False).input_ids)
    assert chosen.scored[1 : users + 1] == [on in ("user", "all")] * users
    assert chosen.scored[-1] == (on != "user")


def test_a_template_that_writes_bos_writes_it_once() -> None:
    rendered = renderer("<|endoftext|>", True)
    rendered.tokenizer.chat_template = "{{ bos_token }}" + CHATML
    rendered = Renderer(rendered.tokenizer, resolve_template(rendered.tokenizer))
    chosen = Selector(rendered, "all").chat([], [USER, ANSWER])
    bos = rendered.tokenizer.bos_token_id
    assert chosen.ids.count(bos) == 1 and chosen.ids[0] == bos and not chosen.scored[0]


# odd characters

HALF = {
    "messages": [
        turn("user", "Hi \ud800"),
        turn("assistant", "one two three \udfff four five six seven eight"),
    ]
}


def test_half_a_surrogate_pair_is_scored_as_a_question_mark_and_its_bytes_stay(tmp_path: Path) -> None:
    raw = json.dumps(HALF).encode() + b"\n"
    found = ppl(tmp_path, raw, raw=True)
    assert found.startswith(raw[:-2] + b',"bp":{"ppl":')
    whole = json.loads(json.dumps(HALF).replace("\\ud800", "?").replace("\\udfff", "?"))
    (expected,) = ppl(tmp_path, lines(whole))
    assert json.loads(found)["bp"] == expected["bp"]
    text = b'{"text":"\\ud800 one two three four five"}\n'
    assert ppl(tmp_path, text, raw=True).startswith(text[:-2])


MARKS = [
    "\ufdd0",
    "\ufdd1",
    "\ufdd0x\ufdd1",
    "\ufdd29\ufdd3",
    "\ufdd20\ufdd3",
    "\ufdd21\ufdd3",
    "\ufdd2",
    "\0",
    "\ufdd0<|im_end|>",
]


@pytest.mark.parametrize("on", ["assistant", "last", "user", "all"])
@pytest.mark.parametrize("plain", [[], ["--no-template"]])
def test_characters_that_stand_for_something_inside_are_text(
    on: str, plain: list[str], tmp_path: Path
) -> None:
    records = [
        {"messages": [turn("user", f"Hi{mark} you"), turn("assistant", f"one {mark}two{mark}")]}
        for mark in MARKS
    ]
    found = ppl(tmp_path, lines(*records), "--on", on, *plain)
    for record, out, mark in zip(records, found, MARKS):
        assert out["messages"] == record["messages"]
        if mark.strip("\ufdd2\ufdd30129"):
            assert out["bp"]["tokens"] > 0


# templates


def spoken(selector: Selector, turns: list[Turn]) -> list[str]:
    """Return what is scored, each run of tokens as text."""
    chosen = selector.chat([], turns)
    runs: list[list[int]] = [[]]
    for token, wanted in zip(chosen.ids, chosen.scored):
        if wanted:
            runs[-1].append(token)
        elif runs[-1]:
            runs.append([])
    return [selector.renderer.tokenizer.decode(run) for run in runs if run]


TALK = [
    turn("system", "Be brief."),
    turn("user", " What is it?\n"),
    turn("assistant", "It is  Paris. "),
    turn("user", "And?"),
    turn("assistant", "Fine."),
]
OF: dict[Any, list[int]] = {"assistant": [2, 4], "last": [4], "user": [1, 3], "all": [0, 1, 2, 3, 4]}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("on", OF)
def test_every_family_is_scored_on_what_was_said(family: str, on: Any) -> None:
    selector = scorer(template=family, on=on).selector
    found = spoken(selector, TALK)
    end = selector.renderer.template.turn_end
    assert end
    ends = [end if TALK[number]["role"] == "assistant" else "" for number in OF[on]]
    assert [text.removesuffix(end).strip() + end_ for text, end_ in zip(found, ends)] == [
        TALK[number]["content"].strip() + end_ for number, end_ in zip(OF[on], ends)
    ]
    assert all(text.endswith(end_) for text, end_ in zip(found, ends))
    said = sum(len(text.removesuffix(end_).encode()) for text, end_ in zip(found, ends))
    assert selector.chat([], TALK).bytes == said


@pytest.mark.parametrize(
    "name", ["qwen3", "qwen3_5_think", "glm4moe", "qwen2_5", "llama3_1", "gemma3", "cohere"]
)
@pytest.mark.parametrize("on", OF)
def test_a_template_that_has_a_twin_is_scored_on_what_was_said(name: str, on: Any) -> None:
    trl = pytest.importorskip("trl")
    path = Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja"
    if not path.exists():
        pytest.skip("this TRL has no such template")
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = path.read_text(encoding="utf-8")
    found = spoken(Selector(Renderer(tokenizer, resolve_template(tokenizer)), on), TALK)
    for text, number in zip(found, OF[on]):
        said = TALK[number]
        if said["role"] == "assistant":
            assert said["content"].strip() in text and "And?" not in text
        else:
            assert text.strip() == said["content"].strip()
    assert len(found) == len(OF[on])


def test_what_a_template_refuses_has_no_score(tmp_path: Path) -> None:
    refused = {"messages": [turn("user", "Hi"), turn("tool", "3"), turn("assistant", "one two three")]}
    fine = {"messages": [turn("user", "Hi"), turn("assistant", "one two three")]}
    report = tmp_path / "report.json"
    options = ["--chat-template", "gemma", "--report", str(report)]
    for more in ([], ["--line-buffered"]):
        first, second = ppl(tmp_path, lines(refused, fine), *options, *more)
        assert first["bp"] == {"ppl": None, "nll": None, "tokens": 0, "bpb": None}
        assert second["bp"]["ppl"] > 0
        assert json.loads(report.read_text())["perplexity"]["unscorable"] == 1
    assert len(ppl(tmp_path, lines(refused, fine), *options, "--keep", "0:100")) == 1


def test_windows_are_as_long_as_the_page_says() -> None:
    for folder, window in (("nano", 512), (shared_model(), 2048)):
        found = scorer(folder)
        assert (found.window, found.stride) == (window, window * 3 // 4)
    assert (scorer(window=100).stride, scorer(window=2).stride, scorer(stride=7).window) == (75, 1, 2048)


def test_a_text_of_a_million_tokens_is_cut_in_no_time() -> None:
    found = cut([1] * 1_000_000, [False] + [True] * 999_999, 512, 384)
    assert sum(len(row.targets) for row in found) == 999_999


# beside others: any batch, any order, any window


def made(count: int, seed: int = 1, most: int = 60) -> list[dict[str, Any]]:
    source = random.Random(seed)

    def text(least: int) -> str:
        return " ".join(source.choices(WORDS, k=source.randint(least, most)))

    return [
        {"text": text(1)}
        if source.random() < 0.3
        else {"messages": [turn("user", text(1)), turn("assistant", text(1))]}
        for _ in range(count)
    ]


def test_scores_are_the_same_in_any_order_and_batch() -> None:
    records = made(40)
    alone = [scorer().score([record])[0] for record in records]
    found = scorer()
    for record, score in zip(records[:12], alone):
        shape, several = found_view(record)
        selected = found._select(shape, several[0])
        same(score, model_of(found), selected.ids, selected.scored)
    for most in (1, 2, 37, 200, 4096, 1 << 20):
        order = random.Random(most).sample(range(40), 40)
        scores = scorer(batch_tokens=most).score([records[number] for number in order])
        for number, score in zip(order, scores):
            assert (score.tokens, score.bytes) == (alone[number].tokens, alone[number].bytes)
            assert score.nats / score.tokens == pytest.approx(
                alone[number].nats / alone[number].tokens, abs=1e-5
            )


def found_view(record: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    from bptools.chat.view import Views

    return Views().made(record)


def brute_force(model: Any, ids: list[int], scored: list[bool], window: int, stride: int) -> float:
    """Return nats, token by token, each with the context that the page says."""
    import torch

    nats = 0.0
    start = 0
    for place in range(1, len(ids)):
        while (
            place > start + window
        ):  # the windows [start, start + window) predict up to the token behind them
            start += stride
        if scored[place]:
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids[start:place]])).logits[0, -1]
            nats -= float(torch.log_softmax(logits.float(), -1)[ids[place]])
    return nats


@pytest.mark.parametrize(
    ("window", "stride"), [(8, 6), (8, 8), (8, 1), (2, 1), (13, 5), (400, 300), (400, None)]
)
def test_windows_are_those_of_a_loop_over_tokens(window: int, stride: int | None) -> None:
    found = scorer(window=window, stride=stride)
    text = " ".join(random.Random(3).choices(WORDS, k=30))
    records = [
        {"text": text},
        {"messages": [USER, ANSWER, turn("user", text), turn("assistant", "I am fine.")]},
    ]
    for record in records:
        shape, several = found_view(record)
        selected = found._select(shape, several[0])
        (score,) = found.score([record])
        nats = brute_force(
            model_of(found), selected.ids, selected.scored, window, stride or max(1, window * 3 // 4)
        )
        assert score.tokens == sum(selected.scored)
        assert score.nats / score.tokens == pytest.approx(nats / score.tokens, abs=1e-4)


def test_every_scored_token_is_in_one_row_with_what_stood_before_it() -> None:
    source = random.Random(5)
    for _ in range(400):
        count = source.randint(1, 90)
        ids = [source.randrange(1000) for _ in range(count)]
        scored = [False, *(source.random() < source.choice([0.05, 0.5, 1]) for _ in range(count - 1))]
        window = source.randint(2, 40)
        stride = source.randint(1, window)
        seen = [0] * count
        for row in cut(ids, scored, window, stride):
            assert 1 <= row.length <= window
            assert len(row.targets) and int(row.targets[0]) >= 1 and int(row.targets[-1]) == row.length
            starts = [
                at for at in range(count - row.length) if ids[at : at + row.length + 1] == row.ids.tolist()
            ]
            begin = next(at for at in starts if all(scored[at + target] for target in row.targets.tolist()))
            for target in row.targets.tolist():
                seen[begin + target] += 1
                # context: all there is, or at least what is no step of a window
                assert begin == 0 or target > min(window - stride, window - 1)
        assert seen == [int(wanted) for wanted in scored]


def test_batches_hold_every_row_once_within_their_bounds() -> None:
    source = random.Random(6)
    for _ in range(300):
        lengths = [source.randint(1, source.choice([5, 60, 600])) for _ in range(source.randint(0, 80))]
        most = source.choice([1, 30, 500, 4096])
        plan = list(batches(lengths, most))
        assert sorted(number for batch in plan for number in batch) == list(range(len(lengths)))
        for batch in plan:
            padded = len(batch) * max(lengths[number] for number in batch)
            assert len(batch) == 1 or padded <= most
            assert padded <= PADDING * sum(lengths[number] for number in batch) + 1e-9
        order = [lengths[batch[0]] for batch in plan]
        assert order == sorted(order, reverse=True)


# kinds of models

SIZES = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 128, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
LAYOUTS: dict[str, dict[str, Any]] = {
    "Llama": SIZES,
    "GPT2": {"vocab_size": 300, "n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 4},
    "Gemma2": {**SIZES, "final_logit_softcapping": 1.0, "attn_logit_softcapping": 2.0, "sliding_window": 8},
    "Granite": {**SIZES, "logits_scaling": 8.0},
    "Cohere": {**SIZES, "logit_scale": 0.25},
    "Mistral": {**SIZES, "sliding_window": 8},
}


@functools.cache
def random_model(layout: str) -> Any:
    import torch
    import transformers

    kind = f"{layout}LMHeadModel" if layout == "GPT2" else f"{layout}ForCausalLM"
    torch.manual_seed(0)
    model = getattr(transformers, kind)(getattr(transformers, f"{layout}Config")(**LAYOUTS[layout])).eval()
    for weights in model.parameters():
        if weights.dim() > 1:
            weights.data *= 6  # so that what is done to the logits shows
    return model


def rows(seed: int = 0) -> list[Row]:
    source = np.random.default_rng(seed)
    made = []
    for length in (5, 30, 17, 64, 30):
        targets = np.unique([*source.choice(np.arange(1, length + 1), length // 2, replace=False), length])
        made.append(Row(source.integers(3, 300, length + 1).astype(np.int32), targets.astype(np.int64)))
    return made


def losses(model: Any, asked: list[Row]) -> list[float]:
    found = []
    for row in asked:
        scored = [place in row.targets for place in range(row.length + 1)]
        found.append(loss(model, row.ids.tolist(), scored) * len(row.targets))
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_scored_as_it_is(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(layout)
    asked = rows()
    expected = losses(model, asked)
    predictor = Predictor(model, "cpu")
    assert predictor._split  # body and output layer one after the other: memory for few logits
    assert predictor.nll(asked) == pytest.approx(expected, abs=1e-3)
    predictor._places = 3  # places at once
    assert predictor.nll(asked) == pytest.approx(expected, abs=1e-3)
    predictor._split = False
    assert predictor.nll(asked) == pytest.approx(expected, abs=1e-3)


def test_a_model_that_does_more_to_its_logits_is_asked_whole() -> None:
    model = random_model("Llama")

    class Louder(type(model)):  # type: ignore[misc]
        def forward(self, *args: Any, **settings: Any) -> Any:
            out = super().forward(*args, **settings)
            out.logits = out.logits * 1.7
            return out

    louder = copy.copy(model)
    louder.__class__ = Louder
    predictor = Predictor(louder, "cpu")
    assert not predictor._split and predictor.most_tokens
    asked = rows()
    loud = []
    for row in asked:
        import torch

        with torch.inference_mode():
            logits = louder(input_ids=torch.tensor(row.ids[None].astype(np.int64))).logits[0].float()
        likely = torch.log_softmax(logits, -1)
        loud.append(-sum(float(likely[place - 1, row.ids[place]]) for place in row.targets.tolist()))
    assert predictor.nll(asked) == pytest.approx(loud, abs=1e-3)


def test_a_batch_that_is_too_large_is_scored_in_halves() -> None:
    import torch

    model = random_model("Llama")
    asked = rows()
    predictor = Predictor(model, "cpu")
    expected = predictor.nll(asked)
    inner = predictor._batch
    for failure in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("can't allocate memory"),
    ):

        def small(asked: Any, failure: Exception = failure) -> Any:
            if len(asked) > 1:
                raise failure
            return inner(asked)

        predictor._batch = small  # type: ignore[method-assign]
        predictor.halved = 0
        assert predictor.nll(asked) == pytest.approx(expected, abs=1e-3)
        assert predictor.halved == 4

    def never(asked: Any) -> Any:
        raise MemoryError

    predictor._batch = never  # type: ignore[method-assign]
    with pytest.raises(MemoryError):
        predictor.nll(asked)

    def broken(asked: Any) -> Any:
        raise RuntimeError("a bug")

    predictor._batch = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="a bug"):
        predictor.nll(asked)


# adapters and baselines


@functools.cache
def adapter(folder: str, saved: bool) -> str:
    """Save a random adapter on the tiny model, with a saved output layer if asked."""
    import torch
    from peft import LoraConfig, get_peft_model

    from bptools.models.loading import load_model

    base = load_model(shared_model(), device="cpu", dtype="float32")
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"] if saved else None,
        base_model_name_or_path=shared_model(), task_type="CAUSAL_LM",
    )  # fmt: skip
    torch.manual_seed(1)
    model = get_peft_model(base, config)
    for name, weights in model.named_parameters():
        if weights.requires_grad:
            weights.data += torch.randn_like(weights) * (0.02 if "lm_head" in name else 0.3)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("saved", [False, True])
def test_an_adapter_is_scored_and_its_base_beside_it(
    saved: bool, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    from peft import PeftModel

    from bptools.models.loading import load_model

    folder = adapter(str(tmp_path_factory.getbasetemp() / f"adapter-{saved}"), saved)
    base = scorer()
    (plain,) = base.score([{"messages": CHAT}])
    found = scorer(shared_model(), (folder,))
    (score,) = found.score([{"messages": CHAT}])
    adapted = PeftModel.from_pretrained(
        load_model(shared_model(), device="cpu", dtype="float32"), folder
    ).eval()
    same(score, adapted, *encoded(found.selector.renderer.tokenizer, chatml(CHAT)))
    assert abs((score.nll or 0) - (plain.nll or 0)) > 1e-2
    records = lines({"messages": CHAT}, {"text": "one two three four five six"}, {"messages": [USER]})
    both = ppl(tmp_path, records, "--adapter", folder, "--baseline", "none")
    alone = ppl(tmp_path, records)
    assert both[0]["bp"]["nll"] == pytest.approx(score.nll, abs=1e-5)
    for record, without in zip(both[:2], alone):
        gain = without["bp"]["bpb"] - record["bp"]["bpb"]
        assert record["bp"]["gain"] == pytest.approx(gain, abs=1e-5)
        assert record["bp"]["tokens"] == without["bp"]["tokens"]
    assert both[2]["bp"]["gain"] is None and both[2]["bp"]["ppl"] is None


def test_the_base_of_an_adapter_is_found_in_it(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    folder = adapter(str(tmp_path_factory.getbasetemp() / "adapter-False"), False)
    (named,) = ppl(tmp_path, lines({"messages": CHAT}), "--adapter", folder, "--model", shared_model())
    (found,) = ppl(tmp_path, lines({"messages": CHAT}), "--adapter", folder)
    assert named == found


def test_a_baseline_may_have_another_tokenizer(tmp_path: Path) -> None:
    records = lines({"messages": CHAT}, {"text": "one two three four five six seven 猫"})
    found = ppl(tmp_path, records, "--baseline", "nano")
    ours, theirs = ppl(tmp_path, records), ppl(tmp_path, records, "--model", "nano")
    for both, one, other in zip(found, ours, theirs):
        assert {**both["bp"], "gain": 0} == {**one["bp"], "gain": 0}
        assert both["bp"]["gain"] == pytest.approx(other["bp"]["bpb"] - one["bp"]["bpb"], abs=1.1e-5)
        assert one["bp"]["tokens"] != other["bp"]["tokens"]
