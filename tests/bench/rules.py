"""Our quality rules beside datatrove's: the same records kept? for the same reason? how fast?

    python -m tests.bench.rules FILE.jsonl... --reference PYTHON

FILE holds chat (`messages`, or `prompt`, `chosen`, `rejected`) or text (`text`) records, as bp-chatml writes
them; a record's contents joined by newlines are one text. PYTHON is an interpreter that has datatrove and
spaCy; it runs this very file with --as-reference, so that nothing of datatrove is imported here. Without
--reference only our own side runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

Judge = Callable[[str], object]

SETS = ("gopher-quality", "gopher-repetition", "fineweb", "c4", "c4-paragraph")
_TOGETHER = SETS[:4]

# What datatrove calls its reasons, and our rules.
_REASONS = {
    "gopher_short_doc": "gopher:min_doc_words",
    "gopher_long_doc": "gopher:max_doc_words",
    "gopher_below_avg_threshold": "gopher:min_avg_word_length",
    "gopher_above_avg_threshold": "gopher:max_avg_word_length",
    "gopher_too_many_hashes": "gopher:max_symbol_word_ratio",
    "gopher_too_many_ellipsis": "gopher:max_symbol_word_ratio",
    "gopher_too_many_bullets": "gopher:max_bullet_lines_ratio",
    "gopher_too_many_end_ellipsis": "gopher:max_ellipsis_lines_ratio",
    "gopher_below_alpha_threshold": "gopher:min_alpha_words_ratio",
    "gopher_enough_stop_words": "gopher:min_stop_words",
    "dup_para_frac": "gopher:dup_para_frac",
    "dup_para_char_frac": "gopher:dup_para_char_frac",
    "dup_line_frac": "gopher:dup_line_frac",
    "dup_line_char_frac": "gopher:dup_line_char_frac",
    **{f"top_{n}_gram": f"gopher:top_{n}_gram_char_frac" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher:dup_{n}_gram_char_frac" for n in range(5, 11)},
    "lorem_ipsum": "c4:lorem_ipsum",
    "curly_bracket": "c4:curly_bracket",
    "too_few_sentences": "c4:min_num_sentences",
    "< 3 paragraphs": "c4-paragraph:min_paragraphs",
    "line_punct_ratio": "fineweb:line_punct_thr",
    "short_line_ratio": "fineweb:short_line_thr",
    "char_dup_ratio": "fineweb:char_duplicates_ratio",
    "list_ratio": "fineweb:new_line_ratio",
}
_QUALITY = {  # our rule: datatrove's parameter and its limit
    "min_doc_words": ("min_doc_words", 50),
    "max_doc_words": ("max_doc_words", 100000),
    "min_avg_word_length": ("min_avg_word_length", 3),
    "max_avg_word_length": ("max_avg_word_length", 10),
    "max_symbol_word_ratio": ("max_symbol_word_ratio", 0.1),
    "max_bullet_lines_ratio": ("max_bullet_lines_ratio", 0.9),
    "max_ellipsis_lines_ratio": ("max_ellipsis_lines_ratio", 0.3),
    "min_alpha_words_ratio": ("max_non_alpha_words_ratio", 0.8),
    "min_stop_words": ("min_stop_words", 2),
}
_LINES = {"dup_line_frac": 0.3, "dup_para_frac": 0.3, "dup_line_char_frac": 0.2, "dup_para_char_frac": 0.2}
_TOP = {2: 0.2, 3: 0.18, 4: 0.16}
_DUPLICATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
_FINEWEB = {
    "line_punct_thr": ("line_punct_thr", 0.12),
    "short_line_thr": ("short_line_thr", 0.67),
    "char_duplicates_ratio": ("char_duplicates_ratio", 0.01),
    "new_line_ratio": ("new_line_ratio", 0.3),
}
_JOINED = {f"dup_{n}_gram_char_frac" for n in _DUPLICATED}

Answer = dict[str, Any]  # {"sets": {set: reason or None}, "rules": {rule: dropped}, "words": checksum}


def texts_of(path: str, limit: int) -> Iterator[str]:
    """Yield one text for each record of a JSONL file."""
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if number == limit:
                return
            record = json.loads(line)
            if isinstance(record.get("text"), str):
                yield record["text"]
                continue
            turns: list[Any] = []
            for field in ("messages", "prompt", "chosen", "completion", "rejected"):
                if isinstance(record.get(field), list):
                    turns += record[field]
            yield "\n".join(turn["content"] for turn in turns if isinstance(turn.get("content"), str))


def _checksum(words: list[str]) -> int:
    return zlib.crc32("\0".join(words).encode("utf-8", "surrogatepass"))


def _time(texts: list[str], judge: Judge) -> float:
    """Return texts judged per CPU second."""
    start = time.process_time()
    for text in texts:
        judge(text)
    return len(texts) / max(1e-9, time.process_time() - start)


def _speeds(
    texts: list[str], judges: dict[str, Judge], every: Judge | None = None, first: Judge | None = None
) -> dict[str, float]:
    """Return records per CPU second of each set, of all of _TOGETHER, and of what stops at the first broken."""
    together = [judges[name] for name in _TOGETHER]
    timed = {
        **judges,
        "together, all": every or (lambda text: [judge(text) for judge in together]),
        "together, to the first": first or (lambda text: any(judge(text) for judge in together)),
    }
    for judge in timed.values():
        _time(texts[:200], judge)
    return {name: _time(texts, judge) for name, judge in timed.items()}


# --- datatrove's side: runs under another interpreter


def _reference_filters() -> tuple[dict[str, Any], dict[str, Any]]:
    from datatrove.pipeline.filters import (
        C4ParagraphFilter,
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    sets = {
        "gopher-quality": GopherQualityFilter(),
        "gopher-repetition": GopherRepetitionFilter(),
        "fineweb": FineWebQualityFilter(),
        "c4": C4QualityFilter(),
        "c4-paragraph": C4ParagraphFilter(),
    }
    nothing = dict.fromkeys(parameter for parameter, _limit in _QUALITY.values())
    rules: dict[str, Any] = {
        rule: GopherQualityFilter(**{**nothing, parameter: limit})
        for rule, (parameter, limit) in _QUALITY.items()
    }
    off: dict[str, Any] = {**dict.fromkeys(_LINES), "top_n_grams": (), "dup_n_grams": ()}
    for rule, limit in _LINES.items():
        rules[rule] = GopherRepetitionFilter(**{**off, rule: limit})
    for n, limit in _TOP.items():
        rules[f"top_{n}_gram_char_frac"] = GopherRepetitionFilter(**{**off, "top_n_grams": ((n, limit),)})
    for n, limit in _DUPLICATED.items():
        rules[f"dup_{n}_gram_char_frac"] = GopherRepetitionFilter(**{**off, "dup_n_grams": ((n, limit),)})
    alone = {"min_num_sentences": -1, "filter_lorem_ipsum": False, "filter_curly_bracket": False}
    rules["lorem_ipsum"] = C4QualityFilter(**{**alone, "filter_lorem_ipsum": True})
    rules["curly_bracket"] = C4QualityFilter(**{**alone, "filter_curly_bracket": True})
    rules["min_num_sentences"] = C4QualityFilter(**{**alone, "min_num_sentences": 5})
    rules["min_paragraphs"] = C4ParagraphFilter()
    far = float("inf")
    open_wide = {"line_punct_thr": -1.0, "short_line_thr": far, "char_duplicates_ratio": far}
    open_wide["new_line_ratio"] = far
    for rule, (parameter, limit) in _FINEWEB.items():
        rules[rule] = FineWebQualityFilter(**{**open_wide, parameter: limit})
    return sets, rules


def as_reference(paths: list[str], limit: int, timed: int, each_rule: bool) -> None:
    """Judge with datatrove and write an answer for each record as a line, then the speeds."""
    from datatrove.data import Document
    from datatrove.utils.text import split_into_words

    sets, rules = _reference_filters()

    def judge(chosen: Any, text: str) -> str | None:
        # C4 rewrites its document, so each filter has its own.
        try:
            answer = chosen.filter(Document(text=text, id=""))
        except (ZeroDivisionError, IndexError, ValueError, AssertionError) as error:
            return type(error).__name__
        return None if answer is True else answer[1] if isinstance(answer, tuple) else "dropped"

    split_into_words("The tokenizer starts here.")
    write = sys.stdout.write
    for path in paths:
        held: list[str] = []
        for text in texts_of(path, limit):
            if len(held) < timed:
                held.append(text)
            words = split_into_words(text)
            found: Answer = {"sets": {name: judge(chosen, text) for name, chosen in sets.items()}}
            found["words"] = _checksum(words)
            if each_rule:
                found["rules"] = {name: judge(chosen, text) for name, chosen in rules.items()}
            write(json.dumps(found) + "\n")
        judges: dict[str, Judge] = {name: partial(judge, chosen) for name, chosen in sets.items()}
        write(json.dumps({"speeds": _speeds(held, judges) if timed else {}}) + "\n")


# --- our side


def _answers(command: list[str]) -> Iterator[Answer]:
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        sys.exit(f"the reference ended with {process.returncode}")


def _same(ours: Any, theirs: str | None) -> bool:
    """Tell whether two answers name the same rule."""
    if theirs is None or ours is None:
        return ours is None and theirs is None
    return bool(ours.reason.endswith(":empty") if theirs == "empty" else ours.reason == _REASONS.get(theirs))


class _Tally:
    def __init__(self) -> None:
        self.records = 0
        self.dropped: Counter[str] = Counter()
        self.reference_dropped: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()  # the same, by set or rule
        self.reasons: Counter[str] = Counter()
        self.words = 0
        self.listed: list[str] = []

    def compare(self, name: str, ours: Any, theirs: str | None, same_words: bool, excerpt: str) -> None:
        """Count one decision of a set or a rule."""
        self.dropped[name] += ours is not None
        self.reference_dropped[name] += theirs is not None
        self.reasons[name] += _same(ours, theirs)
        if (ours is None) == (theirs is None):
            self.decisions[name] += 1
            return
        cause = "other words" if not same_words else "joined words" if name in _JOINED else "unexplained"
        if theirs and theirs.endswith("Error"):
            cause = "not defined there"
        self.listed.append(f"{name}: ours {ours}, theirs {theirs}: {cause}: record {self.records}: {excerpt}")


Speeds = dict[str, float]


def compare_file(
    path: str, limit: int, timed: int, answers: Iterator[Answer] | None
) -> tuple[_Tally, Speeds, Speeds]:
    """Judge the records of one file; return what both sides said, our records per CPU second, and theirs."""
    from bptools.quality.rules import RULES, parse_rules
    from bptools.quality.words import words

    sets = {name: parse_rules([name]) for name in SETS}
    rules = {name: parse_rules([name]) for name in RULES}
    tally = _Tally()
    held: list[str] = []
    for text in texts_of(path, limit):
        tally.records += 1
        if len(held) < timed:
            held.append(text)
        answer: Answer = next(answers) if answers else {}
        same_words = answer.get("words") == _checksum(words(text))
        tally.words += same_words
        excerpt = ascii(text[:60])
        for name, ruleset in sets.items():
            tally.compare(name, ruleset.first(text), answer.get("sets", {}).get(name), same_words, excerpt)
        for name in answer.get("rules", {}):
            tally.compare(name, rules[name].first(text), answer["rules"][name], same_words, excerpt)
    one = parse_rules(list(_TOGETHER))
    speeds = _speeds(held, {name: sets[name].first for name in SETS}, one.all, one.first) if held else {}
    theirs = next(answers)["speeds"] if answers else {}
    return tally, speeds, theirs


def ask_reference(python: str, files: list[str], limit: int, timed: int, each_rule: bool) -> Iterator[Answer]:
    """Have another interpreter judge the files; yield its answers as they come."""
    options = [f"--limit={limit}", f"--timed={timed}", *([] if each_rule else ["--sets-only"])]
    return _answers([python, __file__, "--as-reference", *options, *files])


def _print(path: str, tally: _Tally, speeds: dict[str, float], theirs: dict[str, float], listed: int) -> None:
    records = max(1, tally.records)
    print(f"\n{path}: {tally.records} records; the same words in {100 * tally.words / records:.2f} %")
    print(f"{'':26}{'dropped':>9}{'theirs':>9}{'differ':>8}{'same reason':>13}")
    for name in tally.dropped:
        differ = tally.records - tally.decisions[name]
        reason = f"{100 * tally.reasons[name] / records:.2f} %" if name in SETS else ""
        print(f"{name:26}{tally.dropped[name]:>9}{tally.reference_dropped[name]:>9}{differ:>8}{reason:>13}")
    for name, speed in speeds.items():
        line = f"{name:26}{speed:>12.0f} records per CPU second"
        if name in theirs:
            line += f"{theirs[name]:>10.0f} theirs{speed / theirs[name]:>8.1f} times"
        print(line)
    for disagreement in tally.listed[:listed]:
        print("  " + disagreement)
    if len(tally.listed) > listed:
        print(f"  and {len(tally.listed) - listed} more")


def main() -> None:
    """Compare file by file."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rules")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    parser.add_argument("--reference", metavar="PYTHON", help="an interpreter with datatrove and spaCy")
    parser.add_argument("--limit", type=int, default=-1, help="so many records of each file")
    parser.add_argument("--timed", type=int, default=2000, help="time the first so many records of each file")
    parser.add_argument("--list", type=int, default=20, help="so many disagreements of each file")
    parser.add_argument("--sets-only", action="store_true", help="leave out each rule by itself")
    parser.add_argument("--as-reference", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    each_rule = not arguments.sets_only
    if arguments.as_reference:
        as_reference(arguments.files, arguments.limit, arguments.timed, each_rule)
        return
    answers = None
    if arguments.reference:
        answers = ask_reference(
            arguments.reference, arguments.files, arguments.limit, arguments.timed, each_rule
        )
    for path in arguments.files:
        tally, speeds, theirs = compare_file(path, arguments.limit, arguments.timed, answers)
        _print(path, tally, speeds, theirs, arguments.list)


if __name__ == "__main__":
    main()
