"""One chunk between white space -> its words: punctuation cut off at both ends, then within.

The steps are those of spaCy's blank English tokenizer, so that word counts are the ones the published rules
were set with. Work is linear in the chunk's length (theirs is quadratic in long runs of punctuation).
"""

from __future__ import annotations

import functools
import re
from itertools import pairwise

from bptools.quality.word_classes import (
    ALPHA,
    CLASSES,
    CURRENCIES,
    DIGIT,
    ICON,
    LOWER,
    PREFIX,
    QUOTE,
    STOPPED,
    SUFFIX,
    UPPER,
)
from bptools.quality.word_exceptions import exceptions

# Split off after a digit; Latin, Cyrillic and Arabic.
_LATIN = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ nm µm ha yd in ft kg g mg µg t lb oz m/s km/h kmh "
    "mph hPa Pa mbar mb MB kb KB gb GB tb TB K M G T %"
)
_CYRILLIC = (
    "км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа Па Кб КБ кб Мб МБ мб Гб ГБ "
    "гб Тб ТБ"
)
_ARABIC = "كم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ غرام جرام جم كغ ملغ كوب اكواب"
_UNITS = frozenset(f"{_LATIN} {_CYRILLIC} {_ARABIC}".split())
_LONGEST_UNIT = max(map(len, _UNITS))
_DOLLARS = ("US$", "C$", "A$")
_POSSESSIVES = ("'s", "'S", "\u2019s", "\u2019S")
_INNER_DASHES = ("---", "\u2014\u2014", "--", "-", "\u2013", "\u2014", "~")
_HYPHENS = frozenset("-\u2013\u2014~")
_LONGEST_EXCEPTION = 12
_marks = re.compile(r"\W")  # no icon is a word character


def split_chunk(chunk: str) -> tuple[str, ...]:
    """Return the words of a chunk without white space, in order; joined they are the chunk."""
    known = exceptions().get(chunk)
    if known is not None:
        return known
    pieces = _pieces(chunk, exceptions())
    if len(pieces) == 1:
        return (chunk,)
    return _rejoined(pieces)


