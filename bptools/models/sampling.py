"""Which token comes next, and when an answer is over: for each row of a batch by itself."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn. temperature 0: the likeliest; top_p 1, top_k 0, penalty 1: no limits."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0


def sampling_for(
    model: Any, temperature: float | None = None, top_p: float | None = None, top_k: int | None = None
) -> Sampling:
    """Return what was asked for; where nothing was, what the model's generation_config.json says, else
    greedy.

    top_p or top_k without a temperature mean temperature 1.
    """
    own = getattr(model, "generation_config", None)
    penalty = float(getattr(own, "repetition_penalty", None) or 1.0)
    if temperature is None and top_p is None and top_k is None:
        if not getattr(own, "do_sample", False):
            return Sampling(repetition_penalty=penalty)
        values = (getattr(own, name, None) for name in ("temperature", "top_p", "top_k"))
        warmth, nucleus, most = values
        return Sampling(
            1.0 if warmth is None else float(warmth),
            1.0 if nucleus is None else float(nucleus),
            50 if most is None else int(most),  # what transformers takes where the file says nothing
            penalty,
        )
    return Sampling(1.0 if temperature is None else temperature, top_p or 1.0, top_k or 0, penalty)


@dataclass
class Row:
    """One answer to be: its prompt's tokens, whose it is, and its own stream of chance.

    `number` and `sample` say where the answer goes; `stream_number` is the prompt's number in the whole
    input, so that chance is the same however the input was cut into batches.
    """

    prompt: list[int]
    number: int
    sample: int
    seed: int
    stream_number: int
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        name = f"{self.seed}:{self.stream_number}:{self.sample}".encode()
        self.chance = random.Random(hashlib.sha256(name).digest())


class Sampler:
    """A logits processor that leaves one token in each row, so that a greedy search takes it.

    Each row draws one number a step and looks it up in its own cumulative distribution: what the neighbours
    in the batch do changes nothing.
    """

    def __init__(self, rows: Sequence[Row], sampling: Sampling, width: int) -> None:
        self._rows = rows
        self._sampling = sampling
        self._width = width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores [rows, vocabulary] of which one in each row is finite if something is drawn."""
        import torch

        scores = scores.float()
        if self._sampling.repetition_penalty != 1.0:
            scores = self._penalized(input_ids, scores)
        if self._sampling.temperature <= 0:
            return scores
        chosen = self._drawn(scores / self._sampling.temperature)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)

    def _penalized(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores less likely for what is there already: positive divided, negative multiplied.

        As transformers does, but for the padding, which is no text.
        """
        import torch

        penalty = self._sampling.repetition_penalty
        scores = scores.clone()
        for index, row in enumerate(self._rows):
            seen = torch.unique(input_ids[index, self._width - len(row.prompt) :])
            values = scores[index, seen]
            scores[index, seen] = torch.where(values < 0, values * penalty, values / penalty)
        return scores

    def _drawn(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the tokens that were drawn, [rows, 1]."""
        import torch

        top_k, top_p = self._sampling.top_k, self._sampling.top_p
        order = None
        if 0 < top_k < scores.shape[1]:
            scores, order = scores.topk(top_k, dim=1)
        elif top_p < 1:
            scores, order = scores.sort(dim=1, descending=True, stable=True)
        shares = scores.softmax(dim=1)
        if top_p < 1:
            before = shares.cumsum(dim=1) - shares
            shares = shares.masked_fill(before >= top_p, 0.0)  # the likeliest stays: nothing is before it
        sums = shares.cumsum(dim=1)
        luck = torch.tensor([[row.chance.random()] for row in self._rows], dtype=sums.dtype)
        found = torch.searchsorted(sums, luck.to(sums.device) * sums[:, -1:], right=True)
        last = (shares > 0).sum(dim=1, keepdim=True) - 1 if order is not None else sums.shape[1] - 1
        found = torch.minimum(found, torch.as_tensor(last, device=found.device))
        return found if order is None else order.gather(1, found)


class Stopper:
    """A stopping criterion: ends the rows in which a string of `stops` stands, streams the first row."""

    def __init__(
        self,
        tokenizer: Any,
        width: int,
        stops: Sequence[str],
        stop_ids: Sequence[int],
        stream: Callable[[str], None] | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._width = width
        self._stops = list(stops)
        self._stop_ids = set(stop_ids)
        # a token is at least one byte of the text, bar those that stand for nothing
        self._tail = max((len(stop.encode("utf-8", "replace")) for stop in stops), default=0) + 8
        self._stream = stream
        self._sent = ""

    def __call__(self, input_ids: torch.Tensor, scores: Any, **settings: Any) -> torch.Tensor:
        """Return whether each row is over, [rows]."""
        import torch

        if self._stream is not None:
            self._pass_on(input_ids[0, self._width :].tolist())
        over = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        if self._stops:
            answers = input_ids[:, self._width :][:, -self._tail :].tolist()
            for index, tokens in enumerate(answers):
                text = self._tokenizer.decode(tokens, skip_special_tokens=True)
                over[index] = any(stop in text for stop in self._stops)
        return over

    def finish(self, answer: str) -> None:
        """Send what was held back of the first row's answer."""
        if self._stream is not None and answer.startswith(self._sent):
            self._send(answer)

    def _pass_on(self, tokens: list[int]) -> None:
        """Send what is sure by now: no half character, nothing that a stop may begin with."""
        tokens = [token for token in tokens if token not in self._stop_ids]
        text = str(self._tokenizer.decode(tokens, skip_special_tokens=True))
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return
        for stop in self._stops:
            if stop in text:
                text = text[: text.index(stop)]
            for length in range(min(len(stop), len(text)), 0, -1):
                if text.endswith(stop[:length]):
                    text = text[:-length]
                    break
        self._send(text)

    def _send(self, text: str) -> None:
        if self._stream is not None and text.startswith(self._sent) and text != self._sent:
            self._stream(text[len(self._sent) :])
            self._sent = text
