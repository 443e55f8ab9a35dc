"""loss.png and report.html: the bytes are the same every time, the page is inert, and neither fails a run."""

from __future__ import annotations

import math
import re
import struct
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from bptools.core.errors import MissingExtra
from bptools.training.curves import Curves, finite, read_curves, smoothed, span, thinned
from bptools.training.report_chart import Series, chart, ticks
from bptools.training.report_html import report_html, shown
from bptools.training.reporting import write_reports
from bptools.training.run_directory import RunDirectory
from tests.unit.run_directories import plan, result, write_run

HOSTILE = "</div></body><script>alert(1)</script><img src=\"http://x/y\" onerror='a'>&amp;\x1b[31m\u202eevil"


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.said = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


def page(run: Path, **more: Any) -> tuple[str, Page]:
    text = report_html(RunDirectory(str(run)), plan("a1"), result(12, **more), {"torch": "2.13.0"})
    return text, Page(text)


# the curves


def test_curves_are_read_back_and_the_last_word_counts(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1", steps=12)
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b'{"step":12,"loss":null,"reward":1}\n{"step":13,"loss":1e999}\nno json\n{"step":14,"lo')
    with open(run / "events.jsonl", "ab") as file:
        file.write(b'{"event":"eval","step":12,"loss":2.5}\n{"event":"eval","step":40,"loss":9}\n[1]\n')
    curves = read_curves(str(run), before=5.5)
    assert curves.steps == list(range(1, 13))  # 1e999 makes its whole line no JSON
    assert curves.values["loss"][0] == pytest.approx(2 + 3 * math.exp(-0.05))
    assert curves.values["loss"][11] is None
    assert curves.values["reward"] == [None] * 11 + [1.0]
    assert curves.evaluations == [(0, 5.5), (12, 2.5)]  # that of step 40 was of a run that went back
    assert curves.has("loss") and not curves.has("nothing")


def test_no_files_are_no_curves(tmp_path: Path) -> None:
    assert read_curves(str(tmp_path / "none")) == Curves()


@pytest.mark.parametrize("value", [None, True, "1", float("nan"), float("inf"), [1]])
def test_what_cannot_be_drawn(value: Any) -> None:
    assert finite(value) is None


def test_smoothing_does_not_lag_and_keeps_the_level() -> None:
    line = [float(step) for step in range(1000)]
    assert smoothed(line)[:900] == pytest.approx(line[:900])
    assert smoothed([1.0, 5.0]) == [1.0, 5.0]
    assert smoothed([2.0] * 50 + [None] + [2.0] * 50) == pytest.approx([2.0] * 101)
    noise = [2.0 + (-1) ** step for step in range(1000)]
    assert max(abs(value - 2) for value in smoothed(noise)[30:] if value is not None) < 0.1


def test_thinning_keeps_every_peak() -> None:
    points = [(float(step), 0.0) for step in range(100_000)]
    points[54_321] = (54_321.0, 9.0)
    few = thinned(points, 1000)
    assert len(few) <= 1000
    assert (54_321.0, 9.0) in few
    assert few == sorted(few)


def test_one_wild_step_does_not_choose_the_axis() -> None:
    assert span([1.0] * 199 + [500.0]) == (1.0, 1.0)
    assert span([1.0, 500.0], [None]) == (1.0, 500.0)  # few values: all of them count
    assert span([None], []) is None


@pytest.mark.parametrize(
    ("low", "high", "most", "whole", "expected"),
    [
        (0, 85, 6, True, [0, 20, 40, 60, 80]),
        (0, 1, 6, True, [0, 1]),
        (0, 2e-4, 4, False, [0, 5e-5, 1e-4, 1.5e-4, 2e-4]),
        (-0.3, 0.3, 3, False, [-0.2, 0, 0.2]),
        (3, 3, 5, False, [3]),
    ],
)
def test_ticks_are_round(low: float, high: float, most: int, whole: bool, expected: list[float]) -> None:
    assert ticks(low, high, most, whole) == pytest.approx(expected)


def test_chart_of_one_point_and_of_none() -> None:
    assert chart("Loss", "", [Series("loss", "line", [])], 5) == ""
    one = chart("Loss", "nats", [Series("loss", "line", [(1, 2.0)])], 1)
    assert "h0" in one and "last 2" in one
    small = chart("Rate", "", [Series("rate", "rate", [(1, 0.0), (2, 2e-4)])], 2, True)
    assert ">1.5e-4<" in small


