"""bp-ppl's scorer against the loops that people write: tokens a CPU second at every mix of lengths, and memory.

python -m tests.bench.perplexity one-by-one MODEL FILE is the loop as a program of its own, make FOLDER FILE...
what makes the models and the texts: this process stays small until memory has been measured.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.bench import BIN, FOLDER, Bench
from tests.bench.measure import interleaved, once

MIXES = ("short", "mixed", "long", "very long", "all")
TOKENS = {"short": 6_000, "mixed": 24_000, "long": 8_000, "very long": 9_000}
VOCABULARY = 16_384  # of the random model
RANDOM = "random GPT-2 of 9 M"
ARRIVING = 8  # texts in a batch of those who take them as they come
LEAST, LEAST_BFLOAT16, LEAST_ARRIVAL, MOST_PADDING, MOST_APART = 0.95, 2.0, 3.5, 1.05, 1e-4
VOCABULARIES, BATCHES = (4096, 151_936), (4096, 16384)  # --batch-tokens
MOST_GROWTH = 400  # MB above a run over one short text
Texts = dict[str, list[str]]


def length(mix: str, chance: random.Random) -> int:
    """Return how many tokens the next text has; `mixed` is as the answers of instruction sets are."""
    if mix == "mixed":
        return max(8, min(1000, int(chance.lognormvariate(math.log(88), 1.05))))
    return {"short": 24, "long": chance.randint(450, 508), "very long": chance.randint(1500, 3000)}[mix]


def pool(data: Sequence[str]) -> str:
    """Return the text that is cut into pieces: of the given files, or made words."""
    if not data:
        from tests.bench.data import vocabulary

        words, chance = vocabulary(30_000), random.Random(3)
        weights = [1 / (rank + 10) for rank in range(len(words))]
        return " ".join(chance.choices(words, weights, k=150_000))
    from tests.bench.junk import read, text_of

    return "\n".join(text_of(record) for path in data for record in read(path))[:4_000_000]


def make_texts(tokenizer: Any, source: str) -> Texts:
    """Cut texts of each mix; `all` is a third of each, in any order."""
    ids = tokenizer(source[: 12 * sum(TOKENS.values())], add_special_tokens=False)["input_ids"]
    chance = random.Random(4)
    texts: Texts = {}
    done = 0
    for mix, tokens in TOKENS.items():
        texts[mix] = []
        until = done + tokens
        while done < until:
            size = length(mix, chance)
            start = done % max(1, len(ids) - size)
            texts[mix].append(tokenizer.decode(ids[start : start + size]).strip())
            done += size
    texts["all"] = [text for mix in TOKENS for text in texts[mix][::3]]
    chance.shuffle(texts["all"])
    return texts


def make_model(folder: Path, source: str) -> str:
    """Save a random model of 9 M parameters laid out as GPT-2, its tokenizer learnt from the text."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from bptools.models.templates import family_text
    from bptools.training.pretraining import train_tokenizer

    tokenizer = train_tokenizer(source.split("\n") if "\n" in source else [source], VOCABULARY)
    tokenizer.chat_template = family_text("chatml")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_layer=6,
        n_embd=256,
        n_head=4,
        n_positions=1024,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return str(folder)


