"""`python -m tests.bench [--only PART] [--size MB] [--runs N] [--data FILE...]`: figures, into RESULTS.md too."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from tests.bench.bench import BIN, FOLDER, Bench, baseline, name_given
from tests.bench.data import write_array, write_jsonl
from tests.bench.filtering import PACKAGES, measure_filter, measure_rules
from tests.bench.measure import interleaved, once

COPIERS = {"jq": ["-c", "."], "mlr": ["--ijsonl", "--ojsonl", "cat"]}
"""Programs that read and write JSON lines, from the system's packages; one that is missing is left out."""

PARTS = ("streams", "dedup", "train", "ppl", "junk")


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=100, help="MB of each made file")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", help="a Python that has tests/bench/peers.txt installed")
    parser.add_argument("--data", nargs="*", default=[], help="JSONL files of your own")
    parser.add_argument("--only", choices=PARTS, help="one section of RESULTS.md")
    parser.add_argument("--records", type=int, default=500_000, help="records of the scaled set of bp-dedup")
    chosen = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    name_given(chosen.data)
    if chosen.only is None:
        # Each in a process of its own: one that has grown lends its memory to all that it starts.
        for part in PARTS:
            subprocess.run([sys.executable, "-m", "tests.bench", "--only", part, *sys.argv[1:]], check=True)
    elif chosen.only == "dedup":
        from tests.bench.dedup import measure_dedup

        measure_dedup(chosen.runs, chosen.data, chosen.peers, chosen.records)
    elif chosen.only == "train":
        from tests.bench.training import measure_training

        measure_training(chosen.runs)
    elif chosen.only == "ppl":
        from tests.bench.perplexity import measure_perplexity

        measure_perplexity(chosen.runs, chosen.data)
    elif chosen.only == "junk":
        from tests.bench.junk import measure_junk

        measure_junk(chosen.data)
    else:
        measure_streams(chosen)


def measure_streams(chosen: argparse.Namespace) -> None:
    """Measure the commands that look at one record at a time."""
    size = chosen.size << 20
    files = {
        shape: write_jsonl(shape, FOLDER / f"{shape}-{chosen.size}.jsonl", size)
        for shape in ("sharegpt", "messages", "alpaca", "short")
    }
    tenth = write_jsonl("sharegpt", FOLDER / f"sharegpt-{chosen.size // 10}.jsonl", size // 10)
    bench = Bench(
        chosen.runs,
        f"CPU seconds are user + system of the whole process, start included, median of {chosen.runs} runs, each in "
        "turn with its peers after one for the caches. Of the quality rules records per CPU second of judging alone "
        "are counted, one pass each.",
    )
    copiers = {}
    for name, options in COPIERS.items():
        if program := shutil.which(name):
            bench.name_tool(program)
            copiers[" ".join([name, *options])] = ([program, *options], 0.2)
    bench.name_packages(chosen.peers, *PACKAGES)
    chatml = [sys.executable, str(BIN / "bp-chatml"), "-q"]
    detect = [sys.executable, str(BIN / "bp-detect"), "-q"]
    start = interleaved({"ours": [*chatml], "typer": baseline("typer_app")}, None, bench.env, chosen.runs * 4)
    bench.row("start-up, empty input", f"empty Typer app ({start['typer'].cpu:.3f} s)", start["ours"],
               f"{start['ours'].cpu / start['typer'].cpu:.2f}x", 1.15)  # fmt: skip
    for what, shape, goal in (
        ("pass-through, long lines", "messages", 1.5),
        ("pass-through, short lines", "short", 1.5),
        ("ShareGPT to messages", "sharegpt", 2.0),
        ("Alpaca to messages", "alpaca", 2.0),
    ):
        peers = {"bare loop": (baseline("bare"), goal), **copiers}
        bench.compare(what, chatml, peers, files[shape])
    for indent, name in ((None, "compact"), (2, "pretty")):
        array = write_array(files["messages"], FOLDER / f"array-{name}-{chosen.size}.json", indent)
        bench.compare(f"JSON array reader, {name}", baseline("array_streamed"),
                      {"orjson whole": (baseline("array_whole"), 1.3)}, array)  # fmt: skip
        bench.compare(f"JSON array through bp-chatml, {name}", chatml,
                      {"orjson whole + dumps + write": (baseline("array_whole_written"), 1.3)}, array)  # fmt: skip
    small, large = once(chatml, tenth, bench.env), once(chatml, files["sharegpt"], bench.env)
    bench.row("peak memory, ShareGPT, ten times the input", f"{small.peak:.0f} MB at a tenth", large,
               f"{large.peak:.0f} MB, at most 64 MB", None)  # fmt: skip
    for shape in ("sharegpt", "alpaca", "short"):
        bench.absolute(
            f"bp-detect FILE, {shape}, {chosen.size} MB", [*detect, str(files[shape])], None, 0.15, 40
        )
    measure_filter(bench, files)
    for path in chosen.data:
        own = Path(path)
        bench.compare(f"bp-chatml {own.name}", chatml, {"bare loop": (baseline("bare"), 2.0)}, own)
        bench.absolute(f"bp-detect {own.name}", [*detect, str(own)], None, 0.15, 40)
    measure_rules(bench, files, chosen.data, chosen.peers)
    bench.save()


if __name__ == "__main__":
    main()
