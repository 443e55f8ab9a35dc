"""bp-detect: what is this data, and what is wrong with it.

bp-detect raw.jsonl | jq .formats
"""

from __future__ import annotations

from typing import Annotated, NoReturn

from bptools.core import cli
from bptools.core.errors import UsageError
from bptools.core.options import data_command, option
from bptools.core.pipeline import Pipeline
from bptools.core.records import Reject, dumps, dumps_report, splice_bp

app = cli.command_app()


@app.command(cls=cli.PlainCommand)
@data_command("bp-detect", drops=False)
def detect(
    pipe: Pipeline,
    full: Annotated[bool, option("--full", help="Judge every record, not a sample of 1,000.")] = False,
    validate: Annotated[
        bool, option("--validate", help="Judge every record; exit 65 when bp-chatml would reject one.")
    ] = False,
    each: Annotated[
        bool, option("--each", help="Pass every record on with bp.format instead of reporting.")
    ] = False,
    table: Annotated[bool, option("--table", help="Draw the report as a table.")] = False,
) -> None:
    """Say what data is: container, formats, fields, roles, lengths, problems; one JSON object per source."""
    from bptools.chat import as_conversation

    if each and (full or validate or table):
        raise UsageError("--each passes records on; --full, --validate and --table report on them")
    pipe.intake.coerce = as_conversation
    from bptools.chat.convert import Options

    options = Options(text_field=pipe.settings.text_field, field_map=pipe.settings.field_map)
    if each:
        _annotate(pipe)
        return
    from bptools.chat.survey import survey

    if not validate:
        pipe.judge_quietly()
    for reader in pipe.intake.readers():
        report = survey(pipe, reader, full or validate, options)
        if table:
            from bptools.chat.report_table import draw

            pipe.write_line(draw(report).encode("utf-8", "backslashreplace"))
        else:
            pipe.write_line(dumps_report(report))


def _annotate(pipe: Pipeline) -> None:
    from bptools.chat.convert import rename
    from bptools.chat.detect import Detector
    from bptools.chat.reader import RecordReader

    name_format = Detector(RecordReader(text_field=pipe.settings.text_field))
    field_map = pipe.settings.field_map
    for raw, record in pipe:
        found = name_format(rename(record, field_map) if field_map else record)
        try:
            line = raw if raw is not None else dumps(record)
            marked = splice_bp(line, record, {"format": found.format})
        except Reject as why:  # nothing to write it with: a lone surrogate in an array
            pipe.reject(why, raw, record)
            continue
        pipe.write(marked)
        if pipe.counts.out == pipe.settings.limit:
            break


def main() -> NoReturn:
    """Run the command."""
    cli.run(app, "bp-detect")
