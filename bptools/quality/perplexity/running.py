"""What bp-ppl does with its options; nothing heavy is loaded before the first record is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bptools.chat.view import Views
    from bptools.core.pipeline import Pipeline
    from bptools.models.contenders import Contenders
    from bptools.quality.perplexity.cutting import Cut
    from bptools.quality.perplexity.scorer import Scorer


def run(
    pipe: Pipeline,
    views: Views,
    contenders: Sequence[Contenders],
    cut: Cut,
    save_cutoffs: str | None,
    **how: Any,
) -> None:
    """Score a stream. `how` is what How takes. Raises as Scorer does."""
    from bptools.quality.perplexity.scorer import How, check_windows, scorers_of
    from bptools.quality.perplexity.scoring import Scoring

    options = How(**how)
    for each in contenders:
        check_windows(each, options)
    saved = pipe.open_also("--save-cutoffs", save_cutoffs) if save_cutoffs is not None else None

    def load() -> list[Scorer]:
        return [scorer for each in contenders for scorer in scorers_of(each, options)]

    scoring = Scoring(pipe, views, load, options.batch_tokens, cut)
    scoring.run()
    if saved is not None:
        saved.write(cut.cutoffs(scoring.scorers))
