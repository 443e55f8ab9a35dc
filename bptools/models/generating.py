"""Answers of a model: batched, greedy or sampled, ended where the template ends a turn.

    generator = Generator.open(adapter="runs/a/adapter")
    generator.complete(["The capital of France?"], max_new_tokens=64)    # [['Paris.']]

A greedy answer in float32 does not depend on what else is in the batch, and a sampled one only on the seed,
the number of its prompt and that of the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bptools.models.loading import quiet
from bptools.models.rendering import Message, Renderer
from bptools.models.sampling import Row, Sampler, Sampling, Stopper, sampling_for
from bptools.models.surrogates import REFUSALS, with_whole_pairs

if TYPE_CHECKING:
    import torch

Prompt = str | list[Message]
Stream = Callable[[str], None]


class Generator:
    """Completes prompts with one model. `device` is where the model is."""

    def __init__(self, model: Any, tokenizer: Any, renderer: Renderer, device: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.renderer = renderer
        self.device = device
        config = model.config
        self.context = int(getattr(config, "max_position_embeddings", 0) or 0)
        """How many tokens the model reads, prompt and answer together; 0: not known."""
        self._stop_ids, self._stop_text = self._turn_ends()

    @classmethod
    def open(
        cls,
        model: str | None = None,
        adapter: str | None = None,
        *,
        device: str = "auto",
        dtype: str = "auto",
        revision: str | None = None,
    ) -> Generator:
        """Load a model by name, with a stock PEFT adapter if there is one.

        Without a name it is the base of the adapter, or nano. Raises UsageError, InputError, Unavailable.
        """
        from bptools.models.contenders import Contenders, Loading

        adapters = [adapter] if adapter else []
        contenders = Contenders([model] if model else [], adapters, revision, Loading(device, dtype))
        contenders.load()
        (contender,) = contenders
        contender.select()
        return contender.generator

    def encode(self, prompt: Prompt, *, tools: list[Any] | None = None, raw: bool = False) -> list[int]:
        """Return the tokens of a prompt, never none: messages in the template, a string as a user's turn.

        raw: a string as it stands, to be continued. Half a surrogate pair becomes a question mark. Raises
        DataError for what the template refuses.
        """
        try:
            return self._encoded(prompt, tools, raw)
        except REFUSALS:
            return self._encoded(with_whole_pairs(prompt), with_whole_pairs(tools), raw)

    def _encoded(self, prompt: Prompt, tools: list[Any] | None, raw: bool) -> list[int]:
        if raw and isinstance(prompt, str):
            ids = self.renderer.encode_text(prompt, add_eos=False)
        else:
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            ids = self.renderer.encode_prompt(messages, tools)
        first = self.tokenizer.bos_token_id
        first = self.tokenizer.eos_token_id if first is None else first
        return ids or [first or 0]

    def complete(
        self,
        prompts: Sequence[Prompt],
        *,
        max_new_tokens: int = 512,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        seed: int = 0,
        samples: int = 1,
        stop: Sequence[str] = (),
        raw: bool = False,
        batch_size: int = 8,
        stream: Stream | None = None,
    ) -> list[list[str]]:
        """Return `samples` answers for each prompt, in order, without turn ends.

        temperature 0 is greedy; where neither it nor top_p nor top_k is given, the model's own generation
        settings hold, else greedy. An answer ends at the turn end, at eos, before a string of `stop`, after
        max_new_tokens, or where the context of the model does. stream: called with the pieces of the answer
        as they come (one prompt, one sample). Raises DataError, as `encode`.
        """
        encoded = [self.encode(prompt, raw=raw) for prompt in prompts]
        return self.complete_encoded(
            encoded,
            sampling_for(self.model, temperature, top_p, top_k),
            max_new_tokens=max_new_tokens,
            seed=seed,
            samples=samples,
            stop=stop,
            raw=raw,
            batch_size=batch_size,
            stream=stream,
        )

    def complete_encoded(
        self,
        encoded: Sequence[list[int]],
        sampling: Sampling,
        *,
        max_new_tokens: int,
        seed: int = 0,
        samples: int = 1,
        stop: Sequence[str] = (),
        raw: bool = False,
        batch_size: int = 8,
        numbers: Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> list[list[str]]:
        """Do as `complete`, for tokens. numbers: those of the prompts in the stream, for chance."""
        rows = [
            Row(prompt, number, sample, seed, number if numbers is None else numbers[number])
            for number, prompt in enumerate(encoded)
            for sample in range(samples)
        ]
        answers: list[list[str]] = [[""] * samples for _ in encoded]
        # alike lengths together: less padding; the longest first, so that too little memory shows at once
        rows.sort(key=lambda row: -len(row.prompt))
        stops = [*stop, *([] if raw else self._stop_text)]
        for batch in self._batches(rows, batch_size, max_new_tokens):
            for row, text in zip(batch, self._within_memory(batch, sampling, max_new_tokens, stops, stream)):
                answers[row.number][row.sample] = text if raw else text.strip()
        return answers

    def _batches(self, rows: list[Row], size: int, most: int) -> Iterator[list[Row]]:
        """Yield rows to be answered together. What may meet the end of the context goes alone: its answer is
        cut there, and that of no neighbour."""
        alone = [row for row in rows if self.context and len(row.prompt) + most > self.context]
        together = [row for row in rows if not self.context or len(row.prompt) + most <= self.context]
        for row in alone:
            yield [row]
        for start in range(0, len(together), size):
            yield together[start : start + size]

    def _within_memory(
        self, rows: list[Row], sampling: Sampling, most: int, stops: list[str], stream: Stream | None
    ) -> list[str]:
        """Answer a batch, by halves where the device has too little memory. Raises MemoryError at one row."""
        import torch

        states = [row.chance.getstate() for row in rows]
        try:
            return self._batch(rows, sampling, most, stops, stream)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise MemoryError from None
        for row, state in zip(rows, states):
            row.chance.setstate(state)
        half = len(rows) // 2
        return [
            *self._within_memory(rows[:half], sampling, most, stops, stream),
            *self._within_memory(rows[half:], sampling, most, stops, stream),
        ]

    def _batch(
        self, rows: list[Row], sampling: Sampling, most: int, stops: list[str], stream: Stream | None
    ) -> list[str]:
        import torch
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        width = max(len(row.prompt) for row in rows)
        if self.context:
            most = max(1, min(most, self.context - width))
        ids, mask = self._padded(rows, width)
        stopper = Stopper(self.tokenizer, width, stops, self._stop_ids, stream)
        settings = GenerationConfig(
            do_sample=False,  # the sampler leaves one token a row
            num_beams=1,
            max_new_tokens=most,
            eos_token_id=self._stop_ids or None,
            pad_token_id=self._pad_id(),
            repetition_penalty=1.0,
            use_cache=True,
        )
        with torch.inference_mode(), quiet():
            out = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=settings,
                logits_processor=LogitsProcessorList([Sampler(rows, sampling, width)]),
                stopping_criteria=StoppingCriteriaList([stopper]),
            )
        answers = [self._text(tokens, stops) for tokens in out[:, width:].tolist()]
        stopper.finish(answers[0])
        return answers

    def _padded(self, rows: list[Row], width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (ids, mask), [rows, width] each, padded on the left: all answers begin in one column."""
        import torch

        pad = self._pad_id()
        ids = torch.tensor([[pad] * (width - len(row.prompt)) + row.prompt for row in rows])
        mask = torch.tensor([[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows])
        return ids.to(self.device), mask.to(self.device)

    def _pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    def _text(self, tokens: list[int], stops: list[str]) -> str:
        """Return the answer in the tokens of a row: up to its first end, and before a stop."""
        for position, token in enumerate(tokens):
            if token in self._stop_ids:
                tokens = tokens[:position]
                break
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
        found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
        return text[: min(found)] if found else text

    def _turn_ends(self) -> tuple[list[int], list[str]]:
        """Return (tokens, texts) that end an answer: the template's turn end, and every eos that is known."""
        own = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        ids = set(own if isinstance(own, list) else [own]) | {self.tokenizer.eos_token_id}
        end = self.renderer.template.turn_end
        number = self.tokenizer.get_vocab().get(end)
        texts = [end] if end and number is None else []
        return sorted(id for id in {*ids, number} if id is not None), texts
