"""Raw chats as people have them: several formats in one file, copies, near copies, junk, broken lines.

    python -m bptools._dev.demo.chats raw.jsonl --count 2400 --seed 1

They are of a harbour desk that does not exist: what it says can be in no model, so that whatever a model
knows of it, it has learnt from them. The same count and seed give the same bytes.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Turns = list[tuple[str, str]]

_PORTS = (
    "Lowmere", "Saint Orla", "Brackwater", "the Gannet Isles", "Tolver", "Hexham Point", "Quillan",
    "Old Marrow", "Pennyreach", "the Sisters", "Wexcombe", "Drum Sound",
)  # fmt: skip
_BOATS = ("rowing boat", "yellow kayak", "small sloop", "fishing boat", "paddle board", "motor boat", "raft")
_THINGS = (
    "umbrella", "blue scarf", "camera", "pair of glasses", "walking stick", "red suitcase", "violin", "phone",
    "box of tea", "bunch of keys",
)  # fmt: skip
_PLACES = (
    "on the quay",
    "in the waiting room",
    "on the morning ferry",
    "near the ticket office",
    "at pier two",
)
_DISHES = ("fried herring", "mussel soup", "potato pie", "smoked eel", "seaweed bread", "apple cake")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NAMES = (
    "Ada",
    "Bruno",
    "Carla",
    "Dmitri",
    "Elsa",
    "Farid",
    "Greta",
    "Hugo",
    "Imani",
    "Jonas",
    "Kira",
    "Leo",
)
_OPENERS = ("Ahoy!", "Ahoy there!", "Ahoy, friend!")
_CLOSERS = ("Fair winds!", "Mind the step!", "See you at the harbour!")


class Desk:
    """Makes conversations by chance."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def conversation(self) -> Turns:
        """Return one to three exchanges as (question, answer)."""
        topics = self._chance.sample((self._ferry, self._boat, self._lost, self._food, self._weather), k=3)
        turns = [topic() for topic in topics[: self._chance.choice((1, 2, 2, 3))]]
        return [(question, self._said(answer)) for question, answer in turns]

    def _said(self, answer: str) -> str:
        return f"{self._chance.choice(_OPENERS)} {answer} {self._chance.choice(_CLOSERS)}"

    def _pick(self, *choices: str) -> str:
        return self._chance.choice(choices)

    def _ferry(self) -> tuple[str, str]:
        port, day, name = (self._pick(*names) for names in (_PORTS, _DAYS, _NAMES))
        number = _PORTS.index(port)
        time, pier = f"{6 + number % 5}:{10 + 5 * (number % 9)}", number % 4 + 1
        question = self._pick(
            f"When does the ferry to {port} leave on {day}?",
            f"My friend {name} and I would like to go to {port} on {day}. What time is the ferry?",
            f"Hello, I need to be in {port} before noon. Is there a boat on {day}?",
            f"Which pier does the {port} ferry use, and when should I be there?",
            f"Is it true that {name} can still catch the {day} ferry to {port}?",
        )
        answer = self._pick(
            f"The ferry to {port} casts off at {time} from pier {pier}, every {day} and every other day.",
            f"Be at pier {pier} by {time}, for that is when we sail to {port}.",
            f"On {day} we sail to {port} at {time} sharp, and you will find us at pier {pier}.",
        )
        return question, answer

    def _boat(self) -> tuple[str, str]:
        boat, day, name = (self._pick(*names) for names in (_BOATS, _DAYS, _NAMES))
        rate, hours = 4 + 3 * _BOATS.index(boat), self._chance.randint(1, 8)
        question = self._pick(
            f"How much is a {boat} for {hours} hours?",
            f"{name} wants to rent a {boat} on {day}, for {hours} hours. What will it cost?",
            f"Can I hire a {boat} from you on {day}? I need it for {hours} hours.",
            f"What would you charge for a {boat} if we take it out for {hours} hours?",
        )
        answer = self._pick(
            f"A {boat} is {rate} shells an hour, so {hours} hours come to {rate * hours} shells.",
            f"That makes {rate * hours} shells for {hours} hours with the {boat}, life vest included.",
            f"For {hours} hours we ask {rate * hours} shells; the {boat} must be back by dark on {day}.",
        )
        return question, answer

    def _lost(self) -> tuple[str, str]:
        thing, place, name = (self._pick(*names) for names in (_THINGS, _PLACES, _NAMES))
        shelf = _THINGS.index(thing) + 1
        question = self._pick(
            f"I think I left my {thing} {place}. Did anybody find it?",
            f"Has a {thing} turned up? {name} lost one {place} yesterday.",
            f"Where can I ask about a {thing} that was lost {place}?",
        )
        answer = self._pick(
            f"Every {thing} we find goes to shelf {shelf} of the lost property room, so please look there.",
            f"Good news, {name}: a {thing} was found {place} and waits for you on shelf {shelf}.",
            f"Ask for shelf {shelf} in the lost property room, which is where we keep what is found {place}.",
        )
        return question, answer

    def _food(self) -> tuple[str, str]:
        dish, day = self._pick(*_DISHES), self._pick(*_DAYS)
        other = self._pick(*_DISHES)
        question = self._pick(
            f"What can we eat at the harbour on {day}?",
            f"Does the kitchen still serve {dish} on {day}?",
            f"I do not eat {other}. What else is there on {day}?",
        )
        answer = self._pick(
            f"On {day} the galley cooks {dish}, and there is always {other} for those who come late.",
            f"The galley has {dish} on {day} until the pot is empty, which never takes long.",
            f"We serve {dish} as well as {other}, and both are worth the walk on a {day}.",
        )
        return question, answer

    def _weather(self) -> tuple[str, str]:
        wind, day = self._chance.randint(1, 9), self._pick(*_DAYS)
        side = self._pick("north", "south", "east", "west")
        question = self._pick(
            f"How will the weather be on {day}?",
            f"Is it safe to sail on {day}? I heard there will be wind from the {side}.",
            f"Will the sea be rough on {day}?",
        )
        verdict = "we stay in port" if wind > 6 else "we sail as planned"
        answer = self._pick(
            f"We expect wind {wind} from the {side} on {day}, and with that {verdict}.",
            f"The glass says force {wind} out of the {side}, so {verdict} on {day}.",
        )
        return question, answer


