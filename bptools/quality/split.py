"""Which part of a data set a record belongs to: by its content, or by the value of a field.

    bp-filter --split train=.9,val=.1 --out-dir data/ records.jsonl
    bp-filter --split-by language --out-dir data/ records.jsonl

The side of a record hangs on its content, the shares and the seed alone: more data, less data or another
order never move it. The parts lie on a line from 0 to 1 in the order given, and each content has its place on
that line; other shares move only what lies between an old border and the new one. So put a new part at the
end, and take its share from the last one: train=.9,val=.1 -> train=.9,val=.05,test=.05.
"""

from __future__ import annotations

import functools
import json
import math
import re
from bisect import bisect_right
from collections.abc import Sequence

from bptools.core.errors import UsageError
from bptools.core.hashing import canonical_json, xxh3_128
from bptools.quality.sample import border, derive_seed, hash_key

MISSING = object()  # the value of a field that a record does not have

_PART = re.compile(r"([^=]*)=\s*(\d{1,15}(?:\.\d*)?|\.\d+)\s*(%?)\s*", re.ASCII)
_CONTENT_KEY = re.compile(r"[0-9a-f]{32}", re.ASCII)

# What Linux, macOS, Windows or a person's eye does not bear in a file name; the underscore in front and the
# percent sign are ours. Then the devices of Windows.
_UNSAFE = re.compile(
    r'^[._ ]|[ .]\Z|[%/\\:*?"<>|\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]'
)
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?", re.I | re.S)
_NAME_BYTES = 100
_PREFIX_BYTES = 60


def parse_split(text: str) -> list[tuple[str, float]]:
    """Read `train=.9,val=.1`, `train=90%,val=10%` or weights, `train=8,val=1,test=1`: (name, share) in order.

    The shares returned add up to 1. Raises UsageError.
    """
    names: list[str] = []
    numbers: list[float] = []
    kinds: dict[str, str] = {}
    for piece in text.split(","):
        match = _PART.fullmatch(piece)
        if match is None:
            raise UsageError(f"--split {text!r}: {piece.strip()!r} is no part; write train=.9,val=.1")
        name, number = match[1].strip(), float(match[2])
        _check_name(text, name, names)
        if number <= 0:
            raise UsageError(f"--split {text!r}: the share of {name!r} is {match[2]}; leave the part out")
        names.append(name)
        numbers.append(number)
        kind = "percentages" if match[3] else "fractions" if "." in match[2] else "whole numbers"
        kinds.setdefault(kind, piece.strip())
    if len(kinds) > 1:
        mixed = " and ".join(f"{kind} ({piece})" for kind, piece in kinds.items())
        raise UsageError(f"--split {text!r} mixes {mixed}; write all parts alike")
    kind = next(iter(kinds))
    total = math.fsum(numbers)
    full = {"percentages": 100.0, "fractions": 1.0}.get(kind, total)
    if abs(total - full) > 1e-9 * full:
        raise UsageError(
            f"--split {text!r}: the {kind} add up to {total:.12g}, not {full:g};"
            " whole numbers (8,1,1) need no fixed sum"
        )
    return [(name, number / total) for name, number in zip(names, numbers)]


def _check_name(text: str, name: str, earlier: list[str]) -> None:
    if not name:
        raise UsageError(f"--split {text!r}: a part has no name; write train=.9,val=.1")
    if file_name(name) != name:
        raise UsageError(f"--split {text!r}: {name!r} cannot be a file name; use letters, digits, - and _")
    if name.casefold() in (other.casefold() for other in earlier):
        raise UsageError(f"--split {text!r} has two parts named {name!r}; name each differently")


class Sides:
    """The parts of a split, as `parse_split` returns them, and which of them a content falls in.

    Of n contents a part with share s gets about n x s, give or take the square root of n x s x (1 - s).
    """

    def __init__(self, parts: Sequence[tuple[str, float]], seed: int) -> None:
        total = 0.0
        self._borders = []
        for _, share in parts[:-1]:
            total += share
            self._borders.append(border(min(total, 1.0)))
        self._names = [name for name, _ in parts]
        self._seed = derive_seed(seed, "split")

    def side(self, key: int) -> str:
        """Return the name of the part for a content key of 128 bits, or the key of a group."""
        return self._names[bisect_right(self._borders, hash_key(key, self._seed))]


def group_key(value: object) -> int:
    """Return a key of 128 bits for a JSON value: equal values have equal keys, whatever the order of fields.

    32 lower-case hexadecimal digits, a content key as in `bp.dup_of`, are that very integer, so that
    a copy goes where the record goes that it is a copy of. 1, 1.0, "1" and true are four values. A record
    without the field has no group: use its content key.
    """
    if type(value) is str and len(value) == 32 and _CONTENT_KEY.fullmatch(value):
        return int(value, 16)
    return xxh3_128(canonical_json(value))


def file_name(value: object) -> str:
    """Return the stem of the file that records with this value of a field go to, at most 100 bytes.

    Text stands as it is where Linux, macOS and Windows all allow it, with other characters percent-encoded;
    beyond 100 bytes its beginning, `%-` and a hash. Numbers, true, false and null are their JSON. `_missing`
    is for a record without the field (MISSING), `_empty` for "", `_` and a hash for objects and arrays.

    Different values never share a name, but for a number (true, false, null) and the text that reads the
    same: 2024 and "2024" belong together. Names that differ in case alone (EN, en) are kept readable; they
    are different files on Linux, and one file on most Macs and Windows machines, where OutputFolder refuses
    them. Text that is not in Unicode's composed form (NFC), which a Mac would not tell from the one that is,
    has all but ASCII encoded.
    """
    if type(value) is str:
        return _text_name(value) if value else "_empty"
    if value is MISSING:
        return "_missing"
    if isinstance(value, dict | list | tuple):
        return f"_{xxh3_128(canonical_json(value)):032x}"
    return _text_name(json.dumps(value, default=repr))


@functools.lru_cache(maxsize=1024)  # a field that files are named after has few values
def _text_name(text: str) -> str:
    name = _UNSAFE.sub(lambda found: _encoded(found[0]), text)
    if not name.isascii():
        from unicodedata import is_normalized

        if not is_normalized("NFC", name):
            name = "".join(char if char.isascii() else _encoded(char) for char in name)
    if _DEVICE.fullmatch(name):
        name = _encoded(name[0]) + name[1:]
    return _shortened(text, name)


def _encoded(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _shortened(text: str, name: str) -> str:
    raw = name.encode()
    if len(raw) <= _NAME_BYTES:
        return name
    start = raw[:_PREFIX_BYTES].decode("utf-8", "ignore")
    start = re.sub(r"%[0-9A-F]?\Z", "", start)
    return f"{start}%-{xxh3_128(text.encode('utf-8', 'surrogatepass')):032x}"
