"""The report of a run: one HTML file with curves, settings, samples and data, what a web UI would show.

    page = report_html(run, plan, result)

Nothing in it is fetched and nothing runs: no script, and a policy that forbids any. All that comes from
models, data and files is escaped, and characters that change what is seen of others are spelled out.
"""

from __future__ import annotations

import html
import os
import re
from typing import Any

from bptools import __version__
from bptools.core.sizes import shown_time
from bptools.training.curves import Curves, last_event, read_curves, read_lines, smoothed
from bptools.training.report_chart import Series, chart
from bptools.training.run_directory import EVENTS, METRICS, RunDirectory
from bptools.training.settings import Settings

_MOST_TEXT = 4_000  # characters of a sample
_MOST_ROWS = 200  # of a table
# control characters, what overrides the direction of text, invisible marks, lone surrogates
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="referrer" content="no-referrer">'
)


def report_html(
    run: RunDirectory, plan: dict[str, Any], result: dict[str, Any], packages: dict[str, str]
) -> str:
    """Return the page of a run whose plan and result these are."""
    events = read_lines(run.file(EVENTS))
    curves = read_curves(run.path, result.get("eval_loss_before"))
    name = os.path.basename(os.path.abspath(run.path))
    parts = [
        _HEAD,
        f"<title>{shown(name)}</title><style>\n{_style()}</style></head><body>\n<h1>{shown(name)}</h1>\n",
        _summary(plan, result),
        _section("Curves", _charts(curves)),
        _section("Samples", _samples(result)),
        _section("Data", _data(plan, events)),
        _section("Settings", _settings(plan)),
        _section("Model", _model(plan, events)),
        _section("Notes", _notes(events)),
        _section("Packages", _table(("package", "version"), [("bptools", __version__), *packages.items()])),
        _section("Files", _files(run, plan)),
        "</body></html>\n",
    ]
    return "".join(parts)


def shown(value: Any, most: int = _MOST_TEXT) -> str:
    """Return any value as HTML text that is safe in elements and quoted attributes."""
    text = value if isinstance(value, str) else "" if value is None else _plain(value)
    left = len(text) - most
    text = _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text[:most].replace("\r\n", "\n"))
    return html.escape(text, quote=True) + (f" … ({left:,} more characters)" if left > 0 else "")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items())
    return str(value)


def _style() -> str:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "report.css")
    with open(path, encoding="utf-8") as file:
        return file.read()


def _section(title: str, content: str) -> str:
    return f"<section><h2>{title}</h2>\n{content}</section>\n" if content else ""


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]], numbers: tuple[int, ...] = ()) -> str:
    """Return a table; columns in `numbers` are aligned to the right. No rows, no table."""
    if not rows:
        return ""

    def line(cells: tuple[Any, ...], tag: str) -> str:
        classes = [' class="number"' if index in numbers else "" for index in range(len(cells))]
        return (
            "<tr>"
            + "".join(f"<{tag}{kind}>{shown(cell)}</{tag}>" for cell, kind in zip(cells, classes))
            + "</tr>\n"
        )

    body = "".join(line(row, "td") for row in rows[:_MOST_ROWS])
    more = f'<p class="soft">and {len(rows) - _MOST_ROWS:,} more</p>' if len(rows) > _MOST_ROWS else ""
    named = line(head, "th") if any(head) else ""
    return f'<div class="wide"><table>{named}{body}</table></div>{more}\n'


def _summary(plan: dict[str, Any], result: dict[str, Any]) -> str:
    settings, model = plan["settings"], plan["model"]
    before, after = result.get("eval_loss_before"), result.get("eval_loss")
    evaluation = (
        None if after is None else f"{after:.4f}" if before is None else f"{before:.4f} → {after:.4f}"
    )
    steps, seconds = result.get("steps"), result.get("seconds")
    tiles = [
        ("method", settings.get("method")),
        ("model", model.get("shown")),
        ("records", f"{plan['records']:,}"),
        (
            "steps",
            None
            if steps is None
            else f"{steps:,}" + (", stopped early" if result.get("stopped_early") else ""),
        ),
        ("last loss", _number(result.get("final_loss"))),
        ("evaluation loss", evaluation),
        ("best step", result.get("best_step")),
        ("time", None if seconds is None else shown_time(seconds)),
    ]
    made = "".join(
        f'<div class="tile"><span>{name}</span><b>{shown(value)}</b></div>'
        for name, value in tiles
        if value is not None
    )
    said = f'<p class="soft">bp-train {__version__}, run {shown(plan["id"])}</p>'
    return f'{said}\n<div class="tiles">{made}</div>\n'


