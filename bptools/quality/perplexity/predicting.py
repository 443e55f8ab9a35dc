"""A causal language model as a judge: how surprised it is by given tokens, in little memory.

    predictor = Predictor(model, "cpu")
    predictor.nll([row, ...])        # nats for all targets of each row, float64

The large thing about a language model is not the model but what it says: a number for each token of the
vocabulary, for each place. Here only the places that are scored are asked, some thousand at a time, and only
the likelihood of the token that stands there is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bptools.quality.perplexity.rows import Row

if TYPE_CHECKING:
    import torch

_LOGITS_AT_ONCE = 1 << 22  # numbers, 16 MB in float32: what the caches hold; more is slower on a CPU
_LEAST_PLACES = 128  # the output layer is read once for so many
_PLACES_IN_CACHE = 64
_LOGITS_WHOLE = 1 << 27  # where the model must say everything itself


class Predictor:
    """Scores rows with a model in eval mode on `device`. Raises MemoryError when one row is too much."""

    def __init__(self, model: Any, device: str) -> None:
        self.model = model
        self.device = device
        self.halved = 0  # batches that were too large for the device
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._body, self._head = base.get_decoder(), base.get_output_embeddings()
        self._config = base.config.get_text_config()
        vocabulary = int(self._config.vocab_size)
        self._places = max(_LEAST_PLACES, _LOGITS_AT_ONCE // vocabulary)
        if device != "cpu":
            self._places *= 8
        self.most_tokens: int | None = None  # of a batch; None: as many as fit
        self._split = self._is_split()
        if not self._split:
            self.most_tokens = max(1, _LOGITS_WHOLE // vocabulary)

    def nll(self, rows: Sequence[Row]) -> Any:
        """Return the negative log-likelihood of each row's targets in nats, summed: [len(rows)] float64."""
        import torch

        try:
            with torch.inference_mode():
                return self._batch(rows)
        except (torch.OutOfMemoryError, MemoryError):
            pass
        except RuntimeError as error:
            if "allocate" not in str(error):  # what torch says when a CPU has no memory left
                raise
        if len(rows) == 1:
            raise MemoryError
        self.halved += 1
        half = len(rows) // 2
        return np.concatenate([self.nll(rows[:half]), self.nll(rows[half:])])

    def _batch(self, rows: Sequence[Row]) -> Any:
        import torch

        width = max(row.length for row in rows)
        ids = np.zeros((len(rows), width), np.int64)
        for number, row in enumerate(rows):
            ids[number, : row.length] = row.ids[:-1]
        counts = [len(row.targets) for row in rows]
        starts = np.repeat(np.arange(len(rows)) * width, counts)
        places = torch.from_numpy(starts + np.concatenate([row.targets for row in rows]) - 1)
        targets = torch.from_numpy(np.concatenate([row.ids[row.targets] for row in rows]).astype(np.int64))
        per_token = self._losses(
            torch.from_numpy(ids).to(self.device), places.to(self.device), targets.to(self.device)
        )
        ends = np.cumsum([0, *counts])[:-1]
        return np.add.reduceat(per_token.double().cpu().numpy(), ends)

    def _losses(self, ids: torch.Tensor, places: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss at each place in float32; `places` count through `ids` row by row.

        Rows are padded on the right and need no mask: a causal model never looks there.
        """
        import torch

        if not self._split:
            logits = self.model(input_ids=ids, use_cache=False).logits
            return _cross_entropy(logits.flatten(0, 1)[places], targets)
        hidden = self._body(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
        hidden = hidden if len(places) == len(hidden) else hidden[places]
        losses = torch.empty(len(places), dtype=torch.float32, device=hidden.device)
        for start in range(0, len(places), self._places):
            part = slice(start, start + self._places)
            losses[part] = _cross_entropy(self._logits(hidden[part]), targets[part])
        return losses

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return what the model says at some places, with what Gemma 2, Granite and Cohere do to it."""
        import torch

        logits: torch.Tensor = self._head(hidden)
        config = self._config
        cap = getattr(config, "final_logit_softcapping", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        scale = (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)
        return logits if scale == 1 else logits * scale

    def _is_split(self) -> bool:
        """Say whether body and output layer, one after the other, are the model: tried on a few tokens."""
        import torch

        if self._body is None or self._head is None or self._body is self.model:
            return False
        ids = torch.arange(1, 9, device=self.device)[None] % int(self._config.vocab_size)
        with torch.inference_mode():
            whole = self.model(input_ids=ids, use_cache=False).logits.float()
            try:
                parts = self._logits(self._body(input_ids=ids, use_cache=False).last_hidden_state).float()
            except (AttributeError, TypeError, RuntimeError):
                return False
        close = 1e-4 if self._head.weight.dtype == torch.float32 else 2e-2
        return parts.shape == whole.shape and bool(
            (parts - whole).abs().max() <= close * whole.abs().max().clamp(min=1)
        )


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return -log p of each target in float32: [n] from logits [n, vocabulary].

    Of five ways to say it, the fastest on a CPU that sums in float32 also for bfloat16; a few places at a
    time stay in the caches, which is worth up to 6 % of everything.
    """
    import torch

    losses = torch.empty(len(targets), dtype=torch.float32, device=logits.device)
    step = _PLACES_IN_CACHE if logits.device.type == "cpu" else max(1, len(targets))
    for start in range(0, len(targets), step):
        part = slice(start, start + step)
        likely = torch.nn.functional.log_softmax(logits[part].float(), -1)
        losses[part] = -likely.gather(1, targets[part, None])[:, 0]
    return losses
