"""Ctrl-C and its like, made to wait."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

from engine.signals import ENDING, undisturbed

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself these signals")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[dict[int, object]]:
    """Ctrl-C raises KeyboardInterrupt, whatever the tests were started with; the others end as in a program."""

    def ends(number: int, frame: object) -> None:
        raise SystemExit(number)

    before = {number: signal.getsignal(number) for number in ENDING}
    now: dict[int, object] = {}
    for number in ENDING:
        now[number] = signal.default_int_handler if number == signal.SIGINT else ends
        signal.signal(number, now[number])  # type: ignore[arg-type]
    yield now
    for number, handler in before.items():
        signal.signal(number, handler)


ENDED: list[tuple[int, ...]] = []
"""What was sent to blocks that came to their ends."""


def disturb(*numbers: int, then: Exception | None = None) -> bool:
    """Send these to a block that is undisturbed."""
    with undisturbed():
        for number in numbers:
            os.kill(os.getpid(), number)
        if then is not None:
            raise then
        ENDED.append(numbers)
    return True


def nested() -> None:
    with undisturbed():
        disturb(signal.SIGINT)
        disturb(signal.SIGINT, signal.SIGTERM)


def test_a_signal_waits_and_then_is_as_if_it_came_just_now(handlers: dict[int, object]) -> None:
    ENDED.clear()
    with pytest.raises(KeyboardInterrupt):
        nested()
    assert ENDED == [(signal.SIGINT,), (signal.SIGINT, signal.SIGTERM)]
    assert {number: signal.getsignal(number) for number in ENDING} == handlers


def test_an_error_inside_is_not_covered_by_a_signal(handlers: dict[int, object]) -> None:
    with pytest.raises(ValueError, match="inside"):
        disturb(signal.SIGINT, then=ValueError("inside"))
    assert {number: signal.getsignal(number) for number in ENDING} == handlers


def test_what_is_ignored_stays_so_and_stands_in_nobodys_way() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert disturb(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        disturb(signal.SIGHUP, signal.SIGINT)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_terminal_that_is_gone_is_told_before_all_else() -> None:
    with pytest.raises(SystemExit) as end:
        disturb(signal.SIGINT, signal.SIGHUP)
    assert end.value.code == signal.SIGHUP
