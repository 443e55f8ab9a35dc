"""Examine a model: python -m bptools._dev.nano.judge MODEL --train pretrain.jsonl --held-out heldout.jsonl.

Measures bits per byte on text from sources that were not learnt, beside a unigram and a Kneser-Ney trigram
on the same tokens; how well its scores tell clean records (--clean FILE, any number) from spoilt ones; how
many of 100 fixed prompts it answers to the end, without repeating itself; and tokens scored a CPU second.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bptools._dev.nano import corrupt, dialogues
from bptools._dev.nano.kneser import Trigram

PROMPTS = Path(__file__).with_name("prompts.txt")
_LONGEST = 1000  # characters of a record that is told from its spoilt twin
_NEW_TOKENS = 128


class Score(NamedTuple):
    """What one text costs: its length under the model in bits, its tokens, its bytes."""

    bits: float
    tokens: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """Return the perplexity per token."""
        return float(2 ** (self.bits / max(1, self.tokens)))

    @property
    def bits_per_byte(self) -> float:
        """Return the bits per byte of UTF-8."""
        return self.bits / max(1, self.bytes)


class Scorer:
    """A causal language model with its tokenizer, on one thread in fp32."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self._torch = torch
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        ids = self.tokenizer.get_vocab()
        self.start = ids.get("<|endoftext|>", self.tokenizer.eos_token_id or 0)
        self.turn_end = ids.get("<|im_end|>", self.tokenizer.eos_token_id)
        self.window = min(1024, int(self.model.config.max_position_embeddings)) - 1

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens in it are read as such."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def bits(self, ids: Sequence[int]) -> float:
        """Return the length of the tokens under the model, in bits; the first stands after <|endoftext|>."""
        torch = self._torch
        total = 0.0
        with torch.inference_mode():
            for at in range(0, len(ids), self.window):
                piece = [ids[at - 1] if at else self.start, *ids[at : at + self.window]]
                logits = self.model(input_ids=torch.tensor([piece[:-1]])).logits[0]
                total += float(
                    torch.nn.functional.cross_entropy(logits, torch.tensor(piece[1:]), reduction="sum")
                )
        return total / math.log(2)

    def score(self, text: str) -> Score:
        """Return what a text costs."""
        ids = self.ids(text)
        return Score(self.bits(ids), len(ids), len(text.encode()))

    def answer(self, prompt: str) -> tuple[str, bool]:
        """Return the greedy answer to a prompt, and whether it came to the end of its turn."""
        asked = f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
        if self.tokenizer.chat_template:
            messages = [{"role": "user", "content": prompt}]
            asked = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = self.ids(asked)
        with self._torch.inference_mode():
            found = self.model.generate(
                input_ids=self._torch.tensor([ids]),
                attention_mask=self._torch.ones((1, len(ids)), dtype=self._torch.long),
                max_new_tokens=_NEW_TOKENS,
                do_sample=False,
                eos_token_id=[self.turn_end, self.start],
                pad_token_id=self.start,
            )[0][len(ids) :].tolist()
        ended = bool(found) and found[-1] == self.turn_end
        return str(self.tokenizer.decode(found, skip_special_tokens=True)).strip(), ended


def record_text(record: dict[str, Any]) -> str:
    """Return the text of a record of any usual shape: text, messages, or all its strings."""
    if isinstance(record.get("text"), str):
        return str(record["text"])
    turns = record.get("messages") or record.get("conversations")
    if isinstance(turns, list):
        return "\n".join(str(turn.get("content", turn.get("value", ""))) for turn in turns)
    return "\n".join(value for value in record.values() if isinstance(value, str))


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def training_ids(scorer: Scorer, path: Path, limit: int) -> Iterator[list[int]]:
    """Yield the tokens of the first records, up to so many bytes of text (0 for all)."""
    used = 0
    for record in records(path):
        text = record_text(record)
        used += len(text.encode())
        if limit and used > limit:
            return
        yield scorer.ids(text)


def compare(
    scorer: Scorer, train: Path, held_out: Path, limit: int, samples: int
) -> dict[str, dict[str, float]]:
    """Return bits per byte on held-out documents and dialogues of the model and the reference models."""
    reference = Trigram(training_ids(scorer, train, limit), len(scorer.tokenizer))
    kinds: dict[str, list[str]] = {"documents": [], "dialogues": []}
    for record in records(held_out):
        chat = "messages" in record
        kinds["dialogues" if chat else "documents"].append(
            dialogues.chatml(record) if chat else record["text"]
        )
    found: dict[str, dict[str, float]] = {}
    for kind, texts in kinds.items():
        chosen = random.Random(0).sample(texts, min(samples, len(texts)))
        if not chosen:
            continue
        size = sum(len(text.encode()) for text in chosen)
        ids = [scorer.ids(text) for text in chosen]
        found[kind] = {
            "model": sum(map(scorer.bits, ids)) / size,
            "trigram": sum(map(reference.bits, ids)) / size,
            "unigram": sum(map(reference.unigram_bits, ids)) / size,
            "texts": len(chosen),
            "tokens_per_byte": sum(map(len, ids)) / size,
        }
    return found


