"""What --tag and --dropped write: a record with the reasons in `bp.drop`, each of them once.

    marked_line(b'{"text":"a"}\n', {"text": "a"}, Drop("min-chars", 1, 5))
    # {"text":"a","bp":{"drop":[{"reason":"min-chars","value":1,"limit":5}]}}

A record that two runs drop for one reason says so once.
"""

from __future__ import annotations

from bptools.core.records import Drop, Record, mark_dropped, splice_bp


def marked_line(raw: bytes, record: Record, why: Drop) -> bytes:
    """Return the line with the reasons in `bp.drop` that are not there yet. Raises Reject as `dumps` does."""
    bp = record.get("bp")
    there = bp.get("drop") if type(bp) is dict else None
    if type(there) is not list:
        return mark_dropped(raw, record, why)
    new = [note for note in why.notes() if note not in there]
    if len(new) == 1 + len(why.others):
        return mark_dropped(raw, record, why)
    if new:
        first, *others = [(note["reason"], note["value"], note["limit"]) for note in new]
        return mark_dropped(raw, record, Drop(*first, others=others, added=why.added))
    added = {name: value for name, value in why.added.items() if value is not None}
    return splice_bp(raw, record, added, why.added.keys() - added.keys()) if why.added else raw