def _pieces(chunk: str, wholes: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Cut a chunk up, leaving the strings of `wholes` as they are there."""
    start, end = 0, len(chunk)
    longest = _LONGEST_EXCEPTION if wholes else 0
    after: list[str] = []
    before: list[str] = []

    def whole(start: int, end: int) -> bool:
        return 0 < end - start <= longest and chunk[start:end] in wholes

    while start < end and not whole(start, end):
        ahead = _prefix_length(chunk, start, end)
        if ahead and whole(start + ahead, end):
            before.append(chunk[start : start + ahead])
            start += ahead
            break
        behind = _suffix_length(chunk, start + ahead, end)
        if behind and whole(start, end - behind):
            after.append(chunk[end - behind : end])
            end -= behind
            break
        if not ahead and not behind:
            break
        if ahead:
            before.append(chunk[start : start + ahead])
            start += ahead
        if behind:
            after.append(chunk[end - behind : end])
            end -= behind
    if start < end:
        core = chunk[start:end]
        known = wholes.get(core) if end - start <= longest else None
        if known is not None:
            before.extend(known)
        elif core.isalnum() or is_address(core):
            before.append(core)
        else:
            before.extend(_cut_inside(core))
    after.reverse()
    return (*before, *after)


def _prefix_length(chunk: str, start: int, end: int) -> int:
    first = chunk[start]
    if first == ".":
        return _run_of_dots(chunk, start, end, 1)
    if CLASSES[first] & PREFIX:
        return 1
    if first == "+":
        return 0 if start + 1 < end and CLASSES[chunk[start + 1]] & DIGIT else 1
    if first in "UCA":
        for dollar in _DOLLARS:
            if chunk.startswith(dollar, start, end):
                return len(dollar)
    return 0


def _run_of_dots(chunk: str, start: int, end: int, step: int) -> int:
    """Count the full stops from one end of chunk[start:end]; a single one is no run."""
    at = start if step > 0 else end - 1
    count = 0
    while start <= at < end and chunk[at] == ".":
        count += 1
        at += step
    return count if count > 1 else 0


def _suffix_length(chunk: str, start: int, end: int) -> int:
    """Return how many characters come off the end of chunk[start:end], nothing before `start` being seen."""
    if start >= end:
        return 0
    last = chunk[end - 1]
    length = end - start
    if last == ".":
        if length > 1 and chunk[end - 2] == ".":
            return _run_of_dots(chunk, start, end, -1)
        if length > 1 and CLASSES[chunk[end - 2]] & STOPPED:
            return 1
        if length > 2 and CLASSES[chunk[end - 2]] & CLASSES[chunk[end - 3]] & UPPER:
            return 1
        return 0
    if last == "\u2026":
        return 2 if length > 1 and chunk[end - 2] == last else 1
    if last in "sS" and length > 1 and chunk[end - 2 : end] in _POSSESSIVES:
        return 2
    for size in range(min(_LONGEST_UNIT, length - 1), 0, -1):
        if CLASSES[chunk[end - size - 1]] & DIGIT:
            tail = chunk[end - size : end]
            if tail in _UNITS or tail in CURRENCIES or tail in _DOLLARS or tail == "+":
                return size
    return 1 if CLASSES[last] & SUFFIX else 0


def _cut_inside(core: str) -> list[str]:
    """Cut at hyphens, slashes, symbols and the like that stand between letters or digits."""
    pieces: list[str] = []
    done = clear = 0
    for mark in _marks.finditer(core):
        at = mark.start()
        size = _infix_length(core, at) if at >= clear else 0
        if not size:
            continue
        clear = at + size
        if at:  # one at the very start stays where it is
            if at > done:
                pieces.append(core[done:at])
            pieces.append(core[at:clear])
            done = clear
    if done < len(core):
        pieces.append(core[done:])
    return pieces


def _infix_length(core: str, at: int) -> int:
    char = core[at]
    if char == "." and core.startswith("..", at):
        return _run_of_dots(core, at, len(core), 1)
    if char == "\u2026" or CLASSES[char] & ICON:
        return 1
    left = CLASSES[core[at - 1]] if at else 0
    right = CLASSES[core[at + 1]] if at + 1 < len(core) else 0
    if char in "+-*^" and left & DIGIT and (right & DIGIT or core.startswith("-", at + 1)):
        return 1
    if char == ".":
        return 1 if left & (LOWER | QUOTE) and right & (UPPER | QUOTE) else 0
    if char == ",":
        return 1 if left & right & ALPHA else 0
    if char in _HYPHENS:
        if left & (ALPHA | DIGIT):
            for dash in _INNER_DASHES:
                if core.startswith(dash, at) and CLASSES[core[at + len(dash) : at + len(dash) + 1]] & ALPHA:
                    return len(dash)
        return 0
    if char in ":<>=/":
        return 1 if left & (ALPHA | DIGIT) and right & ALPHA else 0
    return 0


def is_address(core: str) -> bool:
    """Tell whether the whole is a web address, an e-mail address or a host name with a dot."""
    if "." not in core:
        return False
    if _is_host(core, 0):
        return True
    scheme = core.find("://")
    named = scheme >= 2 and all(char.isalnum() or char in "_+-." for char in core[:scheme])
    if named and _is_host(core, scheme + 3):
        return True
    at = core.find("@", 1)
    while at >= 0:  # any name may stand before the host
        if _is_host(core, at + 1):
            return True
        at = core.find("@", at + 1)
    return False


def _is_host(core: str, start: int) -> bool:
    """Tell whether core[start:] is a host, perhaps with a port, a path, a query."""
    end = start
    limit = len(core)
    while end < limit and core[end] not in ":/?#":
        if not _in_host(core[end]) and core[end] not in "._-":
            return False
        end += 1
    rest = end
    if core.startswith(":", rest):
        rest += 1
        while rest < limit and core[rest].isdecimal():
            rest += 1
        if not 2 <= rest - end - 1 <= 5:
            return False
    if rest < limit and core[rest] not in "/?#":
        return False
    *labels, top = core[start:end].split(".")
    if not labels:
        return False
    if top.isdecimal():
        return _is_public_ip([*labels, top])
    if not 2 <= len(top) <= 63 or not all(CLASSES[char] & LOWER for char in top):
        return False
    return all(0 < len(label) <= 64 and _in_host(label[0]) and _in_host(label[-1]) for label in labels)


def _in_host(char: str) -> bool:
    return "\u00a1" <= char <= "\uffff" or (char < "\u0080" and char.isalnum())


def _is_public_ip(octets: list[str]) -> bool:
    if len(octets) != 4 or not all(octet.isascii() and octet.isdecimal() for octet in octets):
        return False
    if any(len(octet) > 3 or (len(octet) == 3 and octet[0] == "0") for octet in octets):
        return False
    first, second, third, last = map(int, octets)
    if octets[0][0] == "0" or octets[3][0] == "0" or max(second, third) > 255:
        return False
    if not 1 <= first <= 223 or not 1 <= last <= 254 or first in (10, 127):
        return False
    return (first, second) not in ((169, 254), (192, 168)) and not (first == 172 and 16 <= second <= 31)


_Cut = tuple[tuple[str, ...], tuple[str, ...]]


@functools.cache
def _sequences() -> dict[tuple[str, ...], list[_Cut]]:
    """Return, by their first two words, what exceptions would be cut into and what they are instead."""
    found: dict[tuple[str, ...], list[_Cut]] = {}
    for written, parts in exceptions().items():
        cut = _pieces(written, {})
        if len(cut) > 1:
            found.setdefault(cut[:2], []).append((cut, parts))
    return found


def _rejoined(pieces: tuple[str, ...]) -> tuple[str, ...]:
    """Put exceptions back that were cut up: Mr . Smith is Mr. Smith. The longest goes first."""
    sequences = _sequences()
    spans = []
    for at, pair in enumerate(pairwise(pieces)):
        for cut, parts in sequences.get(pair, ()):
            if pieces[at : at + len(cut)] == cut:
                spans.append((-len(cut), at, parts))
    if not spans:
        return pieces
    spans.sort()
    taken: set[int] = set()
    replaced: dict[int, tuple[int, tuple[str, ...]]] = {}
    for size, at, parts in spans:
        end = at - size
        if at not in taken and end - 1 not in taken:
            replaced[at] = end, parts
        taken.update(range(at, end))
    joined: list[str] = []
    at = 0
    while at < len(pieces):
        end, parts = replaced.get(at, (at + 1, pieces[at : at + 1]))
        joined.extend(parts)
        at = end
    return tuple(joined)
