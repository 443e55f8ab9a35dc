"""What is said at the end of a run: how scores are distributed, what was cut, and whether the cut leans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bptools.core.records import Drop, Reject
from bptools.quality.distribution import Distribution
from bptools.quality.perplexity.leaning import Leaning
from bptools.quality.perplexity.score import Score

if TYPE_CHECKING:
    from bptools.chat.view import Views
    from bptools.core.pipeline import Pipeline
    from bptools.core.window import Window
    from bptools.quality.perplexity.cutting import Cut
    from bptools.quality.perplexity.scorer import Scorer


class Tally:
    """Counts scores as they come."""

    def __init__(self, pipe: Pipeline, views: Views, cut: Cut) -> None:
        self.cut = cut
        self._pipe = pipe
        self._views = views
        self._leaning = Leaning()
        self._counts = {"scored": 0, "few": 0, "unscorable": 0}
        self._tokens = 0
        self._distributions = {name: Distribution(name) for name in ("ppl", "bpb", "gain")}

    def note(self, score: Score, fields: dict[str, Any]) -> None:
        """Count what a record was given."""
        kind = "few" if fields.get("few") else "scored" if score.scorable else "unscorable"
        self._counts[kind] += 1
        if kind != "scored":
            return
        self._tokens += score.tokens
        for name, distribution in self._distributions.items():
            if fields.get(name) is not None:
                distribution.add(fields[name])

    def lean(self, window: Window, number: int, cut: bool) -> None:
        """Look at a record that could be cut."""
        try:
            text = self._views.text(window.record(number))
        except (Reject, Drop):
            return
        self._leaning.note(text, window.at(number)[0], cut)

    def finish(self, scorers: Sequence[Scorer]) -> None:
        """Say and report it."""
        if not scorers:
            return
        scorer, messages = scorers[0], self._pipe.messages
        counts = self._counts
        ppl = self._distributions["ppl"]
        spread = ", ".join(f"p{percent} {ppl.percentile(percent):.4g}" for percent in (5, 50, 95))
        more = "".join(f", {counts[kind]:,} {kind}" for kind in ("few", "unscorable") if counts[kind])
        quant = "" if scorer.identity["quant"] == "none" else f", {scorer.identity['quant']}"
        messages.info(
            f"{scorer.name}, {scorer.identity['dtype']}{quant}, on {scorer.how.on}:"
            f" {counts['scored']:,} scored{more}" + (f"; ppl {spread}" if counts["scored"] else "")
        )
        if self.cut.cuts:
            messages.info(f"kept is {self.cut.metric} {self.cut.described()}")
            for warning in self._leaning.warnings():
                messages.warn(warning)
        halved = sum(each.halved for each in scorers)
        if halved:
            messages.warn(
                f"{halved} batches were too large for the memory and were halved; --batch-tokens sets less"
            )
        self._pipe.report_fields["perplexity"] = self._as_json(scorers)

    def _as_json(self, scorers: Sequence[Scorer]) -> dict[str, Any]:
        scorer = scorers[0]
        report: dict[str, Any] = {
            "scorer": {**scorer.identity, **scorer.question},
            **self._counts,
            "tokens": self._tokens,
        }
        if len(scorers) > 1:
            report["baseline"] = {**scorers[1].identity, **scorers[1].question}
        for name, distribution in self._distributions.items():
            if distribution.count:
                report[name] = distribution.as_json()
        if self.cut.cuts:
            report["cut"] = self.cut.as_json()
        if scorer.cache is not None:
            report["cache"] = {"found": scorer.cache.found, "scored": scorer.cache.scored}
        return report
