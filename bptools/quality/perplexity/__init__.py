"""Perplexity of records under a causal language model: scores, windows, batches, cuts, and a cache of scores.

from bptools.quality.perplexity import Scorer

Scorer.open("nano").score([{"text": "The option names a file."}])[0].ppl
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bptools.quality.perplexity.cuts import Keep, Limits, percentiles
    from bptools.quality.perplexity.score import Score
    from bptools.quality.perplexity.scorer import Scorer

_HOMES = {"Keep": "cuts", "Limits": "cuts", "Score": "score", "Scorer": "scorer", "percentiles": "cuts"}


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = ["Keep", "Limits", "Score", "Scorer", "percentiles"]
