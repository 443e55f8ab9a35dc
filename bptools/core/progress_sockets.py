"""Who draws the bars of a pipe: the process that listens; the others are connected to it."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys

_sockets: set[socket.socket] = set()


def _address() -> str | None:
    """Return what the one that draws for our process group on our terminal is called; None: no names here."""
    if sys.platform != "linux":
        return None
    terminal = os.fstat(2)
    return f"\0bptools-bars-{os.getpgrp()}-{terminal.st_dev}-{terminal.st_rdev}"


def join() -> tuple[socket.socket | None, socket.socket | None]:
    """Return (a socket to listen on, None) for the one that draws, (None, a connection to it) or neither."""
    address = _address()
    if address is None:  # without such names the pipe's last command draws its own line
        return (kept(*socket.socketpair())[0] if os.isatty(1) else None), None
    connection = connect()
    if connection is not None:
        return None, connection
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(address)
        listener.listen(64)
    except OSError:
        listener.close()
        return None, None
    listener.setblocking(False)
    return kept(listener)[0], None


def connect() -> socket.socket | None:
    """Return a connection to the one that draws, if there is one and it is of our user."""
    address = _address()
    if address is None:
        return None
    with contextlib.suppress(OSError):  # also when no descriptor is left
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.setblocking(False)
            connection.connect(address)
            if peer(connection)[1] == os.geteuid():
                return kept(connection)[0]
        except OSError:
            pass
        connection.close()
    return None


def peer(connection: socket.socket) -> tuple[int, int, int]:
    """Return (pid, uid, gid) of the process at the other end."""
    if sys.platform != "linux":
        raise OSError
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", said)
    return pid, uid, gid


def ready(sources: list[socket.socket], seconds: float) -> list[socket.socket]:
    """Return those of the sources that can be read, after that many seconds at most."""
    poll = select.poll()  # not select, which cannot take descriptors over 1023
    for source in sources:
        poll.register(source, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)}
    return [source for source in sources if source.fileno() in ready]


def kept(*sockets: socket.socket) -> tuple[socket.socket, ...]:
    """Remember sockets that a forked child must not hold open: their end has a meaning."""
    _sockets.update(sockets)
    return sockets


def close(*sockets: socket.socket) -> None:
    """Close sockets that were kept."""
    for each in sockets:
        _sockets.discard(each)
        each.close()


def _forget() -> None:
    close(*_sockets)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
