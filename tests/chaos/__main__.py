"""`python -m tests.chaos [--inputs N] [--rounds N] [--seed N]`: the full-size fuzz and kill matrix."""

from __future__ import annotations

import argparse
import faulthandler
import sys
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path

from tests.chaos.deaths import deaths, full_disk
from tests.chaos.fuzz import fuzz

SHARE = 10_000


def _share(seed: int) -> dict[str, int]:
    faulthandler.dump_traceback_later(600, exit=True)  # a hang is a failure
    counts = fuzz(SHARE, seed)
    faulthandler.cancel_dump_traceback_later()
    return counts


def main() -> None:
    """Run everything and print what was run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    start = time.monotonic()
    total = {"inputs": 0, "records": 0, "rejects": 0}
    shares = range(chosen.seed, chosen.seed + max(1, chosen.inputs // SHARE))
    with Pool(2) as pool:
        for counts in pool.imap_unordered(_share, shares):
            for key, value in counts.items():
                total[key] += value
    sys.stdout.write(f"fuzz: {total} in {time.monotonic() - start:.0f} s, no failure\n")
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("bp-chatml", "bp-detect"):
            folder = Path(scratch) / name
            folder.mkdir()
            if name == "bp-chatml":
                sys.stdout.write(f"deaths of {name}: {deaths(name, chosen.rounds, chosen.seed, folder)}\n")
            tried = full_disk(name, folder, [0x10000, 0x40000, 0x80000, 0x100000])
            sys.stdout.write(f"full disks met by {name}: {tried}\n")


if __name__ == "__main__":
    main()
