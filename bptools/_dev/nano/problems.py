"""Word problems for grade school: a little story with numbers, the steps worked out, the result."""

from __future__ import annotations

import random
from collections.abc import Callable

from bptools._dev.nano.grammar import Expansion

Problem = tuple[str, str]


def _two_steps(choice: random.Random, fill: Expansion) -> Problem:
    start, more, less = choice.randint(10, 90), choice.randint(2, 60), choice.randint(2, 9)
    total = start + more
    thing, name = fill.fill("{countable1}"), fill.fill("{name1}")
    story = fill.text(
        choice.choice(
            (
                f"{name} has {start} {thing}. {{when}}, {{name2}} brings {more} more. Then {name} gives "
                f"{less} of them to "
                f"a {{person}}. How many {thing} does {name} have now?",
                f"There were {start} {thing} in the {{container}}. {name} put in another {more} and "
                f"took out {less} for "
                f"the {{event}}. How many {thing} are left?",
                f"{name} collected {start} {thing} on {{day}} and {more} on the day after. On the way "
                f"to the {{place}} "
                f"{less} of them got lost. How many {thing} remained?",
                f"A {{person}} sells {thing}. There are {start} in the shop and {more} in the {{room}}, "
                f"but {less} are "
                f"broken. How many {thing} can be sold?",
            )
        )
    )
    answer = choice.choice(
        (
            f"At first there are {start} + {more} = {total} {thing}. After {less} are gone, {total} - "
            f"{less} = "
            f"{total - less} remain. The answer is {total - less}.",
            f"Add the two groups: {start} + {more} = {total}. Take away {less}: {total} - {less} = "
            f"{total - less}. "
            f"So {total - less} {thing} are left.",
            f"{name} gets {start} + {more} = {total} {thing} in all. {total} minus {less} is "
            f"{total - less}, so the result "
            f"is {total - less}.",
        )
    )
    return story, answer


def _groups(choice: random.Random, fill: Expansion) -> Problem:
    groups, each, price = choice.randint(2, 12), choice.randint(2, 15), choice.randint(2, 9)
    total = groups * each
    thing, name, box = fill.fill("{countable1}"), fill.fill("{name1}"), fill.fill("{container1}")
    boxes = box + ("es" if box.endswith(("x", "h", "s")) else "s")
    boxes = boxes.replace("shelfs", "shelves")
    if choice.random() < 0.5:
        story = fill.text(
            choice.choice(
                (
                    f"{name} packs {thing} into {groups} {boxes}. Every {box} holds {each} {thing}. How "
                    f"many {thing} does "
                    f"{name} need?",
                    f"There are {groups} {boxes} in the {{place}}, and each of them has {each} {thing} "
                    f"in it. "
                    f"What is the total number of {thing}?",
                    f"For the {{event}}, {groups} children bring {each} {thing} each. How many {thing} "
                    f"are there "
                    f"altogether?",
                )
            )
        )
        return story, choice.choice(
            (
                f"Multiply the groups by the number in each: {groups} * {each} = {total}. There are "
                f"{total} {thing}.",
                f"{groups} times {each} is {total}. So the total is {total} {thing}.",
            )
        )
    cost = total * price
    story = fill.text(
        f"{name} buys {groups} {boxes} of {thing} for the {{event}}. There are {each} {thing} in a "
        f"{box}, and each "
        f"one costs ${price}. How much does {name} pay?"
    )
    return story, (
        f"First find how many there are: {groups} * {each} = {total} {thing}. Each costs ${price}, so "
        f"{name} pays "
        f"{total} * {price} = ${cost}. The answer is ${cost}."
    )


