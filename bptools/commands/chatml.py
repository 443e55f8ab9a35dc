"""bp-chatml: any chat data to clean records.

cat raw.jsonl | bp-chatml | bp-dedup --minhash > clean.jsonl
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn, Optional

from bptools.commands.shared import RoleMap, Text
from bptools.core import cli
from bptools.core.errors import UsageError
from bptools.core.options import data_command, option, pairs
from bptools.core.pipeline import Pipeline, Transformation

if TYPE_CHECKING:
    from bptools.chat import Converter

app = cli.command_app()


@app.command(cls=cli.PlainCommand)
@data_command("bp-chatml", drops=True)
def chatml(
    pipe: Pipeline,
    to: Annotated[
        Literal["auto", "chat", "preference", "rated", "text"],
        option("--to", help="The shape to make; auto keeps the kind that a record is."),
    ] = "auto",
    text: Annotated[bool, option("--text", help="Render as ChatML text, whatever the kind.")] = False,
    system: Annotated[
        Text, option("--system", metavar="TEXT", help="Set the system prompt everywhere.")
    ] = None,
    system_default: Annotated[
        Text, option("--system-default", metavar="TEXT", help="Set the system prompt where there is none.")
    ] = None,
    role_map: RoleMap = None,
    alpaca_join: Annotated[
        str, option("--alpaca-join", metavar="TEXT", help=r"Between instruction and input; \n is a newline.")
    ] = r"\n\n",
    instruct_template: Annotated[
        Text,
        option(
            "--instruct-template",
            metavar="NAME|FILE",
            help="Render text by alpaca or a file with {instruction}.",
        ),
    ] = None,
    unescape: Annotated[
        bool, option("--unescape", help=r"Turn written-out \n, \t and \" into what they mean.")
    ] = False,
    reasoning: Annotated[
        Literal["keep", "drop", "split", "inline"],
        option(
            "--reasoning",
            help="Move reasoning between <think> in the content and reasoning_content, or drop it.",
        ),
    ] = "keep",
    tool_args: Annotated[
        Optional[Literal["object", "string"]],
        option("--tool-args", help="Write tool arguments as; default: as found."),
    ] = None,
    on_markup: Annotated[
        Literal["escape", "drop", "keep"],
        option(
            "--on-markup", help="What to do with <|im_start|> and <|im_end|> inside content when rendering."
        ),
    ] = "escape",
    eos: Annotated[str, option("--eos", metavar="TEXT", help="Append this to every text.")] = "",
    chunk: Annotated[
        Text,
        option("--chunk", metavar="SIZE", help="Cut plain text into 512tokens, 200words or 3paragraphs."),
    ] = None,
    chunk_overlap: Annotated[
        int,
        option("--chunk-overlap", min=0, metavar="N", help="Units that a chunk repeats of the one before."),
    ] = 0,
    tokenizer: Annotated[
        Text,
        option(
            "--tokenizer",
            metavar="MODEL",
            help="Count the tokens of --chunk exactly: a tokenizer.json, its folder, or a model.",
        ),
    ] = None,
) -> None:
    """Turn any chat data into records: chat, preference, rated or text."""
    from bptools.chat import Converter, Options, as_conversation

    if instruct_template is not None and not text and to != "text":
        raise UsageError("--instruct-template renders text; it needs --text or --to text")
    converter = Converter(
        Options(
            to=to,
            system=system,
            system_default=system_default,
            role_map=pairs("--role-map", role_map, "NAME=ROLE"),
            alpaca_join=alpaca_join.replace("\\n", "\n"),
            unescape=unescape,
            reasoning=reasoning,
            tool_args=tool_args,
            text=text,
            on_markup=on_markup,
            eos=eos,
            instruct_template=_template(instruct_template),
            text_field=pipe.settings.text_field,
            field_map=pipe.settings.field_map,
        )
    )
    change = _chunked(converter, chunk, chunk_overlap, tokenizer)
    pipe.intake.coerce = as_conversation
    try:
        pipe.transform(change, partial(converter.exactly, again=change) if chunk else converter.exactly)
    finally:
        pipe.counts.notes = converter.notes


def _chunked(converter: Converter, chunk: str | None, overlap: int, tokenizer: str | None) -> Transformation:
    if chunk is None:
        if overlap or tokenizer:
            raise UsageError("--chunk-overlap and --tokenizer need --chunk")
        return converter.function()
    from bptools.chat.chunks import load_offsets, parse_size
    from bptools.chat.pieces import cutting

    try:
        size, unit = parse_size(chunk)
    except ValueError as error:
        raise UsageError(f"--chunk: {error}") from None
    if overlap >= size:
        raise UsageError(f"--chunk-overlap {overlap} is not smaller than the chunk of {size} {unit}")
    if tokenizer is not None and unit != "tokens":
        raise UsageError(f"--tokenizer counts tokens, --chunk {chunk} counts {unit}")
    offsets = None
    if tokenizer is not None:
        from bptools.models.hub import tokenizer_file

        offsets = load_offsets(tokenizer_file(tokenizer))
    return cutting(converter, size, unit, overlap, offsets)


def _template(given: str | None) -> str | None:
    if given is None or given == "alpaca":
        return given
    text = given
    if "{" not in given:
        from bptools.core.streams import read_small_file

        text = read_small_file(given)
    lacking = [place for place in ("{instruction}", "{output}") if place not in text]
    if lacking:
        raise UsageError(f"--instruct-template: {' and '.join(lacking)} must stand in the template")
    return text


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bp-chatml")