# the picture


def test_plot_is_a_png_of_the_same_bytes_without_date_or_version(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1", steps=60, done=60)
    made = write_reports(RunDirectory(str(run)), plan("a1"), result(60))
    assert made == ["loss.png", "report.html"]
    first = (run / "loss.png").read_bytes()
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    names, at = [], 8
    while at < len(first):
        (length,) = struct.unpack(">I", first[at : at + 4])
        names.append(first[at + 4 : at + 8])
        at += 12 + length
    assert set(names) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}  # no tEXt, no tIME
    assert struct.unpack(">II", first[16:24]) == (1200, 660)
    write_reports(RunDirectory(str(run)), plan("a1"), result(60))
    assert (run / "loss.png").read_bytes() == first


def pixels(png: bytes) -> set[bytes]:
    """Return the colours of an RGBA PNG whose rows may be filtered, by way of matplotlib's own reader."""
    from io import BytesIO

    from matplotlib.image import imread

    shown = (imread(BytesIO(png), format="png") * 255).round().astype("uint8")
    return {colour.tobytes() for colour in shown[:, :, :3].reshape(-1, 3)}


def test_plot_shows_loss_evaluations_and_rate_and_takes_any_title() -> None:
    from bptools.training.loss_plot import loss_png

    steps = list(range(1, 61))
    curves = Curves(
        steps, {"loss": [5.0 / step for step in steps], "learning_rate": [1e-4] * 60}, [(60, 0.2)]
    )
    colours = pixels(loss_png(curves, "a $\\frac{1$ \u6a21 " + "x" * 200))
    assert {bytes.fromhex(colour) for colour in ("1f5fa8", "c8501e", "7d7d7d", "b9d1ec")} <= colours
    curves.evaluations.clear()
    assert bytes.fromhex("c8501e") not in pixels(loss_png(curves, "a"))


def test_plot_does_not_read_the_settings_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("figure.dpi: 30\naxes.facecolor: red\nfont.size: 30\n")
    code = (
        "import sys; from bptools.training.curves import Curves; from bptools.training.loss_plot import loss_png\n"
        "data = loss_png(Curves([1, 2], {'loss': [2.0, 1.0]}), 'a')\n"
        "import zlib; assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules; print(zlib.crc32(data))"
    )
    from bptools.training.loss_plot import loss_png

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(tmp_path)})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == zlib.crc32(loss_png(Curves([1, 2], {"loss": [2.0, 1.0]}), "a"))


# the page