def make_small(folder: Path, tokenizer: Any, vocabulary: int) -> str:
    """Save a random model of two layers with an output layer as large as those of large models."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


class Loaded:
    """A model in one number format, with the scorer of bp-ppl around it."""

    def __init__(self, name: str, dtype: str) -> None:
        from bptools.models.contenders import Contenders, Loading
        from bptools.quality.perplexity.scorer import How, scorers_of

        contenders = Contenders([name], [], None, Loading("cpu", dtype, threads=1))
        [self.scorer] = scorers_of(contenders, How())
        [contender] = contenders
        self.model = contender.generator.model
        self.tokenizer = contender.generator.tokenizer
        self.context = int(self.model.config.max_position_embeddings)

    def ids(self, texts: list[str]) -> list[list[int]]:
        return [self.scorer.selector.text(text).ids for text in texts]

    def encoded(self, texts: list[str]) -> list[Any]:
        return [self.scorer.encode("text", [{"text": text}]) for text in texts]

    def one_by_one(self, several: list[list[int]]) -> list[float]:
        """Score as the loop does that everyone writes first."""
        import torch

        found = []
        with torch.inference_mode():
            for ids in several:
                x = torch.tensor([ids[: self.context]])
                found.append(self.model(x, labels=x).loss.item())
        return found

    def sliding(self, several: list[list[int]]) -> list[float]:
        """Score as the documentation of transformers does what is longer than a window."""
        import torch

        found = []
        window, stride = self.scorer.window, self.scorer.stride
        with torch.inference_mode():
            for ids in several:
                total, done = 0.0, 0
                for start in range(0, len(ids), stride):
                    until = min(start + window, len(ids))
                    x = torch.tensor([ids[start:until]])
                    labels = x.clone()
                    labels[:, : done - start] = -100
                    total += self.model(x, labels=labels).loss.item() * (until - max(done, start + 1))
                    done = until
                    if until == len(ids):
                        break
                found.append(total / (len(ids) - 1))
        return found

    def arriving(self, several: list[list[int]]) -> list[float]:
        """Score in padded batches as texts come, all logits at once: what most tools do."""
        import torch

        found: list[float] = []
        for start in range(0, len(several), ARRIVING):
            part = [ids[: self.context] for ids in several[start : start + ARRIVING]]
            width = max(map(len, part))
            x, mask = (torch.zeros((len(part), width), dtype=torch.long) for _ in range(2))
            for row, ids in enumerate(part):
                x[row, : len(ids)] = torch.tensor(ids)
                mask[row, : len(ids)] = 1
            with torch.inference_mode():
                logits = self.model(x, attention_mask=mask).logits[:, :-1].float()
                wanted = x[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
                losses = torch.nn.functional.cross_entropy(
                    logits.reshape(-1, logits.size(-1)), wanted.reshape(-1), reduction="none"
                )
                sums = losses.view(wanted.shape).sum(1) / mask[:, 1:].sum(1)
            found += sums.tolist()
        return found

    def ours(self, encoded: list[Any]) -> list[float]:
        """Score as bp-ppl does."""
        return [score.nats / score.tokens for score in self.scorer.scores(encoded)]

    def rows_alone(self, encoded: Any) -> float:
        """Score the windows of one record by the model as it is, each by itself."""
        import torch

        tokens: int = encoded.tokens
        total = 0.0
        for row in encoded.rows:
            ids = torch.from_numpy(row.ids.astype("int64"))
            with torch.inference_mode():
                logits = self.model(ids[None, :-1]).logits[0].float()
            targets = torch.from_numpy(row.targets)
            total += float(
                torch.nn.functional.cross_entropy(logits[targets - 1], ids[targets], reduction="sum")
            )
        return total / tokens


@dataclass
class Timed:
    """CPU seconds of each round, and the losses."""

    seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def rate(self) -> float:
        """Tokens that were scored in a CPU second."""
        return self.tokens / statistics.median(self.seconds)

    def times(self, other: Timed) -> float:
        """Return how many times as fast as another this is: the median over the rounds."""
        ratios = [theirs / ours for ours, theirs in zip(self.seconds, other.seconds)]
        return statistics.median(ratios) * self.tokens / other.tokens


def measure_mix(loaded: dict[str, Loaded], mix: str, texts: list[str], runs: int) -> dict[str, Timed]:
    """Run all ways in turn; batches as they come only once, they take as long as all others."""
    plain, half = loaded["float32"], loaded["bfloat16"]
    ids, encoded = plain.ids(texts), plain.encoded(texts)
    ways: dict[str, Callable[[], list[float]]] = {
        "one by one": lambda: plain.one_by_one(ids),
        "ours": lambda: plain.ours(encoded),
        "one by one, bfloat16": lambda: half.one_by_one(ids),
        "ours, bfloat16": lambda: half.ours(encoded),
    }
    if mix == "mixed":
        ways["arrival"] = lambda: plain.arriving(ids)
    if mix == "very long":
        ways["sliding"] = lambda: plain.sliding(ids)
    read = sum(min(len(each), plain.context) - 1 for each in ids)
    scored = sum(each.tokens for each in encoded)
    timed = {name: Timed(tokens=scored if name.startswith(("ours", "sliding")) else read) for name in ways}
    plain.one_by_one(ids[:2])
    half.one_by_one(ids[:2])
    for number in range(runs):
        for name, way in ways.items():
            if name == "arrival" and number:
                continue
            begun = time.process_time()
            timed[name].losses = way()
            timed[name].seconds.append(time.process_time() - begun)
    return timed


def padding(encoded: list[Any]) -> float:
    """Return the tokens that are read, padding included, by those without."""
    from bptools.quality.perplexity.rows import batches

    lengths = [row.length for each in encoded for row in each.rows]
    padded = [len(batch) * max(lengths[number] for number in batch) for batch in batches(lengths, 4096)]
    return float(sum(padded) / sum(lengths))


def farthest(some: list[float], others: list[float]) -> float:
    """Return the largest difference."""
    return max(abs(one - other) for one, other in zip(some, others))


def apart(loaded: Loaded, texts: list[str], ours: list[float], alone: list[float]) -> float:
    """Return the largest difference of a record to the loop, or to its windows one by one if it has several."""
    most = 0.0
    for each, mine, theirs in zip(loaded.encoded(texts), ours, alone):
        most = max(most, abs(mine - (theirs if len(each.rows) == 1 else loaded.rows_alone(each))))
    return most


def measure_speed(bench: Bench, shown: str, name: str, texts: Texts, runs: int) -> None:
    """Add the rows of one model."""
    loaded = {dtype: Loaded(name, dtype) for dtype in ("float32", "bfloat16")}
    plain = loaded["float32"]
    for mix in MIXES:
        timed = measure_mix(loaded, mix, texts[mix], runs)
        alone, ours, half = timed["one by one"], timed["ours"], timed["ours, bfloat16"]
        what = f"{shown}, {mix}: {len(texts[mix])} texts, {ours.tokens:,} tokens"
        far = apart(plain, texts[mix], ours.losses, alone.losses)
        slow = timed["one by one, bfloat16"]
        by_half, by_slow = farthest(half.losses, ours.losses), farthest(slow.losses, alone.losses)
        bench.note(what, f"{ours.rate:,.0f} tokens/s", f"one by one ({alone.rate:,.0f} tokens/s)",
                   f"{ours.times(alone):.2f} times, at least {LEAST}; largest difference {far:.0e}, at most {MOST_APART:.0e};"
                   f" padding {padding(plain.encoded(texts[mix])):.3f}x, at most {MOST_PADDING}x")  # fmt: skip
        for way, against, goal in (
            ("arrival", f"batches of {ARRIVING} as they come", f", at least {LEAST_ARRIVAL}"),
            ("sliding", "one by one in the same windows", f", at least {LEAST}"),
        ):
            if way in timed:
                bench.note(what, f"{ours.rate:,.0f} tokens/s", f"{against} ({timed[way].rate:,.0f} tokens/s)",
                           f"{ours.times(timed[way]):.2f} times{goal}")  # fmt: skip
        bench.note(what + ", bfloat16", f"{half.rate:,.0f} tokens/s",
                   f"one by one in float32 ({alone.rate:,.0f} tokens/s), in bfloat16 ({slow.rate:,.0f} tokens/s)",
                   f"{half.times(alone):.2f} times, at least {LEAST_BFLOAT16:g}; {half.times(slow):.2f} times;"
                   f" largest difference to float32 {by_half:.0e}, of one by one {by_slow:.0e}")  # fmt: skip


def write_texts(path: Path, texts: list[str]) -> Path:
    """Write text records."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def make(folder: Path, data: Sequence[str]) -> None:
    """Write the models and the texts."""
    source = pool(data)
    make_model(folder / "gpt2", source)
    for name in ("nano", "gpt2"):
        loaded = Loaded(name if name == "nano" else str(folder / name), "float32")
        texts = make_texts(loaded.tokenizer, source)
        (folder / f"{name}.json").write_text(json.dumps(texts))
        write_texts(folder / f"{name}-mixed.jsonl", texts["mixed"])
        if name == "nano":
            ids = loaded.tokenizer(source[:200_000], add_special_tokens=False)["input_ids"]
            rows = [loaded.tokenizer.decode(ids[start : start + 500]) for start in range(0, 16_000, 500)]
            write_texts(folder / "long.jsonl", rows)
            for vocabulary in VOCABULARIES:
                make_small(folder / f"small-{vocabulary}", loaded.tokenizer, vocabulary)
    write_texts(folder / "tiny.jsonl", ["A few words are enough for a score of their own."])


