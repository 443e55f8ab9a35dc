"""Dialogues out of our own grammars: python -m bptools._dev.nano.dialogues OUT.jsonl --count N [--seed S].

Writes chat records {"messages": [...]}; with --prose N also plain paragraphs {"text": ...}. With --documents
FILE (what bptools._dev.nano.documents wrote) a part of the questions is about sentences of the documentation.
The same options and seed give the same bytes. No answer repeats a run of four words, every answer ends with a
final punctuation mark, no two records are the same.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bptools._dev.nano import problems
from bptools._dev.nano.grammar import FOLDER, Expansion

Message = dict[str, str]
Record = dict[str, object]
_ROLES = {"S": "system", "U": "user", "A": "assistant"}
_DEFINITION = re.compile(
    r"(A|An) ((?!example|quick|simple|good|common|note|few|typical)[a-z][a-z -]{2,30}?) (?:is|are) (?:a"
    r"|an|the) .*\."
)
_PURPOSE = re.compile(
    r"(?:To|In order to|If you want to|If you need to|When you want to) ((?!be |put |the |this |sum"
    r"|illus|give an|make matters|see |all |a |an |some |my )[a-z][^,.]{8,70}), "
    r"(?=(?:you|we|use|set|call|run|add|the|an?|it|do|one|just|simply|pass|install|click|create|try"
    r"|make|see|open|put"
    r"|specify|follow|consider|place|type|enter|define|enable|write|start|select|configure|change|check"
    r"|copy|execute"
    r"|separate|import|choose|include|please|there)\b)(?!.*as follows)[^:]{15,}[^.]\."
)
_CODE = re.compile(
    r"[()\[\]{}<>=\\\n`|$#*]|\w[._]\w|::|--|\b(?:above|below|following|previous|see|chapter|section"
    r"|here|that way|this|these|those)\b"
)
_WHAT_QUESTIONS = (
    "What is {}?", "What does the term {} mean?", "Explain what {} is.", "Can you tell me what {} is?",
    "Define {}.", "I read about {}. What is that?", "In software, what is {}?", "Please explain {}.",
)  # fmt: skip
_HOW_QUESTIONS = (
    "How can I {}?", "How do I {}?", "What is the way to {}?", "I would like to {}. How does that work?",
    "What should I do to {}?", "I want to {}.", "Please tell me how to {}.", "How to {}?",
)  # fmt: skip


@cache
def blocks() -> tuple[list[list[tuple[str, str]]], list[int]]:
    """Return the dialogues of talk.txt as (role, template) turns, and their weights."""
    found: list[list[tuple[str, str]]] = []
    weights: list[int] = []
    for line in (FOLDER / "talk.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("weight "):
            weights.append(int(line[7:]))
            found.append([])
        elif line[1:3] == ": ":
            found[-1].append((_ROLES[line[0]], line[3:]))
    return found, weights


def repeats(text: str, run: int = 4) -> bool:
    """Say whether a run of so many words occurs twice."""
    words = re.findall(r"\w+", text.lower())
    grams = [tuple(words[at : at + run]) for at in range(len(words) - run + 1)]
    return len(set(grams)) < len(grams)


def questions(path: Path) -> list[tuple[str, str]]:
    """Return (question, answer) made from sentences of the documentation that define or instruct."""
    found: dict[str, str] = {}
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            entry = json.loads(line)
            if entry.get("held_out"):
                continue
            for sentence in re.split(r"(?<=[.])\s+", entry["text"]):
                if not 50 < len(sentence) < 260 or repeats(sentence) or _CODE.search(sentence):
                    continue
                if match := _DEFINITION.fullmatch(sentence):
                    found.setdefault(f"{match[1].lower()} {match[2]}", sentence)
                elif match := _PURPOSE.fullmatch(sentence):
                    found.setdefault(f"to {match[1]}", sentence)
    return sorted(found.items())


def _from_grammar(choice: random.Random) -> list[Message]:
    turns, weights = blocks()
    expansion = Expansion(choice)
    chosen = choice.choices(turns, weights)[0]
    return [{"role": role, "content": expansion.text(template)} for role, template in chosen]


def _from_problem(choice: random.Random) -> list[Message]:
    question, answer = problems.problem(choice)
    asked = choice.choice(
        ("", "", "", "", "Solve this: ", "Here is a problem. ", "Please help me with my homework. ")
    )
    return [{"role": "user", "content": asked + question}, {"role": "assistant", "content": answer}]


def _from_documents(choice: random.Random, known: list[tuple[str, str]]) -> list[Message]:
    subject, sentence = choice.choice(known)
    if subject.startswith("to "):
        asks = _HOW_QUESTIONS
        subject = subject[3:]
    else:
        asks = _WHAT_QUESTIONS
    question = choice.choice(asks).format(subject)
    return [{"role": "user", "content": question}, {"role": "assistant", "content": sentence}]


def _good(messages: list[Message]) -> bool:
    return all(
        message["content"][-1:] in ".!?" or message["content"][-2:] in ('."', '!"', '".', '?"')
        for message in messages
        if message["role"] == "assistant"
    ) and not any(repeats(message["content"]) for message in messages if message["role"] == "assistant")


def dialogues(count: int, seed: int, known: list[tuple[str, str]] | None = None) -> Iterator[Record]:
    """Yield so many chat records, no two of them alike."""
    choice = random.Random(f"dialogues {seed}")
    seen: set[str] = set()
    while len(seen) < count:
        part = choice.random()
        if part < 0.17:
            messages = _from_problem(choice)
        elif part < 0.27 and known:
            messages = _from_documents(choice, known)
        else:
            messages = _from_grammar(choice)
        key = json.dumps(messages)
        if key not in seen and _good(messages):
            seen.add(key)
            yield {"messages": messages}


def prose(count: int, seed: int) -> Iterator[Record]:
    """Yield so many paragraphs of plain prose."""
    choice = random.Random(f"prose {seed}")
    for _ in range(count):
        paragraphs = [Expansion(choice).text("{prose}") for _ in range(choice.choice((1, 1, 2, 3)))]
        yield {"text": "\n".join(paragraphs)}


def chatml(record: Record) -> str:
    """Return a chat record as ChatML text."""
    messages = record["messages"]
    assert isinstance(messages, list)
    return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in messages)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="bptools._dev.nano.dialogues", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=30_000, help="how many dialogues")
    parser.add_argument("--prose", type=int, default=0, help="how many paragraphs of prose besides")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--documents", type=Path, help="ask about sentences of these documents too")
    options = parser.parse_args(arguments)
    known = questions(options.documents) if options.documents else None
    with options.out.open("w", encoding="utf-8", newline="\n") as stream:
        for record in dialogues(options.count, options.seed, known):
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
        for record in prose(options.prose, options.seed):
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
