"""Records -> rows of tokens on disk, with what is learnt of each, and everything that was left out counted.

Rows lie in an Arrow stream that is mapped, not loaded: 32-bit tokens and labels, label -100 where nothing is
learnt. Columns are `input_ids` and `labels`, of a preference `prompt_ids`, `chosen_ids` and `rejected_ids`,
of a rated answer `prompt_ids`, `completion_ids` and `label`: the names that TRL's collators read. TRL renders
nothing by itself: tool calls, reasoning and markers that somebody typed are the same tokens in every method.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from bptools.core.errors import DataError

if TYPE_CHECKING:
    from bptools.models.rendering import Renderer
    from bptools.training.settings import Settings

IGNORED = -100
_ROWS_PER_BATCH = 1_000
_MOST_NAMED = 20

Record = dict[str, Any]
Row = dict[str, Any]


class NothingLeft(DataError):
    """No record became a row."""


@dataclass
class Counts:
    """What became of the records."""

    records: int = 0
    rows: int = 0
    tokens: int = 0
    trained: int = 0  # tokens that are learnt
    longest: int = 0  # tokens of the longest row
    truncated: int = 0
    split: int = 0  # records that became several rows
    too_long: int = 0  # records left out for their length
    untrained: int = 0  # records left out because no token of theirs is learnt
    untrained_at: list[int] = field(default_factory=list)  # the first of them, by number from 0
    refused: int = 0  # records left out because the chat template refuses them
    refused_at: list[int] = field(default_factory=list)
    refusal: str = ""  # what it said of the first one

    def see(self, row: Row) -> None:
        """Count a row of tokens that will be trained on."""
        self.rows += 1
        self.tokens += row_tokens(row)
        self.trained += trained_tokens(row)
        self.longest = max(self.longest, row_length(row))

    @property
    def share(self) -> float:
        """The share of the tokens that are learnt."""
        return self.trained / self.tokens if self.tokens else 0.0


def row_length(row: Row) -> int:
    """Return the tokens of a row, of a preference those of its longer side."""
    if "input_ids" in row:
        return len(row["input_ids"])
    sides = [row[name] for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in row]
    return int(len(row["prompt_ids"]) + max(map(len, sides)))


def row_tokens(row: Row) -> int:
    """Return the tokens that the model reads of a row: of a preference both sides, each with its prompt."""
    if "rejected_ids" in row:
        return int(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]))
    return row_length(row)


def trained_tokens(row: Row) -> int:
    """Return how many tokens of a row are learnt."""
    if "labels" in row:
        return int(len(row["labels"]) - row["labels"].count(IGNORED))
    return sum(len(row[name]) for name in ("chosen_ids", "rejected_ids", "completion_ids") if name in row)


class RowMaker:
    """Makes the rows of one method from records; `counts` says what became of them."""

    def __init__(self, settings: Settings, renderer: Renderer) -> None:
        self.counts = Counts()
        self._settings = settings
        self._renderer = renderer
        self._most = settings.max_length or 1 << 30
        self._long = settings.long or "drop"
        self._make = {
            "sft": self._chat,
            "cpt": self._text,
            "pretrain": self._text,
            "dpo": self._preference,
            "orpo": self._preference,
            "kto": self._rated,
        }[settings.method or "sft"]

    def rows(self, records: Iterable[Record]) -> Iterator[Row]:
        """Yield the rows of all records in order; what the chat template refuses is left out."""
        counts = self.counts
        for number, record in enumerate(records):
            counts.records += 1
            try:
                made = self._make(number, record)
            except DataError as error:
                self._refuse(number, str(error))
                continue
            for row in made:
                counts.see(row)
                yield row

    def _refuse(self, number: int, why: str) -> None:
        counts = self.counts
        counts.refused += 1
        counts.refusal = counts.refusal or why
        if len(counts.refused_at) < _MOST_NAMED:
            counts.refused_at.append(number)

    def _chat(self, number: int, record: Record) -> list[Row]:
        ids, trained = self._renderer.encode_chat(record["messages"], record.get("tools"))
        if self._settings.loss_on == "all":
            trained = [True] * len(ids)
        return self._fit(number, ids, [token if learn else IGNORED for token, learn in zip(ids, trained)])

    def _text(self, number: int, record: Record) -> list[Row]:
        ids = self._renderer.encode_text(record["text"], add_eos=True)
        return self._fit(number, ids, ids)

    def _fit(self, number: int, ids: list[int], labels: list[int]) -> list[Row]:
        """Return the rows of one sequence: whole, cut, in pieces, or none. The first label is never asked."""
        counts, most = self.counts, self._most
        pieces = [(ids, labels)]
        if len(ids) > most:
            if self._long == "drop":
                counts.too_long += 1
                return []
            starts = range(0, len(ids), most) if self._long == "split" else (0,)
            pieces = [(ids[start : start + most], labels[start : start + most]) for start in starts]
            counts.truncated += self._long == "truncate"
            counts.split += self._long == "split"
        rows = [
            {"input_ids": ids, "labels": labels}
            for ids, labels in pieces
            if any(label != IGNORED for label in labels[1:])
        ]
        if not rows:
            self._leave_out(number)
        return rows

    def _leave_out(self, number: int) -> None:
        self.counts.untrained += 1
        if len(self.counts.untrained_at) < _MOST_NAMED:
            self.counts.untrained_at.append(number)

    def _preference(self, number: int, record: Record) -> list[Row]:
        prompt = self._renderer.encode_prompt(record["prompt"], record.get("tools"))
        sides = [
            self._renderer.encode_chat(record["prompt"] + record[side], record.get("tools"))[0]
            for side in ("chosen", "rejected")
        ]
        # where the template renders a prompt alone otherwise, the answer begins where they part: as in TRL
        shared = min(_common_prefix(prompt, side) for side in sides)
        chosen, rejected = (side[shared:] for side in sides)
        return self._pair(
            number, {"prompt_ids": prompt[:shared], "chosen_ids": chosen, "rejected_ids": rejected}
        )

    def _rated(self, number: int, record: Record) -> list[Row]:
        prompt = self._renderer.encode_prompt(record["prompt"], record.get("tools"))
        whole = self._renderer.encode_chat(record["prompt"] + record["completion"], record.get("tools"))[0]
        shared = _common_prefix(prompt, whole)
        row = {
            "prompt_ids": prompt[:shared],
            "completion_ids": whole[shared:],
            "label": bool(record["label"]),
        }
        return self._pair(number, row)

    def _pair(self, number: int, row: Row) -> list[Row]:
        answers = [name for name in row if name.endswith("_ids") and name != "prompt_ids"]
        if not all(row[name] for name in answers):
            self._leave_out(number)
            return []
        if row_length(row) > self._most:
            if self._long == "drop" or len(row["prompt_ids"]) >= self._most:
                self.counts.too_long += 1
                return []
            room = self._most - len(row["prompt_ids"])
            row.update({name: row[name][:room] for name in answers})
            self.counts.truncated += 1
        return [row]


def _common_prefix(left: list[int], right: list[int]) -> int:
    length = min(len(left), len(right))
    for index in range(length):
        if left[index] != right[index]:
            return index
    return length


def read_records(path: str) -> Iterator[Record]:
    """Yield the records of a spool that this run wrote."""
    with open(path, "rb") as file:
        for line in file:
            yield orjson.loads(line)


def write_rows(path: str, rows: Iterable[Row]) -> None:
    """Write rows as an Arrow stream, a batch at a time. Raises NothingLeft if there is none."""
    import pyarrow as pa

    writer: Any = None
    batch: list[Row] = []
    with pa.OSFile(path, "wb") as sink:

        def flush() -> None:
            nonlocal writer
            columns = {
                name: pa.array([row[name] for row in batch], _type(batch[0][name])) for name in batch[0]
            }
            table = pa.RecordBatch.from_pydict(columns)
            if writer is None:
                writer = pa.ipc.new_stream(sink, table.schema)
            writer.write_batch(table)
            batch.clear()

        for row in rows:
            batch.append(row)
            if len(batch) == _ROWS_PER_BATCH:
                flush()
        if batch:
            flush()
        if writer is None:
            raise NothingLeft("no record is left to train on; --dry-run shows why each was left out")
        writer.close()


def _type(value: Any) -> Any:
    import pyarrow as pa

    return pa.list_(pa.int32()) if isinstance(value, list) else pa.bool_()