def _number(value: Any) -> str | None:
    return None if value is None else f"{value:.4f}"


def _charts(curves: Curves) -> str:
    if not curves.steps:
        return '<p class="soft">no step was written down</p>\n'
    last = curves.steps[-1]

    def points(values: list[float | None]) -> list[tuple[float, float]]:
        return [(step, value) for step, value in zip(curves.steps, values) if value is not None]

    def both(name: str, said: str) -> list[Series]:
        values = curves.values.get(name, [])
        smooth = smoothed(values)
        if smooth == values:
            return [Series(said, "line", points(values))]
        return [Series(said, "raw", points(values)), Series(f"{said}, smoothed", "line", points(smooth))]

    unit = "by step" if curves.has("rewards/margins") else "nats per token, by step"
    evaluated = [(float(step), loss) for step, loss in curves.evaluations]
    losses = [*both("loss", "loss"), Series("evaluation loss", "dots", evaluated)]
    rates = [Series("learning rate", "rate", points(curves.values.get("learning_rate", [])))]
    made = [
        chart("Loss", unit, losses, last),
        chart("Learning rate", "", rates, last, True),
        chart("Gradient norm", "before clipping", both("grad_norm", "gradient norm"), last, True),
        chart("Token accuracy", "share of learnt tokens", both("mean_token_accuracy", "accuracy"), last),
        chart("Reward margin", "chosen less rejected", both("rewards/margins", "margin"), last),
        chart("Reward accuracy", "share of pairs ranked right", both("rewards/accuracies", "accuracy"), last),
    ]
    return f'<div class="charts">{"".join(made)}</div>\n'


def _samples(result: dict[str, Any]) -> str:
    made = []
    for sample in result.get("samples") or []:
        answers = [("before", "before"), ("after", "after"), ("the data", "reference")]
        told = "".join(
            f'<div><span class="soft">{title}</span>{_said(sample[name])}</div>'
            for title, name in answers
            if sample.get(name) is not None
        )
        made.append(
            f'<div class="sample"><span class="soft">prompt</span>{_said(sample.get("prompt"))}'
            f'<div class="answers">{told}</div></div>\n'
        )
    return "".join(made)


def _said(text: Any) -> str:
    return f'<div class="text" dir="auto">{shown(text) or "&nbsp;"}</div>'


def _notes(events: list[dict[str, Any]]) -> str:
    notes = [event.get("message") for event in events if event.get("event") == "note"]
    return "".join(f"<p>{shown(note)}</p>\n" for note in notes)


def _data(plan: dict[str, Any], events: list[dict[str, Any]]) -> str:
    facts = last_event(events, "preflight")
    share = facts.get("share")
    counted = [
        ("records", plan.get("records")),
        ("held out for evaluation", plan.get("evaluation")),
        ("shapes", plan.get("shapes")),
        ("rows", facts.get("rows")),
        ("tokens", facts.get("tokens")),
        ("share of tokens that is learnt", None if share is None else f"{share:.1%}"),
        ("tokens of the longest row", facts.get("longest")),
        ("left out as too long", facts.get("too_long")),
        ("left out without a learnt token", facts.get("untrained")),
        ("the first of these", facts.get("untrained_places") or None),
        ("left out, refused by the chat template", facts.get("refused")),
        ("what it says", facts.get("refusal")),
        ("truncated", facts.get("truncated")),
        ("split", facts.get("split")),
        ("chat template", facts.get("template")),
        ("turns end in", facts.get("turn_end")),
        ("missing from the tokenizer", facts.get("missing") or None),
        ("SHA-256 of the records", plan.get("records_sha256")),
        ("SHA-256 of those held out", plan.get("evaluation_sha256") or None),
    ]
    rows = [(name, _count(value)) for name, value in counted if value is not None]
    inputs = [_input(entry) for entry in plan.get("inputs") or []]
    return _table(("", ""), rows) + _table(("input", "bytes", "SHA-256", ""), inputs, (1,)) + _row(facts)


