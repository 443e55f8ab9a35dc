"""Text in a chat template comes back as its messages; prose stays prose; no text is ever lost."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.chat.transcripts import (
    Transcript,
    parse,
    read,
    recognise,
    unescape,
    was_escaped,
)

U, A, S = "user", "assistant", "system"


def chatml(turns):
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)


def llama3(turns):
    return "<|begin_of_text|>" + "".join(
        f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in turns
    )


def gemma(turns):
    names = {A: "model"}
    return "<bos>" + "".join(f"<start_of_turn>{names.get(r, r)}\n{text}<end_of_turn>\n" for r, text in turns)


def zephyr(turns):
    return "".join(f"<|{role}|>\n{text}</s>\n" for role, text in turns)


def phi3(turns):
    return "".join(f"<|{role}|>\n{text}<|end|>\n" for role, text in turns) + "<|endoftext|>"


def tulu(turns):
    return "".join(f"<|{role}|>\n{text}" + ("\n" if role != A else "<|endoftext|>\n") for role, text in turns)


def llama2(turns):
    text, system = "", ""
    for role, content in turns:
        if role == S:
            system = f"<<SYS>>\n{content}\n<</SYS>>\n\n"
        elif role == U:
            text += f"<s>[INST] {system}{content} [/INST]"
            system = ""
        else:
            text += f" {content} </s>"
    return text


def mistral(turns):
    return "<s>" + "".join(f"[INST] {c}[/INST]" if r == U else f" {c}</s>" for r, c in turns if r != S)


def vicuna(turns):
    names = {U: "USER: {} ", A: "ASSISTANT: {}</s>", S: "A chat between a user and an assistant. {} "}
    return "".join(names[role].format(text) for role, text in turns)


def alpaca(turns):
    names = {U: "### Instruction:\n{}\n\n", A: "### Response:\n{}\n\n", S: "You are this: {}\n\n"}
    return "".join(names[role].format(text) for role, text in turns)[:-2]


def hh(turns):
    names = {U: "\n\nHuman: ", A: "\n\nAssistant: ", S: "You are this: "}
    return "".join(names[role] + text for role, text in turns)


def guanaco(turns):
    return "".join(
        f"### {'Human' if role == U else 'Assistant'}: {text}" for role, text in turns if role != S
    )


def lines(turns):
    return "\n".join(f"{'Human' if role == U else 'Assistant'}: {text}" for role, text in turns if role != S)


TEMPLATES = {
    chatml: "text:chatml", llama3: "text:llama3", gemma: "text:gemma", zephyr: "text:zephyr", phi3: "text:zephyr",
    tulu: "text:zephyr", llama2: "text:llama2", mistral: "text:mistral", vicuna: "text:vicuna", alpaca: "text:alpaca",
    hh: "text:human-assistant", guanaco: "text:human-assistant", lines: "text:human-assistant",
}  # fmt: skip
PREFIX = {vicuna: "A chat between a user and an assistant. ", alpaca: "You are this: ", hh: "You are this: "}
NO_SYSTEM = {mistral, guanaco, lines}

words = st.sampled_from(
    [
        "word",
        "Über",
        "漢字",
        "\U0001f600",
        "a\nb",
        "x\n\ny",
        "    code",
        "<b>",
        "# Title",
        "Q: A:",
        "{}",
        "</p>",
        "\\n",
        "1.",
    ]
)
contents = st.lists(words, min_size=1, max_size=4).map(" ".join).map(str.strip)
chats = st.lists(st.tuples(contents, contents), min_size=1, max_size=3)


@pytest.mark.parametrize("template", list(TEMPLATES), ids=lambda template: template.__name__)
@settings(max_examples=60, deadline=None)
@given(system=st.none() | contents, rounds=chats)
def test_a_rendered_chat_comes_back(template, system, rounds):
    turns = [turn for question, answer in rounds for turn in ((U, question), (A, answer))]
    if system is not None and template not in NO_SYSTEM:
        turns = [(S, system), *turns]
    found = read(template(turns))
    assert found is not None and found.format == TEMPLATES[template] and not found.unescaped
    expected = [(r, PREFIX.get(template, "") + c if r == S else c) for r, c in turns]
    assert [(m["role"], m["content"]) for m in found.messages] == expected
    assert recognise(template(turns)) == TEMPLATES[template]
    assert parse(template(turns), TEMPLATES[template]) == found.messages


MARKS = [
    "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>", "<|im_end|>\n", "[INST] ", " [/INST]", " [/INST] ", "</s>",
    "<s>", "<<SYS>>\n", "\n<</SYS>>\n\n", "<|start_header_id|>user<|end_header_id|>\n\n", "<|eot_id|>",
    "<|start_header_id|>assistant<|end_header_id|>\n\n", "<start_of_turn>user\n", "<start_of_turn>model\n",
    "<end_of_turn>\n", "<|user|>\n", "<|assistant|>\n", "<|end|>\n", "USER: ", "ASSISTANT: ", " USER: ", " ASSISTANT: ",
    "\nUSER: ", "\nASSISTANT: ", "\n\n\nFUNCTION RESPONSE: ", "### Instruction:\n", "### Input:\n", "### Response:\n",
    "\n\n### Response:\n", "### Human: ", "### Assistant: ", "\n\nHuman: ", "\n\nAssistant: ", "\nHuman: ", "Human: ",
    "<|endoftext|>", "[TOOL_CALLS] ", "[TOOL_RESULTS] ", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "\n", "\n\n", "\\n", "You are ", "A chat between ",
]  # fmt: skip
FAMILIES = [MARKS[:4], MARKS[4:11] + MARKS[-11:-5], [*MARKS[11:14], "<|eot_id|>"], MARKS[14:17], [*MARKS[17:20], "</s>"],
            [*MARKS[20:27], "</s>"], MARKS[27:31], MARKS[31:37], MARKS]  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.data())
def test_nothing_but_markers_is_ever_lost(data):
    marks = data.draw(st.sampled_from(FAMILIES))
    parts = data.draw(st.lists(st.sampled_from(["w", "w", *marks, *marks]), max_size=14))
    text = "".join(f"w{number}w" if part == "w" else part for number, part in enumerate(parts))
    found = read(text)
    if found is not None:
        kept = " ".join(each["content"] for each in found.messages)
        assert re.findall(r"w\d+w", kept) == re.findall(r"w\d+w", text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(MARKS) | st.text(max_size=5), max_size=12).map("".join))
def test_any_text_is_survived(text):
    found = read(text)
    assert recognise(text) == (found.format if found else None)
    for name in set(TEMPLATES.values()):
        parse(text, name)


@pytest.mark.parametrize("text", [
    "", "Plain.", "Use ### Instruction:\nand\n### Response:\nas markers", "# Guide\n\n### Instruction:\nX\n\n### Response:\nY",
    "In the play:\nHuman: To be\nAssistant: or not", "The log says USER: x ASSISTANT: y", "Human: alone", "Human: a\n\nHuman: b",
    "In Llama 2, [INST] begins a turn and [/INST] ends it", "[INST] a [/INST] b [/INST] c", "Wrap it in <|user|> and <|assistant|>.",
    "The token <|im_start|> begins a turn", "### Instruction:\nX\n\n### Response:\n", "[INST] Hi [/INST]", "USER: Hi ASSISTANT:",
    "<|user|>\nHi</s>\n", "### Instructions\n1. Mix\n\n### Response time\nFast", "Interviewer: a\nHuman: b\nAssistant: c",
    "### Response:\nY\n\n### Instruction:\nX", "USER: a ASSISTANT: b USER: c", "<start_of_turn> is Gemma's <end_of_turn>",
    "Assistant: Hi\n\nHuman: Ho", "<|user|>\nHi</s> and more\n<|assistant|>\nHo</s>", "<s>[INST] a [/INST] b </s> c",
])  # fmt: skip
def test_prose_and_fragments_stay_text(text):
    assert read(text) is None


EXCHANGE = [{"role": U, "content": "Hi"}, {"role": A, "content": "Ho"}]


@pytest.mark.parametrize(("text", "name"), [
    ("[INST]Hi[/INST]Ho</s>", "text:mistral"), ("<s>[INST] Hi [/INST] Ho", "text:mistral"),
    ("<s>[INST] Hi [/INST] Ho </s>", "text:llama2"), ("<s> [INST] Hi [/INST]\nHo</s>", "text:mistral"),
    ("<|user|>Hi<|end|><|assistant|>Ho<|end|>", "text:zephyr"), ("<|user|>\nHi</s>\n<|assistant|>\nHo", "text:zephyr"),
    ("\ufeffUSER: Hi\nASSISTANT: Ho", "text:vicuna"), ("USER: Hi\n\n\nASSISTANT: Ho <|endoftext|>\n\n\n", "text:vicuna"),
    ("USER: Hi ASSISTANT: Ho", "text:vicuna"), ("USER: Hi ASSISTANT: Ho</s>", "text:vicuna"),
    ("### Instruction: Hi\n### Response: Ho\n### End", "text:alpaca"), ("### Instruction:\nHi\n\n### Response:\nHo</s>", "text:alpaca"),
    ("Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
     "### Instruction:\nHi\n\n### Response:\nHo", "text:alpaca"),
    ("### Instruction:\nHi\n\n### Input:\n\n\n### Response:\nHo", "text:alpaca"),
    ("### Human: Hi\n### Assistant: Ho", "text:human-assistant"), ("Human: Hi\n\nAssistant: Ho", "text:human-assistant"),
    (gemma([(U, "Hi"), (A, "Ho")]) + "<start_of_turn>model\n", "text:gemma"), (llama3([(U, "Hi"), (A, "Ho")])[:-10], "text:llama3"),
    (llama3([(U, "Hi"), (A, "Ho")]) + "<|start_header_id|>assistant<|end_header_id|>\n\n", "text:llama3"),
])  # fmt: skip
def test_dialects(text, name):
    assert read(text) == Transcript(name, EXCHANGE)


def test_the_input_joins_the_instruction():
    found = read("### Instruction:\nTranslate.\n\n### Input:\nUn chat\n\n### Response:\nA cat")
    assert found.messages[0]["content"] == "Translate.\n\nUn chat"


def test_hh_turns_only_at_a_blank_line():
    text = "\n\nHuman: Write a play\n\nAssistant: Sure:\nHuman: To be?\nAssistant: Or not.\n\nHuman: More \n\nAssistant:"
    turns = [(U, "Write a play"), (A, "Sure:\nHuman: To be?\nAssistant: Or not."), (U, "More "), (A, "")]
    assert [(m["role"], m["content"]) for m in read(text).messages] == turns


def test_glaive_calls_and_responses():
    text = (
        "SYSTEM: You have functions.\nUSER: Rate?\n\n\nASSISTANT: Let me see. <functioncall> "
        '{"name": "rate", "arguments": \'{"to": "it\\\'s"}\'} <|endoftext|>\n\n\nFUNCTION RESPONSE: {"rate": 0.8}\n\n\n'
        "ASSISTANT: 0.8. <|endoftext|>\n\n\nUSER: Thanks\n\n\nASSISTANT: <functioncall> oops <|endoftext|>"
    )
    call = {"type": "function", "function": {"name": "rate", "arguments": {"to": "it's"}}}
    assert read(text).messages == [
        {"role": S, "content": "You have functions."}, {"role": U, "content": "Rate?"},
        {"role": A, "content": "Let me see.", "tool_calls": [call]}, {"role": "tool", "content": '{"rate": 0.8}'},
        {"role": A, "content": "0.8."}, {"role": U, "content": "Thanks"}, {"role": A, "content": "<functioncall> oops"},
    ]  # fmt: skip


def test_mistral_tools():
    tools = [{"type": "function", "function": {"name": "f"}}]
    call = {"name": "f", "arguments": {"x": 1}, "id": "abc"}
    text = (
        f"<s>[AVAILABLE_TOOLS] {json.dumps(tools)}[/AVAILABLE_TOOLS][INST] Hi[/INST][TOOL_CALLS] {json.dumps([call])}</s>"
        '[TOOL_RESULTS] {"content": 22, "call_id": "abc"}[/TOOL_RESULTS] Ho</s>'
    )
    found = read(text)
    assert found.tools == tools and parse(text, "text:mistral") is None
    assert found.messages == [
        {"role": U, "content": "Hi"},
        {"role": A, "content": "", "tool_calls": [{"type": "function", "id": "abc", "function": {"name": "f", "arguments": {"x": 1}}}]},
        {"role": "tool", "content": "22", "tool_call_id": "abc"}, {"role": A, "content": "Ho"},
    ]  # fmt: skip


@pytest.mark.parametrize("template", [chatml, llama3, gemma, zephyr, phi3, llama2, alpaca, hh, lines],
                         ids=lambda template: template.__name__)  # fmt: skip
def test_escaped_newlines_are_resolved_once(template):
    turns = [(S, "Be brief."), (U, 'Print "\\n" in\nC:\\dir'), (A, "It's\tso\nü")]
    turns = turns[1:] if template in NO_SYSTEM else turns
    text = json.dumps(template(turns))[1:-1]
    assert was_escaped(text)
    found = read(text)
    assert found is not None and found.unescaped and found.format == TEMPLATES[template]
    assert found.messages == read(template(turns)).messages


def test_backslash_n_in_a_content_is_not_touched_where_the_template_reads_without():
    found = read("### Human: What is \\n?### Assistant: A newline")
    assert not found.unescaped and found.messages[0]["content"] == "What is \\n?"


@pytest.mark.parametrize(("text", "plain"), [
    (r"a\nb\tc\r\"\\n", 'a\nb\tc\r"\\n'), (r"C:\dir \x \u12", r"C:\dir \x \u12"), (r"\u00e9 \ud83d\ude00", "é \U0001f600"),
    (r"\ud83d alone \ude00", r"\ud83d alone \ude00"), ("\\", "\\"), (r"\ud800\ude0g", r"\ud800\ude0g"), (r"\u0041\udc00", r"A\udc00"),
])  # fmt: skip
def test_unescape(text, plain):
    assert unescape(text) == plain


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_unescape_undoes_json(text):
    if not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", text):
        assert unescape(json.dumps(text)[1:-1]) == text


def test_hostile_texts_take_linear_time():
    for piece in (
        "[INST] ",
        "[/INST]",
        "<|user|>\n",
        "USER: ",
        " ASSISTANT: a",
        "\n\nHuman: ",
        "### Response:\n",
        "</s>",
        "\\n",
    ):
        read("<|im_start|>" * 3 + piece * 100_000)
        read(piece * 100_000 + " ASSISTANT:")
        read("\n" * 100_000 + "Human: a\n\nAssistant: " + "<s>" * 50_000)
