"""Events of a run -> lines on stderr, and one line of progress on a terminal."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from bptools.core.messages import Messages, printable, write_above_bars
from bptools.core.sizes import shown_duration, shown_size
from bptools.training.events import Event

if TYPE_CHECKING:
    from bptools.core.bars import Bar

_MOST_SHOWN = 700  # characters of a row on one message line


class Teller:
    """Says what happens. Call it with events; leave the `with` block to clear the progress line."""

    def __init__(self, messages: Messages, progress: bool, show_rows: int) -> None:
        self._messages = messages
        self._show_rows = show_rows
        terminal = (
            os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")
        )
        self._progress = progress and terminal
        self._color = terminal and type(messages) is Messages  # not in a report that may go to a file
        self._bar: Bar | None = None
        self._line = "bp-train: preparing the rows"
        self._first: tuple[float, int] | None = None

    def __enter__(self) -> Teller:
        if self._progress:
            from bptools.core.bars import Bar

            with contextlib.suppress(OSError):  # no bar is better than no training
                self._bar = Bar(lambda: self._line)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, event: Event) -> None:
        """Say an event."""
        tell = getattr(self, f"_{event['event']}", None)
        if tell is not None:
            tell(event)

    def _preflight(self, event: Event) -> None:
        self._line = "bp-train: loading the model"
        say = self._messages.info
        left = [
            f"{event[name]} {words}{_places(event, name)}"
            for name, words in (
                ("too_long", "left out as too long"),
                ("untrained", "left out without a learnt token"),
                ("refused", "left out, refused by the chat template"),
                ("truncated", "truncated"),
                ("split", "split"),
            )
            if event.get(name)
        ]
        left_out = f"; {', '.join(left)}" if left else ""
        say(
            f"{counted(event['rows'], 'row')}, {counted(event['tokens'], 'token')}, "
            f"{event['share']:.0%} of them learnt, the longest row {event['longest']}{left_out}"
        )
        if event.get("refusal"):
            self._messages.warn(str(event["refusal"]))
        ends = repr(event["turn_end"])
        say(f"chat template: {event['template']}, turns end in {ends}; {event['device']}, {event['dtype']}")
        for name in event["missing"]:
            self._messages.warn(f"the tokenizer has no token {name}: the template's marks are pieces of text")
        for row in (event.get("rows_shown") or [])[: self._show_rows]:
            if self._color and not self._messages.quiet and not self._messages.as_json:
                shown = f"bp-train: a row, what is learnt in green:\n{self._row(row)}\n"
                write_above_bars(shown.encode("utf-8", "replace"))
            else:
                say(f"a row, what is learnt in [[ ]]: {self._row(row)}")

    def _row(self, row: list[tuple[str, bool]]) -> str:
        shown, room = [], _MOST_SHOWN
        for text, learnt in row:
            text = text[:room]
            room -= len(text)
            if self._color:  # line by line, with what could move the cursor escaped
                text = "\n".join(printable(line) for line in text.split("\n"))
            if learnt:
                text = f"\x1b[32m{text}\x1b[0m" if self._color else f"[[{text}]]"
            shown.append(text)
            if room <= 0:
                shown.append(" ...")
                break
        return "".join(shown)

    def _estimate(self, event: Event) -> None:
        if event.get("steps"):
            self._messages.info(
                f"would make {counted(event['steps'], 'step')} in about {shown_duration(event['seconds'])} "
                f"beside start-up, and take {shown_size(event['memory'])} of {shown_size(event['free'])} "
                "beside libraries"
            )

    def _start(self, event: Event) -> None:
        self._messages.info(
            f"{event['trained']} of {event['parameters']} parameters are trained; "
            f"{counted(event['steps'], 'step')}, micro batch {event['micro_batch']}"
        )
        self._line = f"bp-train: step {event['step']}/{event['steps']}"

    def _note(self, event: Event) -> None:
        self._messages.info(event["message"])

    def _step(self, event: Event) -> None:
        if not self._progress:
            return
        now, step, steps = time.monotonic(), event["step"], event["steps"]
        if self._first is None:
            self._first = (now, step)
        left = ", finishing" if step == steps else ""
        if self._first[1] < step < steps:
            seconds = int((now - self._first[0]) / (step - self._first[1]) * (steps - step))
            left = f", {seconds // 60}:{seconds % 60:02d} left"
        loss = "nan" if event["loss"] is None else f"{event['loss']:.3f}"
        self._line = f"bp-train: step {step}/{steps}, loss {loss}{left}"

    def _eval(self, event: Event) -> None:
        if event["loss"] is not None:
            self._messages.info(f"step {event['step']}: evaluation loss {event['loss']:.4f}")

    def _sample(self, event: Event) -> None:
        say = self._messages.info
        say(f"prompt: {_one_line(event['prompt'])}")
        if event["before"] is not None:
            say(f"  before: {_one_line(event['before'])}")
        say(f"  after: {_one_line(event['after'])}")

    def _run_end(self, event: Event) -> None:
        said = [f"{counted(event['steps'], 'step')} in {event['seconds']:.0f} s"]
        if event.get("final_loss") is not None:
            said.append(f"last loss {event['final_loss']:.4f}")
        if event.get("eval_loss") is not None:
            before = (
                f"{event['eval_loss_before']:.4f} -> " if event.get("eval_loss_before") is not None else ""
            )
            said.append(f"evaluation loss {before}{event['eval_loss']:.4f}")
        self._messages.info(", ".join(said))


def _places(event: Event, name: str) -> str:
    """Return where the first records are that were left out for a reason, in brackets."""
    places = event.get(f"{name}_places") or []
    return f" ({', '.join(places[:5])}{', ...' if event[name] > 5 else ''})" if places else ""


def counted(number: float, thing: str) -> str:
    """Return `1 step`, `2 steps`, `0.5 epochs`."""
    shown = f"{number:g}" if isinstance(number, float) else str(number)
    return f"{shown} {thing}" if number == 1 else f"{shown} {thing}s"


def _one_line(text: Any) -> str:
    shown = str(text).replace("\n", "\\n")
    return shown if len(shown) <= 200 else shown[:200] + "..."
