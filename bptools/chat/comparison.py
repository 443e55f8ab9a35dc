"""Two answers and a verdict in a third field: the comparison sets.

    prompt, response_0, response_1, better_response_id (0, 1)
    context or prompt, response1, response2, overall_preference or preference_strength (below 0: the first)
    conversation_a, conversation_b, winner (model_a, model_b, tie)
    prompt, response_a, response_b, winner or winner_model_a, winner_model_b, winner_tie
                                            (texts, or lists with a text for each turn, also as JSON)
    history, human_ref_A, human_ref_B, labels (1: A)
    instruction, output_1, output_2, preference (1 to 2, nearer to 1: the first)

A tie is no preference: such a record is dropped ("tie"), not refused. The verdict stays a field: it can say
more than which of the two is better.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bptools.chat import embedded
from bptools.chat.fields import Fields
from bptools.chat.roles import fold
from bptools.core.records import Drop, Record

if TYPE_CHECKING:
    from bptools.chat.reader import Plan, RecordReader, Step

# (first answer, second answer, fields that hold the verdict, how to read it, field of the prompt)
SETS = (
    ("response_0", "response_1", ("better_response_id",), "index", "prompt"),
    ("response1", "response2", ("overall_preference",), "sign", "context"),
    ("response_1", "response_2", ("preference_strength",), "sign", "prompt"),
    ("conversation_a", "conversation_b", ("winner",), "winner", None),
    ("response_a", "response_b", ("winner_model_a", "winner_model_b", "winner_tie"), "flags", "prompt"),
    ("response_a", "response_b", ("winner",), "winner", "prompt"),
    ("human_ref_a", "human_ref_b", ("labels",), "label", "history"),
    ("output_1", "output_2", ("preference",), "number", "instruction"),
)


def steps(fields: Fields) -> list[Step]:
    """Return the readers for the comparisons that these fields hold."""
    found: list[Step] = []
    for first, second, verdicts, how, prompt in SETS:
        if all(name in fields for name in (first, second, *verdicts)) and (
            prompt is None or prompt in fields
        ):
            keys = tuple(fields[name] for name in verdicts)
            found.append(
                _reader(fields[first], fields[second], keys, how, fields[prompt] if prompt else None)
            )
    return found


def _reader(first: str, second: str, verdicts: tuple[str, ...], how: str, prompt: str | None) -> Step:
    def step(reader: RecordReader, record: Record, plan: Plan) -> Record | None:
        side = _better(record, verdicts, how)
        if side is None:
            return None
        reader.format, reader.shape = "preference", "preference"
        if side == "tie":
            raise Drop("tie", [record[key] for key in verdicts] if len(verdicts) > 1 else record[verdicts[0]])
        from bptools.chat import preference

        pair = (first, second) if side == "first" else (second, first)
        if prompt is not None and fold(first) == "response_a":
            whole = _conversations(record, prompt, *pair)
            if whole is not None:
                return preference.read(reader, {**record, **whole}, plan, *pair, also_used=(prompt,))
        return preference.read(reader, record, plan, *pair, prompt_key=prompt)

    return step


def _conversations(record: Record, prompt: str, *answers: str) -> Record | None:
    """Return both conversations where prompt and answers are lists with one text for each turn; else None.

    The lists may be written as JSON. An answer that is null is an empty one.
    """
    asked = _texts(record[prompt])
    if not asked or not all(type(text) is str for text in asked):
        return None
    found: Record = {prompt: None}
    for key in answers:
        said = _texts(record[key])
        if said is None or len(said) != len(asked):
            return None
        turns: list[Record] = []
        for question, answer in zip(asked, said):
            turns.append({"role": "user", "content": question})
            turns.append({"role": "assistant", "content": answer or ""})
        found[key] = turns
    return found


def _texts(value: object) -> list[str | None] | None:
    if type(value) is str and value[:1] == "[" and value[-1:] == "]":
        parsed = embedded.parse(value)
        if parsed is None and "\\u" in value:  # half of a character: whoever writes the record refuses it
            try:
                parsed = json.loads(value)
            except (ValueError, RecursionError):
                return None
        value = parsed
    if type(value) is list and all(text is None or type(text) is str for text in value):
        return value
    return None


def _better(record: Record, verdicts: tuple[str, ...], how: str) -> str | None:
    """Return "first", "second" or "tie"; None if the verdict is not understood."""
    value = record[verdicts[0]]
    if how == "winner":
        word = value.strip().lower() if type(value) is str else ""
        if word.startswith("tie") or word in ("both", "neither", "both_bad", "bothbad"):
            return "tie"
        return {"model_a": "first", "a": "first", "model_b": "second", "b": "second"}.get(word)
    if how == "flags":
        flags = [record[key] for key in verdicts]
        if sum(1 for flag in flags if type(flag) in (int, bool) and flag == 1) != 1:
            return None
        return ("first", "second", "tie")[[flag == 1 for flag in flags].index(True)]
    if how == "number" and type(value) is str and value.strip()[:1] in ("1", "2"):  # a cell of a table
        try:
            value = float(value)
        except ValueError:
            return None
    if type(value) not in (int, float):
        return None
    if how == "number":
        if value in (0, 1.5):
            return "tie"
        return ("first" if value < 1.5 else "second") if 1 <= value <= 2 else None
    if how == "sign":
        return "tie" if value == 0 else "first" if value < 0 else "second"
    if value not in (0, 1):
        return None
    return "first" if value == (0 if how == "index" else 1) else "second"
