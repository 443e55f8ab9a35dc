"""A model that scores records, from Python as in bp-ppl.

scorer = Scorer.open("nano", on="assistant")
[score] = scorer.score([{"text": "The option names a file."}])
score.ppl, score.bpb, score.tokens
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bptools.chat.view import Views
from bptools.core.errors import DataError, UsageError
from bptools.core.records import Drop, Record, Reject
from bptools.models.contenders import Contender, Contenders, Loading, label_of
from bptools.models.folders import read_config
from bptools.models.names import NANO_FOLDER, ModelName
from bptools.models.selecting import On, Selected, Selector
from bptools.models.surrogates import REFUSALS, with_whole_pairs
from bptools.quality.perplexity.predicting import Predictor
from bptools.quality.perplexity.rows import Row, batches, cut
from bptools.quality.perplexity.score import Score

_MOST_WINDOW = 2048
_NANO_WINDOW = 512  # what it was trained on; further on it predicts worse

if TYPE_CHECKING:
    from bptools.quality.perplexity.cache import ScoreCache

Tick = Callable[[int], None]


@dataclass(frozen=True)
class How:
    """How records are scored: the options of bp-ppl of these names."""

    on: On = "assistant"
    no_template: bool = False
    window: int | None = None
    stride: int | None = None
    batch_tokens: int = 4096
    cache: str | None = None

    def spans(self, context: int, base: ModelName | None) -> tuple[int, int]:
        """Return the window and the stride for a model that reads `context` tokens, 0 where it is not known.

        Raises UsageError for a window that the model cannot read, and a stride that is longer.
        """
        window = self.window
        if window is None:
            most = _NANO_WINDOW if base is not None and base.kind == "nano" else _MOST_WINDOW
            window = min(context or most, most)
        elif context and window > context:
            named = "the model" if base is None else f"'{label_of(base)}'"
            raise UsageError(f"--window {window} is more than the {context} tokens that {named} reads")
        stride = self.stride or max(1, window * 3 // 4)
        if stride > window:
            raise UsageError(f"--stride {stride} is more than --window {window}: tokens would be left out")
        return window, stride


@dataclass
class Encoded:
    """What a scorer is asked about one record: rows, and the bytes of the text they stand for."""

    rows: list[Row] = field(default_factory=list)
    bytes: int = 0

    @property
    def tokens(self) -> int:
        """How many tokens are scored."""
        return sum(len(row.targets) for row in self.rows)


class Scorer:
    """One model, with or without an adapter. Raises as `How.spans` does."""

    def __init__(self, contender: Contender, how: How, device: str, identity: dict[str, Any]) -> None:
        generator = contender.generator
        self.how = how
        self.name = contender.label
        self.selector = Selector(generator.renderer, how.on, how.no_template)
        self._contender = contender
        self._predictor = Predictor(generator.model, device)
        self.window, self.stride = how.spans(generator.context, contender.base)
        self.identity = identity
        self.cache: ScoreCache | None = None
        if how.cache is not None:
            from bptools.quality.perplexity.cache import ScoreCache

            self.cache = ScoreCache(how.cache, identity)

    @classmethod
    def open(
        cls,
        model: str = "nano",
        adapter: str | None = None,
        *,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
        **how: Any,
    ) -> Scorer:
        """Load a model by name, with a stock PEFT adapter if there is one; `how` is what How takes."""
        contenders = Contenders([model], [adapter] if adapter else [], revision, Loading(device, dtype))
        return scorers_of(contenders, How(**how))[0]

    @functools.cached_property
    def question(self) -> dict[str, Any]:
        """What the model is asked, beside the records: scores of another question are other scores.

        chat_template is a hash of the text of it, None where none is used.
        """
        how, renderer = self.how, self._contender.generator.renderer
        text = None if how.no_template else renderer.template.text
        return {
            "on": how.on,
            "no_template": how.no_template,
            "chat_template": None
            if text is None
            else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32],
            "template_kwargs": {} if how.no_template else renderer.template_kwargs,
            "window": self.window,
            "stride": self.stride,
        }

    @property
    def halved(self) -> int:
        """How many batches were too large for the device."""
        return self._predictor.halved

    def score(self, records: Iterable[Record]) -> list[Score]:
        """Return the score of each record, of any format of bp-chatml. Raises Reject, Drop, DataError."""
        views = Views()
        encoded = [self.encode(*views.made(record)) for record in records]
        return self.scores(encoded)

    def encode(self, shape: str, several: Sequence[Record]) -> Encoded:
        """Return the rows of what `Views.made` returns. Raises DataError for what the template refuses."""
        encoded = Encoded()
        for made in several:
            try:
                selected = self._select(shape, made)
            except REFUSALS:
                selected = self._select(shape, with_whole_pairs(made))
            rows = cut(selected.ids, selected.scored, self.window, self.stride)
            encoded.rows += rows
            encoded.bytes += selected.bytes if rows else 0
        return encoded

    def _select(self, shape: str, made: Record) -> Selected:
        selector, tools = self.selector, made.get("tools")
        if shape == "text":
            return selector.text(made["text"])
        if shape == "chat":
            return selector.chat([], made["messages"], tools)
        return selector.chat(made["prompt"], made["chosen" if shape == "preference" else "completion"], tools)

    def scores(self, encoded: Sequence[Encoded], tick: Tick | None = None) -> list[Score]:
        """Return the scores of what was encoded, in its order. tick: told the tokens of each batch."""
        nats = self._nats([row for each in encoded for row in each.rows], tick)
        scores = []
        done = 0
        for each in encoded:
            part = nats[done : done + len(each.rows)]
            done += len(each.rows)
            scores.append(Score(float(part.sum()), each.tokens, each.bytes))
        return scores

    def _nats(self, rows: list[Row], tick: Tick | None) -> Any:
        """Return the nats of each row; what is read together follows from the rows alone."""
        nats = np.zeros(len(rows))
        most = self.how.batch_tokens
        if self._predictor.most_tokens is not None:
            most = min(most, self._predictor.most_tokens)
        self._contender.select()
        for batch in batches([row.length for row in rows], most):
            self._batch(rows, batch, nats)
            if tick is not None:
                tick(sum(rows[number].length for number in batch))
        return nats

    def _batch(self, rows: list[Row], batch: list[int], nats: Any) -> None:
        if self.cache is None:
            nats[batch] = self._predictor.nll([rows[number] for number in batch])
            return
        keys = [rows[number].key() for number in batch]
        known = self.cache.get(keys)
        for number, value in zip(batch, known):
            if value is not None:
                nats[number] = value
        left = [place for place, value in enumerate(known) if value is None]
        if left:
            missing = [batch[place] for place in left]
            nats[missing] = found = self._predictor.nll([rows[number] for number in missing])
            self.cache.put([keys[place] for place in left], found.tolist())

    def close(self) -> None:
        """Close the cache."""
        if self.cache is not None:
            self.cache.close()


def scorers_of(contenders: Contenders, how: How) -> list[Scorer]:
    """Load models, and return a scorer of each."""
    contenders.load()
    return [
        Scorer(contender, how, contenders.device, _identity(contender, contenders))
        for contender in contenders
    ]


def prepared(scorer: Scorer, views: Views, record: Record) -> Encoded | Reject | Drop | str:
    """Return the rows of a record; why it is none that can be read; or why nothing of it can be scored."""
    try:
        shape, several = views.made(record)
    except (Reject, Drop) as why:
        return why
    try:
        encoded = scorer.encode(shape, several)
    except DataError as error:
        return str(error)
    return encoded if encoded.rows and encoded.bytes else f"no text of --on {scorer.how.on}"


def check_windows(contenders: Contenders, how: How) -> None:
    """Refuse windows that a model cannot read as far as it can be known before it is loaded.

    Raises UsageError, InputError.
    """
    for base in contenders.models:
        context: Any = 0
        if base.kind != "hub":
            folder = NANO_FOLDER if base.kind == "nano" else base.name
            context = read_config(folder).get("max_position_embeddings")
        how.spans(context if type(context) is int else 0, base)


def _identity(contender: Contender, contenders: Contenders) -> dict[str, Any]:
    """Return what a score depends on beside the tokens: the same weights in another place are the same."""
    from bptools.models.hub import resolved_revision

    base = contender.base
    assert base is not None
    return {
        "model": label_of(base),
        "revision": resolved_revision(base),
        "weights": None if base.kind == "hub" else weights_hash(contender.folder),
        "adapter": weights_hash(contender.adapter_folder) if contender.adapter_folder else None,
        "dtype": contenders.dtype,
        "quant": contenders.quant,
        "device": contenders.device.partition(":")[0],
    }


@functools.lru_cache(maxsize=8)
def weights_hash(folder: str) -> str:
    """Return a hash of the weights and the configuration in a folder, 32 hexadecimal digits.

    All of it is read, some gigabytes a second, as loading does: by a sample of it, scores of other weights
    could be taken for those of these.
    """
    import xxhash

    digest = xxhash.xxh3_128()
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors") or name in ("config.json", "adapter_config.json"):
            digest.update(name.encode())
            with open(os.path.join(folder, name), "rb") as file:
                while block := file.read(1 << 22):
                    digest.update(block)
    return digest.hexdigest()
