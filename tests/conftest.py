"""What holds for all tests: side by side, each process keeps to its own share of the cores.

torch takes every core that it may use; two processes that both do so run several times slower than one.
"""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Give a worker of pytest-xdist every n-th core, and with it all that it starts."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", ""), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if not worker or not workers or not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    mine = cores[int(worker.removeprefix("gw")) :: int(workers)]
    if mine:
        os.sched_setaffinity(0, mine)
