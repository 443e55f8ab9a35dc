"""What is said of a record: its negative log-likelihood as people know it.

Score(nats=310.5, tokens=120, bytes=480).as_json()    # {'ppl': 13.2999, 'nll': 2.5875, 'tokens': 120, ...}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

FEW = 8
"""Under so many scored tokens a score says nothing."""
FIELDS = ("few", "gain")
"""Those of `bp` that are not always there: an earlier run may have left them."""
METRICS = ("ppl", "bpb", "gain")


@dataclass(frozen=True)
class Score:
    """What the scored tokens of a record cost: nats in all, how many tokens, and bytes of their text."""

    nats: float
    tokens: int
    bytes: int

    @property
    def scorable(self) -> bool:
        """Whether there is anything to say."""
        return self.tokens > 0 and self.bytes > 0 and math.isfinite(self.nats)

    @property
    def nll(self) -> float | None:
        """Nats per token, to six decimals."""
        return round(self.nats / self.tokens, 6) if self.scorable else None

    @property
    def ppl(self) -> float | None:
        """Perplexity, to six digits."""
        return float(f"{math.exp(min(self.nats / self.tokens, 700.0)):.6g}") if self.scorable else None

    @property
    def bpb(self) -> float | None:
        """Bits per byte, to five decimals."""
        return round(self.nats / math.log(2) / self.bytes, 5) if self.scorable else None

    def as_json(self, baseline: Score | None = None) -> dict[str, Any]:
        """Return what goes under `bp`; with a baseline `gain`: by how many bits per byte this costs less."""
        fields: dict[str, Any] = {"ppl": self.ppl, "nll": self.nll, "tokens": self.tokens, "bpb": self.bpb}
        if self.scorable and self.tokens < FEW:
            fields["few"] = True
        if baseline is not None:
            ours, theirs = self.bpb, baseline.bpb
            fields["gain"] = None if ours is None or theirs is None else round(theirs - ours, 5)
        return fields
