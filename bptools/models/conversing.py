"""A conversation on a terminal: a line in, the answer as it comes, the history kept, Ctrl-D to end."""

from __future__ import annotations

import os
import sys
from typing import Any

from bptools.core.errors import DataError
from bptools.core.messages import Messages
from bptools.core.records import Record
from bptools.core.signals import wish_is_met
from bptools.models.contenders import Contenders

PROMPT = "> "


def converse(
    contenders: Contenders, messages: Messages, settings: dict[str, Any], system: str | None
) -> None:
    """Talk until the input ends. The first contender answers; `settings` are those of `Generator.complete`.

    Ctrl-C stops an answer, and ends the conversation where none is under way. A question that the template
    refuses, or that alone fills the context, is taken back. Where the context is full the oldest turns leave.
    """
    contenders.load()
    contender = next(iter(contenders))
    contender.select()
    messages.info(f"{contender.label}: Ctrl-D ends, Ctrl-C stops an answer")
    raw = bool(settings.get("raw"))
    first: list[Record] = [] if system is None else [{"role": "system", "content": system}]
    history = list(first)
    number, shortened = 0, False
    while True:
        line = _asked()
        if line is None:
            _show("\n")
            return
        if not line.strip():
            continue
        history.append({"role": "user", "content": line})
        try:
            if not raw:
                fitting = _fitting(contender.generator, history, len(first), settings["max_new_tokens"])
                if len(fitting) < len(history) and not shortened:
                    messages.warn("the context is full: from now on the oldest turns are forgotten")
                    shortened = True
                history = fitting
            answer = _answer(contender.generator, line if raw else history, settings, number)
        except DataError as error:
            history.pop()
            messages.error(str(error))
            continue
        history.append({"role": "assistant", "content": answer})
        number += 1


def _fitting(generator: Any, history: list[Record], first: int, most: int) -> list[Record]:
    """Return the history without its oldest turns where they leave no room for an answer.

    first: messages at its head that stay. Raises DataError where the last question alone fills the context.
    """
    context, kept = generator.context, list(history)
    room = min(most, context // 4)
    while context:
        length = len(generator.encode(kept))
        if length + room <= context:
            break
        if len(kept) > first + 1:
            del kept[first : first + 2]
            continue
        if length >= context:
            raise DataError(f"{length} tokens are more than the model's context of {context} takes")
        break
    return kept


def _asked() -> str | None:
    """Return the next line, None at the end of the input."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - input() then has a history and can be edited
    try:
        return input(PROMPT)
    except EOFError:
        return None


def _answer(generator: Any, prompt: str | list[Record], settings: dict[str, Any], number: int) -> str:
    """Return the answer, shown as it comes; what there is of it if Ctrl-C stops it."""
    shown: list[str] = []

    def show(piece: str) -> None:
        shown.append(piece)
        _show(piece)

    try:
        generator.complete([prompt], **{**settings, "seed": settings.get("seed", 0) + number}, stream=show)
    except KeyboardInterrupt:
        wish_is_met()
    _show("\n")
    return "".join(shown).strip()


def _show(text: str) -> None:
    """Write to the terminal at once, control characters made visible: a model may say anything."""
    visible = "".join(
        char if char in "\n\t" or char.isprintable() else f"\\x{ord(char):02x}" for char in text
    )
    sys.stdout.flush()
    os.write(1, visible.encode("utf-8", "backslashreplace"))
