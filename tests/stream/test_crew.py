"""Threads that work as one."""

from __future__ import annotations

import threading

import pytest

from stream.crew import Channel, Crew, Stopped


def test_items_arrive_in_order_and_never_more_than_the_capacity_wait() -> None:
    crew = Crew()
    numbers: Channel[int] = crew.channel(3)
    handed_over: list[int] = []

    def count() -> None:
        for n in range(100):
            numbers.put(n)
            handed_over.append(n)
        numbers.close()

    crew.start("count", count)
    for expected, got in enumerate(numbers):
        assert got == expected
        assert len(handed_over) <= expected + 1 + 3 + 1
    crew.wait()
    assert handed_over == list(range(100))


def test_who_waits_for_room_is_woken_when_half_of_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew()
    numbers: Channel[int] = crew.channel(4, "numbers")
    waits, wait = threading.Event(), numbers._drained.wait

    def told() -> bool:
        waits.set()
        return wait()

    monkeypatch.setattr(numbers._drained, "wait", told)
    for n in range(4):
        numbers.put(n)
    crew.start("count", lambda: numbers.put(4))
    waits.wait()
    taken = iter(numbers)
    assert [next(taken) for _ in range(2)] == [0, 1]
    crew.wait()
    numbers.close()
    assert list(taken) == [2, 3, 4]
    assert crew.queues()["numbers"]["depth_mean"] == (1 + 2 + 3 + 4 + 3) / 5, "the last one came when two were left"


def test_the_first_failure_ends_everybody_and_is_what_is_raised() -> None:
    crew = Crew()
    full: Channel[int] = crew.channel(1)
    empty: Channel[int] = crew.channel(1)
    ended = []

    def producer() -> None:
        try:
            while True:
                full.put(1)
        finally:
            ended.append("producer")

    def consumer() -> None:
        try:
            for _ in empty:
                pytest.fail("nothing was ever put")
        finally:
            ended.append("consumer")

    def broken() -> None:
        raise OSError("the disk is on fire")

    for work in (producer, consumer, broken):
        crew.start(work.__name__, work)
    with pytest.raises(OSError, match="on fire"):
        crew.wait()
    assert sorted(ended) == ["consumer", "producer"]


def test_only_the_first_failure_counts() -> None:
    crew = Crew()
    crew.fail(ValueError("first"))
    crew.fail(ValueError("second"))
    with pytest.raises(ValueError, match="first"):
        crew.wait()


def test_stop_wakes_a_waiting_reader_and_a_waiting_writer() -> None:
    crew = Crew()
    channel: Channel[int] = crew.channel(1)
    channel.put(0)
    woken = threading.Semaphore(0)

    def writer() -> None:
        try:
            channel.put(1)
        except Stopped:
            woken.release()
            raise

    crew.start("writer", writer)
    crew.stop()
    crew.wait()
    assert woken.acquire(timeout=5)
    with pytest.raises(Stopped):
        next(iter(channel))


def test_a_channel_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity = 0"):
        Channel(0)


def test_who_hands_over_goes_on_when_the_item_is_taken() -> None:
    crew = Crew()
    channel: Channel[int] = crew.channel(1)
    ahead: list[int] = []

    def make() -> None:
        for number in range(5):
            ahead.append(number)
            channel.hand(number)
        channel.close()

    crew.start("make", make)
    for number in channel:
        assert max(ahead) <= number + 1
    crew.wait()
    assert ahead == [0, 1, 2, 3, 4]


def test_who_waits_for_its_item_to_be_taken_ends_with_the_crew() -> None:
    crew = Crew()
    channel: Channel[int] = crew.channel(1)
    crew.start("make", lambda: channel.hand(1))
    crew.stop()
    crew.wait()