def _input(entry: dict[str, Any]) -> tuple[Any, ...]:
    said = ["evaluation"] if entry.get("part") == "evaluation" else []
    if not entry.get("complete"):
        said.append("not all of it")
    return entry.get("name"), _count(entry.get("bytes")), entry.get("sha256"), ", ".join(said)


def _count(value: Any) -> Any:
    """Return a whole number with its thousands apart, all else as it is."""
    return f"{value:,}" if type(value) is int else value


def _row(facts: dict[str, Any]) -> str:
    """Return the first row as the model saw it, what is learnt of it marked."""
    rows = facts.get("rows_shown") or []
    if not rows:
        return ""
    told, room = [], _MOST_TEXT
    for text, learnt in rows[0]:
        if room <= 0:
            told.append(" …")
            break
        piece = shown(text[:room])
        told.append(f'<span class="learnt">{piece}</span>' if learnt else piece)
        room -= len(text)
    return f'<p class="soft">a row, what is learnt of it marked</p><div class="text">{"".join(told)}</div>\n'


def _settings(plan: dict[str, Any]) -> str:
    """Return what was asked for and what was decided; what stayed as it always is folds away."""
    reasons, options = plan.get("reasons") or {}, plan.get("options") or {}
    usual = Settings().as_json()
    chosen: list[tuple[Any, ...]] = []
    standard: list[tuple[Any, ...]] = []
    for name, value in plan["settings"].items():
        origin = reasons.get(name) or _origin(options.get(name.replace("_", "-")))
        if origin is None and _listed(value) != _listed(usual.get(name)):
            origin = "asked for"  # from Python, where nobody writes down what was
        row = (name.replace("_", " "), "—" if value is None or value in ((), [], {}) else value)
        if origin is None:
            standard.append(row)
        else:
            chosen.append((*row, origin))
    known = {name.replace("_", "-") for name in plan["settings"]}
    for name, option in options.items():
        origin = _origin(option)
        if name not in known and origin is not None:
            chosen.append((name.replace("-", " "), option.get("value"), origin))
    rest = f"<details><summary>{len(standard)} more as they are by default</summary>\n"
    rest += _table(("setting", "value"), standard) + "</details>\n"
    return _table(("setting", "value", "decided by"), chosen) + (rest if standard else "")


def _origin(option: Any) -> str | None:
    """Return where an option's value comes from, None for its default."""
    origin = option.get("origin") if isinstance(option, dict) else None
    return None if origin == "default" else origin


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _model(plan: dict[str, Any], events: list[dict[str, Any]]) -> str:
    model, start = plan["model"], last_event(events, "start")
    facts = last_event(events, "preflight")
    trained, parameters = start.get("trained"), start.get("parameters")
    rows = [
        ("name", model.get("name")),
        ("revision", model.get("revision")),
        ("SHA-256", model.get("sha256")),
        ("parameters", f"{parameters:,}" if parameters else None),
        ("of them trained", f"{trained:,} ({trained / parameters:.2%})" if trained and parameters else None),
        ("micro batch", start.get("micro_batch")),
        ("device", facts.get("device")),
        ("numbers", facts.get("dtype")),
    ]
    return _table(("", ""), [row for row in rows if row[1] is not None])


def _files(run: RunDirectory, plan: dict[str, Any]) -> str:
    """Return the sizes of the result's files; the manifest, which is written after this, hashes them."""
    paths = [run.file(METRICS)]
    for here, _, names in os.walk(run.file(plan["result"])):
        paths += [os.path.join(here, name) for name in names]
    rows = [
        (os.path.relpath(path, run.path), f"{os.path.getsize(path):,}")
        for path in sorted(paths)
        if os.path.isfile(path)
    ]
    said = '<p class="soft">SHA-256 of each: <code>manifest.json</code></p>'
    return _table(("file", "bytes"), rows, (1,)) + said if rows else ""
