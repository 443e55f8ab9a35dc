"""Errors that end a command, and the exit status each of them means.

A message is one lower-case line without a full stop: the failure, then the thing, then the fix.
Only `core/cli.py` turns these into an exit; everything else raises.
"""

from __future__ import annotations


class Exit:
    """Exit statuses: sysexits(3) where it has one, 128+n for signals, 1 for the answer no."""

    OK = 0
    NO = 1
    USAGE = 2
    DATA = 65
    NOINPUT = 66
    UNAVAILABLE = 69
    SOFTWARE = 70
    NOMEMORY = 71
    CANTCREATE = 73
    IOERR = 74
    TEMPFAIL = 75
    CONFIG = 78
    INT = 130
    PIPE = 141
    TERM = 143


class BpError(Exception):
    """A failure with a message for the user and an exit status."""

    exit_code = Exit.SOFTWARE
    said = False  # whether the user has read the message by now


class UsageError(BpError):
    """Options that cannot be meant."""

    exit_code = Exit.USAGE


class DataError(BpError):
    """Bad data beyond what was tolerated."""

    exit_code = Exit.DATA


class InputError(BpError):
    """An input that is missing or cannot be read."""

    exit_code = Exit.NOINPUT


class Unavailable(BpError):
    """A service, tool or package that is not there."""

    exit_code = Exit.UNAVAILABLE


def pip_install() -> str:
    """Return how a line begins that installs into the environment of this process.

    The pip that comes first on PATH may be of another one.
    """
    import os
    import shlex
    import shutil
    import sys

    found = shutil.which("pip")
    here = os.path.dirname(sys.executable)
    if found is not None and os.path.realpath(os.path.dirname(found)) == os.path.realpath(here):
        return "pip install"
    return f"{shlex.quote(sys.executable)} -m pip install"


class MissingExtra(Unavailable):
    """An optional package that the work at hand needs."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; {pip_install()} 'bptools[{extra}]'")


class OutputError(BpError):
    """An output that cannot be created."""

    exit_code = Exit.CANTCREATE


class ReadWriteError(BpError):
    """A read or write that failed half-way: disk full, device gone."""

    exit_code = Exit.IOERR


class Busy(BpError):
    """Another run is at work in the same place: try later."""

    exit_code = Exit.TEMPFAIL


class ConfigError(BpError):
    """A configuration file that cannot be used."""

    exit_code = Exit.CONFIG


class ReaderGone(BpError):
    """The reader of our output went away. Silent, as in cat and jq."""

    exit_code = Exit.PIPE
