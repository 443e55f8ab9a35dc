"""What a stream holds, by its first bytes; the suffix decides only what bytes leave open."""

from __future__ import annotations

import re

from bptools.core.errors import InputError
from bptools.core.records import NonFinite, Reject, loads, strict_decoder
from bptools.core.sources.base import BOM
from bptools.core.sources.expand import suffix_of

PARQUET_MAGIC = b"PAR1"

_WIDE_BOMS = (  # the longer first: UTF-32 LE begins like UTF-16 LE
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
COLUMNS = frozenset(
    (
        "instruction",
        "input",
        "output",
        "prompt",
        "completion",
        "response",
        "question",
        "answer",
        "query",
        "text",
        "content",
        "messages",
        "message",
        "conversations",
        "conversation",
        "chosen",
        "rejected",
        "label",
        "system",
        "system_prompt",
        "history",
        "context",
        "source",
        "target",
        "id",
        "user",
        "assistant",
        "human",
        "bot",
        "summary",
        "article",
        "title",
        "category",
        "reasoning",
    )
)
_LINES = 50
_BY_SUFFIX = {".csv": "csv", ".tsv": "tsv", ".txt": "text", ".md": "text"}


def sniff(head: bytes, name: str, otherwise: str = "jsonl") -> str:
    """Return what a stream that begins with `head` is: jsonl, json, json-array, csv, tsv, parquet, text.

    `json` is one or several values laid out over lines; `json-array` one array of records. `name` gives
    the suffix. `otherwise` is what it is when nothing speaks for any of them and it begins like no JSON.
    Raises InputError for UTF-16 and UTF-32.
    """
    _refuse_wide(head, name)
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    suffix = suffix_of(name)
    text = head.removeprefix(BOM).decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    cautious = suffix in (".txt", ".md")
    found = None
    if text.startswith("["):
        found = _array(text, suffix, cautious)
    elif text.startswith("{"):
        found = _objects(text, cautious)
    if found is None and not text.startswith("[") and _share_of_objects(text) >= 0.5:
        found = "jsonl"
    if found is None:
        found = _BY_SUFFIX.get(suffix)
    if found is None and suffix not in (".jsonl", ".ndjson", ".json"):
        found = _table(text)
    return found or ("jsonl" if text.startswith(("{", "[")) else otherwise)


def json_layout(head: bytes, name: str) -> str:
    """Return json or json-array for a stream that is said to be JSON, whatever follows its first value.

    Raises InputError for UTF-16 and UTF-32.
    """
    _refuse_wide(head, name)
    text = head.removeprefix(BOM).decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
    is_array = text.startswith("[") and _array(text, suffix_of(name), False, said=True) == "json-array"
    return "json-array" if is_array else "json"


def encoding_facts(head: bytes) -> dict[str, object]:
    """Return what the first bytes say: `bom`, `encoding` (ascii, utf-8, not utf-8), `newlines`, `nul`."""
    body = head.removeprefix(BOM)
    crlf = body.count(b"\r\n")
    lf = body.count(b"\n") - crlf
    newlines = "mixed" if crlf and lf else "crlf" if crlf else "lf" if lf else "none"
    return {
        "bom": len(body) != len(head),
        "encoding": "ascii" if body.isascii() else "utf-8" if _is_utf8(body) else "not utf-8",
        "newlines": newlines,
        "nul": b"\x00" in body,
    }


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        # the head may end inside a character
        return error.start >= len(body) - 3 and error.reason == "unexpected end of data"
    return True


def _refuse_wide(head: bytes, name: str) -> None:
    encoding = next((encoding for bom, encoding in _WIDE_BOMS if head.startswith(bom)), None)
    if encoding is None and len(head) >= 8:
        # UTF-16 without a BOM: every other byte of the first ASCII characters is zero
        even, odd = head[:8:2], head[1:8:2]
        if all(even) and not any(odd):
            encoding = "UTF-16LE"
        elif all(odd) and not any(even):
            encoding = "UTF-16BE"
    if encoding is None:
        return
    raise InputError(f"cannot read '{name}': it is {encoding}; iconv -f {encoding} -t UTF-8 converts it")


class _Start:
    """How the first JSON value of a text goes: complete (with its end), cut by the text's end, or broken."""

    def __init__(self, text: str) -> None:
        self.value: object = None
        self.end = -1
        self.cut = False
        try:
            self.value, self.end = strict_decoder().scan_once(text, 0)  # type: ignore[attr-defined]
        except StopIteration as error:
            self.cut = error.value >= len(text) - 16
        except (NonFinite, RecursionError):
            self.cut = True  # it is JSON enough for a reader to report
        except ValueError as error:
            at_end = getattr(error, "pos", 0) >= len(text) - 16
            self.cut = at_end or str(error).startswith("Unterminated string")


def _array(text: str, suffix: str, cautious: bool, said: bool = False) -> str | None:
    inner = text[1:].lstrip(" \t\r\n")
    if inner and inner[0] not in '{["]-0123456789tfn':
        return None
    if cautious and inner[:1] not in ("{", "["):
        return None
    start = _Start(text)
    if start.end < 0:
        first = _Start(inner)
        if not (start.cut or first.end >= 0 or re.match(r'\{\s*"', inner)):
            return None
        one_line = "\n" not in text
        if _is_turn(first.value):
            return "jsonl" if one_line else "json"
        return "json-array"
    rest = text[start.end :]
    line_rest, _, more = rest.partition("\n")
    if not said and line_rest.strip() and not line_rest.lstrip().startswith(("[", ",")):
        return None  # prose: "[1] A footnote"
    value = start.value
    one_line = "\n" not in text[: start.end]
    if type(value) is list and value and _is_turn(value[0]):
        return "jsonl" if one_line else "json"
    follows = more.lstrip(" \t\r\n")
    if one_line and not line_rest.strip() and follows:
        one_per_line = suffix in (".jsonl", ".ndjson") or not _is_list_of_objects(value)
        if follows.startswith("{") or (follows.startswith("[") and one_per_line):
            return "jsonl"
    return "json-array"


def _is_list_of_objects(value: object) -> bool:
    return type(value) is list and bool(value) and all(type(element) is dict for element in value)


def _is_turn(value: object) -> bool:
    """Say whether a value is a message, so that the list around it is one conversation, not many records."""
    if type(value) is not dict:
        return False
    return ("role" in value and "content" in value) or ("from" in value and "value" in value)


def _objects(text: str, cautious: bool) -> str | None:
    line, newline, rest = text.partition("\n")
    if _is_object(line):
        if cautious and rest and _share_of_objects(text) < 0.5:
            return None
        return "jsonl"
    if not re.match(r'\{\s*["}]|\{\s*\Z', text):
        return None
    start = _Start(text)
    if start.end < 0:
        if not newline:
            return "jsonl"  # one line, longer than the head
        laid_out = start.cut or line.rstrip().endswith(("{", "[", ","))
        return "json" if laid_out and not _is_object_line_next(rest) else "jsonl"
    if "\n" in text[: start.end]:
        return "json"
    follows = text[start.end :].lstrip(" \t\r\n,")
    return "json" if follows.startswith("{") else "jsonl"


def _is_object(line: str) -> bool:
    line = line.strip()
    if not (line.startswith("{") and line.endswith("}")):
        return False
    try:
        return type(loads(line.encode("utf-8", "surrogateescape"))) is dict
    except Reject as reject:
        return reject.reason == "non-finite"  # an object all the same, for the reader to refuse


def _is_object_line_next(rest: str) -> bool:
    """Say whether the second line is an object that starts at the margin: then the first is a broken line."""
    line = rest.partition("\n")[0]
    return line.startswith("{") and _is_object(line)


def _share_of_objects(text: str) -> float:
    """Return the share of complete lines that are JSON objects, among the first few."""
    lines = [line for line in text.split("\n", _LINES)[:_LINES] if line.strip()]
    if len(lines) > 1 and not text.endswith("\n"):
        lines.pop()  # it may be cut
    return sum(map(_is_object, lines)) / len(lines) if lines else 0.0


def _table(text: str) -> str | None:
    """Return csv or tsv if the first line is a header: two known column names, or one and rows that fit."""
    import csv

    line, newline, rest = text.partition("\n")
    if not newline or len(line) > 2000:
        return None
    for delimiter in "\t,;|":
        try:
            names = next(csv.reader([line.rstrip("\r")], delimiter=delimiter), [])
        except csv.Error:
            continue
        known = sum(name.strip().lower() in COLUMNS for name in names)
        if len(names) > 1 and (known > 1 or (known and _rows_fit(names, rest, delimiter))):
            return "tsv" if delimiter == "\t" else "csv"
    return None


def _rows_fit(names: list[str], rest: str, delimiter: str) -> bool:
    """Say whether names look like columns and the complete rows after them have as many cells."""
    import csv

    if not all(re.fullmatch(r"[A-Za-z_][\w.-]{0,40}", name.strip()) for name in names):
        return False
    lines = rest.splitlines(keepends=True)[: _LINES + 1]
    if len(lines) > 1:
        lines.pop()  # it, or the row it ends, may be cut
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row]
    except csv.Error:
        return False
    return bool(rows) and all(len(row) == len(names) for row in rows)
