"""Judging records: bounds, quality rules, duplicates, redaction, sampling, splitting.

    from bptools.quality import Length, Sieve, Structure, parse_rules

    sieve = Sieve(structure=Structure(alternating=True), length=Length(max_tokens=4096))
    sieve.judge(None, {"messages": [{"role": "assistant", "content": "Hi"}]}).reason    # 'alternating'
    parse_rules(["gopher"]).first("Too short.")    # Finding(reason='gopher:min_doc_words', value=2, limit=50)

`near_duplicates` compares texts as bp-dedup does. `bptools.quality.sample`, `split`, `mix`, `difficulty`,
`redact` and `language` have the rest of bp-filter.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bptools.quality.dedup.texts import near_duplicates
    from bptools.quality.fields import Range, parse_where
    from bptools.quality.finding import Finding
    from bptools.quality.length import Length
    from bptools.quality.rules import parse_rules
    from bptools.quality.sieve import Sieve
    from bptools.quality.structure import Structure

_HOMES = {
    "Finding": "finding",
    "Length": "length",
    "Range": "fields",
    "Sieve": "sieve",
    "Structure": "structure",
    "near_duplicates": "dedup.texts",
    "parse_rules": "rules",
    "parse_where": "fields",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is: the rules alone take 16 ms."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "Finding",
    "Length",
    "Range",
    "Sieve",
    "Structure",
    "near_duplicates",
    "parse_rules",
    "parse_where",
]
