"""What a run measured, read back from its directory: one value per step and name, and the evaluations.

    curves = read_curves("runs/latest")
    curves.steps, smoothed(curves.values["loss"])

Nothing here fails over a line that is damaged: what cannot be read is left out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from bptools.training.run_directory import EVENTS, METRICS

Values = list["float | None"]


@dataclass
class Curves:
    """Values by step. `values` holds lists as long as `steps`, None where a step said nothing finite."""

    steps: list[int] = field(default_factory=list)
    values: dict[str, Values] = field(default_factory=dict)
    evaluations: list[tuple[int, float]] = field(default_factory=list)  # (step, loss)

    def has(self, name: str) -> bool:
        """Say whether any step has that value."""
        return any(value is not None for value in self.values.get(name, ()))


def read_lines(path: str) -> list[dict[str, Any]]:
    """Return the JSON objects of a file; what is no object, or no file, is passed over."""
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def last_event(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the last event of that name, {} where there is none: a run that was resumed says it again."""
    return next((event for event in reversed(events) if event.get("event") == name), {})


def read_curves(folder: str, before: float | None = None) -> Curves:
    """Return the curves of a run directory; `before` is the evaluation loss at step 0, where it is known."""
    by_step = {
        line["step"]: line
        for line in read_lines(os.path.join(folder, METRICS))
        if isinstance(line.get("step"), int)
    }
    steps = sorted(by_step)
    names = {name: None for step in steps for name in by_step[step] if name != "step"}  # in their order
    values = {name: [finite(by_step[step].get(name)) for step in steps] for name in names}
    evaluations: dict[int, float] = {} if finite(before) is None else {0: float(before or 0.0)}
    for event in read_lines(os.path.join(folder, EVENTS)):
        loss = finite(event.get("loss"))
        if event.get("event") == "eval" and loss is not None and isinstance(event.get("step"), int):
            evaluations[event["step"]] = loss
    last = steps[-1] if steps else 0
    return Curves(steps, values, sorted(pair for pair in evaluations.items() if pair[0] <= last))


def finite(value: Any) -> float | None:
    """Return a number that can be drawn, None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def smoothed(values: Sequence[float | None]) -> Values:
    """Return the centred moving average over a 35th of the values, taken twice; narrower at the beginning.

    Unlike an exponential average it does not lag behind what it smooths. Fewer than 20 values stay as
    they are.
    """
    if len(values) < 20:
        return list(values)
    reach = max(1, len(values) // 70)
    return _averaged(_averaged(values, reach), reach)


def _averaged(values: Sequence[float | None], most: int) -> Values:
    sums, counts = [0.0], [0]
    for value in values:
        sums.append(sums[-1] + (value or 0.0))
        counts.append(counts[-1] + (value is not None))
    made: Values = []
    for index in range(len(values)):
        reach = min(most, index)  # the steep beginning is not averaged away
        low, high = index - reach, min(len(values), index + reach + 1)
        seen = counts[high] - counts[low]
        made.append((sums[high] - sums[low]) / seen if seen else None)
    return made


def thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return at most that many points that look the same: of each stretch its lowest and its highest."""
    if len(points) <= most:
        return list(points)
    made = []
    buckets = max(1, most // 2)
    for bucket in range(buckets):
        part = points[bucket * len(points) // buckets : (bucket + 1) * len(points) // buckets]
        made += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return made


def span(*series: Sequence[float | None]) -> tuple[float, float] | None:
    """Return (lowest, highest) for an axis, without the wildest hundredth of each series of 100 or more."""
    lows, highs = [], []
    for values in series:
        found = sorted(value for value in values if value is not None)
        if found:
            cut = len(found) // 100
            lows.append(found[0])
            highs.append(found[-1 - cut])
    return (min(lows), max(highs)) if lows else None
