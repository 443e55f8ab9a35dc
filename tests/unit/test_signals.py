"""core/signals: what a signal does, and when another is another wish."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from bptools.core import signals
from bptools.core.signals import Terminated, catch_signals, wish_is_met

ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return the signals that this process would have died of."""
    before = {number: signal.getsignal(number) for number in ALL}
    for number in ALL:
        signal.signal(number, signal.SIG_DFL)
    catch_signals()
    found: list[int] = []
    monkeypatch.setattr(signals.os, "kill", lambda pid, number: found.append(number))
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ALL)
def test_only_what_comes_after_a_moment_ends_at_once(
    number: int, killed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else Terminated):
        signal.raise_signal(number)
    for again in ALL:
        signal.raise_signal(again)
    assert killed == []
    monkeypatch.setattr(signals, "SAME_WISH", -1.0)
    signal.raise_signal(signal.SIGTERM)
    assert killed == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_wish_that_was_met_is_over(killed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "SAME_WISH", -1.0)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        wish_is_met()
    assert killed == []


def test_what_is_ignored_stays_ignored(killed: list[int]) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell leaves it for what runs in the background
    catch_signals()
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(Terminated):
        signal.raise_signal(signal.SIGTERM)
    assert killed == []
