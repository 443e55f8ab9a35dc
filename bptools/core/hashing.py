"""Keys of JSON values, XXH3 of their canonical form, the same on every platform; SHA-256 of files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

_xxh3_128: Callable[[bytes], int] | None = None
_xxh3_64: Callable[[bytes, int], int] | None = None


def xxh3_128(data: bytes) -> int:
    """Return 128 bits of hash; the values of XXH3 are fixed since xxHash 0.8."""
    global _xxh3_128
    if _xxh3_128 is None:
        from xxhash import xxh3_128_intdigest  # 11 ms, for those who need it

        _xxh3_128 = xxh3_128_intdigest
    return _xxh3_128(data)


def xxh3_128_digest() -> Callable[[bytes], bytes]:
    """Return the function that makes the 16 bytes, most significant first, of what xxh3_128 returns."""
    from xxhash import xxh3_128_digest

    return xxh3_128_digest


def xxh3_64(data: bytes, seed: int) -> int:
    """Return 64 bits of hash for a seed of 64 bits."""
    global _xxh3_64
    if _xxh3_64 is None:
        from xxhash import xxh3_64_intdigest

        _xxh3_64 = xxh3_64_intdigest
    return _xxh3_64(data, seed)


def canonical_json(value: object) -> bytes:
    """Return JSON without white space, the keys of every object sorted, in UTF-8.

    What orjson cannot write (an integer over 64 bits, half a surrogate pair) makes all of it ASCII, with
    escapes; what is nested too deep for either is written likewise, with a comma after every item.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        pass
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
    except (RecursionError, TypeError, ValueError):
        return _without_recursion(value).encode("ascii")


def _without_recursion(value: object) -> str:
    written: list[str] = []
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if type(item) is _Text:
            written.append(item)
        elif isinstance(item, dict):
            waiting.append(_Text("}"))
            for name in sorted(item, key=str, reverse=True):
                waiting += (_Text(","), item[name], _Text(json.dumps(str(name)) + ":"))
            waiting.append(_Text("{"))
        elif isinstance(item, (list, tuple)):
            waiting.append(_Text("]"))
            for inner in reversed(item):
                waiting += (_Text(","), inner)
            waiting.append(_Text("["))
        else:
            written.append(json.dumps(item, default=repr))
    return "".join(written)


class _Text(str):
    """A piece of JSON that is written already."""

    __slots__ = ()


def new_sha256() -> Any:
    """Return an object of hashlib, which is loaded for those who need it."""
    from hashlib import sha256

    return sha256()


def sha256_of(path: str, most: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first `most` bytes, in hex. Raises OSError."""
    digest, left = new_sha256(), most
    with open(path, "rb") as file:
        while block := file.read(1 << 20 if left is None else min(1 << 20, left)):
            digest.update(block)
            left = None if left is None else left - len(block)
    return str(digest.hexdigest())
