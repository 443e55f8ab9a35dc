"""Near-duplicates among texts, from Python.

from bptools.quality import near_duplicates

texts = ["to be or not to be that is", "to be or not to be that was", "something else"]
list(near_duplicates(texts, threshold=0.5))    # [None, (0, 0.6), None]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from bptools.quality.dedup.near import NearIndex
from bptools.quality.dedup.profile import Profiler

_AT_ONCE = 1024


def near_duplicates(
    texts: Iterable[str], threshold: float = 0.7, ngram: int = 5
) -> Iterator[tuple[int, float] | None]:
    """Yield which earlier text each is a near copy of, and how similar to it; None for what is kept.

    Only kept texts are compared with: (number, Jaccard similarity of the sets of runs of `ngram` words) of
    the most similar one, the first of several. Texts are compared as bp-dedup(1) says, in batches of 1,024.
    """
    profiler = Profiler(threshold, ngram)
    index = NearIndex(threshold, profiler.bands)
    kept: list[int] = []
    done = 0
    source = iter(texts)
    try:
        while batch := list(islice(source, _AT_ONCE)):
            found = index.match(profiler.profile(batch), np.full(len(batch), -1))
            kept += (done + np.flatnonzero(found.owner < 0)).tolist()
            for owner, similarity in zip(found.owner.tolist(), found.jaccard.tolist()):
                yield (kept[owner], similarity) if owner >= 0 else None
            done += len(batch)
    finally:
        index.close()
