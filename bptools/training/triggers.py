"""When something is due: every 500 steps, or at steps 100 and 500; always at the last one.

parse_trigger("500", "--eval-every")(500, False)           # True
parse_trigger("at:100,500", "--eval-every")(250, False)    # False
"""

from __future__ import annotations

from collections.abc import Callable

from bptools.core.errors import UsageError

Trigger = Callable[[int, bool], bool]
"""(step from 1, whether it is the last) -> whether it is due."""


def parse_trigger(text: str, option: str) -> Trigger:
    """Return the trigger of `N`, `at:N,N` or `never`. Raises UsageError naming the option."""
    if text == "never":
        return lambda step, last: False
    numbers = text.removeprefix("at:").split(",")
    if not all(number.strip().isdecimal() and int(number) > 0 for number in numbers):
        raise UsageError(f"{option} '{text}' is no number of steps; write 500, or at:100,500, or never")
    steps = {int(number) for number in numbers}
    if text.startswith("at:"):
        return lambda step, last: last or step in steps
    if len(steps) > 1:
        raise UsageError(f"{option} '{text}' names several steps; write at:{text}")
    every = steps.pop()
    return lambda step, last: last or step % every == 0


def spaced(steps: int, times: int, least: int, most: int) -> str:
    """Return the trigger that is due some `times` in that many steps, never closer than `least`."""
    return str(max(least, min(most, max(1, steps // times))))
