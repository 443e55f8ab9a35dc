"""What progress bars look like, and the order they stand in."""

from __future__ import annotations

import os
import stat
import struct
import unicodedata

CLEAR_LINE = b"\r\x1b[K"
# All from the cursor's row on; from its second column, or tmux keeps a whole screen in its history.
ERASE = b"\x1b[C\x1b[J" + CLEAR_LINE
SPOKEN_BYTES = 2048
_INODES = struct.Struct("=QQ")
_MOST_BYTES = SPOKEN_BYTES - _INODES.size


class Stage:
    """A command of the pipe: its line, and what tells its place among the others."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.line = ""  # none yet
        self.reads = self.writes = 0  # inodes of the pipes; 0: no pipe

    def hear(self, said: bytes) -> None:
        """Take in what `spoken` made."""
        if len(said) >= _INODES.size:
            self.reads, self.writes = _INODES.unpack_from(said)
            self.line = said[_INODES.size :].decode("utf-8", "replace")


def spoken(line: str) -> bytes:
    """Return what a process says of itself: its line, and the pipes it stands between."""
    return _INODES.pack(pipe_at(0), pipe_at(1)) + line.encode("utf-8", "replace")[:_MOST_BYTES]


def picture(lines: list[str], columns: int, rows: int) -> bytes:
    """Return what draws the lines below the cursor, which comes back, on a terminal of that size."""
    room = max(1, rows - 2)  # the empty row, and one for what was printed last
    if len(lines) > room:
        more = len(lines) - room + 1
        lines = [*lines[: room - 1], f"... and {more} more"] if room > 1 else lines[:1]
    if not lines:
        return ERASE
    drawn = b"".join(b"\n" + CLEAR_LINE + cut(line, columns - 1).encode("utf-8", "replace") for line in lines)
    # Without line wrap: a terminal that has become narrower may not have told us yet.
    return b"\x1b[?7l" + CLEAR_LINE + drawn + b"\x1b[J\r\x1b[%dA\x1b[?7h" % len(lines)


def cut(line: str, columns: int) -> str:
    """Return as much of the line as the columns hold."""
    if line.isascii():
        return line[:columns]
    taken = 0
    for index, character in enumerate(line):
        if unicodedata.combining(character):
            continue
        taken += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if taken > columns:
            return line[:index]
    return line


def in_pipe_order(stages: list[Stage]) -> list[Stage]:
    """Return the stages in the order of the pipe: along its pipes, and as they were started."""
    stages = sorted(stages, key=lambda stage: stage.pid)
    fed = {stage.writes for stage in stages if stage.writes}
    ordered: list[Stage] = []
    for head in sorted(stages, key=lambda stage: stage.reads in fed):
        following: Stage | None = head
        while following is not None and following not in ordered:
            ordered.append(following)
            pipe = following.writes
            following = next((stage for stage in stages if pipe and stage.reads == pipe), None)
    return ordered


def pipe_at(descriptor: int) -> int:
    """Return the inode of the pipe that a descriptor is, or 0."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return 0
    return status.st_ino if stat.S_ISFIFO(status.st_mode) else 0
