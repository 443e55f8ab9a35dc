"""The edge of the process: parse, run, turn every ending into one message and one exit status.

Only this module exits; everything else raises.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
from typing import Any, NoReturn

import typer
from typer._click.exceptions import ClickException, NoSuchOption
from typer._click.exceptions import UsageError as ClickUsageError
from typer.core import TyperCommand
from typer.main import get_command

from bptools import __version__
from bptools.core.errors import BpError, Exit, ReaderGone
from bptools.core.messages import Messages
from bptools.core.settings import load_dotenv, origin_of
from bptools.core.signals import Terminated, catch_signals
from bptools.core.suggesting import did_you_mean

_PLAIN = (
    (r"^(no such command '.*')\. Did you mean", r"\1; did you mean"),
    (r"is not a valid int(eger)?( range)?$", "is no whole number"),
    (r"is not a valid float( range)?$", "is no number"),
    (r"is not a valid boolean\. Recognized values:.*", "is neither true nor false; write 1 or 0"),
    (r"is not in the range x>=(\S+)$", r"is less than \1"),
    (r"is not in the range x<=(\S+)$", r"is more than \1"),
    (r"is not in the range (\S+)<=x<=(\S+)$", r"is not between \1 and \2"),
)
"""What the parser says, and what we say: expressions."""


def command_app() -> typer.Typer:
    """Return the Typer app of a command: plain help, no dynamic completion, no Typer tracebacks."""
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


class PlainCommand(TyperCommand):
    """A command whose help ends in the examples of its man page, read only when help is asked for."""

    def get_help_option(self, ctx: Any) -> Any:
        """Return --help, which no variable asks for."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.allow_from_autoenv = False
        return option

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        from bptools.core.pages import section

        examples = section(ctx.command_path, "EXAMPLES")
        if examples:
            formatter.write(f"\nExamples:\n{examples}\n")


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command with the process's arguments and exit."""
    _hold_standard_descriptors()
    code = call(app, name, sys.argv[1:])
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # only help and reports go through it
    except OSError:
        code = code or Exit.PIPE
    # not sys.exit: interpreter shutdown would cost 5 ms, and could print about a closed pipe
    os._exit(code)


def _hold_standard_descriptors() -> None:
    """Put something on a descriptor that the caller closed, or the next file opened would become stdout.

    Each is opened the wrong way round, so that using it is the error that it should be.
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def call(app: typer.Typer, name: str, arguments: list[str]) -> int:
    """Run a command and return its exit status. Nothing but a bug leaves as an exception, under BP_DEBUG."""
    messages = Messages(name, as_json=_wants_json(arguments))
    catch_signals()
    try:
        return _invoke(app, name, arguments, messages)
    except ReaderGone:
        return Exit.PIPE
    except BpError as error:
        if not error.said:
            messages.error(str(error))
        return error.exit_code
    except ClickUsageError as error:
        text, code = _usage_message(error, name)
        messages.error(text)
        return code
    except ClickException as error:
        messages.error(_lower(error.format_message()))
        return error.exit_code
    except KeyboardInterrupt:
        messages.error("interrupted")
        return Exit.INT
    except Terminated as error:
        hung_up = error.number == getattr(signal, "SIGHUP", None)
        messages.error("hung up" if hung_up else "terminated")
        return 128 + error.number
    except MemoryError:
        messages.error("out of memory")
        return Exit.NOMEMORY
    except BrokenPipeError:
        return Exit.PIPE
    except OSError as error:
        what = f"'{error.filename}': " if error.filename else ""
        messages.error(f"{what}{(error.strerror or str(error)).lower()}")
        return Exit.IOERR
    except Exception as error:
        if os.environ.get("BP_DEBUG"):
            raise
        messages.error(f"internal error: {type(error).__name__}: {error}; BP_DEBUG=1 shows where")
        return Exit.SOFTWARE


def _invoke(app: typer.Typer, name: str, arguments: list[str], messages: Messages) -> int:
    warning = load_dotenv()
    if warning is not None:
        messages.warn(warning)
    command = get_command(app)
    try:
        with command.make_context(name, list(arguments), auto_envvar_prefix="BP") as context:
            command.invoke(context)
    except typer.Exit as ending:
        return ending.exit_code
    return Exit.OK


def _wants_json(arguments: list[str]) -> bool:
    """Say whether messages are JSON, before the options are parsed: their errors are messages too."""
    if "--log-format=json" in arguments or os.environ.get("BP_LOG_FORMAT") == "json":
        return True
    return any(pair == ("--log-format", "json") for pair in itertools.pairwise(arguments))


def _usage_message(error: ClickUsageError, name: str) -> tuple[str, int]:
    """Return what is wrong and the exit status; a value that nobody gave here is named by its origin."""
    parameter = getattr(error, "param", None)
    origin = origin_of(error.ctx, parameter.name or "") if error.ctx and parameter is not None else None
    if origin is not None:
        detail = _plain(" ".join(error.message.rstrip(".").split()))
        return f"{origin.place}: {_lower(detail)}", Exit.CONFIG if origin.is_file else Exit.USAGE
    text = _plain(_lower(error.format_message().rstrip(".")))
    if isinstance(error, NoSuchOption) and error.ctx is not None:
        names = [name for known in error.ctx.command.params for name in known.opts if name.startswith("--")]
        text = f"no such option: {error.option_name}{did_you_mean(error.option_name, names)}"
    path = error.ctx.command_path if error.ctx is not None else name
    text = " ".join(text.split())
    return text if text.endswith("?") else f"{text}; see {path} --help", Exit.USAGE


def _plain(text: str) -> str:
    """Say of a value what it should be, not the name of a type."""
    for found, instead in _PLAIN:
        text = re.sub(found, instead, text)
    return text


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        typer.echo(version_line(context.info_name or ""))
        raise typer.Exit()


def version_option() -> Any:
    """Return the --version option that every command has."""
    return typer.Option(
        "--version",
        is_eager=True,
        callback=_print_version,
        expose_value=False,
        show_envvar=False,
        allow_from_autoenv=False,  # BP_VERSION is what a CI may call its own
        help="Print the version, and stop.",
    )


def version_line(name: str) -> str:
    """Return what --version prints."""
    return f"{name} {__version__}" if name == "bptools" else f"{name} (bptools) {__version__}"
