"""Texts written for nano: dialogues, small stories and descriptions of all that people talk of.

The files lie in written/. Records are separated by a line of three dashes; in a record a line that begins
with "U: " starts what the user says and one with "A: " the answer, and the lines after it belong to the
same turn. A record without turns is prose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bptools._dev.nano import dialogues

FOLDER = Path(__file__).with_name("written")
_ROLES = {"U: ": "user", "A: ": "assistant"}


def records() -> Iterator[dialogues.Record]:
    """Yield {"messages"} for each dialogue and {"text"} for each piece of prose, file by file."""
    for path in sorted(FOLDER.glob("*.txt")):
        lines = path.read_text(encoding="utf-8").split("\n")
        for entry in "\n".join(line.rstrip() for line in lines).split("\n---\n"):
            if entry.strip():
                yield record(entry.strip())


def record(entry: str) -> dialogues.Record:
    """Return one entry as a record; ValueError where turns do not alternate from user to assistant."""
    turns: list[dict[str, str]] = []
    for line in entry.split("\n"):
        role = _ROLES.get(line[:3])
        if role:
            turns.append({"role": role, "content": line[3:]})
        elif turns:
            turns[-1]["content"] += f"\n{line}"
        elif entry.startswith(tuple(_ROLES)):
            raise ValueError(entry)
    if not turns:
        return {"text": entry}
    for turn in turns:
        turn["content"] = turn["content"].strip()
    roles = [turn["role"] for turn in turns]
    if (
        len(roles) % 2
        or roles != ["user", "assistant"] * (len(roles) // 2)
        or not all(turn["content"] for turn in turns)
    ):
        raise ValueError(f"turns do not alternate: {entry[:100]}")
    return {"messages": turns}


def texts(entry: dialogues.Record) -> tuple[str, str]:
    """Return a record as the two texts that it may come as: marked with ChatML, and plain."""
    if "text" in entry:
        return str(entry["text"]), str(entry["text"])
    messages = entry["messages"]
    assert isinstance(messages, list)
    return dialogues.chatml(entry), "\n".join(turn["content"] for turn in messages)