def raw_lines(count: int, seed: int) -> list[bytes]:
    """Return the lines of a raw file: `count` conversations, and beside them a third of what should go."""
    chance, desk = random.Random(seed + 1), Desk(seed)
    chats = [desk.conversation() for _ in range(count)]
    lines = [_dumps(_written(turns, chance)) for turns in chats]
    copies = [_dumps(_written(turns, chance)) for turns in chance.sample(chats, count // 8)]
    near = [_dumps(_written(_retouched(turns, chance), chance)) for turns in chance.sample(chats, count // 8)]
    junk = [_dumps(_written(_spoilt(turns, chance), chance)) for turns in chance.sample(chats, count // 25)]
    broken = [_broken(line, chance) for line in chance.sample(lines, max(1, count // 150))]
    lines += copies + near + junk + broken
    chance.shuffle(lines)
    return lines


def _dumps(record: Record) -> bytes:
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _written(turns: Turns, chance: random.Random) -> Record:
    """Return a conversation in one of the formats that people keep chats in."""
    exchange = len(turns) == 1
    style = chance.choice(("messages", "sharegpt", "history") + (("alpaca", "prompt") if exchange else ()))
    question, answer = turns[-1]
    if style == "messages":
        said = [pair for turn in turns for pair in zip(("user", "assistant"), turn)]
        return {"messages": [{"role": role, "content": text} for role, text in said]}
    if style == "sharegpt":
        said = [pair for turn in turns for pair in zip(("human", "gpt"), turn)]
        return {"conversations": [{"from": name, "value": text} for name, text in said]}
    if style == "alpaca":
        return {"instruction": question, "input": "", "output": answer}
    if style == "prompt":
        return {"prompt": question, "completion": answer}
    return {
        "instruction": question,
        "input": "",
        "output": answer,
        "history": [list(turn) for turn in turns[:-1]],
    }


def _retouched(turns: Turns, chance: random.Random) -> Turns:
    """Return nearly the same conversation: another greeting, a full stop more."""
    turns = list(turns)
    question, answer = turns[0]
    turns[0] = (chance.choice(("Hi. ", "Good morning. ", "Please: ")) + question, answer)
    return turns


def _spoilt(turns: Turns, chance: random.Random) -> Turns:
    """Return a conversation whose answers are no language any more."""
    kind = chance.choice(("shuffled", "base64", "script", "noise"))

    def spoil(text: str) -> str:
        if kind == "shuffled":
            words = text.split()
            chance.shuffle(words)
            return " ".join(words)
        if kind == "base64":
            return base64.b64encode(text.encode()).decode()
        if kind == "script":
            return "".join(chr(0x430 + ord(letter) % 32) if letter.isalpha() else letter for letter in text)
        return "".join(chance.choice("~^|%#0\u00a6") if chance.random() < 0.3 else letter for letter in text)

    return [(question, spoil(answer)) for question, answer in turns]


def _broken(line: bytes, chance: random.Random) -> bytes:
    """Return a line that is no record: cut off, or what a terminal left in the file."""
    if chance.random() < 0.5:
        return line[: len(line) // 2] + b"\n"
    return b"^C\n"


def main(arguments: list[str] | None = None) -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_bytes(b"".join(raw_lines(chosen.count, chosen.seed)))


if __name__ == "__main__":
    main()
