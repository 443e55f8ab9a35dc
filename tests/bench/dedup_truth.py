"""What bp-dedup --minhash removes, beside the true similarity of every pair of records.

    python -m tests.bench.dedup_truth FILE.jsonl... [--threshold T] [-- bp-dedup OPTIONS]

The truth is computed here, from Python sets, by the words of the man page and by nothing of bptools: lower
case, a word is a run of alphanumeric characters, every CJK, kana and Thai character a word of its own, 5-grams
of words across messages, fewer words one shingle. The pairs come from an inverted index, so none is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tests.bench.bench import BIN, FOLDER

_ALONE = ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "THAI")


@cache
def _kind(character: str) -> int:
    """Return 0 for what separates words, 1 for what makes them up, 2 for a word of its own."""
    if not character.isalnum():
        return 0
    return 2 if unicodedata.name(character, "").startswith(_ALONE) else 1


def words_of(text: str) -> list[str]:
    """Return the words of a text."""
    words, held = [], ""
    for character in text.lower():
        kind = _kind(character)
        if kind == 1:
            held += character
            continue
        if held:
            words.append(held)
            held = ""
        if kind == 2:
            words.append(character)
    return [*words, held] if held else words


def shingles_of(text: str, n: int = 5) -> set[tuple[str, ...]]:
    """Return the n-grams of a text's words."""
    words = words_of(text)
    if len(words) < n:
        return {tuple(words)} if words else set()
    return {tuple(words[at : at + n]) for at in range(len(words) - n + 1)}


def text_of(record: dict[str, Any]) -> str:
    """Return the user's and the assistant's contents of a chat, Alpaca or text record."""
    if "messages" in record:
        spoken = (turn for turn in record["messages"] if turn["role"] in ("user", "assistant"))
        return "\n".join(turn["content"] for turn in spoken if isinstance(turn.get("content"), str))
    if "text" in record:
        return str(record["text"])
    asked = [record[field] for field in ("instruction", "input", "example_input") if record.get(field)]
    return "\n".join([*asked, record.get("output") or record.get("response") or ""])


class Pairs(NamedTuple):
    """For each record, the earlier records that share a shingle with it, and how similar they are."""

    others: list[Any]  # ids, ascending
    jaccards: list[Any]


def similar_pairs(texts: list[str], n: int = 5) -> Pairs:
    """Compare every record with every earlier one."""
    import numpy as np

    numbers: dict[tuple[str, ...], int] = {}
    sets = [[numbers.setdefault(gram, len(numbers)) for gram in shingles_of(text, n)] for text in texts]
    sizes = np.array([len(found) for found in sets])
    owner: Any = np.repeat(np.arange(len(sets)), sizes)
    shingle = np.fromiter((number for found in sets for number in found), np.int64, len(owner))
    holders = owner[np.argsort(shingle, kind="stable")]  # by shingle, and by record within one
    first = np.concatenate(([0], np.cumsum(np.bincount(shingle, minlength=len(numbers)))))
    others, jaccards = [], []
    for record, found in enumerate(sets):
        lists = [holders[first[number] : first[number + 1]] for number in found]
        shared = np.bincount(np.concatenate(lists))[:record] if lists else np.zeros(0, np.int64)
        earlier = np.flatnonzero(shared)
        common = shared[earlier]
        others.append(earlier)
        jaccards.append(common / (sizes[record] + sizes[earlier] - common))
    return Pairs(others, jaccards)


def greedy(pairs: Pairs, threshold: float) -> list[bool]:
    """Return which records a perfect first-come deduplication keeps: those like no kept one before them."""
    kept: list[bool] = []
    for others, jaccards in zip(*pairs):
        kept.append(not any(kept[other] for other in others[jaccards >= threshold]))
    return kept


