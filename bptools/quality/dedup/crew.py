"""Processes that make profiles while this one reads and compares: see `worker`.

    crew = Crew(profiler, jobs=2)
    for window in windows:
        waiting.append(Job(texts))
        crew.hand_out(waiting)              # what a process is free for; nobody waits
        ...
        job = waiting.popleft()
        crew.finish(job, waiting)           # job.profile is there

They are started by subprocess: not by fork, which threads do not bear, and not by multiprocessing, whose
processes hold each other's pipes, so that they outlive a kill -9, and run the command's own file again. A
process has one job at a time and is given the next when all of its answer is here: no two wait for each other
to read. 150,000 chats of 570 bytes took 2.9 s with one process and 2.2 s with two; reading and comparing take
1.9 s of that, handing texts out 0.06 s and taking profiles 0.02 s.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bptools.core.errors import BpError, Exit
from bptools.core.streams import reason_of
from bptools.quality.dedup.words import packed
from bptools.quality.dedup.worker import READY, Gone, receive, receive_profile, send_texts

if TYPE_CHECKING:
    from bptools.quality.dedup.profile import Profile, Profiler

_PIPE_BYTES = 1 << 20  # what Linux lets anyone have
_CODE = (
    "import sys; sys.path[:] = sys.argv[5:]\n"  # the folder at hand must not come first
    "from bptools.quality.dedup.worker import main; main()"
)


class WorkerLost(BpError):
    """A process could not be started, or ended before its work was done: most likely memory is short."""

    exit_code = Exit.NOMEMORY


class Job:
    """Texts, and their profile when it is made."""

    __slots__ = ("profile", "taken", "texts")

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.profile: Profile | None = None
        self.taken: _Worker | None = None  # who is at it


class _Worker:
    """One process, and the job it has."""

    def __init__(self, profiler: Profiler) -> None:
        threshold, ngram, seed, signatures = profiler.options
        options = [repr(threshold), str(ngram), str(seed), str(int(signatures))]
        self._profiler = profiler
        # a traceback at a Ctrl-C before it is deaf to it is nothing for a user
        errors = None if os.environ.get("BP_DEBUG") else subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, *options, *sys.path],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        except OSError as error:
            raise WorkerLost(f"cannot start a process for --jobs: {reason_of(error)}") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._given, self._made = self._process.stdin, self._process.stdout
        _widen(self._given.fileno(), self._made.fileno())
        self._job: Job | None = None
        self._busy = True  # until it is ready

    def is_free(self) -> bool:
        """Whether it can be given a job. What it has made by now is taken."""
        if self._busy and _has_arrived(self._made.fileno()):
            self.take()
        return not self._busy

    def give(self, job: Job) -> None:
        """Have a job done."""
        self._job, self._busy, job.taken = job, True, self
        try:
            send_texts(self._given, packed(job.texts))
        except Gone:
            raise self._lost() from None
        job.texts = []

    def take(self) -> None:
        """Wait for what it makes."""
        job, self._job = self._job, None
        try:
            if job is None:
                receive(self._made, bytearray(len(READY)))
            else:
                made = receive_profile(self._made, self._profiler.bands, self._profiler.options[3])
                job.taken = None
                if isinstance(made, str):
                    raise MemoryError if made.startswith("MemoryError") else RuntimeError(made)
                job.profile = made
        except Gone:
            raise self._lost() from None
        self._busy = False

    def _lost(self) -> WorkerLost:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)  # its pipes are closed: it is about to end
        self.close()
        status = self._process.returncode
        if status >= 0:
            return WorkerLost(f"a process of --jobs ended with {status}; BP_DEBUG=1 shows why")
        with contextlib.suppress(ValueError):
            status = signal.Signals(-status).name
        return WorkerLost(f"a process of --jobs was killed ({status}); if memory is short, give fewer --jobs")

    def close(self) -> None:
        """End it; more than once is no error."""
        self._process.kill()
        self._process.wait()
        self._given.close()
        self._made.close()


class Crew:
    """This process and up to `jobs` - 1 others, which are started when there is work for them."""

    def __init__(self, profiler: Profiler, jobs: int) -> None:
        self._profiler = profiler
        self._most = jobs - 1
        self.ahead = jobs if jobs > 1 else 0  # jobs that may wait: one for each process, and one at hand
        self._workers: list[_Worker] = []

    def hand_out(self, jobs: Sequence[Job]) -> None:
        """Give jobs that nobody is at to processes that are free.

        None is started for a first window: that is all of many inputs, and starting takes as long as its job.
        """
        if not self._workers and len(jobs) > 1:
            self._start()
        free = [worker for worker in self._workers if worker.is_free()]
        for job in jobs:
            if not free:
                return
            if job.taken is None and job.profile is None:
                free.pop().give(job)

    def finish(self, job: Job, later: Iterable[Job]) -> None:
        """Have a job done now. While a process is at it, those that nobody is at are done here."""
        if job.taken is not None and not job.taken.is_free():
            self._start()  # those that there are do not keep up
            for other in later:
                if job.taken is None or job.taken.is_free():
                    break
                if other.taken is None and other.profile is None:
                    self._do(other)
        if job.taken is not None:
            job.taken.take()
        if job.profile is None:
            self._do(job)

    def _do(self, job: Job) -> None:
        job.profile = self._profiler.profile(job.texts)
        job.texts = []

    def _start(self) -> None:
        if len(self._workers) < self._most:
            self._workers.append(_Worker(self._profiler))

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.close()


def _widen(*pipes: int) -> None:
    """Have pipes hold a whole window where the system can: less changing of sides."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        from fcntl import F_SETPIPE_SZ, fcntl

        for pipe in pipes:
            fcntl(pipe, F_SETPIPE_SZ, _PIPE_BYTES)


def _has_arrived(pipe: int) -> bool:
    """Say whether something can be read from a pipe, its end included."""
    if sys.platform == "win32":
        import _winapi
        import msvcrt

        try:
            return bool(_winapi.PeekNamedPipe(msvcrt.get_osfhandle(pipe), 0)[0])
        except OSError:
            return True
    from select import POLLIN, poll

    asked = poll()
    asked.register(pipe, POLLIN)
    return bool(asked.poll(0))
