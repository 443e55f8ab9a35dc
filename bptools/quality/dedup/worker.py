"""A process that makes profiles for another one: packed texts come in on its standard input, profiles go out.

It is started by `crew`, and by nobody else. Nothing but that one has the other ends of its pipes, so that it
meets the end of its input as soon as that one is gone, by kill -9 too. Signals that a terminal or a service
manager sends to all processes at once are for that one to act on.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bptools.quality.dedup.minhash import PERMUTATIONS
from bptools.quality.dedup.profile import Profile, Profiler
from bptools.quality.dedup.words import Packed

TEXTS = struct.Struct("<QQ")  # how many texts, and their bytes; then `ends` and `data` of Packed
PROFILE = struct.Struct("<QQ")  # how many texts, and their shingles; then the arrays of the profile
READY = PROFILE.pack(0, 0)  # what it says first
FAILED = (1 << 64) - 1  # in place of the texts; then what is wrong, in so many bytes

Numbers = npt.NDArray[Any]


class Gone(Exception):
    """The process at the other end of a pipe has ended."""


def main() -> None:
    """Work until the standard input ends. Never returns."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threshold, ngram, seed, signatures = sys.argv[1:5]
    profiler = Profiler(float(threshold), int(ngram), int(seed), signatures == "1")
    with (
        open(0, "rb", buffering=0, closefd=False) as given,  # one call for all that is in the pipe
        open(1, "wb", buffering=0, closefd=False) as made,
    ):
        try:
            send(made, READY)
            while True:
                _work(profiler, given, made)
        except Gone:
            os._exit(0)  # there is nothing to tidy up


def _work(profiler: Profiler, given: IO[bytes], made: IO[bytes]) -> None:
    texts = _receive_texts(given)
    try:
        profile = profiler.profile_packed(texts)
    except Exception as error:
        why = f"{type(error).__name__}: {error}".encode()
        send(made, PROFILE.pack(FAILED, len(why)), why)
        return
    hashes, offsets = profile.sets
    send(made, PROFILE.pack(len(profile), len(hashes)), hashes, offsets, profile.checks)
    if profile.signatures is not None:
        send(made, profile.signatures)


def _receive_texts(pipe: IO[bytes]) -> Packed:
    head = bytearray(TEXTS.size)
    receive(pipe, head)
    count, size = TEXTS.unpack(head)
    ends = _array(pipe, (count,), np.int64)
    data = bytearray(size)
    receive(pipe, data)
    return Packed(bytes(data), ends)


def send_texts(pipe: IO[bytes], texts: Packed) -> None:
    """Write packed texts. Raises Gone."""
    send(pipe, TEXTS.pack(len(texts.ends), len(texts.data)), texts.ends, texts.data)


def receive_profile(pipe: IO[bytes], bands: int, signatures: bool) -> Profile | str:
    """Read a profile, or what is wrong. Raises Gone."""
    head = bytearray(PROFILE.size)
    receive(pipe, head)
    count, shingles = PROFILE.unpack(head)
    if count == FAILED:
        why = bytearray(shingles)
        receive(pipe, why)
        return why.decode("utf-8", "replace")
    sets = _array(pipe, (shingles,), np.uint32), _array(pipe, (count + 1,), np.int64)
    checks = _array(pipe, (bands, count), np.uint32)
    return Profile(sets, checks, _array(pipe, (PERMUTATIONS, count), np.uint32) if signatures else None)


def _array(pipe: IO[bytes], shape: tuple[int, ...], kind: type[np.generic]) -> Numbers:
    array: Numbers = np.empty(shape, kind)
    receive(pipe, array.reshape(-1))
    return array


def receive(pipe: IO[bytes], into: bytearray | Numbers) -> None:
    """Fill a buffer. Raises Gone."""
    left = _bytes_of(into)
    while len(left):
        try:
            count = pipe.readinto(left)  # type: ignore[attr-defined]
        except OSError:
            count = 0
        if not count:
            raise Gone
        left = left[count:]


def send(pipe: IO[bytes], *parts: bytes | Numbers) -> None:
    """Write buffers. Raises Gone."""
    for part in parts:
        left = _bytes_of(part)
        while len(left):
            try:
                left = left[pipe.write(left) :]
            except OSError:
                raise Gone from None


def _bytes_of(buffer: bytes | bytearray | Numbers) -> memoryview:
    if isinstance(buffer, np.ndarray):
        buffer = np.ascontiguousarray(buffer).reshape(-1)
        return memoryview(buffer.view(np.uint8).data)
    return memoryview(buffer)
