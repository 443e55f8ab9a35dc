"""Judging records: bounds, quality rules, redaction, sampling, splitting.

    from bptools.quality import Length, Sieve, Structure, parse_rules

    sieve = Sieve(structure=Structure(alternating=True), length=Length(max_tokens=4096))
    sieve.judge(None, {"messages": [{"role": "assistant", "content": "Hi"}]}).reason    # 'alternating'
    parse_rules(["gopher"]).first("Too short.")    # Finding(reason='gopher:min_doc_words', value=2, limit=50)

`bptools.quality.sample`, `split`, `mix`, `difficulty`, `redact` and `language` have the rest of bp-filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bptools.quality.fields import Range, parse_where
from bptools.quality.finding import Finding
from bptools.quality.length import Length
from bptools.quality.sieve import Sieve
from bptools.quality.structure import Structure

if TYPE_CHECKING:
    from bptools.quality.rules import RuleSet


def parse_rules(spec: list[str]) -> RuleSet:
    """Return the rules that ["gopher", "min_doc_words=20"] names; see `bptools.quality.rules`."""
    from bptools.quality import rules  # 16 ms, for those who want them

    return rules.parse_rules(spec)


__all__ = ["Finding", "Length", "Range", "Sieve", "Structure", "parse_rules", "parse_where"]
