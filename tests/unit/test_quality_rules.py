"""The published rules: each one at its limit and to either side, and none of them lost for words."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bptools.core.errors import UsageError
from bptools.quality.rules import PARAMETERS, RULES, SETS, Finding, parse_rules
from bptools.quality.words import words
from tests.golden import ROOT

EVERY_SET = ["gopher", "c4", "c4-paragraph", "fineweb"]
EVERYTHING = parse_rules(EVERY_SET)


def judged(rule: str, text: str) -> Finding | None:
    return parse_rules(rule.split()).first(text)


def numbered(count: int) -> list[str]:
    """Distinct words of five letters."""
    return ["".join(chr(97 + number // 26**place % 26) for place in range(5)) for number in range(count)]


# rule; a text that keeps it by a hair; one that breaks it by one; the value then
LIMITS = {
    "min_doc_words": (" ".join(["word"] * 50), " ".join(["word"] * 49) + " , . !", 49),
    "max_doc_words=50": (" ".join(["word"] * 50) + " , . !", " ".join(["word"] * 51), 51),
    "min_avg_word_length": ("abc abc ! ?", "abc ab ! ?", 2.5),
    "max_avg_word_length": ("a" * 10 + " !", "a" * 10 + " " + "a" * 11, 10.5),
    "max_symbol_word_ratio": ("# " + "word " * 9, "# # " + "word " * 8, 0.2),
    "max_bullet_lines_ratio": (
        "\n".join(["- a"] * 5 + [" \u2022 a"] * 4 + ["a"]),
        "\n".join(["- a"] * 19 + ["a"]),
        0.95,
    ),
    "max_ellipsis_lines_ratio": (
        "\n".join(["so..."] * 2 + ["so\u2026 "] + ["a"] * 7),
        "\n".join(["so..."] * 4 + ["a"] * 6),
        0.4,
    ),
    "min_alpha_words_ratio": ("word " * 8 + "5 !", "word " * 7 + "5 6 !", 0.7),
    "min_stop_words": ("the word of", "the the word The OF", 1),
    "dup_para_frac": ("a\n\nb\n\nc", "a\n\na\n\nb", 1 / 3),
    "dup_para_char_frac": ("abcde\n\nabcde\n\n" + "x" * 11, "abcde\n\nabcde\n\n" + "x" * 10, 5 / 24),
    "dup_line_frac": ("a\nb\nc\nd\na\ne\nf\ng\nh\ni", "a\na\nb\n\nc\nb", 2 / 5),
    "dup_line_char_frac": ("abcd\nabcd\n" + "x" * 10, "abcd\nabcd\n" + "x" * 9, 4 / 19),
    "top_2_gram_char_frac": ("ab cd " + "x" * 19, "ab cd " + "x" * 18, 5 / 24),
    "top_3_gram_char_frac=0.5": ("a b c " + "x " * 2, "a b c a b c x", 10 / 13),
    "top_4_gram_char_frac=0.5": ("a b c d e f gh", "a b c d", 1.0),
    "dup_5_gram_char_frac": (" ".join(numbered(40)), "a b c d e " * 2 + "x" * 10, 5 / 30),
    "dup_10_gram_char_frac=0.3": ("a b c d e f g h i j k", "abc " * 11 + "abc", 30 / 47),
    "lorem_ipsum": ("Here is lorem ipsum text", "Here is Lorem Ipsum text.", 1),
    "curly_bracket": ("Here is a { text", 'Here is a { "text".', 1),
    "min_num_sentences": ("One two three. Four. Five! Six? Seven.", "One two three. Four. Five! Six?", 4),
    "min_paragraphs": ("\n".join(["x" * 200] * 3 + ["y"]), "\n".join(["x" * 200] * 2 + ["y" * 199] * 5), 2),
    "line_punct_thr=0.5": ("a.\nb\n\nc\u3002\nd", "a.\n \nb\nc\nd,\ne!", 0.4),
    "short_line_thr=0.5": ("x" * 31 + "\n\n" + "y" * 30, "x" * 31 + "\ny\ny", 2 / 3),
    "char_duplicates_ratio=0.1": ("abc\nabc\n" + "x" * 24, "abc\nabc\n" + "x" * 23, 3 / 29),
    "new_line_ratio=0.5": ("a b\nc d\ne f", "a\n\nb c", 2 / 3),
}


@pytest.mark.parametrize("rule", LIMITS)
def test_a_rule_at_its_limit_and_one_beyond(rule):
    keeps, breaks, value = LIMITS[rule]
    name, _, limit = rule.partition("=")
    assert judged(rule, keeps) is None
    finding = judged(rule, breaks)
    assert finding is not None
    assert finding.reason == f"{RULES[name].family}:{name}"
    assert finding.value == pytest.approx(value)
    assert finding.limit == (float(limit) if limit else RULES[name].default)


def test_every_rule_is_tried_above_or_differs_only_in_its_number():
    tried = {rule.partition("=")[0] for rule in LIMITS}
    assert set(RULES) - tried == {f"dup_{n}_gram_char_frac" for n in (6, 7, 8, 9)}


def test_defaults_are_the_published_limits():
    assert {name: rule.default for name, rule in RULES.items()} == {
        "min_doc_words": 50, "max_doc_words": 100_000, "min_avg_word_length": 3, "max_avg_word_length": 10,
        "max_symbol_word_ratio": 0.1, "max_bullet_lines_ratio": 0.9, "max_ellipsis_lines_ratio": 0.3,
        "min_alpha_words_ratio": 0.8, "min_stop_words": 2,
        "dup_para_frac": 0.3, "dup_para_char_frac": 0.2, "dup_line_frac": 0.3, "dup_line_char_frac": 0.2,
        "top_2_gram_char_frac": 0.2, "top_3_gram_char_frac": 0.18, "top_4_gram_char_frac": 0.16,
        "dup_5_gram_char_frac": 0.15, "dup_6_gram_char_frac": 0.14, "dup_7_gram_char_frac": 0.13,
        "dup_8_gram_char_frac": 0.12, "dup_9_gram_char_frac": 0.11, "dup_10_gram_char_frac": 0.1,
        "lorem_ipsum": 0, "curly_bracket": 0, "min_num_sentences": 5, "min_paragraphs": 3,
        "line_punct_thr": 0.12, "short_line_thr": 0.67, "char_duplicates_ratio": 0.01, "new_line_ratio": 0.3,
    }  # fmt: skip
    assert {name: p.default for name, p in PARAMETERS.items()} == {
        "min_top_occurrences": 1, "min_words_per_line": 3, "max_word_length": 1000, "terminal_punctuation": True, "javascript": True,
        "policy": True, "citations": True, "min_paragraph_len": 200, "short_line_length": 30,
    }  # fmt: skip
    assert SETS["gopher"] == SETS["gopher-quality"] + SETS["gopher-repetition"]
    assert set(RULES) == {name for members in SETS.values() for name in members}


def test_the_page_tells_every_rule_and_its_limit():
    page = (ROOT / "bptools" / "commands" / "pages" / "bp-filter.txt").read_text(encoding="utf-8")
    for name, entry in {**RULES, **PARAMETERS}.items():
        if re.fullmatch(r"(top_[34]|dup_([6-9]|10))_gram_char_frac|lorem_ipsum|curly_bracket", name):
            continue  # told in the lines of their smallest, or without a limit
        shown = "on" if entry.default is True else f"{entry.default:.12g}"
        assert re.search(rf"^    {name}={re.escape(shown)}  +", page, re.MULTILINE), name


def test_a_run_that_occurs_once_can_be_no_top_run():
    text = "Al Capone died in 1947, smartphones came in 1992."
    assert parse_rules(["top_4_gram_char_frac"]).first(text) is not None
    assert parse_rules(["top_4_gram_char_frac,min_top_occurrences=2"]).first(text) is None
    twice = text + " " + text
    found = parse_rules(["top_4_gram_char_frac,min_top_occurrences=2"]).first(twice)
    assert found == parse_rules(["top_4_gram_char_frac"]).first(twice) is not None


# --- C4 looks only at lines that it would keep


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("One two three.", True),
        ("One two three", False),
        ("One two three...", False),
        ("One two three\u2026", False),
        ("One two three?!", True),
        ('He said "one two"', True),
        ("  One two three.  ", True),
        ("One two.", False),
        ("One two three. [12]", False),  # nothing but a blank is left after the stop
        ("One two three.[12]", True),
        ("One two[citation needed].", True),  # three words before it is cut out
        ("One two[edit].", False),
        ("One two three[edit].", True),
        ("One two three javaScript.", False),
        ("One two Terms of Use three.", False),
        ("We use cookies here.", False),
        ("We eat cookies here.", True),
        ("We use[1] [2]cookies here.", False),
        ("One two " + "x" * 1001 + ".", False),
        ("One two " + "x" * 999 + ".", True),
    ],
)
def test_lines_that_c4_keeps(line, kept):
    assert parse_rules(["min_num_sentences"]).measure(line) == {"min_num_sentences": int(kept)}


@pytest.mark.parametrize(
    ("parameter", "line"),
    [
        ("min_words_per_line=2", "One two."),
        ("min_words_per_line=0", "."),
        ("max_word_length=2000", "One two " + "x" * 1001 + "."),
        ("terminal_punctuation=off", "One two three"),
        ("javascript=off", "One two javascript."),
        ("policy=off", "Our privacy policy is this."),
        ("citations=off", 'One two "[edit]"'),
    ],
)
def test_parameters_of_c4(parameter, line):
    plain, shaped = parse_rules(["min_num_sentences"]), parse_rules(["min_num_sentences", parameter])
    if parameter != "citations=off":
        assert plain.measure(line)["min_num_sentences"] == 0
    assert shaped.measure(line)["min_num_sentences"] == 1


def test_citations_left_in_end_a_line():
    text = "One two three.[1]"
    assert parse_rules(["min_num_sentences"]).measure(text)["min_num_sentences"] == 1
    assert parse_rules(["min_num_sentences", "citations=off"]).measure(text)["min_num_sentences"] == 0


def test_what_c4_meets_first_is_its_reason():
    lorem, curly = "Here is lorem ipsum text.", "Here is a { text."
    c4 = parse_rules(["c4"])
    assert [found.reason for found in c4.all(f"{lorem}\n{curly}")] == [
        "c4:lorem_ipsum", "c4:curly_bracket", "c4:min_num_sentences"
    ]  # fmt: skip
    assert c4.first(f"{curly}\n{lorem}").reason == "c4:curly_bracket"
    assert c4.first("Here is { lorem ipsum.").reason == "c4:lorem_ipsum"
    assert c4.measure(f"{curly}\n{curly}\n{lorem}") == {
        "lorem_ipsum": 1, "curly_bracket": 2, "min_num_sentences": 3
    }  # fmt: skip
    # javascript takes a line away before its bracket is seen, but not before its lorem ipsum is
    assert judged("curly_bracket", "Here is javascript { text.") is None
    assert judged("lorem_ipsum", "Here is javascript lorem ipsum.") is not None
    assert judged("lorem_ipsum", "Here is lorem[1] ipsum.") is not None
    assert judged("lorem_ipsum citations=off", "Here is lorem[1] ipsum.") is None


def test_sentences_are_counted_to_the_end_when_measured():
    text = "One two three. " * 20
    assert parse_rules(["min_num_sentences"]).measure("\n".join([text] * 3)) == {"min_num_sentences": 60}


def test_parameters_of_the_other_sets():
    assert judged("min_paragraphs min_paragraph_len=5", "x" * 5 + "\n" + "y" * 5 + "\nzzzzz") is None
    assert judged("min_paragraphs=1 min_paragraph_len=5", "x" * 4) == ("c4-paragraph:min_paragraphs", 0, 1)
    assert judged("short_line_thr short_line_length=2", "abc\nab") is None
    assert judged("short_line_thr short_line_length=3", "abc\nab") == ("fineweb:short_line_thr", 1.0, 0.67)


# --- n-grams, as table A1 of the Gopher paper has it, word for word


def top_characters(found, n):
    grams = [" ".join(found[at : at + n]) for at in range(len(found) - n + 1)]
    if not grams:
        return 0
    counts = Counter(grams)
    best = max(counts.values())
    first = next(gram for gram in grams if counts[gram] == best)
    return len(first) * best


def repeated_characters(found, n):
    seen, at, total = set(), 0, 0
    while at + n <= len(found):
        gram = tuple(found[at : at + n])
        if gram in seen:
            total += len("".join(gram))
            at += n
        else:
            seen.add(gram)
            at += 1
    return total


few_words = st.lists(st.sampled_from(["a", "bc", "def", ",", ".", "the", "and", "so"]), max_size=80).map(
    " ".join
)
patterns = st.lists(st.tuples(few_words, st.integers(1, 6)), max_size=5).map(
    lambda parts: " ".join(" ".join([part] * times) for part, times in parts)
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(few_words, patterns, st.text(max_size=200)))
def test_ngrams_are_counted_as_one_would(text):
    ngrams = parse_rules([f"top_{n}_gram_char_frac" for n in (2, 3, 4)])
    runs = parse_rules([f"dup_{n}_gram_char_frac" for n in range(5, 11)])
    found = words(text)
    if not found:
        return
    assert ngrams.measure(text) == {
        f"top_{n}_gram_char_frac": top_characters(found, n) / len(text) for n in (2, 3, 4)
    }
    assert runs.measure(text) == {
        f"dup_{n}_gram_char_frac": repeated_characters(found, n) / len(text) for n in range(5, 11)
    }
    for n in range(5, 11):  # by itself as in company
        name = f"dup_{n}_gram_char_frac"
        assert parse_rules([name]).measure(text)[name] == runs.measure(text)[name]


def duplicates(parts):
    again = [part for at, part in enumerate(parts) if part in parts[:at]]
    return len(again), sum(map(len, again))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "bc", "", "\n", " ", "\t", "def."]), max_size=30).map("\n".join))
def test_lines_and_paragraphs_are_counted_as_one_would(text):
    if not text.strip():
        return
    paragraphs, lines = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)
    assert parse_rules(
        ["dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"]
    ).measure(text) == {
        "dup_para_frac": duplicates(paragraphs)[0] / len(paragraphs),
        "dup_para_char_frac": duplicates(paragraphs)[1] / len(text),
        "dup_line_frac": duplicates(lines)[0] / len(lines),
        "dup_line_char_frac": duplicates(lines)[1] / len(text),
    }
    full = [line for line in text.split("\n") if line.strip()]
    assert parse_rules(["char_duplicates_ratio"]).measure(text) == {
        "char_duplicates_ratio": duplicates(full)[1] / len(text.replace("\n", ""))
    }


# --- any text at all


some_text = st.one_of(
    st.text(),
    st.text(alphabet=st.characters(categories=["Zs", "Cc", "Cs", "Po"])),
    st.lists(
        st.sampled_from(["word.", "lorem ipsum.", "{", "\n", "\n\n", "...", "#", "[1]", "\ud800", " "])
    ).map(" ".join),
)


@settings(max_examples=300, deadline=None)
@given(some_text)
def test_any_text_gets_an_answer(text):
    broken = EVERYTHING.all(text)
    assert EVERYTHING.first(text) == (broken[0] if broken else None)
    assert len({found.reason for found in broken}) == len(broken)
    measured = EVERYTHING.measure(text)
    assert set(measured) == set(RULES)
    assert all(type(value) in (int, float) and value >= 0 for value in measured.values())
    for found in broken:
        family, _, name = found.reason.partition(":")
        if name == "empty":
            assert not text.strip()
        else:
            assert RULES[name].family == family
            assert (found.value < found.limit) if RULES[name].least else (found.value > found.limit)
            alone = parse_rules([name]).first(text)
            assert alone is not None and alone.reason in (found.reason, f"{family}:empty")
    for name, rule in RULES.items():
        if not any(found.reason == f"{rule.family}:{name}" for found in broken):
            alone = parse_rules([name]).first(text)
            assert alone is None or alone.reason == f"{rule.family}:empty"


@pytest.mark.parametrize("text", ["x" * 1_000_000, "!" * 100_000, "a " * 300_000, "\n" * 100_000 + "a"])
def test_a_text_of_a_megabyte_gets_an_answer(text):
    assert EVERYTHING.first(text) is not None
    assert len(EVERYTHING.measure(text)) == len(RULES)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u3000\x1c"])
def test_a_text_without_words(text):
    assert EVERYTHING.all(text) == [
        Finding("gopher:min_doc_words", 0, 50),
        Finding("gopher:empty", 0, 1),
        Finding("gopher:min_stop_words", 0, 2),
        Finding("c4:min_num_sentences", 0, 5),
        Finding("c4-paragraph:min_paragraphs", 0, 3),
        Finding("fineweb:empty", 0, 1),
    ]
    assert EVERYTHING.measure(text) == dict.fromkeys(RULES, 0)
    assert parse_rules(["gopher-repetition"]).all(text) == [Finding("gopher:empty", 0, 1)]
    assert parse_rules(["max_doc_words"]).first(text) is None
    assert parse_rules(["min_avg_word_length"]).first(text) == Finding("gopher:empty", 0, 1)


def test_a_text_of_symbols_alone_has_no_mean_word_length():
    assert parse_rules(["min_avg_word_length", "max_avg_word_length"]).all("!!! ... ---") == []


def test_sets_are_judged_in_their_order_whatever_the_order_of_the_items():
    text = "Too short"
    assert parse_rules(["fineweb", "c4", "gopher"]).first(text).reason == "gopher:min_doc_words"
    families = dict.fromkeys(found.reason.partition(":")[0] for found in EVERYTHING.all(text))
    assert list(families) == EVERY_SET


# --- what --rules says


def test_items_select_and_set():
    assert parse_rules(["min_doc_words"]).limits == {"min_doc_words": 50}
    assert parse_rules(["min_doc_words=20, max_doc_words = 30"]).limits == {
        "min_doc_words": 20, "max_doc_words": 30
    }  # fmt: skip
    gopher = parse_rules(["gopher", "min_doc_words=20", "min_stop_words=off"])
    assert set(gopher.limits) == set(SETS["gopher"]) - {"min_stop_words"}
    assert gopher.limits["min_doc_words"] == 20
    assert list(parse_rules(["fineweb", "c4"]).limits) == [*SETS["c4"], *SETS["fineweb"]]
    assert parse_rules(["min_doc_words=20", "gopher"]).limits["min_doc_words"] == 50  # the later item
    assert parse_rules(["fineweb", "short_line_length=12"]).parameters["short_line_length"] == 12
    assert parse_rules(["c4", "javascript=off", "policy=on"]).parameters["javascript"] == 0
    assert parse_rules(["max_symbol_word_ratio=0"]).first("a # b") is not None


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("gofer", "did you mean 'gopher'?"),
        ("min_doc_word=3", "did you mean 'min_doc_words'?"),
        ("min-doc-words", "did you mean 'min_doc_words'?"),
        ("Gopher", "did you mean 'gopher'?"),
        ("c4_paragraph", "did you mean 'c4-paragraph'?"),
        ("short_line_lenght=3", "did you mean 'short_line_length'?"),
        ("zzzzzzzzzzzz", "name a set (gopher, "),
        ("", "unknown rule"),
        ("gopher,,c4", "unknown rule"),
        ("gopher=3", "has no value"),
        ("gopher=off", "has no value"),
        ("min_doc_words=", "a whole number of 0 or more"),
        ("min_doc_words=many", "a whole number of 0 or more"),
        ("min_doc_words=2.5", "a whole number of 0 or more"),
        ("min_doc_words=-1", "a whole number of 0 or more"),
        ("dup_line_frac=nan", "a number of 0 or more"),
        ("dup_line_frac=inf", "a number of 0 or more"),
        ("dup_line_frac=-0.1", "a number of 0 or more"),
        ("lorem_ipsum=3", "has no limit"),
        ("c4,javascript=maybe", "on or off"),
        ("c4,javascript", "javascript=on"),
        ("c4,min_words_per_line=x", "a whole number"),
        ("fineweb,short_line_length", "short_line_length=30"),
        ("gopher,short_line_length=3", "belongs to fineweb"),
        ("min_doc_words=off", "no item before it"),
        ("min_doc_words,min_doc_words=off", "chooses no rule"),
        ("short_line_length=3", "chooses no rule"),
    ],
)
def test_what_cannot_be_meant_is_refused(spec, says):
    with pytest.raises(UsageError) as error:
        parse_rules([spec])
    assert "--rules" in str(error.value)
    assert says in str(error.value)


def test_no_items_are_refused():
    with pytest.raises(UsageError, match="--rules chooses no rule"):
        parse_rules([])
