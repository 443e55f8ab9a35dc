"""From candidates to verdicts: who is a duplicate of whom, for many records as if one after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bptools.quality.dedup.bands import Checks, Ids
from bptools.quality.dedup.sets import Ragged, ShingleFile, distinct, similarities, take

Flags = npt.NDArray[np.bool_]

_LOWER = 0xFFFFFFFF


class Verdicts:
    """What became of some records.

    owner: the id of the kept record that each is a duplicate of, -1 for those that are kept themselves.
    jaccard: the highest similarity that was found, also of those that are kept; 0 where there was no
        candidate, NaN for exact copies.
    """

    __slots__ = ("jaccard", "owner")

    def __init__(self, owner: Ids, jaccard: npt.NDArray[np.float64]) -> None:
        self.owner = owner
        self.jaccard = jaccard


def compare(sets: Ragged, kept: ShingleFile, owners: Ids, threshold: float) -> Verdicts:
    """Compare rows with earlier records; `owners` are ids or -1, (bands, rows)."""
    count = len(sets[1]) - 1
    verdicts = Verdicts(np.full(count, -1, np.int64), np.zeros(count))
    found = np.flatnonzero(owners.reshape(-1) >= 0)
    if len(found):
        pairs = np.unique(((found % count) << 32) | owners.reshape(-1)[found])
        rows = pairs >> 32
        ids, which = np.unique(pairs & _LOWER, return_inverse=True)
        similar = similarities(_some(sets, rows), take(distinct(kept.read(ids)), which))
        # the highest last, of equal ones the earliest: the last one written stays
        order = np.lexsort((-pairs, similar))
        verdicts.jaccard[rows[order]] = similar[order]
        order = order[similar[order] >= threshold]
        verdicts.owner[rows[order]] = ids[which[order]]
    return verdicts


def resolve(
    verdicts: Verdicts,
    sets: Ragged,
    checks: Checks,
    free: Flags,
    twins: Ids,
    first_id: int,
    threshold: float,
) -> None:
    """Compare rows with each other, in order: the kept one that has a band first owns it for those behind it.

    free: which of the (bands, rows) `checks` nobody owned. twins: a number that exact copies share, or -1.
    Ids go on from `first_id` in the order of rows that are kept.
    """
    groups, rows, twin_groups = _groups(verdicts, checks, free, twins)
    if not len(rows):
        return
    known = _with_leaders(sets, groups, rows)
    order = np.argsort(rows, kind="stable")  # of a row its groups in order, that of its twins first
    borders = np.flatnonzero(np.diff(rows[order], prepend=-1)).tolist()
    groups_in_order = groups[order].tolist()
    owners: dict[int, int] = {}  # of groups: rows
    dropped: dict[int, tuple[int, float]] = {}  # rows: by which row, and how similar
    for first, last, row in zip(borders, [*borders[1:], len(order)], rows[order][borders].tolist()):
        mine = groups_in_order[first:last]
        if mine[0] < twin_groups and mine[0] in owners:
            dropped[row] = owners[mine[0]], np.nan
            continue
        best, by = float(verdicts.jaccard[row]), -1
        for other in sorted({owners[group] for group in mine if group in owners}):
            similarity = known.get(row << 32 | other)
            if similarity is None:
                pair = np.array([row]), np.array([other])
                similarity = float(similarities(_some(sets, pair[0]), _some(sets, pair[1]))[0])
            if similarity > best:
                best, by = similarity, other
        verdicts.jaccard[row] = best
        if by >= 0 and best >= threshold:
            dropped[row] = by, best
        elif verdicts.owner[row] < 0:
            for group in mine:
                owners.setdefault(group, row)
    if dropped:
        gone = np.array(list(dropped), np.int64)
        verdicts.owner[gone] = -2
        ids = first_id + np.cumsum(verdicts.owner == -1) - 1
        verdicts.owner[gone] = ids[[by for by, _ in dropped.values()]]
        verdicts.jaccard[gone] = [similarity for _, similarity in dropped.values()]


def _groups(verdicts: Verdicts, checks: Checks, free: Flags, twins: Ids) -> tuple[Ids, Ids, int]:
    """Return (groups, rows) of rows that share a band or are exact copies, and how many groups are of copies.

    Groups are numbered from 0, those of copies first; the rows of a group are in order. Rows before the first
    that may be kept can own nothing and are left out.
    """
    count = len(twins)
    copies = np.flatnonzero(twins >= 0)
    firsts, others = _alike(twins[copies].astype(np.uint32), np.zeros(len(copies), np.uint32))
    of_copies = copies[firsts], copies[others]
    places = np.flatnonzero(free.reshape(-1))
    firsts, others = _alike(checks.reshape(-1)[places], (places // count).astype(np.uint32))
    of_bands = places[firsts] + count, places[others]  # numbered behind all rows
    groups = np.concatenate((of_copies[0], of_bands[0]))
    rows = np.concatenate((of_copies[1], of_bands[1])) % count
    leaders = np.unique(groups)
    groups = np.concatenate((leaders, groups))
    rows = np.concatenate((leaders % count, rows))
    order = np.argsort(groups, kind="stable")
    rows = rows[order]
    groups = np.cumsum(np.diff(groups[order], prepend=-1) != 0) - 1
    copied = int(np.count_nonzero(leaders < count))
    if not len(rows):
        return groups, rows, 0
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    place = np.arange(len(rows))
    may_own = np.where(verdicts.owner[rows] < 0, place, len(rows))
    stays = place >= np.minimum.reduceat(may_own, firsts)[groups]
    groups, rows = groups[stays], rows[stays]
    several = np.bincount(groups, minlength=len(leaders)) > 1
    stays = several[groups]
    renumbered = np.cumsum(several) - 1
    return renumbered[groups[stays]], rows[stays], int(np.count_nonzero(several[:copied]))


def _alike(values: Checks, kinds: Checks) -> tuple[Ids, Ids]:
    """Return (first, other) of all places whose value and kind a place before them has, `other` ascending.

    Everything is written into a table by its hash, backwards, so that the first stays; what finds another
    value there tries again with another hash. Half the cost of sorting.
    """
    size = max(10, (8 * len(values)).bit_length())
    table = np.empty(1 << size, np.int32)
    keys = values * _SPREAD + kinds * _KIND
    left = np.arange(len(values))
    found = []
    while len(left):
        slots = keys[left] >> np.uint32(32 - size)
        table[slots[::-1]] = left[::-1]
        first = table.take(slots).astype(np.int64)
        same = (values[first] == values[left]) & (kinds[first] == kinds[left])
        other = same & (first != left)
        found.append((first[other], left[other]))
        left = left[~same]
        keys[left] = (keys[left] ^ (keys[left] >> np.uint32(15))) * _SPREAD + kinds[left]
    firsts = np.concatenate([first for first, _ in found]) if found else left
    others = np.concatenate([other for _, other in found]) if found else left
    order = np.argsort(others, kind="stable")
    return firsts[order], others[order]


_SPREAD = np.uint32(0x9E3779B1)
_KIND = np.uint32(0x85EBCA77)


def _with_leaders(sets: Ragged, groups: Ids, rows: Ids) -> dict[int, float]:
    """Return {row << 32 | leader: similarity} of rows and the first of their groups, mostly the owner."""
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    leaders = np.repeat(rows[firsts], np.diff(firsts, append=len(rows)))
    pairs = np.unique(((rows << 32) | leaders)[rows != leaders])
    found = similarities(_some(sets, pairs >> 32), _some(sets, pairs & _LOWER))
    return dict(zip(pairs.tolist(), found.tolist()))


def _some(sets: Ragged, rows: Ids) -> Ragged:
    """Return the distinct shingles of rows, which may be there several times."""
    several, which = np.unique(rows, return_inverse=True)
    return take(distinct(take(sets, several)), which)
