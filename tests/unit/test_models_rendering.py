"""Which tokens of a conversation are trained: decoded, for each template and each way to know it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import trl

from bptools.core.errors import DataError, InputError
from bptools.models.rendering import Renderer
from bptools.models.templates import FAMILIES, Template, family_text, resolve_template
from tests.tiny import CHATML, tiny_tokenizer

TRL_TEMPLATES = Path(trl.__file__).parent / "chat_templates"
SPECIAL = {
    "chatml": (("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", None),
    "alpaca": (("<pad>", "<s>", "</s>"), "</s>", "<s>"),
    "llama3": (
        (
            "<|finetune_right_pad_id|>",
            "<|begin_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
        ),
        "<|eot_id|>",
        "<|begin_of_text|>",
    ),
    "mistral": (("<unk>", "<s>", "</s>", "[INST]", "[/INST]"), "</s>", "<s>"),
    "gemma": (("<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", "<bos>"),
    "zephyr": (("<unk>", "<s>", "</s>"), "</s>", "<s>"),
}
TURN_ENDS = {
    "chatml": "<|im_end|>", "alpaca": "</s>", "llama3": "<|eot_id|>", "mistral": "</s>", "gemma": "<end_of_turn>",
    "zephyr": "</s>",
}  # fmt: skip
SYSTEM = {"role": "system", "content": "Be brief."}
CHAT = [
    {"role": "user", "content": "Hello, how are you?"},
    {"role": "assistant", "content": "I am fine, thank you."},
    {"role": "user", "content": "What is 1 + 1?"},
    {"role": "assistant", "content": "Two."},
]


def of_family(name: str) -> Renderer:
    special, eos, bos = SPECIAL[name]
    tokenizer = tiny_tokenizer(special, eos, bos)
    return Renderer(tokenizer, resolve_template(tokenizer, name))


def of_text(text: str, **settings: Any) -> Renderer:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = text
    return Renderer(tokenizer, resolve_template(tokenizer), **settings)


def trained_texts(renderer: Renderer, messages: list[dict[str, Any]], tools: Any = None) -> list[str]:
    """Return the runs of trained tokens, decoded."""
    ids, trained = renderer.encode_chat(messages, tools)
    assert len(ids) == len(trained)
    runs: list[list[int]] = []
    before = False
    for id, now in zip(ids, trained, strict=True):
        if now and not before:
            runs.append([])
        if now:
            runs[-1].append(id)
        before = now
    return [renderer.tokenizer.decode(run) for run in runs]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("with_system", [False, True])
def test_every_answer_with_its_turn_end_and_nothing_else(name: str, with_system: bool) -> None:
    renderer = of_family(name)
    end = TURN_ENDS[name]
    space = " " if name == "mistral" else ""
    assert renderer.template.turn_end == end
    messages = [SYSTEM, *CHAT] if with_system else CHAT
    assert trained_texts(renderer, messages) == [f"{space}I am fine, thank you.{end}", f"{space}Two.{end}"]
    ids, _ = renderer.encode_chat(messages)
    assert renderer.tokenizer.decode(ids) == renderer.text(messages)


@pytest.mark.parametrize("name", FAMILIES)
def test_ids_and_mask_are_those_of_stock_transformers(name: str) -> None:
    renderer = of_family(name)
    renderer.tokenizer.chat_template = renderer.template.text
    stock = renderer.tokenizer.apply_chat_template(
        CHAT, return_dict=True, return_assistant_tokens_mask=True, tokenize=True
    )
    ids, trained = renderer.encode_chat(CHAT)
    assert ids == stock["input_ids"]
    assert [int(one) for one in trained] == stock["assistant_masks"]
    prompt = renderer.tokenizer.apply_chat_template(CHAT[:3], add_generation_prompt=True, return_dict=False)
    assert renderer.encode_prompt(CHAT[:3]) == prompt


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_is_the_beginning_of_the_conversation(name: str) -> None:
    renderer = of_family(name)
    ids, trained = renderer.encode_chat(CHAT)
    prompt = renderer.encode_prompt(CHAT[:3])
    assert ids[: len(prompt)] == prompt
    assert trained.index(True, ids.index(ids[-1])) <= len(prompt)
    assert all(trained[len(prompt) : len(prompt) + 3])


@pytest.mark.parametrize("name", [*FAMILIES, "prefixes", "twin"])
def test_a_turn_of_weight_0_is_not_trained(name: str) -> None:
    if name == "prefixes":
        renderer = of_text(CHATML.replace("{% generation %}", "").replace("{% endgeneration %}", ""))
    elif name == "twin":
        renderer = of_text((TRL_TEMPLATES / "qwen2_5.jinja").read_text())
    else:
        renderer = of_family(name)
    messages = [CHAT[0], {**CHAT[1], "weight": 0}, CHAT[2], {**CHAT[3], "weight": 1}]
    (only,) = trained_texts(renderer, messages)
    assert only.strip().startswith("Two.")


def test_a_known_template_without_marks_gets_those_of_its_twin() -> None:
    renderer = of_text((TRL_TEMPLATES / "qwen2_5.jinja").read_text())
    assert not renderer.template.has_generation
    assert trained_texts(renderer, [SYSTEM, *CHAT]) == ["I am fine, thank you.<|im_end|>", "Two.<|im_end|>"]
    ids, _ = renderer.encode_chat(CHAT)
    assert renderer.tokenizer.decode(ids) == renderer.text(CHAT)


def test_an_unknown_template_without_marks_is_understood_by_prefixes() -> None:
    # the header ends in a space, which would be of one token with the first word: both are cut as a prompt is
    text = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}<|im_end|>{% endfor %}" \
           "{% if add_generation_prompt %}<|im_start|>assistant: {% endif %}"  # fmt: skip
    assert trained_texts(of_text(text), [SYSTEM, *CHAT]) == [
        "I am fine, thank you.<|im_end|>",
        "Two.<|im_end|>",
    ]
    renderer = of_text(text)
    prompt = renderer.encode_prompt([SYSTEM, *CHAT[:1]])
    assert renderer.encode_chat([SYSTEM, *CHAT])[0][: len(prompt)] == prompt


def test_a_template_that_rewrites_earlier_turns_is_refused_with_the_cure() -> None:
    text = "{% for m in messages %}{{ m.role }}: {{ m.content if loop.last else m.content | upper }}<|im_end|>{% endfor %}" \
           "{% if add_generation_prompt %}assistant: {% endif %}"  # fmt: skip
    with pytest.raises(DataError, match="choose a --chat-template of chatml, "):
        of_text(text).encode_chat(CHAT)


def test_marks_without_the_turn_end_are_widened_and_with_more_are_narrowed() -> None:
    short = CHATML.replace(
        " + '<|im_end|>' }}{% endgeneration %}", " }}{% endgeneration %}{{- '<|im_end|>' }}"
    )
    wide = CHATML.replace("+ '<|im_end|>' }}{% endgeneration %}", "+ '<|im_end|>\\n' }}{% endgeneration %}")
    assert short != CHATML != wide
    expected = ["I am fine, thank you.<|im_end|>", "Two.<|im_end|>"]
    assert trained_texts(of_text(short), CHAT) == expected
    assert trained_texts(of_text(wide), CHAT) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_a_marker_that_somebody_types_stays_text(name: str) -> None:
    renderer = of_family(name)
    end = TURN_ENDS[name]
    number = renderer.tokenizer.convert_tokens_to_ids(end)
    clean, _ = renderer.encode_chat(CHAT)
    messages = [
        {**CHAT[0], "content": f"Say {end} and {end}!"},
        {**CHAT[1], "content": f"{end} said"},
        *CHAT[2:],
    ]
    ids, trained = renderer.encode_chat(messages)
    assert ids.count(number) == clean.count(number)
    assert f"Say {end} and {end}!" in renderer.tokenizer.decode(ids)
    assert trained_texts(renderer, messages)[0].strip() == f"{end} said{end}"
    prompt = renderer.encode_prompt(messages[:1])
    assert ids[: len(prompt)] == prompt
    assert prompt.count(number) == renderer.encode_prompt(CHAT[:1]).count(number)
    assert len(trained) == len(ids)


def test_the_marks_of_protection_cannot_be_forged() -> None:
    renderer = of_family("chatml")
    forged = [{"role": "user", "content": "\ufdd1<|im_end|>\ufdd0 \ufdd0<|im_end|>\ufdd1"}]
    ids = renderer.encode_prompt(forged)
    assert ids.count(renderer.tokenizer.eos_token_id) == 1
    assert "\ufdd0" not in renderer.tokenizer.decode(ids)


def test_tool_calls_are_trained_and_their_arguments_are_objects() -> None:
    renderer = of_family("chatml")
    arguments = {"city": "Rome"}
    for given in (arguments, json.dumps(arguments)):
        call = {"type": "function", "function": {"name": "weather", "arguments": given}}
        messages = [
            {"role": "user", "content": "Weather in Rome?"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "sunny"},
            {"role": "assistant", "content": "It is sunny."},
        ]
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
        assert trained_texts(renderer, messages, tools) == [
            '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call><|im_end|>',
            "It is sunny.<|im_end|>",
        ]
        assert "<tool_response>\nsunny\n</tool_response>" in renderer.text(messages, tools)
        assert '"parameters": {"type": "object"}' in renderer.text(messages, tools)


def test_llama3_calls_are_trained_too() -> None:
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    messages = [CHAT[0], {"role": "assistant", "content": "", "tool_calls": [call]}]
    assert trained_texts(of_family("llama3"), messages) == [
        '{"name": "weather", "parameters": {"city": "Rome"}}<|eot_id|>'
    ]


def test_what_a_template_has_no_place_for_is_said() -> None:
    with pytest.raises(DataError, match="no place for the role tool"):
        of_family("gemma").encode_prompt([*CHAT[:1], {"role": "tool", "content": "x"}])


def test_template_kwargs_reach_the_template() -> None:
    text = "{% if shout %}LOUD{% endif %}" + CHATML
    assert of_text(text, template_kwargs={"shout": True}).text(CHAT).startswith("LOUD<|im_start|>")
    assert of_text(text).text(CHAT).startswith("<|im_start|>")


def test_plain_text_begins_and_ends_as_the_tokenizer_says() -> None:
    renderer = of_family("chatml")
    eos = renderer.tokenizer.eos_token_id
    assert renderer.encode_text("Hello", add_eos=True) == [*renderer.encode_text("Hello", add_eos=False), eos]
    assert renderer.encode_text("Hello<|im_end|>", add_eos=True).count(eos) == 1
    assert renderer.tokenizer.decode(renderer.encode_text("Héllo wörld", add_eos=False)) == "Héllo wörld"


# which template


def test_a_model_keeps_its_own() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML
    assert resolve_template(tokenizer) == Template("model", CHATML, "<|im_end|>", True)


@pytest.mark.parametrize("name", ["chatml", "llama3", "mistral", "gemma"])
def test_a_base_model_with_the_markers_of_a_family_gets_that(name: str) -> None:
    tokenizer = tiny_tokenizer(*SPECIAL[name])
    template = resolve_template(tokenizer)
    assert (template.name, template.text, template.missing) == (name, family_text(name), ())


def test_a_base_model_without_markers_gets_plain_text_that_ends_in_eos() -> None:
    template = resolve_template(tiny_tokenizer(("<pad>", "<s>", "</s>"), "</s>", "<s>"))
    assert (template.name, template.turn_end) == ("alpaca", "</s>")


def test_markers_that_were_never_trained_are_as_good_as_none(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from tests.tiny import tiny_model

    folder = tiny_model(str(tmp_path / "base"), template=False)
    tokenizer = tiny_tokenizer()
    assert resolve_template(tokenizer, "auto", folder).name == "chatml"
    weights = load_file(f"{folder}/model.safetensors")
    embeddings = weights["model.embed_tokens.weight"]
    number = tokenizer.convert_tokens_to_ids("<|im_start|>")
    kept = embeddings[number].clone()
    embeddings[number] = kept / 1000
    save_file(weights, f"{folder}/model.safetensors", {"format": "pt"})
    assert resolve_template(tokenizer, "auto", folder).name == "alpaca"
    embeddings[number] = embeddings[
        tokenizer.convert_tokens_to_ids("<|im_end|>")
    ]  # both set to the mean, say
    save_file(weights, f"{folder}/model.safetensors", {"format": "pt"})
    assert resolve_template(tokenizer, "auto", folder).name == "alpaca"
    embeddings[number] = kept
    save_file(weights, f"{folder}/model.safetensors", {"format": "pt"})
    assert resolve_template(tokenizer, "auto", folder).name == "chatml"
    assert torch.equal(load_file(f"{folder}/model.safetensors")["model.embed_tokens.weight"][number], kept)


def test_a_name_says_which_markers_have_no_token() -> None:
    tokenizer = tiny_tokenizer()
    assert resolve_template(tokenizer, "llama3").missing == (
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
    )
    assert len(tokenizer) == len(tiny_tokenizer())


def test_a_template_from_a_file_or_another_model(tmp_path: Path) -> None:
    from tests.tiny import shared_model

    tokenizer = tiny_tokenizer()
    (tmp_path / "mine.jinja").write_text(CHATML)
    assert resolve_template(tokenizer, str(tmp_path / "mine.jinja")).name == "mine.jinja"
    assert resolve_template(tokenizer, f"from:{shared_model()}").text == CHATML
    with pytest.raises(InputError, match="no chat template 'nonesuch'; choose auto, chatml"):
        resolve_template(tokenizer, "nonesuch")
    with pytest.raises(InputError, match="has no chat template"):
        resolve_template(tokenizer, f"from:{shared_model(template=False)}")
    (tmp_path / "broken.jinja").write_text("{% for m in messages %}")
    with pytest.raises(DataError, match="the chat template cannot render this"):
        resolve_template(tokenizer, str(tmp_path / "broken.jinja"))


def test_two_thousand_chats_take_seconds() -> None:
    """A guard against a regression of an order of magnitude; 1.0 s when it was written."""
    renderer = of_family("chatml")
    messages = [SYSTEM, *(CHAT * 4)]
    start = time.process_time()
    for _ in range(2000):
        renderer.encode_chat(messages)
    assert time.process_time() - start < 8


# what is trained of each answer beside its text, where that is more than nothing
BEFORE = {
    "glm4moe": "\n<think></think>\n", "gptoss": "<|channel|>final<|message|>", "muse_glimmer": " to=user<|message|>",
    "nemotron_3_5_lightning": "<think></think>", "nemotron_3_nano": "<think></think>",
    "nemotron_3_super": "<think></think>", "nemotron_3_ultra": "<think></think>", "qwen3": "<think>\n\n</think>\n\n",
    "qwen3_5_think": "\n</think>\n\n", "qwen3_6": "\n</think>\n\n", "qwen3_8": "\n</think>\n\n",
}  # fmt: skip
NO_TEXT = {"idefics3", "smolvlm", "llava_next"}  # these want lists of images and texts


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(TRL_TEMPLATES.glob("*.jinja")) if "training" not in path.name],
    ids=lambda path: path.stem,
)
def test_templates_of_well_known_models_train_every_answer(path: Path) -> None:
    """All that TRL carries: Qwen, Llama, Gemma, Phi, Cohere, DeepSeek, GLM, gpt-oss and others."""
    text = path.read_text()
    found = set(re.findall(r"<[|｜][\w▁]+[|｜]>|</?s>|<\w+_of_turn>|\[/?INST\]", text))
    first, eos, bos = ("<|endoftext|>", "<|im_start|>", "<|im_end|>"), "<|im_end|>", "<|endoftext|>"
    tokenizer = tiny_tokenizer((*first, *sorted(found - set(first))), eos, bos)
    tokenizer.chat_template = text
    if path.stem in NO_TEXT:
        with pytest.raises(DataError):
            resolve_template(tokenizer)
        return
    renderer = Renderer(tokenizer, resolve_template(tokenizer))
    before = BEFORE.get(path.stem, "")
    answers = trained_texts(renderer, CHAT)
    assert len(answers) == 2
    for answer, message in zip(answers, CHAT[1::2], strict=True):
        start = before + message["content"]
        assert answer.startswith(start)
        assert re.fullmatch(r"(<[|｜]?[\w▁]+[|｜]?>)+|<turn\|>", answer[len(start) :])
