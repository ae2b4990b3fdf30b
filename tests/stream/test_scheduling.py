"""Threads stay as they were scheduled, whatever an encoder does to them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stream.encoding import EncoderSettings, plan_encoder
from stream.scheduling import as_scheduled
from tests.stream import media
from tests.stream.test_encoding import encode, facts
from tools.cli import run

if not hasattr(os, "sched_getscheduler"):
    pytest.skip("only Linux tells how threads are scheduled", allow_module_level=True)


def policies() -> set[int]:
    """Of all threads of this process."""
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found.add(os.sched_getscheduler(int(task)))
        except ProcessLookupError:
            continue
    return found


def become_real_time() -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user may not have real-time threads")


def test_no_encoder_makes_real_time_threads() -> None:
    become_real_time()  # as SVT-AV1 does where it may
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    before = policies()
    assert not before & {os.SCHED_FIFO, os.SCHED_RR}
    plan = plan_encoder(EncoderSettings("svtav1"), facts(size=(64, 64)))
    context = plan.open()
    assert policies() == before
    del context
    encode(plan)
    assert policies() == before


def test_labelling_leaves_all_threads_as_they_were(
    tmp_path: Path, detector_file: Path, embedder_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    become_real_time()
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    clip = media.write(tmp_path / "a.mkv", media.Video(frames=6))
    seen: list[set[int]] = []
    networks = ["--detector", str(detector_file), "--embedder", str(embedder_file)]
    watched = threading.Event()

    def watch() -> None:
        while not watched.wait(0.002):
            seen.append(policies())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        words = ["label", str(clip), "-o", str(tmp_path / "b.mkv"), "--encoder", "svtav1", *networks]
        assert run(words) == 0, capsys.readouterr().err
    finally:
        watched.set()
        watcher.join()
    after = policies()
    assert not after & {os.SCHED_FIFO, os.SCHED_RR}
    assert sum(bool(each & {os.SCHED_FIFO, os.SCHED_RR}) for each in seen) < len(seen) / 2, "but while it opens"


def test_what_became_real_time_inside_is_so_no_more_and_threads_that_it_started() -> None:
    done = threading.Event()
    try:
        with as_scheduled():
            become_real_time()
            thread = threading.Thread(target=done.wait)
            thread.start()
            assert policies() >= {os.SCHED_FIFO}
        assert os.SCHED_FIFO not in policies()
        assert thread.is_alive()
    finally:
        done.set()


def test_who_was_real_time_before_stays_so() -> None:
    before = os.sched_getscheduler(0)
    become_real_time()
    try:
        with as_scheduled():
            pass
        assert os.sched_getscheduler(0) == os.SCHED_FIFO
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))


def test_an_error_inside_goes_on_and_the_thread_is_as_before() -> None:
    @as_scheduled()
    def fail() -> None:
        become_real_time()
        raise ValueError("inside")

    before = os.sched_getscheduler(0)
    with pytest.raises(ValueError, match="inside"):
        fail()
    assert os.sched_getscheduler(0) == before
