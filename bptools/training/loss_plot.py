"""The picture of a training: loss per step, its evaluations, and the learning rate, as a PNG.

    png = loss_png(read_curves("runs/latest"), "nano-3fa09c41d27e")

The same numbers give the same bytes: nothing of the user's matplotlib settings, no date, no version.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from bptools.core.errors import MissingExtra
from bptools.training.curves import Curves, smoothed, span, thinned

_LOSS, _SMOOTH, _EVAL, _RATE, _INK, _FAINT = "#b9d1ec", "#1f5fa8", "#c8501e", "#7d7d7d", "#222222", "#dddddd"
_SIZE = (10.0, 5.5)  # inches
_DPI = 120
_MOST_POINTS = 4_000  # more than the picture has columns


def loss_png(curves: Curves, title: str) -> bytes:
    """Return the PNG. Raises MissingExtra."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise MissingExtra("matplotlib", "train") from None
    import logging
    import warnings

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells everyone about its font cache
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter of the title that its font does not have
        matplotlib.rcdefaults()
        return _draw(curves, title)


def _draw(curves: Curves, title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=_SIZE, dpi=_DPI, facecolor="white", layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    short = title if len(title) <= 80 else title[:79] + "…"
    axes.set_title(short, loc="left", fontsize=12, color=_INK, parse_math=False)  # a $ is no formula
    axes.set_xlabel("step", color=_INK)
    axes.set_ylabel("loss (nats per token)" if not curves.has("rewards/margins") else "loss", color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    last = max(curves.steps, default=1)
    axes.set_xlim(-0.01 * last, 1.02 * last)
    axes.grid(True, color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    lines = _loss(axes, curves)
    rates = curves.values.get("learning_rate", [])
    highest = max((rate or 0.0 for rate in rates), default=0.0)
    if highest > 0:
        right = axes.twinx()
        (line,) = _line(right, curves.steps, rates, color=_RATE, linewidth=1.0, linestyle=(0, (4, 2)))
        line.set_label("learning rate (right)")
        lines.append(line)
        right.set_ylabel("learning rate", color=_RATE)
        right.tick_params(axis="y", colors=_RATE)
        right.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4), useMathText=False)
        right.set_ylim(bottom=0.0, top=1.08 * highest)
        right.spines[:].set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    if lines:
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False, fontsize=9)
    file = BytesIO()
    canvas.print_png(file, metadata={"Software": None})
    return file.getvalue()


def _loss(axes: Any, curves: Curves) -> list[Any]:
    """Draw the losses, and choose the axis so that one wild step does not flatten all others."""
    losses = curves.values.get("loss", [])
    smooth = smoothed(losses)
    lines = []
    few = len(curves.steps) < 20
    if curves.has("loss"):
        style: dict[str, Any] = (
            {"marker": "o", "markersize": 3, "color": _SMOOTH} if few else {"color": _LOSS}
        )
        lines += _line(axes, curves.steps, losses, linewidth=1.6 if few else 0.9, label="loss", **style)
        if not few:
            lines += _line(axes, curves.steps, smooth, color=_SMOOTH, linewidth=2.0, label="loss, smoothed")
    evaluated = [loss for _, loss in curves.evaluations]
    if evaluated:
        steps = [step for step, _ in curves.evaluations]
        style = {"color": _EVAL, "marker": "o", "markersize": 5, "linewidth": 1.2, "zorder": 4}
        lines += axes.plot(steps, evaluated, label="evaluation loss", **style)
    limits = span(losses, [value for value in smooth if value is not None], evaluated)
    if limits is not None:
        room = 0.06 * (limits[1] - limits[0]) or 0.06 * abs(limits[1]) or 0.1
        axes.set_ylim(limits[0] - room, limits[1] + room)
    return lines


def _line(axes: Any, steps: list[int], values: Any, **style: Any) -> list[Any]:
    points = thinned([(step, value) for step, value in zip(steps, values) if value is not None], _MOST_POINTS)
    drawn: list[Any] = axes.plot([x for x, _ in points], [y for _, y in points], **style)
    return drawn
