"""One chart of a report: curves as inline SVG, with the words beside them as HTML.

    html = chart("loss", "nats per token", [Series("loss", "raw", points)])

The curves stretch with the window, lines and words keep their size: the SVG holds no text and its strokes do
not scale.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Literal

from bptools.training.curves import span, thinned

Points = list[tuple[float, float]]
_MOST_POINTS = 1_200
_WIDTH, _HEIGHT = 1000.0, 300.0  # of the drawing; the page stretches it


@dataclass
class Series:
    """One curve: `raw` is drawn faint, `line` strong, `dots` as points on a line, `rate` dashed."""

    name: str
    kind: Literal["raw", "line", "dots", "rate"]
    points: Points


def chart(title: str, unit: str, series: list[Series], last: int, from_zero: bool = False) -> str:
    """Return the HTML of a chart over steps 0 to `last`; nothing where there is nothing to draw.

    from_zero: the axis begins at 0 unless values lie below.
    """
    drawn = [one for one in series if one.points]
    limits = span(*[[value for _, value in one.points] for one in drawn])
    if limits is None:
        return ""
    low, high = limits
    if from_zero:
        low = min(0.0, low)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 0.1
    low, high = (low if from_zero and low == 0 else low - room), high + room
    across, up = ticks(0.0, float(last), 6, whole=True), ticks(low, high, 5)

    def place(step: float, value: float) -> tuple[float, float]:
        value = min(max(value, low - room), high + room)  # just outside is as good as far outside
        return _WIDTH * (0.01 + 0.98 * step / max(last, 1)), _HEIGHT * (high - value) / (high - low)

    grid = "".join(
        f'<path class="grid" d="M0 {place(0, value)[1]:.1f}H{_WIDTH:.0f}"/>' for value in up
    ) + "".join(f'<path class="grid" d="M{place(step, low)[0]:.1f} 0V{_HEIGHT:.0f}"/>' for step in across)
    curves = "".join(
        _curve(one, [place(*point) for point in thinned(one.points, _MOST_POINTS)]) for one in drawn
    )
    rows = "".join(
        f'<span style="top:{100 * place(0, value)[1] / _HEIGHT:.2f}%">{_number(value, up)}</span>'
        for value in up
    )
    columns = "".join(
        f'<span style="left:{100 * place(step, low)[0] / _WIDTH:.2f}%">{step:.6g}</span>' for step in across
    )
    legend = "".join(
        f'<span class="key {one.kind}">{html.escape(one.name)}</span>' for one in drawn if len(drawn) > 1
    )
    told = html.escape(" · ".join(_said(one) for one in drawn if one.kind != "raw"), quote=True)
    return (
        f'<figure><figcaption><b>{html.escape(title)}</b> <span class="soft">{html.escape(unit)}</span>'
        f"{legend}"
        f'</figcaption><div class="plot"><div class="up">{rows}</div><div class="field">'
        f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
        f'aria-label="{told}">'
        f'{grid}{curves}</svg></div><div class="across">{columns}</div></div>'
        f'<p class="soft">{told}</p></figure>\n'
    )


def _said(series: Series) -> str:
    values = [value for _, value in series.points]
    low, high = min(values), max(values)
    return (
        f"{series.name}: first {values[0]:.4g}, lowest {low:.4g}, highest {high:.4g}, last {values[-1]:.4g}"
    )


def _number(value: float, ticks: list[float]) -> str:
    """Return what stands at a line: 0.5, and 1.5e-4 where all are that small."""
    if not value or max(map(abs, ticks)) >= 1e-3:
        return f"{value:.6g}"
    digits, power = f"{value:.2e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def _curve(series: Series, places: Points) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    line = f'<path class="{series.kind}" d="{path}"/>'
    if series.kind == "dots" or len(places) == 1:  # round whatever the stretch: strokes of no length
        dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
        line += f'<path class="{series.kind} dot" d="{dots}"/>'
    return line


def ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """Return at most `most` + 1 round numbers from low to high: 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    exact = (high - low) / most
    power = 10.0 ** math.floor(math.log10(exact))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= exact * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]
