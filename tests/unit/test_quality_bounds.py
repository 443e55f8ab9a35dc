"""Bounds: the quick ways decide as the plain ones do, and bytes alone never decide wrongly."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.chat.convert import Converter
from bptools.chat.formats import PARTS
from bptools.chat.tokens import approximate_tokens
from bptools.chat.view import Views
from bptools.core.errors import UsageError
from bptools.core.records import Drop, Reject
from bptools.quality import Length, Range, Structure, parse_where
from bptools.quality.fields import Where

ROLES = ["user", "assistant", "system", "tool", "human", "", 3]
CONTENTS = ["a", "", " \n", "!", "  x", "\u3000", "\x1f", None, 5, [{"type": "text", "text": "part"}]]
turn = st.fixed_dictionaries(
    {"role": st.sampled_from(ROLES), "content": st.sampled_from(CONTENTS)},
    optional={
        "name": st.just("n"),
        "tool_calls": st.just([{"type": "function", "function": {"name": "f", "arguments": "{}"}}]),
        "weight": st.just(0),
    },
)
good = st.fixed_dictionaries({"role": st.sampled_from(ROLES[:4]), "content": st.sampled_from(CONTENTS[:7])})
pairs = st.integers(0, 3).map(
    lambda count: [{"role": role, "content": "x"} for role in ("user", "assistant")] * count
)
PAIR = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}]
records = st.fixed_dictionaries(
    {"messages": pairs | st.lists(good, max_size=5) | st.lists(turn, max_size=4) | st.sampled_from([None, "x", {}, [None], [[]]])},
    optional={
        "id": st.just(1), "label": st.sampled_from([True, None]), "system": st.just("s"), "tools": st.just([]),
        "prompt": st.just("p"), "chosen": st.just("c"), "rejected": st.just("r"), "text": st.just("t"),
    },
)  # fmt: skip
structures = st.builds(
    Structure,
    min_turns=st.sampled_from([None, 2]),
    max_turns=st.sampled_from([None, 3]),
    require_roles=st.sampled_from([(), ("assistant",), ("tool", "user")]),
    alternating=st.booleans(),
    ends_with=st.sampled_from([None, "assistant"]),
    no_empty_turns=st.booleans(),
)


def answer(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except (Reject, Drop) as why:
        return type(why).__name__, why.reason


@settings(max_examples=400, deadline=None)
@given(structures, st.lists(records, min_size=1, max_size=6))
def test_turns_are_judged_quickly_as_they_are_slowly(
    structure: Structure, items: list[dict[str, Any]]
) -> None:
    views = Views()
    quick = structure.quick(views, lambda found: found, lambda record: structure.broken(record, views))
    plain = [
        {**record, "messages": turns} for record in items for turns in (PAIR, PAIR * 2, [*PAIR, PAIR[0]])
    ]
    for record in plain + items * 2:  # the second time from memory
        expected = answer(structure.broken, record, Views())
        found = answer(quick, None, record)
        assert found == expected


@settings(max_examples=300, deadline=None)
@given(st.lists(records, min_size=1, max_size=6), st.sampled_from(["all", "user", "assistant", "system"]))
def test_text_is_what_the_converted_record_says(items: list[dict[str, Any]], on: str) -> None:
    views = Views(on=on)
    for record in items:
        found = answer(views.text, record)
        converter = Converter()
        made = answer(converter.many, record)
        if type(made) is tuple:
            assert found == made or type(found) is str
            continue
        texts = []
        for item in made:
            if converter.shape == "text":
                texts.append(item["text"])
            for name in ("messages", "prompt", "chosen", "rejected", "completion"):
                for message in item[name] if name in PARTS[converter.shape] else ():
                    if on in ("all", message["role"]):
                        texts.append(message["content"])
                        texts += [call["function"]["arguments"] for call in message.get("tool_calls", ())]
        assert found == "\n".join(texts)


@given(st.text(max_size=400), st.integers(1, 60), st.integers(1, 60))
def test_bytes_never_decide_wrongly_about_an_estimate(text: str, low: int, high: int) -> None:
    text = text.encode("utf-8", "ignore").decode()
    tokens = approximate_tokens(text)
    found = {finding.reason for finding in Length(min_tokens=low).broken(text)}
    found |= {finding.reason for finding in Length(max_tokens=high).broken(text, len(text.encode()) + 2)}
    expected = {"min-tokens"} if tokens < low else set()
    assert found == expected | ({"max-tokens"} if tokens > high else set())


def tokenizers_made() -> dict[str, Any]:
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    texts = [
        "the king counted words and the words counted",
        "日本語 naïve café",
        "    spaces        more",
        "12345 !!",
    ]
    made = {}
    for name, normalizer in {"plain": None, "nfc": normalizers.NFC(), "nfkc": normalizers.NFKC()}.items():
        loaded = tokenizers.Tokenizer(models.BPE())
        if normalizer is not None:
            loaded.normalizer = normalizer
        loaded.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=name == "plain")
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        loaded.train_from_iterator(texts * 5, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))  # fmt: skip
        made[f"bpe-{name}"] = loaded
    words = tokenizers.Tokenizer(
        models.WordPiece({"[UNK]": 0, "the": 1, "king": 2, "##s": 3}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made["wordpiece"] = words
    unigram = tokenizers.Tokenizer(
        models.Unigram([("<unk>", 0.0), ("▁the", -1.0), ("e", -2.0), ("▁", -2.0)], 0, True)
    )
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    made["unigram"] = unigram
    return made


ODD = [
    "the king",
    " ",
    "        ",
    "日本",
    "é",
    "e\u0301",
    "\u0958",
    "\ufb2c",
    "\U0001d15e",
    "ﷺ",
    "\ud800",
    "12",
    "!!",
    "\n",
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(ODD), max_size=40).map("".join), st.integers(1, 40), st.integers(1, 40))
def test_bytes_never_decide_wrongly_about_a_tokenizer(text: str, low: int, high: int) -> None:
    for name, tokenizer in MADE.items():
        clean = text.replace("\ud800", "\ufffd")
        tokens = len(tokenizer.encode(clean, add_special_tokens=False).ids)
        size = len(text.encode("utf-8", "surrogatepass")) + 2
        assert bool(Length(min_tokens=low, tokenizer=tokenizer).broken(text)) == (tokens < low), name
        length = Length(max_tokens=high, tokenizer=tokenizer)
        assert bool(length.broken(text, size)) == (tokens > high), name


MADE = tokenizers_made()


def test_roles_alternate_with_a_system_first_and_tools_within() -> None:
    structure = Structure(alternating=True)
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}

    def sound(letters: str) -> bool:
        return not structure.of_roles(tuple(names[letter] for letter in letters))

    for letters in ("", "u", "ua", "sua", "uau", "uata", "uatta", "uatu", "suataua"):
        assert sound(letters), letters
    for letters in ("a", "uu", "uaa", "usa", "ut", "t", "st", "uas", "sa", "uautu", "ss"):
        assert not sound(letters), letters
    # whatever the length, at most one objection
    for letters in itertools.product("suat", repeat=4):
        assert len(structure.of_roles(tuple(names[letter] for letter in letters))) <= 1


@pytest.mark.parametrize(
    ("text", "value", "inside"),
    [
        ("n=1:2", 2, True), ("n=1:2", 2.0000001, False), ("n=:2", -1e9, True), ("n=1:", 1, True), ("n=1:", 0.99, False),
        ("n=1:2", "1", False), ("n=1:2", True, False), ("n=1:2", None, False), ("n=1e3:", 1000, True), ("a.b=1:", 1, False),
        ("n=0:inf", 10**400, True),
    ],
)  # fmt: skip
def test_range(text: str, value: object, inside: bool) -> None:
    assert (Range(text).broken(None, {"n": value}) is None) is inside


def test_fields_by_path_and_by_name() -> None:
    assert Range("bp.ppl=1:2").broken(None, {"bp": {"ppl": 1.5}}) is None
    assert Range("bp.ppl=1:2").broken(None, {"bp.ppl": 1.5, "bp": {"ppl": 9}}) is None
    assert Range("a=b=1:2").broken(None, {"a=b": 1}) is None
    for wrong in ("n", "n=1", "=1:2", "n=2:1", "n=:", "n=a:b", "n=nan:2", "n=1:2:3"):
        with pytest.raises(UsageError, match="--range"):
            Range(wrong)


@pytest.mark.parametrize(
    ("conditions", "value", "wanted"),
    [
        (["f=a"], "a", True), (["f=a"], "b", False), (["f=a", "f=b"], "b", True), (["f!=a", "f!=b"], "b", False),
        (["f!=a", "f!=b"], "c", True), (["f=1"], 1, True), (["f=1"], 1.0, True), (["f=1"], True, False), (["f=true"], True, True),
        (["f=true"], 1, False), (["f=null"], None, True), (["f=a"], ["x", "a"], True), (["f!=a"], ["x", "a"], False),
        (["f="], "", True), (["f=a=b"], "a=b", True), (["f=a"], {"a": 1}, False), (["f=1"], "1", True), (["f=1e400"], 1, False),
    ],
)  # fmt: skip
def test_where(conditions: list[str], value: object, wanted: bool) -> None:
    (where,) = parse_where(conditions)
    assert (where.broken(None, {"f": value}) is None) is wanted


def test_where_of_several_fields_and_of_none() -> None:
    assert [(type(where), where.field, where.limit) for where in parse_where(["a=1", "b!=2", "a=3"])] == [
        (Where, "a", "=1|3"), (Where, "b", "!=2"),
    ]  # fmt: skip
    assert parse_where(["f=null"])[0].broken(None, {}) is None
    for wrong in ("a", "=b", "!=b"):
        with pytest.raises(UsageError, match="--where"):
            parse_where([wrong])


def test_bounds_that_cross_and_unknown_roles_are_refused() -> None:
    for options in ({"min_turns": 3, "max_turns": 2}, {"require_roles": ["boss"]}):
        with pytest.raises(UsageError):
            Structure(**options)  # type: ignore[arg-type]
    for options in ({"min_tokens": 3, "max_tokens": 2}, {"min_chars": 3, "max_chars": 2}):
        with pytest.raises(UsageError):
            Length(**options)
