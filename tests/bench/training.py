"""bp-train against a bare TRL script: the losses, the CPU of a step, the seconds to the first one."""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.bench import BIN, FOLDER, Bench

STEPS = (6, 36)  # the difference is what thirty steps take
CHATS = 600


def make_model(folder: Path) -> str:
    """Save a random model of nano's shape, with a tokenizer learnt from made words."""
    if (folder / "config.json").exists():
        return str(folder)
    from bptools.models.templates import family_text
    from bptools.training.pretraining import build_model, train_tokenizer
    from tests.bench.data import vocabulary

    words = vocabulary(3_000)
    chance = random.Random(1)
    tokenizer = train_tokenizer((" ".join(chance.choices(words, k=50)) for _ in range(2_000)), 4096)
    tokenizer.chat_template = family_text("chatml")
    model = build_model(tokenizer, None, 1)
    model.set_attn_implementation("sdpa")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_chats(path: Path) -> str:
    """Write chats of two to four turns."""
    from tests.bench.data import vocabulary

    words, chance = vocabulary(3_000), random.Random(2)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(CHATS):
            turns: list[dict[str, Any]] = []
            for _ in range(chance.randint(1, 2)):
                turns.append(
                    {"role": "user", "content": " ".join(chance.choices(words, k=chance.randint(5, 40)))}
                )
                turns.append(
                    {"role": "assistant", "content": " ".join(chance.choices(words, k=chance.randint(5, 90)))}
                )
            file.write(json.dumps({"messages": turns}) + "\n")
    return str(path)


class Ran:
    """One run: CPU seconds of all its processes, seconds to its first step, losses."""

    def __init__(self, command: list[str], first: Any, losses: Any, env: dict[str, str]) -> None:
        begun = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=env)  # fmt: skip
        self.first = first(process, begun)
        assert process.stdout
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"bench: {' '.join(command)} ended with {process.returncode}")
        self.cpu = usage.ru_utime + usage.ru_stime
        self.losses: list[float] = losses(out)


def ours(model: str, chats: str, steps: int, env: dict[str, str]) -> Ran:
    """Run bp-train in a directory that is not there yet."""
    run = FOLDER / "train-ours"
    shutil.rmtree(run, ignore_errors=True)
    metrics = run / "metrics.jsonl"

    def first(process: subprocess.Popen[bytes], begun: float) -> float:
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                break
            time.sleep(0.005)
        return time.monotonic() - begun

    def losses(out: bytes) -> list[float]:
        return [json.loads(line)["loss"] for line in metrics.read_text().split("\n")[:-1]]

    options = ["--model", model, "--steps", str(steps), "--no-packing", "--micro-batch", "4", "--max-length", "512",
               "--learning-rate", "1e-3", "--warmup", "0.1", "--threads", "1", "--device", "cpu", "--dtype", "float32",
               "--eval-split", "0", "--samples", "0", "--save-every", "1000", "-q", "-o", str(run)]  # fmt: skip
    return Ran([sys.executable, str(BIN / "bp-train"), *options, chats], first, losses, env)


def bare(model: str, chats: str, steps: int, env: dict[str, str]) -> Ran:
    """Run the script."""

    def first(process: subprocess.Popen[bytes], begun: float) -> float:
        assert process.stdout
        process.stdout.readline()
        return time.monotonic() - begun

    script = Path(__file__).with_name("bare_trl.py")
    command = [sys.executable, str(script), model, chats, str(steps), str(FOLDER / "train-bare")]
    return Ran(command, first, lambda out: json.loads(out.decode().strip().split("\n")[-1]), env)


def measure_training(rounds: int) -> None:
    """Measure both in turn and save the section."""
    how = (
        f"Both in turn, {rounds} times with {STEPS[0]} and {STEPS[1]} steps, on one thread. A step is the difference "
        "of the two in CPU seconds, medians; the first step is by the clock, the fastest run."
    )
    bench = Bench(rounds, how, "bp-train", ("torch", "transformers", "trl", "peft"))
    env = {**bench.env, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    env["HF_HOME"] = str(FOLDER / "hf")
    model, chats = make_model(FOLDER / "train-model"), make_chats(FOLDER / "train-chats.jsonl")
    found: dict[str, dict[int, list[Ran]]] = {"ours": {}, "bare": {}}
    for _ in range(rounds):
        for steps in STEPS:
            for name, program in (("ours", ours), ("bare", bare)):
                found[name].setdefault(steps, []).append(program(model, chats, steps, env))
    step: dict[str, float] = {}
    first: dict[str, float] = {}
    for name, by_steps in found.items():
        short, long = (statistics.median(ran.cpu for ran in by_steps[steps]) for steps in STEPS)
        step[name] = (long - short) / (STEPS[1] - STEPS[0])
        first[name] = min(ran.first for runs in by_steps.values() for ran in runs)
    apart = max(
        abs(a - b) for a, b in zip(found["ours"][STEPS[1]][0].losses, found["bare"][STEPS[1]][0].losses)
    )
    bench.note("losses of 36 steps", "", "bare TRL script", f"largest difference {apart:.1e}, at most 1e-4")
    bench.note("CPU of a step", f"{1000 * step['ours']:.0f} ms", f"bare TRL script ({1000 * step['bare']:.0f} ms)",
               f"{step['ours'] / step['bare']:.3f}x, at most 1.05x")  # fmt: skip
    bench.note("from the start to the first step", f"{first['ours']:.1f} s", f"bare TRL script ({first['bare']:.1f} s)",
               f"{first['ours'] - first['bare']:+.1f} s, at most +2 s")  # fmt: skip
    bench.save()
