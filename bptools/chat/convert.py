"""Any record of chat data -> the record that is wanted: messages, preference, rated, or text.

    converter = Converter(Options(to="chat", system_default="You are helpful."))
    for record in records:
        print(converter(record))

A record in its own shape comes back as the same object, so that a caller can write the bytes it came in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bptools.chat.reader import RecordReader
from bptools.core.errors import UsageError
from bptools.core.records import Record, is_large, reparse_exact

_CHOICES = {
    "to": ("auto", "chat", "preference", "rated", "text"),
    "reasoning": ("keep", "drop", "split", "inline"),
    "tool_args": (None, "object", "string"),
    "on_markup": ("escape", "drop", "keep"),
}


class Options:
    """What is wanted. Raises UsageError for a value that no option has."""

    __slots__ = (
        "alpaca_join", "eos", "field_map", "instruct_template", "on_markup", "reasoning", "role_map",
        "system", "system_default", "text", "text_field", "to", "tool_args", "unescape",
    )  # fmt: skip

    def __init__(
        self,
        to: str = "auto",
        system: str | None = None,
        system_default: str | None = None,
        role_map: Mapping[str, str] | None = None,
        alpaca_join: str = "\n\n",
        unescape: bool = False,
        reasoning: str = "keep",
        tool_args: str | None = None,
        text: bool = False,
        on_markup: str = "escape",
        eos: str = "",
        instruct_template: str | None = None,
        text_field: str | None = None,
        field_map: Mapping[str, str] | None = None,
    ) -> None:
        self.to = to  # the shape; auto keeps the one that the record has
        self.system = system  # replaces the system prompt
        self.system_default = system_default  # where there is none
        self.role_map = dict(role_map or {})  # {"xyz": "user"}: names of speakers
        self.alpaca_join = alpaca_join  # between instruction and input
        self.unescape = unescape  # written-out \n, \t, \" become the characters they mean
        self.reasoning = reasoning  # split: leading <think> to reasoning_content; inline: the other way
        self.tool_args = tool_args  # arguments of tool calls as object or as string; None: as found
        self.text = text  # render as ChatML
        self.on_markup = on_markup  # content that holds <|im_start|> or <|im_end|>
        self.eos = eos  # appended to text made from a chat
        self.instruct_template = instruct_template  # instead of ChatML: a name or a text with placeholders
        self.text_field = text_field  # the column that is the text
        self.field_map = dict(field_map or {})  # {"instruction": "query_col"}: name meant -> name found
        if self.field_map:
            from bptools.chat.known_fields import check_fields

            check_fields(self.field_map)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                shown = ", ".join(str(choice) for choice in choices if choice)
                raise UsageError(f"{name} is one of {shown}, not {getattr(self, name)}")

    @property
    def plain(self) -> bool:
        """Whether records leave in their own shape with nothing added or changed."""
        return (
            self.to == "auto"
            and self.system is None
            and self.system_default is None
            and self.reasoning == "keep"
            and self.tool_args is None
            and not (self.unescape or self.text or self.eos)
            and self.on_markup != "drop"
        )


class Converter:
    """Converts records; `format` is that of the last one, `shape` what it became, `notes` counts oddities.

    A call may return a list: a comparison split into two rated records, a task with several instances. `many`
    returns a list in every case.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options if options is not None else Options()
        self.reader = RecordReader(
            role_map=self.options.role_map,
            alpaca_join=self.options.alpaca_join,
            text_field=self.options.text_field,
            unescape=self.options.unescape,
        )
        self._readers = self.reader.readers
        self._map = self.options.field_map
        self._finish = None
        if not self.options.plain:
            from bptools.chat.shapes import Shaper

            self._finish = Shaper(self.options, self.reader)

    @property
    def format(self) -> str:
        """The format of the last record, a name of FORMATS."""
        return self.reader.format

    @property
    def shape(self) -> str:
        """The shape of the last result: chat, preference, rated or text."""
        return self.reader.shape

    @property
    def notes(self) -> dict[str, int]:
        """How many records had what: empty-content, ends-with-user, unescaped, ..."""
        return self.reader.notes

    def __call__(self, record: Record) -> Record | list[Record]:
        """Return the converted record, the same object if nothing had to change; the argument never changes.

        Raises Reject for what cannot be represented, Drop for what was asked to go ("markup",
        "label-false") and for comparisons that nobody won ("tie").
        """
        if self._map:
            record = rename(record, self._map)
        out = self._readers[tuple(record)](record)
        if self._finish is None:
            return out
        if type(out) is list:
            return self._finish.several(out)
        return self._finish(out)  # type: ignore[arg-type]

    def function(self) -> Callable[[Record], Record | list[Record]]:
        """Return what a call does, without the layers that the options leave idle (150 ns a record)."""
        return self.__call__ if self._map or self._finish is not None else self.reader.read

    def many(self, record: Record) -> list[Record]:
        """Return what the record becomes as a list."""
        out = self(record)
        return out if type(out) is list else [out]  # type: ignore[list-item]

    def exactly(
        self,
        raw: bytes,
        record: Record,
        out: Record | list[Record],
        again: Callable[[Record], Record | list[Record]] | None = None,
    ) -> Record | list[Record]:
        """Return `out`, made again from the bytes of its line if these hold integers over 64 bits.

        For a caller that has to write a changed record: `raw` is the line that `record` was parsed from, and
        `again` what it does with a record if that is more than this converter does.
        orjson reads such integers as floats of at least 2**63, so only these need another look. A search for
        long digits in the line costs 20 us a record of 2 kB, the walk 1 us where it is needed at all: for a
        ShareGPT record it is a type check for each field.
        """
        if out is record:
            return out
        plain = self.reader.plain
        for key, value in record.items():
            if type(value) is not str and key != plain and is_large(value):
                break
        else:
            return out
        exact = reparse_exact(raw, record)
        if exact is record:
            return out
        notes = dict(self.notes)
        try:
            return (again or self)(exact)
        finally:
            self.notes.clear()
            self.notes.update(notes)


def rename(record: Record, field_map: Mapping[str, str]) -> Record:
    """Return a record whose columns are called what they mean, the same object if it has none of them.

    A column that had the name before goes to `bp.kept`.
    """
    meant = {found: name for name, found in field_map.items() if found in record and found != name}
    if not meant:
        return record
    from bptools.chat.reader import build

    out = {
        meant.get(key, key): value
        for key, value in record.items()
        if key in meant or key not in meant.values()
    }
    displaced = {key: value for key, value in record.items() if key not in meant and key in meant.values()}
    return build(out, displaced, ()) if displaced else out


def convert(record: Record, **options: object) -> Record:
    """Return one record converted; the keywords are those of `Options`.

    Raises Reject and Drop as `Converter` does, and ValueError if it holds several (use `Converter.many`).

    >>> convert({"question": "1 + 1?", "answer": "2"})["messages"][1]
    {'role': 'assistant', 'content': '2'}
    """
    made = Converter(Options(**options)).many(record)  # type: ignore[arg-type]
    if len(made) != 1:
        raise ValueError(f"{len(made)} records in one; use Converter(...).many")
    return made[0]