def test_page_says_what_the_run_was(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1", steps=30, done=30)
    text, parsed = page(run, samples=[{"prompt": "Hi", "reference": "Hello", "before": None, "after": "Hey"}])
    assert parsed.open == []
    for piece in (
        "tiny-a1", "sft", "/models/tiny", "5.5000 → 2.1250", "1:12",  # the tiles
        "Loss", "Learning rate", "Gradient norm", "Token accuracy", "evaluation loss",
        "Hi", "Hey", "Hello",
        "4,884", "90.4%", "left out as too long", "chat.jsonl", "23,787", "77" * 32, "ab" * 32,
        "preset derived, style balanced", "command line", "environment BP_MAX_REJECTS", "3%", "asked for",
        "5e" * 32, "8,192 (6.18%)", "torch", "2.13.0", "adapter/adapter_model.safetensors",
    ):  # fmt: skip
        assert piece in parsed.said, piece
    assert "Reward" not in parsed.said
    assert '<span class="learnt">over &amp; out&lt;|im_end|&gt;</span>' in text
    assert '<span class="soft">before</span>' not in text  # where the answer before is not known


def test_what_decided_a_setting_stands_beside_it(tmp_path: Path) -> None:
    text, _ = page(write_run(tmp_path, "a1"))
    rows = dict(re.findall(r"<tr><td>([^<]*)</td><td>[^<]*</td><td>([^<]*)</td></tr>", text))
    assert rows["rank"] == "preset derived, style balanced"
    assert rows["epochs"] == "command line"
    assert rows["learning rate"] == "asked for"  # its value is not the default, and nobody says why
    folded = text[text.index("<details>") :]
    assert "<td>seed</td><td>42</td>" in folded
    assert "<td>rank</td>" not in folded


def test_page_fetches_and_runs_nothing(tmp_path: Path) -> None:
    text, parsed = page(
        write_run(tmp_path, "a1"), samples=[{"prompt": "p", "before": "b", "after": "a", "reference": "r"}]
    )
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(parsed.tags)
    assert not {"src", "href", "srcset", "action"} & {name for name, _ in parsed.attributes}
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1")
    wanted = plan("a1")
    wanted["id"] = wanted["model"]["name"] = wanted["model"]["shown"] = wanted["inputs"][0]["name"] = HOSTILE
    wanted["settings"]["tokenizer"] = wanted["reasons"]["rank"] = wanted["options"]["epochs"]["origin"] = (
        HOSTILE
    )
    (run / "adapter" / "<script>.json").write_text("{}")
    with open(run / "events.jsonl", "ab") as file:
        rows = [[[HOSTILE, True], [HOSTILE, False]]]
        file.write(orjson.dumps({"event": "note", "message": HOSTILE}) + b"\n")
        file.write(
            orjson.dumps(
                {"event": "preflight", "turn_end": HOSTILE, "missing": [HOSTILE], "rows_shown": rows}
            )
            + b"\n"
        )
    samples = [{"prompt": HOSTILE, "reference": HOSTILE, "before": HOSTILE, "after": HOSTILE}]
    clean = Page(report_html(RunDirectory(str(run)), plan("a1"), result(12, samples=samples), {}))
    text = report_html(RunDirectory(str(run)), wanted, result(12, samples=samples), {HOSTILE: HOSTILE})
    parsed = Page(text)
    assert set(parsed.tags) == set(clean.tags)
    assert "script" not in parsed.tags and "img" not in parsed.tags and parsed.open == []
    assert not any(name.startswith("on") for name, _ in parsed.attributes)
    assert parsed.said.count("<script>alert(1)</script>") >= 15
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    assert "\\u001b[31m\\u202eevil" in text


def test_shown() -> None:
    assert shown('<a href="x">\'&') == "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;"
    assert shown("a\r\n\tb\x00\ud800") == "a\n\tb\\u0000\\ud800"
    assert shown("x" * 5000) == "x" * 4000 + " … (1,000 more characters)"
    assert [shown(value) for value in (None, True, 0.1 + 0.2, (0.9, 0.999), {"chat": 3})] == [
        "", "yes", "0.3", "0.9, 0.999", "chat: 3",
    ]  # fmt: skip


def test_preferences_show_their_rewards(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1", steps=3, done=3)
    (run / "metrics.jsonl").write_text(
        "".join(
            f'{{"step":{n},"loss":0.69,"rewards/margins":0.{n},"rewards/accuracies":0.5}}\n'
            for n in (1, 2, 3)
        )
    )
    _, parsed = page(run)
    assert "Reward margin" in parsed.said and "Reward accuracy" in parsed.said
    assert "nats per token" not in parsed.said


# what goes wrong


def test_run_without_steps_has_a_page_and_no_picture(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1", done=0, finished=False)
    assert write_reports(RunDirectory(str(run)), plan("a1"), {}) == ["report.html"]
    assert "no step was written down" in (run / "report.html").read_text()


def test_missing_matplotlib_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path, "a1")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert write_reports(RunDirectory(str(run)), plan("a1"), result(12)) == ["report.html"]
    said = orjson.loads((run / "events.jsonl").read_bytes().splitlines()[-1])
    assert said == {
        "event": "note",
        "message": f"loss.png could not be made: {MissingExtra('matplotlib', 'train')}",
    }
    assert "loss.png could not be made" in (run / "report.html").read_text()
    assert not (run / "loss.png").exists()


def test_a_page_that_cannot_be_made_fails_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1")
    broken = plan("a1")
    del broken["settings"]
    assert write_reports(RunDirectory(str(run)), broken, result(12)) == ["loss.png"]
    assert b"report.html could not be made: KeyError" in (run / "events.jsonl").read_bytes()


def test_a_full_disk_fails_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a1")
    (run / "loss.png").mkdir()
    (run / "report.html").mkdir()
    assert write_reports(RunDirectory(str(run)), plan("a1"), result(12)) == []
