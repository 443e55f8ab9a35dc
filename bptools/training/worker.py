"""The child that trains: python -m bptools.training.worker RUN_DIRECTORY.

It reads plan.json there, says what happens on its standard output, one event a line, and leaves result.json.
Its exit status is that of the command: a failure was told as an event before.
"""

from __future__ import annotations

import os
import sys
import warnings

from bptools.core.errors import BpError, Exit
from bptools.training.events import Emitter
from bptools.training.stopping import Stop


def main(path: str) -> int:
    """Carry out the plan of a run directory; return the exit status."""
    emit = Emitter(_claim_stdout())
    stop = Stop()
    stop.install()
    _leave_with_parent()
    try:
        return _work(path, emit, stop)
    except BpError as error:
        emit("error", code=error.exit_code, message=str(error))
        return error.exit_code
    except Exception as error:
        return _failed(error, emit)


def _work(path: str, emit: Emitter, stop: Stop) -> int:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"  # all that is needed is there; nothing else is asked for
    warnings.simplefilter("ignore")
    from bptools.training.job import open_job
    from bptools.training.working import work

    return work(open_job(path, emit, stop))


def _failed(error: Exception, emit: Emitter) -> int:
    import traceback

    from bptools.training.batching import is_out_of_memory

    traceback.print_exc()
    reason = " ".join(str(error).split())[:300]
    if is_out_of_memory(error):
        emit("error", code=Exit.NOMEMORY, message=f"out of memory: {reason}")
        return Exit.NOMEMORY
    if isinstance(error, OSError) and error.errno is not None:
        what = f": '{error.filename}'" if error.filename else ""
        emit("error", code=Exit.IOERR, message=f"{(error.strerror or reason).lower()}{what}")
        return Exit.IOERR
    emit("error", code=Exit.SOFTWARE, message=f"{type(error).__name__}: {reason}")
    return Exit.SOFTWARE


def _leave_with_parent() -> None:
    """End this process when the parent is gone: two of us in one run directory would spoil it."""
    import threading

    def wait() -> None:
        try:
            while os.read(0, 1):
                pass
        finally:
            os._exit(Exit.TERM)

    threading.Thread(target=wait, daemon=True).start()


def _claim_stdout() -> int:
    """Keep standard output for events; whatever libraries print goes where standard error goes."""
    events = os.dup(1)
    os.dup2(2, 1)
    return events


if __name__ == "__main__":
    code = main(sys.argv[1])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # not sys.exit: threads of libraries may linger, and everything is written
