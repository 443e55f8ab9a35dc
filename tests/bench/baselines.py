"""What the commands are compared with: `python -m tests.bench.baselines NAME [FILE]`, each as plain as can be."""

from __future__ import annotations

import io
import sys

import orjson


def _ends() -> tuple[io.BufferedReader, io.BufferedWriter]:
    return io.BufferedReader(io.FileIO(0), 256 << 10), io.BufferedWriter(io.FileIO(1, "w"), 256 << 10)


def bare() -> None:
    """The bare loop: orjson loads, dumps, write, with own 256 KiB buffers."""
    source, target = _ends()
    write, loads, dumps, newline = target.write, orjson.loads, orjson.dumps, orjson.OPT_APPEND_NEWLINE
    for line in source:
        write(dumps(loads(line), option=newline))
    target.flush()


def parsed() -> None:
    """Loads and write of the line as it is: what any stage pays that looks at records and keeps them."""
    source, target = _ends()
    write, loads = target.write, orjson.loads
    for line in source:
        loads(line)
        write(line)
    target.flush()


def array_whole() -> None:
    """Read a whole JSON array with orjson, and nothing else."""
    for _record in orjson.loads(sys.stdin.buffer.read()):
        pass


def array_whole_written() -> None:
    """Read a whole JSON array with orjson and write its records as lines."""
    source, target = _ends()
    for record in orjson.loads(source.read()):
        target.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    target.flush()


def array_streamed() -> None:
    """Stream a JSON array through our reader, and nothing else."""
    from bptools.core.sources.array import ArrayReader
    from bptools.core.sources.base import ReadOptions

    reader = ArrayReader(_ends()[0], ReadOptions(), lambda line, why, raw: None)
    for _record in reader:
        pass


def typer_app() -> None:
    """An empty Typer app: what every start-up is compared with."""
    import typer

    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)

    @app.command()
    def empty() -> None:
        """Do nothing."""

    app([])


if __name__ == "__main__":
    globals()[sys.argv[1]]()