def measure_processes(bench: Bench, folder: Path) -> None:
    """Add the rows of whole processes."""
    env = {**bench.env, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    ours = [
        sys.executable,
        str(BIN / "bp-ppl"),
        "-q",
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--threads",
        "1",
    ]
    for vocabulary in VOCABULARIES:
        command = [*ours, "--model", str(folder / f"small-{vocabulary}")]
        empty = once([*command, str(folder / "tiny.jsonl")], None, env).peak
        for tokens in BATCHES:
            cost = once([*command, "--batch-tokens", str(tokens), str(folder / "long.jsonl")], None, env)
            if cost.code:
                raise SystemExit(f"bench: bp-ppl ended with {cost.code}")
            bench.note(f"peak memory, vocabulary {vocabulary:,}, --batch-tokens {tokens:,}", f"{cost.peak:.0f} MB",
                       f"one short text ({empty:.0f} MB); all logits are {tokens * vocabulary * 4 / 1e6:,.0f} MB",
                       f"{cost.peak - empty:+.0f} MB, at most {MOST_GROWTH}")  # fmt: skip
    for shown, model in (("nano", "nano"), (RANDOM, str(folder / "gpt2"))):
        mixed = str(folder / f"{Path(model).name}-mixed.jsonl")
        peer = [sys.executable, "-m", "tests.bench.perplexity", "one-by-one", model, mixed]
        costs = interleaved({"ours": [*ours, "--model", model, mixed], "peer": peer}, None, env, 1)
        mine, theirs = costs["ours"], costs["peer"]
        bench.note(f"{shown}, mixed, whole process", f"{mine.cpu:.1f} s, {mine.peak:.0f} MB",
                   f"one by one as a script ({theirs.cpu:.1f} s, {theirs.peak:.0f} MB)",
                   f"{mine.cpu / theirs.cpu:.2f}x, at most {1 / LEAST:.2f}x")  # fmt: skip


def measure_perplexity(runs: int, data: list[str]) -> None:
    """Measure everything and save the section."""
    runs = min(runs, 3)
    how = (
        "Tokens per CPU second of scoring alone, on one thread, models loaded and texts encoded before: median of "
        f"{runs} runs in turn. Whole processes and memory were measured once."
    )
    bench = Bench(runs, how, "bp-ppl", ("torch", "transformers"))
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        folder = Path(name)
        command = [sys.executable, "-m", "tests.bench.perplexity", "make", name, *data]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        measure_processes(bench, folder)
        for shown, model in (("nano", "nano"), (RANDOM, str(folder / "gpt2"))):
            texts = json.loads((folder / f"{Path(model).name}.json").read_text())
            measure_speed(bench, shown, model, texts, runs)
    bench.save()


def script(model: str, path: str) -> None:
    """Score a file one by one and say the losses."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if model == "nano":
        from bptools.models.hub import fetch
        from bptools.models.names import resolve

        model = fetch(resolve(model, None))
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(model)
    judge = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with open(path, encoding="utf-8") as lines, torch.inference_mode():
        for line in lines:
            words = tokenizer(json.loads(line)["text"], add_special_tokens=False)["input_ids"]
            x = torch.tensor([[tokenizer.eos_token_id, *words][: judge.config.max_position_embeddings]])
            sys.stdout.write(f"{judge(x, labels=x).loss.item():.6f}\n")


if __name__ == "__main__":
    if sys.argv[1] == "one-by-one":
        script(*sys.argv[2:])
    else:
        make(Path(sys.argv[2]), sys.argv[3:])