def _share(choice: random.Random, fill: Expansion) -> Problem:
    people, each, rest = choice.randint(2, 9), choice.randint(2, 14), choice.randint(2, 9)
    total = people * each + rest
    thing, name = fill.fill("{countable1}"), fill.fill("{name1}")
    story = fill.text(
        choice.choice(
            (
                f"{name} has {total} {thing} and keeps {rest} of them. The others are shared equally "
                f"among {people} "
                f"friends. How many {thing} does each friend get?",
                f"A {{trait}} {{person}} has {total} {thing} at the end of the day. After giving {rest} to a "
                f"neighbor, {{name}} divides them into {people} equal groups. How large is each group?",
                f"In the {{place}} there are {total} {thing}. {rest} are old and thrown away, and the "
                f"rest is placed on "
                f"{people} tables. How many {thing} are on each table?",
            )
        )
    )
    return story, choice.choice(
        (
            f"{total} - {rest} = {people * each} {thing} are shared. {people * each} / {people} = "
            f"{each}, so the answer "
            f"is {each}.",
            f"First subtract: {total} - {rest} = {people * each}. Then divide by {people}, which gives "
            f"{each}. "
            f"Each part has {each} {thing}.",
        )
    )


def _time(choice: random.Random, fill: Expansion) -> Problem:
    hours, speed, days = (
        choice.randint(2, 8),
        choice.choice((4, 5, 10, 12, 15, 20, 50, 60, 80)),
        choice.randint(2, 7),
    )
    name, far = fill.fill("{name1}"), hours * speed
    story = fill.text(
        choice.choice(
            (
                f"{name} travels {speed} miles every hour for {hours} hours each day. How far does "
                f"{name} get in {days} "
                f"days?",
                f"A {{person}} earns ${speed} an hour and works {hours} hours a day. How much money is "
                f"that after {days} "
                f"days?",
                f"{name} reads {speed} pages an hour. If {name} reads for {hours} hours a day during "
                f"{days} {{weather}} "
                f"days, how many pages is that?",
            )
        )
    )
    return story, (
        f"In one day it is {hours} * {speed} = {far}. In {days} days it is {far} * {days} = {far * days}. "
        f"The answer is {far * days}."
    )


def _change(choice: random.Random, fill: Expansion) -> Problem:
    one, two = choice.randint(1, 9), choice.randint(2, 12)
    paid = choice.choice([note for note in (20, 50) if note > one + two])
    name = fill.fill("{name1}")
    story = fill.text(
        f"At the {{place}}, {name} buys {{food}} for ${one} and a {{object}} for ${two}. {name} pays "
        f"with a ${paid} "
        f"bill. How much change does {name} get?"
    )
    return story, choice.choice(
        (
            f"Together the things cost ${one} + ${two} = ${one + two}. The change is ${paid} - "
            f"${one + two} = "
            f"${paid - one - two}.",
            f"{name} spends {one} + {two} = {one + two} dollars. {paid} - {one + two} = "
            f"{paid - one - two}, so the change "
            f"is ${paid - one - two}.",
        )
    )


def _ages(choice: random.Random, fill: Expansion) -> Problem:
    age, older, years = choice.randint(4, 40), choice.randint(2, 20), choice.randint(2, 15)
    one, two = fill.fill("{name1}"), fill.fill("{name2}")
    story = fill.text(
        f"{one} is {age} years old. {two} is {older} years older than {one}. How old will {two} be in "
        f"{years} years?"
    )
    return story, (
        f"{two} is {age} + {older} = {age + older} years old now. In {years} years {two} will be "
        f"{age + older} + "
        f"{years} = {age + older + years} years old."
    )


def _sum(choice: random.Random, fill: Expansion) -> Problem:
    one, two = choice.randint(2, 99), choice.randint(2, 99)
    sign, result = choice.choice((
        ("plus", one + two), ("minus", max(one, two) - min(one, two)), ("times", one % 12 * (two % 12))
    ))  # fmt: skip
    if sign == "minus":
        one, two = max(one, two), min(one, two)
    elif sign == "times":
        one, two = one % 12, two % 12
    ask = choice.choice(("What is {}?", "How much is {}?", "Calculate {}.", "Can you work out {}?", "{} = ?"))
    told = choice.choice(("{} is {}.", "The result of {} is {}.", "{} equals {}."))
    return ask.format(f"{one} {sign} {two}"), told.format(f"{one} {sign} {two}", result)


KINDS: tuple[Callable[[random.Random, Expansion], Problem], ...] = (
    _two_steps, _two_steps, _groups, _groups, _share, _share, _time, _change, _ages, _sum,
)  # fmt: skip


def problem(choice: random.Random) -> Problem:
    """Return a question and its worked answer."""
    return choice.choice(KINDS)(choice, Expansion(choice))
