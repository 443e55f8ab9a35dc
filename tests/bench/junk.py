"""Junk that was planted: what a cut by bp-ppl takes of it and of the rest, and whether a fine-tune is the better for it.

`make bench ARGS='--only junk' DATA='FILE...'`; the fine-tunes are on the first of the files.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bptools._dev.nano.corrupt import KINDS as SPOILT
from tests.bench.bench import BIN, FOLDER, Bench
from tests.golden import ROOT

Record = dict[str, Any]
SHARE = 0.02  # of a set, for each kind of junk
LEAST = 80  # characters of a record that is spoilt: one word cannot be shuffled
MOST = 600  # records of a set
HELD_OUT = 120
BOUND = ":5"  # bits per byte: 19 in 20 clean records cost nano less, markup and base64 more
KEEP = "5:95"
STEPS, BATCH = 40, 8
CUTS = (
    f"--keep {KEEP}",
    f"--keep {KEEP} --metric bpb",
    f"--metric bpb --bounds {BOUND}",
    "the first and the last",
)
TRAIN = ("--preset", "nano", "--device", "cpu", "--threads", "1", "--dtype", "float32", "--steps", str(STEPS),
         "--batch-size", str(BATCH), "--samples", "0", "--save-every", "1000", "--seed", "1", "-q")  # fmt: skip


def repeated(text: str, chance: random.Random) -> str:
    """Return its first words, again and again, a line each."""
    del chance
    line = " ".join(text.split()[:12])
    return "\n".join([line] * max(8, len(text) // (len(line) + 1)))


KINDS: dict[str, Callable[[str, random.Random], str]] = {**SPOILT, "repeated": repeated}


def read(path: str) -> list[Record]:
    """Return the records of a file of any format, as bp-chatml makes them."""
    command = [sys.executable, str(BIN / "bp-chatml"), "-q", path]
    return [json.loads(line) for line in _run(command).splitlines()]


def text_of(record: Record) -> str:
    """Return what a record says, all of it."""
    return "\n".join(_texts(record))


def _texts(record: Record) -> Iterator[str]:
    if isinstance(record.get("text"), str):
        yield record["text"]
    for turns in record.values():
        if isinstance(turns, list):
            yield from (turn["content"] for turn in turns if isinstance(turn, dict) and turn.get("content"))


def spoilt(record: Record, kind: str, chance: random.Random) -> Record:
    """Return the record with all its texts spoilt."""
    spoil = KINDS[kind]
    made: Record = {"planted": kind}
    for name, value in record.items():
        if name == "text" and isinstance(value, str):
            made[name] = spoil(value, chance)
        elif isinstance(value, list):
            made[name] = [
                {**turn, "content": spoil(turn["content"], chance)}
                if isinstance(turn, dict) and turn.get("content")
                else turn
                for turn in value
            ]
    return made


def planted(records: list[Record], chance: random.Random) -> list[Record]:
    """Return the records with junk in place of some: SHARE of the set of each kind."""
    count = max(3, round(SHARE * len(records)))
    able = [number for number, record in enumerate(records) if len(text_of(record)) >= LEAST]
    places = iter(chance.sample(able, count * len(KINDS)))
    made = list(records)
    for kind in KINDS:
        for place in islice(places, count):
            made[place] = spoilt(records[place], kind, chance)
    return made


def documentation() -> list[Record]:
    """Return the pages of bptools in pieces of some hundred characters."""
    found: list[Record] = []
    for path in [*sorted((ROOT / "bptools" / "commands" / "pages").glob("*.txt")), ROOT / "README.md"]:
        piece = ""
        for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
            piece = f"{piece}\n{paragraph}".strip()
            if len(piece) >= 250:
                found.append({"text": piece})
                piece = ""
    return found


def sets(data: list[str]) -> dict[str, tuple[list[Record], list[Record]]]:
    """Return (records, held-out records) of each set: of the given files, or of what the project has itself."""
    if data:
        whole = {f"given-{number}": read(path) for number, path in enumerate(data, 1)}
    else:
        from bptools._dev.nano.dialogues import dialogues

        whole = {"dialogues": list(dialogues(MOST + HELD_OUT, 977)), "documentation": documentation()}
    found = {}
    for name, records in whole.items():
        random.Random(5).shuffle(records)
        held = min(HELD_OUT, len(records) // 6)
        found[name] = records[held : held + MOST], records[:held]
    return found


def annotated(records: list[Record], folder: Path, env: dict[str, str]) -> list[Record]:
    """Return the records with their scores."""
    path = write(folder / "planted.jsonl", records)
    command = [
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
    return [json.loads(line) for line in _run([*command, path], env).splitlines()]


def removed(scored: list[Record], cut: str) -> set[int]:
    """Return the numbers of the records that a cut takes, as bp-ppl cuts."""
    import numpy as np

    from bptools.quality.perplexity.cuts import Keep, Limits

    if cut == CUTS[3]:
        return removed(scored, CUTS[0]) | removed(scored, CUTS[2])
    metric = "bpb" if "bpb" in cut else "ppl"
    values = {
        number: record["bp"][metric]
        for number, record in enumerate(scored)
        if record["bp"][metric] is not None and not record["bp"].get("few")
    }
    limits = (
        Limits.parse(BOUND) if "bounds" in cut else Keep.parse(KEEP).limits(np.array(list(values.values())))
    )
    gone = {number for number, value in values.items() if limits.broken(value) is not None}
    return gone | {number for number, record in enumerate(scored) if record["bp"]["ppl"] is None}


def tell(bench: Bench, name: str, scored: list[Record]) -> None:
    """Add a row for each cut: of how many records in a hundred it takes."""
    numbers: dict[str, list[int]] = {kind: [] for kind in ("clean", *KINDS)}
    for number, record in enumerate(scored):
        numbers[record.get("planted", "clean")].append(number)
    clean_ones = [scored[number]["bp"] for number in numbers["clean"]]
    middle = sorted(each["bpb"] for each in clean_ones if each["bpb"] is not None and not each.get("few"))
    spread = ", ".join(f"p{p} {middle[len(middle) * p // 100]:.2f}" for p in (5, 50, 95, 99))
    for cut in CUTS:
        gone = removed(scored, cut)
        shares = {kind: 100 * len(gone.intersection(which)) / len(which) for kind, which in numbers.items()}
        clean = shares.pop("clean")
        junk = sum(len(gone.intersection(numbers[kind])) for kind in KINDS) / sum(
            len(numbers[kind]) for kind in KINDS
        )
        bench.note(f"{name}, {cut}", f"{clean:.1f} % of the clean, {100 * junk:.0f} % of the junk removed",
                   f"{len(numbers['clean'])} clean, bits per byte {spread}; {len(numbers['ocr'])} of each kind",
                   ", ".join(f"{kind} {share:.0f} %" for kind, share in shares.items()))  # fmt: skip


def tune(
    bench: Bench, name: str, scored: list[Record], held: list[Record], folder: Path, env: dict[str, str]
) -> None:
    """Add a row for each fine-tune: the loss on clean records that were not learnt."""
    clean = {number for number, record in enumerate(scored) if "planted" not in record}
    everything = set(range(len(scored)))
    ways = {"with the junk": everything, "clean alone": clean} | {
        f"after {cut}": everything - removed(scored, cut) for cut in (CUTS[0], CUTS[2])
    }
    evaluation = write(folder / "held-out.jsonl", held)
    for number, (way, kept) in enumerate(ways.items()):
        learnt = write(folder / f"learnt-{number}.jsonl", [scored[place] for place in sorted(kept)])
        run = folder / f"run-{number}"
        command = [
            sys.executable,
            str(BIN / "bp-train"),
            *TRAIN,
            "--eval",
            evaluation,
            "-o",
            str(run),
            learnt,
        ]
        _run(command, env)
        result = json.loads((run / "manifest.json").read_text())["result"]
        bench.note(f"fine-tune on {name} {way}", f"{result['eval_loss']:.4f}",
                   f"before {result['eval_loss_before']:.4f}; {len(held)} clean records held out",
                   f"{len(kept)} records, {len(kept - clean)} of them junk; {STEPS} steps of {BATCH}")  # fmt: skip


def write(path: Path, records: list[Record]) -> str:
    """Write records without their scores."""
    lines = (
        json.dumps({name: value for name, value in record.items() if name != "bp"}) for record in records
    )
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def _run(command: list[str], env: dict[str, str] | None = None) -> bytes:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env)
    if done.returncode:
        raise SystemExit(
            f"bench: {' '.join(command)} ended with {done.returncode}: {done.stderr.decode()[-500:]}"
        )
    return done.stdout


def measure_junk(data: list[str]) -> None:
    """Measure everything and save the section."""
    how = "Records planted among clean ones, by a fixed seed; what bp-ppl removes of each, and what training on the rest gives."
    bench = Bench(1, how, "bp-ppl, planted junk", ("torch", "transformers"))
    env = {**bench.env, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(FOLDER / "hf")}
    tuned = False
    with tempfile.TemporaryDirectory(dir=FOLDER) as made:
        folder = Path(made)
        for name, (records, held) in sets(data).items():
            scored = annotated(planted(records, random.Random(6)), folder, env)
            tell(bench, name, scored)
            if not tuned:
                tune(bench, name, scored, held, folder, env)
                tuned = True
    bench.save()
