"""How hard a text is to learn from, roughly: a number to order records by, easy ones first.

bp-filter --order difficulty --chunks 5 --out-dir stages/ data.jsonl
"""

from __future__ import annotations


def difficulty(text: str) -> float:
    """Return the curriculum score of a text, from 0 (empty) to 1.

    Half of it is length (full at 5,000 characters), a quarter the share of different words among all, a
    quarter the mean length of a word (full at 10 characters). Words are what stands between white space, in
    lower case. The formula is that of Backpropagate's curriculum, kept so that its orders can be repeated.

    It measures surface. The share of different words falls with length, so it pulls against the first
    half: a one-word answer has already 0.25, a long page seldom more than 0.12 of its quarter. Text without
    spaces (Chinese, Japanese, Thai) is few and long words; tables, code and base64 seem hard. Perplexity
    under a small model orders better where it can be had.
    Takes 50 to 70 MB/s (one core of a shared server).
    """
    words = text.lower().split()
    if not words:
        return 0.0
    count = len(words)
    return (
        0.5 * min(len(text) / 5000, 1.0)
        + 0.25 * (len(set(words)) / count)
        + 0.25 * min(len("".join(words)) / count / 10, 1.0)
    )


def chunks(total: int, count: int) -> list[int]:
    """Return `count` sizes that add up to `total` and differ by one at most, the larger ones first.

    Raises ValueError for a count below 1 or a negative total.
    """
    if count < 1 or total < 0:
        raise ValueError(f"{total} records cannot be cut into {count} chunks")
    size, larger = divmod(total, count)
    return [size + 1] * larger + [size] * (count - larger)


def chunk_name(number: int, count: int) -> str:
    """Return the file name of chunk `number` (from 1) of `count`: `1.jsonl`, of ten or more `01.jsonl`."""
    return f"{number:0{len(str(count))}}.jsonl"
