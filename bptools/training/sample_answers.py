"""Answers of the model in training to the same few prompts: those of the first records held out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from bptools.core.errors import DataError
from bptools.training.batching import is_out_of_memory, release
from bptools.training.job import Job
from bptools.training.preparing import Prepared
from bptools.training.rows import read_records
from bptools.training.run_directory import EVALUATION, RECORDS

_ANSWER_TOKENS = 64
_PROMPT_TOKENS = 16  # of a text, which is continued from there
_MOST_TEXT = 2_000  # characters of it that are looked at
_MOST_RECORDS = 1_000  # that are looked at for prompts


class Sampler:
    """Asks and says. A sample is not worth a run: what fails is said once, and nothing is asked any more."""

    def __init__(self, job: Job, prepared: Prepared) -> None:
        self._job = job
        self._prepared = prepared
        self.prompts: list[str] = []  # as people read them
        self.references: list[str] = []
        self._encoded: list[list[int]] = []
        self._raw = False  # whether they are texts to be continued
        most = job.settings.max_length or 1 << 30
        wanted = job.settings.samples if job.settings.method != "pretrain" else 0
        path = job.run.file(EVALUATION)
        if not os.path.exists(path) or os.path.getsize(path) == 0:
            path = job.run.file(RECORDS)
        for number, record in enumerate(read_records(path) if wanted else ()):
            if len(self.prompts) == wanted or number == _MOST_RECORDS:
                break
            for prompt, ids, reference in self._asked(record):
                if len(ids) <= most:  # what the model was never trained on may not fit into memory either
                    self.prompts.append(prompt)
                    self._encoded.append(ids)
                    self.references.append(reference)

    def _asked(self, record: dict[str, Any]) -> Iterator[tuple[str, list[int], str]]:
        """Yield (prompt, its tokens, how the data answers it), nothing where a record asks nothing."""
        renderer = self._prepared.renderer
        if "text" in record:
            self._raw = True
            text = record["text"][:_MOST_TEXT]
            ends = [end for _, end in self._prepared.tokenizer.backend_tokenizer.encode(text).offsets]
            cut = ends[_PROMPT_TOKENS - 1] if len(ends) > _PROMPT_TOKENS else len(text)
            if text[:cut].strip():
                until = max(ends[: _PROMPT_TOKENS + _ANSWER_TOKENS], default=0)
                yield text[:cut], renderer.encode_text(text[:cut], add_eos=False), text[cut:until]
            return
        messages, answer = _prompt_of(record)
        if not messages:
            return
        try:
            ids = renderer.encode_prompt(messages, record.get("tools"))
        except DataError:  # it was left out of the rows too
            return
        yield str(messages[-1].get("content") or ""), ids, str(answer.get("content") or "")

    def answers(self, model: Any) -> list[str]:
        """Return one greedy answer for each prompt; no chance is used, and the model is left as it was."""
        import torch

        from bptools.models import Generator
        from bptools.models.sampling import sampling_for

        training, cached = model.training, model.config.use_cache
        half = self._job.dtype != "float32"  # what is trained is in float32, the rest in 16 bits
        dtype = getattr(torch, self._job.dtype) if half else None
        try:
            model.eval()
            model.config.use_cache = True
            generator = Generator(model, self._prepared.tokenizer, self._prepared.renderer, self._job.device)
            with torch.autocast(self._job.device.partition(":")[0], dtype=dtype, enabled=half):
                made = generator.complete_encoded(
                    self._encoded,
                    sampling_for(model, 0, None, None),
                    max_new_tokens=_ANSWER_TOKENS,
                    raw=self._raw,
                )
        finally:
            model.config.use_cache = cached
            model.train(training)
        return [several[0] for several in made]

    def at(self, step: int, model: Any) -> None:
        """Say the answers of a step."""
        for prompt, answer in zip(self.prompts, self._answers(model) or []):
            self._job.emit("answer", step=step, prompt=prompt, text=answer)

    def before_and_after(self, model: Any, base_returns: bool) -> list[dict[str, Any]]:
        """Return [{prompt, reference, before, after}]; `before` is None where the untrained model is gone."""
        after = self._answers(model)
        if after is None:
            return []
        before: list[str] | list[None] | None = None
        if base_returns:
            with model.disable_adapter():
                before = self._answers(model)
        return [
            {"prompt": prompt, "reference": reference, "before": old, "after": new}
            for prompt, reference, old, new in zip(
                self.prompts, self.references, before or [None] * len(after), after
            )
        ]

    def _answers(self, model: Any) -> list[str] | None:
        """Return the answers, None where there are none to be had."""
        if not self._encoded:
            return None
        try:
            return self.answers(model)
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._encoded = []
            if is_out_of_memory(error):
                release()
                reason = "out of memory"
            self._job.emit("note", message=f"no sample answers any more: {reason}")
            return None


def _prompt_of(record: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return (the messages to answer, the message that answers them in the data)."""
    if "messages" in record:
        for index, message in enumerate(record["messages"]):
            if message["role"] == "assistant" and index:
                return record["messages"][:index], message
        return [], {}
    return record["prompt"], (record["chosen"] if "chosen" in record else record["completion"])[-1]
