"""The published quality rules: Gopher, C4, mC4's paragraphs, FineWeb; by set, by name, with any limit.

    from bptools.quality.rules import parse_rules
    parse_rules(["gopher", "c4", "min_doc_words=20"]).first("Too short.")
    # Finding(reason='gopher:min_doc_words', value=2, limit=20)

Sources: `rules/table.py`. The decisions are those of datatrove 0.10; `tests/bench/rules.py` compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bptools.quality.finding import Finding
from bptools.quality.rules.c4 import c4_values, paragraph_values
from bptools.quality.rules.fineweb import fineweb_values
from bptools.quality.rules.gopher_quality import quality_values
from bptools.quality.rules.gopher_repetition import repetition_values
from bptools.quality.rules.page import Page
from bptools.quality.rules.parse import parse_spec
from bptools.quality.rules.table import PARAMETERS, RULES, SETS, Parameter, Rule

_EMPTY = (1, True)  # the rule behind `gopher:empty` and `fineweb:empty`: at least one word


class RuleSet:
    """Chosen rules with their limits and parameters; judges texts. Make one with `parse_rules`.

    limits: by rule name, a value beyond which breaks it. parameters: by name, those of `PARAMETERS`; the
    defaults where one is not given.
    """

    def __init__(self, limits: Mapping[str, float], parameters: Mapping[str, int] | None = None) -> None:
        self.limits = {name: limits[name] for name in RULES if name in limits}
        self.parameters = {name: int(parameter.default) for name, parameter in PARAMETERS.items()}
        self.parameters.update(parameters or {})
        self._by_set: dict[str, dict[str, float]] = {}
        for name, limit in self.limits.items():
            self._by_set.setdefault(RULES[name].set, {})[name] = limit
        self._judged = {name: (limit, RULES[name].least) for name, limit in self.limits.items()}
        self._judged["empty"] = _EMPTY

    def _values(self, text: str, exact: bool) -> Iterator[tuple[str, Iterator[tuple[str, float]]]]:
        """Yield how reasons name each chosen set, and its (rule, value) pairs, in the fixed order."""
        page = Page(text)
        for name, chosen in self._by_set.items():
            if name == "gopher-quality":
                yield "gopher", quality_values(page, chosen)
            elif name == "gopher-repetition":
                yield "gopher", repetition_values(page, chosen, self.parameters)
            elif name == "c4":
                yield name, c4_values(page, chosen, self.parameters, exact)
            elif name == "c4-paragraph":
                yield name, paragraph_values(page, chosen, self.parameters)
            else:
                yield name, fineweb_values(page, chosen, self.parameters)

    def _broken(self, text: str) -> Iterator[Finding]:
        judged = self._judged
        for family, values in self._values(text, exact=False):
            for name, value in values:
                limit, least = judged[name]
                if value < limit if least else value > limit:
                    yield Finding(f"{family}:{name}", value, limit)

    def first(self, text: str) -> Finding | None:
        """Return the first rule that the text breaks, or None.

        Sets go in the order of `SETS`, rules in that of `RULES`, which is datatrove's; of lorem_ipsum and
        curly_bracket the one on the earlier line goes first. `gopher:empty` and `fineweb:empty` stand for
        what is not defined for a text without a word.
        """
        return next(self._broken(text), None)

    def all(self, text: str) -> list[Finding]:
        """Return every rule that the text breaks, in the order of `first`."""
        return list({finding.reason: finding for finding in self._broken(text)}.values())

    def measure(self, text: str) -> dict[str, float]:
        """Return by name the value that each chosen rule looks at; 0 where a text has no word to measure."""
        measured: dict[str, float] = dict.fromkeys(self.limits, 0)
        for _family, values in self._values(text, exact=True):
            measured.update(values)
        measured.pop("empty", None)
        return measured


def parse_rules(spec: list[str]) -> RuleSet:
    """Read what --rules was given, one item after the other; commas separate items too.

    An item is a set (all its rules with their limits), a rule (it alone), NAME=VALUE (the rule with that
    limit, or a parameter), NAME=off (the rule taken out again; a switch turned off).
    Raises UsageError for an unknown name, a bad value, a parameter without its rules, or no rule at all.
    """
    return RuleSet(*parse_spec(spec))


__all__ = ["PARAMETERS", "RULES", "SETS", "Finding", "Parameter", "Rule", "RuleSet", "parse_rules"]
