"""Near-duplicate removal with the peers: `PYTHON tests/bench/dedup_peers.py NAME <IN.jsonl >OUT.jsonl`.

Run by an interpreter that has tests/bench/peers.txt, so nothing of bptools is imported. Every program does
the whole job, from JSONL (`messages`, Alpaca or `text`) to the lines it keeps: words by a regular expression,
5-grams of words, 128 permutations, threshold 0.7. Whatever can be tuned by the peer's own documentation is.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from typing import Any

import orjson

THRESHOLD = 0.7
PERMUTATIONS = 128
_words = re.compile(r"\w+").findall


def _ends() -> tuple[io.BufferedReader, io.BufferedWriter]:
    return io.BufferedReader(io.FileIO(0), 256 << 10), io.BufferedWriter(io.FileIO(1, "w"), 256 << 10)


def text_of(record: dict[str, Any]) -> str:
    """Return what is compared: the user's and the assistant's words."""
    if "messages" in record:
        return "\n".join(turn.get("content") or "" for turn in record["messages"] if turn["role"] != "system")
    if "text" in record:
        return str(record["text"])
    answer = record.get("output") or record.get("response") or ""
    return f"{record['instruction']}\n{record.get('input') or ''}\n{answer}"


def grams_of(words: list[str]) -> list[str]:
    """Return the 5-grams of words; fewer than five words make one."""
    if len(words) < 5:
        return [" ".join(words)]
    return list(map(" ".join, zip(words, words[1:], words[2:], words[3:], words[4:])))


def datasketch() -> None:
    """The loop of datasketch's own pages: one update a shingle, then query and insert."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    source, target = _ends()
    for number, line in enumerate(source):
        minhash = MinHash(num_perm=PERMUTATIONS)
        for gram in grams_of(_words(text_of(orjson.loads(line)).lower())):
            minhash.update(gram.encode("utf-8"))
        if not index.query(minhash):
            index.insert(number, minhash)
            target.write(line)
    target.flush()


def datasketch_tuned() -> None:
    """datasketch as fast as it goes: xxh3, a batch a record, one object and its permutations for all."""
    from datasketch import MinHash, MinHashLSH
    from xxhash import xxh3_64_intdigest

    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    minhash = MinHash(num_perm=PERMUTATIONS, hashfunc=lambda gram: xxh3_64_intdigest(gram) & 0xFFFFFFFF)
    source, target = _ends()
    for number, line in enumerate(source):
        minhash.clear()
        minhash.update_batch(grams_of(_words(text_of(orjson.loads(line)).lower())))
        if not index.query(minhash):
            index.insert(number, minhash, check_duplication=False)
            target.write(line)
    target.flush()


def rensa() -> None:
    """rensa's streaming deduplicator, fed by add_pairs as its README shows, in batches."""
    _rensa(lambda text: grams_of(_words(text.lower())))


def rensa_spaces() -> None:
    """The same with words split at white space alone: less work, and other words than all others see."""
    _rensa(lambda text: grams_of(text.lower().split()))


def _rensa(tokens: Any) -> None:
    from rensa import RMinHashDeduplicator

    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    source, target = _ends()
    first = 0
    for lines in _batches(source, 1024):
        kept = index.add_pairs(
            (str(number), tokens(text_of(orjson.loads(line)))) for number, line in enumerate(lines, first)
        )
        target.write(b"".join([line for line, keep in zip(lines, kept) if keep]))
        first += len(lines)
    target.flush()


def _batches(lines: io.BufferedReader, size: int) -> Iterator[list[bytes]]:
    batch = []
    for line in lines:
        batch.append(line)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def datatrove() -> None:
    """datatrove's four stages one after the other in this process: 14 buckets of 8 hashes, its defaults."""
    import shutil
    import tempfile
    from pathlib import Path

    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
    )
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter

    def adapt(_self: Any, record: dict[str, Any], path: str, number: int | str) -> dict[str, Any]:
        return {"text": text_of(record), "id": f"{path}/{number}", "metadata": {"record": record}}

    def restore(_self: Any, document: Any) -> dict[str, Any]:
        record: dict[str, Any] = document.metadata["record"]
        return record

    settings = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        with open(folder / "in" / "records.jsonl", "wb") as copy:
            shutil.copyfileobj(io.FileIO(0), copy, 1 << 20)
        signatures, buckets, clusters, kept = (str(folder / part) for part in ("s", "b", "c", "out"))
        reader = JsonlReader(str(folder / "in"), adapter=adapt)
        writer = JsonlWriter(kept, compression=None, adapter=restore)
        for tasks, stage in (
            (1, [reader, MinhashDedupSignature(signatures, config=settings)]),
            (settings.num_buckets, [MinhashDedupBuckets(signatures, buckets, config=settings)]),
            (1, [MinhashDedupCluster(buckets, clusters, config=settings)]),
            (1, [reader, MinhashDedupFilter(clusters), writer]),
        ):
            logs = str(folder / f"logs{id(stage)}")
            LocalPipelineExecutor(pipeline=stage, tasks=tasks, workers=1, logging_dir=logs).run()
        with open(folder / "out" / "00000.jsonl", "rb") as lines, io.FileIO(1, "w") as target:
            shutil.copyfileobj(lines, target, 1 << 20)


def text_dedup() -> None:
    """text-dedup's command in this process, with the hash that its help calls faster.

    Only the text goes through its data set, which it rewrites at every step; what it keeps is then picked from
    a copy of the input. Its words are split at whatever is no letter, so `a, b` has an empty one between.
    Of copies it keeps any one, not the first.
    """
    import logging
    import os
    import shutil
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"HF_HOME": name, "HF_HUB_OFFLINE": "1"}  # read when datasets is imported
        from datasets import disable_progress_bars, load_from_disk
        from text_dedup.minhash import main

        disable_progress_bars()
        logging.getLogger("text_dedup").setLevel(logging.WARNING)  # it reports on standard output
        source, target = _ends()
        with open(folder / "copy", "wb+") as copy, open(folder / "texts.jsonl", "wb") as texts:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.seek(0)
            for number, line in enumerate(copy):
                row = {"text": text_of(orjson.loads(line)), "number": number}
                texts.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
        options = {
            "path": "json", "data_files": texts.name, "split": "train", "cache_dir": str(folder / "cache"),
            "column": "text", "output": str(folder / "out"), "num_proc": 1, "hash_func": "xxh3",
            "ngram": 5, "num_perm": PERMUTATIONS, "threshold": THRESHOLD,
            "min_length": 1,  # or it drops every record of fewer than five words
        }  # fmt: skip
        main([f"--{option}={value}" for option, value in options.items()], standalone_mode=False)
        kept = set(load_from_disk(str(folder / "out"))["number"])
        with open(folder / "copy", "rb") as copy:
            target.writelines(line for number, line in enumerate(copy) if number in kept)
        target.flush()


_ALL = (datasketch, datasketch_tuned, rensa, rensa_spaces, datatrove, text_dedup)
PEERS = {peer.__name__: peer for peer in _ALL}

if __name__ == "__main__":
    PEERS[sys.argv[1]]()
