"""What a person reads: one line each on stderr, never on stdout, never an escape sequence."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    """Return the text with control characters and lone surrogates escaped, so that it stays one line."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


class Messages:
    """The stderr of one command."""

    def __init__(
        self, command: str, quiet: bool = False, verbose: bool = False, as_json: bool = False
    ) -> None:
        self.command = command
        self.quiet = quiet
        self.verbose = verbose
        self.as_json = as_json

    def error(self, text: str) -> None:
        """Say why the command fails. Never suppressed."""
        self._write("error", text)

    def warn(self, text: str) -> None:
        """Say what needs a human: a reject, a setting that had no effect. Kept under --quiet."""
        self._write("warning", text)

    def info(self, text: str) -> None:
        """Say what was done. Suppressed by --quiet."""
        if not self.quiet:
            self._write("info", text)

    def detail(self, text: str) -> None:
        """Explain a decision. Only with --verbose."""
        if self.verbose:
            self._write("detail", text)

    def _write(self, level: str, text: str) -> None:
        if self.as_json:
            import json

            line = json.dumps({"level": level, "command": self.command, "message": text})
        else:
            line = printable(f"{self.command}: {text}")
        write_above_bars(line.encode("utf-8", "backslashreplace") + b"\n")


def write_stderr(data: bytes) -> None:
    """Write to fd 2 and never fail because of it: a closed stderr must not stop the work."""
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass


above_bars: Callable[[bytes], None] | None = None  # how lines are written where there are progress bars


def write_above_bars(lines: bytes) -> None:
    """Write lines to fd 2, out of the way of progress bars."""
    (above_bars or write_stderr)(lines)