def tell_apart(scorer: Scorer, path: Path, samples: int) -> dict[str, float]:
    """Return the areas under the ROC curve for one file of clean records, and its medians."""
    texts = [
        text[:_LONGEST] for text in map(record_text, islice(records(path), 50 * samples)) if len(text) >= 80
    ]
    chosen = random.Random(0).sample(texts, min(samples, len(texts)))
    clean = [scorer.score(text) for text in chosen]
    found = {
        "records": float(len(chosen)),
        "median_perplexity": statistics.median(score.perplexity for score in clean),
        "median_bits_per_byte": statistics.median(score.bits_per_byte for score in clean),
    }
    for kind, spoil in corrupt.KINDS.items():
        choice = random.Random(kind)
        spoilt = [scorer.score(spoil(text, choice)) for text in chosen]
        found[f"{kind}_by_perplexity"] = corrupt.area(
            [score.perplexity for score in clean], [score.perplexity for score in spoilt]
        )
        found[f"{kind}_by_bits"] = corrupt.area(
            [score.bits_per_byte for score in clean], [score.bits_per_byte for score in spoilt]
        )
    return found


def converse(scorer: Scorer, prompts: Sequence[str]) -> tuple[dict[str, int], list[dict[str, object]]]:
    """Return how many answers end, stop with a mark, do not repeat, and do all three; and the answers."""
    counts = dict.fromkeys(("prompts", "ended", "punctuated", "without_repeats", "good", "distinct"), 0)
    answers: list[dict[str, object]] = []
    for prompt in prompts:
        answer, ended = scorer.answer(prompt)
        marked = answer.rstrip("\"'”)").endswith((".", "!", "?"))
        single = bool(answer) and not dialogues.repeats(answer)
        counts["prompts"] += 1
        counts["ended"] += ended
        counts["punctuated"] += marked
        counts["without_repeats"] += single
        counts["good"] += ended and marked and single
        answers.append({"prompt": prompt, "answer": answer, "good": ended and marked and single})
    counts["distinct"] = len({str(entry["answer"]) for entry in answers})
    return counts, answers


def speed(scorer: Scorer, held_out: Path, samples: int) -> float:
    """Return tokens scored per second of CPU time, texts one by one."""
    texts = [scorer.ids(record_text(record)) for record in islice(records(held_out), samples)]
    scorer.bits(texts[0])
    began = time.process_time()
    for ids in texts:
        scorer.bits(ids)
    return sum(map(len, texts)) / (time.process_time() - began)


def table(figures: dict[str, Any]) -> str:
    """Return the figures as lines for a reader."""
    lines = ["bits per byte        model   trigram  unigram  (held out)"]
    for kind, row in figures["bits_per_byte"].items():
        lines.append(f"  {kind:<16} {row['model']:8.3f} {row['trigram']:9.3f} {row['unigram']:8.3f}")
    kinds = list(corrupt.KINDS)
    lines.append(
        "AUC clean/spoilt     " + "".join(f"{kind:>10}" for kind in kinds) + "  ppl, bpb of the clean"
    )
    for name, row in figures["clean"].items():
        for by in ("perplexity", "bits"):
            cells = "".join(f"{row[f'{kind}_by_{by}']:10.3f}" for kind in kinds)
            tail = (
                f"  {row['median_perplexity']:.0f}, {row['median_bits_per_byte']:.2f}"
                if by == "perplexity"
                else ""
            )
            lines.append(f"  {name[:12]:<12} {by[:6]:<6}{cells}{tail}")
    counts = figures["answers"]
    lines.append(
        "answers              {good} good of {prompts}: {ended} ended, {punctuated} with a final mark,"
        " {without_repeats} without repeats; {distinct} distinct".format(**counts)
    )
    lines.append(
        f"speed                {figures['tokens_per_cpu_second']:.0f} tokens per CPU second, fp32, one thread"
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="bptools._dev.nano.judge", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--train", type=Path, required=True, help="the records it was trained on")
    parser.add_argument("--held-out", type=Path, required=True, help="records it was not trained on")
    parser.add_argument("--clean", type=Path, nargs="*", default=[], help="clean records from elsewhere")
    parser.add_argument(
        "--train-bytes", type=int, default=0, help="use so much of it for the trigram; 0: all"
    )
    parser.add_argument("--samples", type=int, default=200, help="texts a measurement")
    parser.add_argument("--json", type=Path, help="write all figures and the answers here")
    options = parser.parse_args(arguments)
    scorer = Scorer(options.model)
    limit, samples = options.train_bytes, options.samples
    prompts = PROMPTS.read_text(encoding="utf-8").splitlines()
    counts, answers = converse(scorer, prompts)
    figures: dict[str, Any] = {
        "bits_per_byte": compare(scorer, options.train, options.held_out, limit, samples),
        "trigram_train_bytes": limit or "all",
        "clean": {path.name.split(".")[0]: tell_apart(scorer, path, samples) for path in options.clean},
        "answers": counts,
        "tokens_per_cpu_second": speed(scorer, options.held_out, samples),
    }
    sys.stdout.write(table(figures) + "\n")
    if options.json:
        options.json.write_text(json.dumps(figures | {"answered": answers}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