class Accuracy(NamedTuple):
    """What came out of one set."""

    records: int
    dropped: int
    exact: int  # dropped, and the very text of a kept record before it
    wrong: int  # dropped, and like no kept record before it
    similar: int  # records that are like one that was kept before them
    found: int  # of these, dropped
    near: int  # similar ones that are no exact copies
    near_found: int
    plain: int  # similar by at least the threshold and 0.1
    plain_found: int
    truth: int  # what a perfect run drops
    reported: int  # near duplicates whose similarity was reported
    reported_right: int  # as the highest true one among the kept records before it

    @property
    def precision(self) -> float:
        return 1 - self.wrong / max(1, self.dropped)

    @property
    def recall(self) -> float:
        return self.found / self.similar if self.similar else 1.0

    @property
    def shares(self) -> str:
        """Recall of near copies alone, and of what is similar by at least the threshold and 0.1."""
        return (
            f"near copies {self.near_found} of {self.near}, from t + 0.1 {self.plain_found} of {self.plain}"
        )

    def __str__(self) -> str:
        return (
            f"{self.records} records, {self.dropped} dropped, {self.exact} of them exact copies, {self.wrong} "
            f"wrongly (precision {self.precision:.5f}); a perfect run drops {self.truth}; recall {self.recall:.4f} "
            f"({self.found} of {self.similar}; {self.shares}); highest similarity named in {self.reported_right} "
            f"of {self.reported}"
        )


def judge(
    texts: list[str],
    kept: list[bool],
    pairs: Pairs,
    threshold: float,
    reported: dict[int, float] | None = None,
) -> Accuracy:
    """Compare what was kept with the truth."""
    import numpy as np

    seen: dict[str, bool] = {}  # every text so far: was one of them kept?
    count = dict.fromkeys(Accuracy._fields, 0)
    count["records"] = len(texts)
    count["truth"] = len(texts) - sum(greedy(pairs, threshold))
    was_kept = np.array(kept)
    for record, text in enumerate(texts):
        before = was_kept[pairs.others[record]]
        best = float(pairs.jaccards[record][before].max(initial=0.0))
        copy = seen.get(text, False)
        like = best >= threshold or copy
        count["dropped"] += not kept[record]
        count["exact"] += not kept[record] and copy
        count["wrong"] += not kept[record] and not like
        for name, counts in (
            ("similar", True),
            ("near", not copy),
            ("plain", best >= min(1.0, threshold + 0.1) or copy),
        ):
            if like and counts:
                count[name] += 1
                count["found" if name == "similar" else f"{name}_found"] += not kept[record]
        if reported and record in reported:
            count["reported"] += 1
            count["reported_right"] += abs(reported[record] - best) < 1e-4
        seen[text] = copy or kept[record]
    return Accuracy(**count)


def measure_accuracy(
    path: Path, threshold: float, command: list[str], env: dict[str, str], ours: bool = True
) -> Accuracy:
    """Run bp-dedup, or a peer that knows no options, over a file and compare what it dropped with the truth."""
    records = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    with tempfile.TemporaryDirectory(dir=FOLDER) as name:
        numbered, dropped = Path(name) / "in.jsonl", Path(name) / "dropped.jsonl"
        with open(numbered, "wb") as file:
            for number, record in enumerate(records):
                file.write(orjson.dumps({**record, "id": number}, option=orjson.OPT_APPEND_NEWLINE))
        options = ["--threshold", str(threshold), "--dropped", str(dropped)] if ours else []
        with open(numbered, "rb") as source:
            ran = subprocess.run(
                [*command, *options],
                stdin=source, env=env, check=True, stdout=subprocess.PIPE, stderr=None if ours else subprocess.DEVNULL,
            )  # fmt: skip
        out = {orjson.loads(line)["id"] for line in ran.stdout.splitlines()}
        reported: dict[int, float] = {}
        if dropped.exists():
            for line in dropped.read_bytes().splitlines():
                record = orjson.loads(line)
                if "jaccard" in record.get("bp", {}):
                    reported[record["id"]] = record["bp"]["jaccard"]
    texts = [text_of(record) for record in records]
    kept = [number in out for number in range(len(records))]
    return judge(texts, kept, similar_pairs(texts), threshold, reported)


def main() -> None:
    """Compare file by file."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dedup_truth")
    parser.add_argument("files", nargs="+", metavar="FILE.jsonl")
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--command", default=f"{sys.executable} {BIN / 'bp-dedup'} -q --minhash")
    chosen = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    for path in chosen.files:
        found = measure_accuracy(Path(path), chosen.threshold, chosen.command.split(), dict(os.environ))
        print(f"{path}: {found}")


if __name__ == "__main__":
    main()
