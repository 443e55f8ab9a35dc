"""A question whose answer stands in a list: the right choice, the first that fits, the best ranked.

question, choices ["a", "b"], answer 1 or "B"     a choice by its number or letter
question, choices {text, label}, answerKey "B"    a choice by its label
context, question, answers {text}                 a passage, and the words in it that answer
prompt, answers [{answer, rank}]                  the best against the worst

The lists stay fields: what else they hold is not said by the messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bptools.chat import hh
from bptools.chat.fields import Fields
from bptools.chat.messages import note_messages
from bptools.core.records import Drop, Record, Reject

if TYPE_CHECKING:
    from bptools.chat.reader import Plan, RecordReader, Step


def steps(fields: Fields) -> list[Step]:
    """Return the readers for the lists of answers that these fields can be."""
    found: list[Step] = []
    if "question" in fields and "choices" in fields and ("answer" in fields or "answerkey" in fields):
        found.append(read_choice)
    if "context" in fields and "question" in fields and "answers" in fields:
        found.append(read_passage)
    if "prompt" in fields and "answers" in fields:
        found.append(read_ranked)
    return found


def read_choice(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read a question with the choice that is right. Raises Reject: missing-field (none is)."""
    fields = plan.fields
    question, choices = record[fields["question"]], record[fields["choices"]]
    given = record[fields["answerkey"] if "answerkey" in fields else fields["answer"]]
    answer: object = None
    if type(choices) is dict:
        texts, labels = choices.get("text"), choices.get("label")
        if type(texts) is list and type(labels) is list and len(texts) == len(labels) and given in labels:
            answer = texts[labels.index(given)]
    elif type(choices) is list:
        answer = _choice(choices, given)
        if answer is None and type(given) is int and str(given) not in choices:
            reader.format = "question-answer"
            raise Reject(
                "missing-field", f"the answer {given} is the number of none of {len(choices)} choices"
            )
    if type(question) is not str or type(answer) is not str:
        return None
    return _answered(reader, record, plan, question, answer, (fields["question"],))


def _choice(choices: list[object], given: object) -> object:
    """Return the choice of a number from 0 or of a letter from A; None for another answer."""
    if type(given) is str and given not in choices and len(given) == 1 and "A" <= given <= "Z":
        given = ord(given) - ord("A")
    return choices[given] if type(given) is int and 0 <= given < len(choices) else None


def read_passage(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read a passage, a question about it, and its first answer. Raises Reject: missing-field (no answer)."""
    fields = plan.fields
    context, question = record[fields["context"]], record[fields["question"]]
    answers = record[fields["answers"]]
    texts = answers.get("text") if type(answers) is dict else None
    if type(context) is not str or type(question) is not str or type(texts) is not list:
        return None
    if not texts:
        reader.format = "question-answer"
        raise Reject("missing-field", f"the field {fields['answers']} is empty: a question without an answer")
    if type(texts[0]) is not str:
        return None
    asked = context + "\n\n" + question if context.strip() else question
    return _answered(reader, record, plan, asked, texts[0], (fields["context"], fields["question"]))


def _answered(
    reader: RecordReader, record: Record, plan: Plan, question: str, answer: str, used: tuple[str, ...]
) -> Record:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    reader.format = "question-answer"
    note_messages(reader, messages)
    return reader.chat(record, plan, messages, used)


def read_ranked(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
    """Read a prompt with ranked answers as the best against the worst; 1 is the best rank."""
    key = plan.fields["prompt"]
    prompt, answers = record[key], record[plan.fields["answers"]]
    if type(prompt) is not str or type(answers) is not list or len(answers) < 2:
        return None
    ranked: list[tuple[float, str]] = []
    for answer in answers:
        rank = answer.get("rank") if type(answer) is dict else None
        if (type(rank) is not int and type(rank) is not float) or type(answer.get("answer")) is not str:
            return None
        ranked.append((rank, answer["answer"]))
    best, worst = min(ranked, key=_rank), max(ranked, key=_rank)
    reader.format = reader.shape = "preference"
    if best[0] == worst[0]:
        raise Drop("tie", best[0])
    turns = hh.split(prompt, prompt=True) if hh.looks_like(prompt) else None
    turns = turns or [{"role": "user", "content": prompt}]
    chosen = [{"role": "assistant", "content": best[1]}]
    rejected = [{"role": "assistant", "content": worst[1]}]
    note_messages(reader, [*turns, *chosen])
    from bptools.chat.reader import build

    gone = {key}
    turns = reader.with_system(turns, record, plan, gone)
    out: Record = {"prompt": turns, "chosen": chosen, "rejected": rejected}
    reader.add_tools(out, record, plan, gone)
    return build(out, record, gone)


def _rank(answer: tuple[float, str]) -> float:
    return answer[0]
