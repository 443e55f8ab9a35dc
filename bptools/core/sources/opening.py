"""From an opened source to its reader: the container is looked at first, the suffix second."""

from __future__ import annotations

from bptools.core.errors import InputError
from bptools.core.sources.base import Coerce, Reader, ReadOptions, RejectCallback, Source, no_coercion
from bptools.core.streams import Input

_HEAD_BYTES = 64 << 10


def container_of(opened: Input, source: Source, options: ReadOptions) -> str:
    """Return the container of an opened source: the one asked for, or by content, then suffix."""
    from bptools.core.sources.sniff import json_layout, sniff

    head = opened.raw.look(_HEAD_BYTES, enough=_has_a_whole_record)
    if options.input_format is None:
        return sniff(head, source.name, options.otherwise)
    if options.input_format == "json":
        return json_layout(head, source.name)
    return options.input_format


def _has_a_whole_record(head: bytes) -> bool:
    """Say whether a slow pipe has delivered enough to sniff: one line that looks complete."""
    end = head.find(b"\n")
    return end > 1 and head[:end].rstrip().endswith(b"}")


def make_reader(
    opened: Input,
    source: Source,
    options: ReadOptions,
    reject: RejectCallback,
    coerce: Coerce = no_coercion,
) -> Reader:
    """Return the reader for an opened source. Raises InputError when the encoding is not UTF-8."""
    container = container_of(opened, source, options)
    stream = opened.stream
    if container == "jsonl":
        from bptools.core.sources.jsonl import JsonlReader

        return JsonlReader(stream, options, reject, coerce)
    if container == "json-array":
        from bptools.core.sources.array import ArrayReader

        return ArrayReader(stream, options, reject, coerce)
    if container == "json":
        from bptools.core.sources.array import JsonReader

        return JsonReader(stream, options, reject, coerce)
    if container in ("csv", "tsv"):
        from bptools.core.sources.table import TableReader, TabReader

        return (TabReader if container == "tsv" else TableReader)(stream, options, reject, coerce)
    if container == "parquet":
        from bptools.core.sources.parquet import ParquetReader

        return ParquetReader(stream, options, reject, coerce)
    if container == "text":
        from bptools.core.sources.text import TextReader

        return TextReader(stream, options, reject, coerce)
    raise InputError(f"cannot read '{source.name}': no reader for {container}")
