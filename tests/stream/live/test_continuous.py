"""Outputs that show pictures without a gap: the dropped ones too, and a slate where there are none."""

from __future__ import annotations

import threading
from itertools import pairwise

import av
import numpy as np
import pytest

from engine.detector import Detector
from engine.errors import InputError
from stream.live.outputs import Seen
from stream.live.run import Live, LiveSettings
from tests import networks
from tests.stream.live import feeds
from tests.stream.live.test_run import Kept, cameras


class Shown(Kept):
    """Keeps what a continuous output is given."""

    draws = True

    def between(self, seen: Seen) -> None:
        self.seen.append(seen)


def test_every_frame_is_shown_with_who_must_have_been_on_it(detector: Detector) -> None:
    gate, kept, shown = threading.Event(), Kept(), Shown()

    class Slow(Kept):
        def frame(self, seen: Seen) -> None:
            kept.frame(seen)
            if len(kept.seen) == 1:
                gate.wait(20)

    walk = [feeds.picture([((40 + 4 * n, 60, 88 + 4 * n, 120), feeds.ANN[1])]) for n in range(11)]
    steps: list[feeds.Step] = [walk[0], lambda: feeds.until(lambda: len(kept.seen) == 1), *walk[1:], gate.set]
    steps.append(lambda: feeds.until(lambda: len(kept.seen) == 2))
    settings = LiveSettings(max_staleness=60, retries=0, every_frame=True)
    live = Live(cameras("a"), detector, settings=settings, outputs=[[Slow(), shown]], opens=feeds.Script(steps))
    with pytest.raises(InputError), live:
        live.wait(30)
    assert live.cameras[0].room.tally.as_dict() == {"superseded": 9}
    assert [seen.labelled.frame.pts - shown.seen[0].labelled.frame.pts for seen in shown.seen] == [
        3600 * n for n in range(11)
    ]
    lefts = [float(face.box[0]) for seen in shown.seen for face in seen.labelled.faces]
    steps_between = [b - a for a, b in pairwise(lefts)]
    assert len(lefts) == 11
    assert steps_between == pytest.approx([(lefts[-1] - lefts[0]) / 10] * 10, abs=1e-3)
    assert lefts[-1] - lefts[0] > 30


def test_nobody_is_shown_across_a_cut(detector: Detector) -> None:
    gate, kept, shown = threading.Event(), Kept(), Shown()

    class Slow(Kept):
        def frame(self, seen: Seen) -> None:
            kept.frame(seen)
            if len(kept.seen) == 1:
                gate.wait(20)

    def on(ground: int) -> av.VideoFrame:
        rgb = np.random.default_rng(ground).integers(0, 110, (8, 10, 3), dtype=np.uint8).repeat(30, 0).repeat(32, 1)
        networks.paint(rgb, *(feeds.ANN if ground == 1 else feeds.SOMEBODY))
        return av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv444p")

    steps: list[feeds.Step] = [on(1), lambda: feeds.until(lambda: len(kept.seen) == 1)]
    steps += [*(on(1) for _ in range(3)), *(on(2) for _ in range(4)), gate.set]
    steps.append(lambda: feeds.until(lambda: len(kept.seen) == 2))
    settings = LiveSettings(max_staleness=60, retries=0, every_frame=True)
    live = Live(cameras("a"), detector, settings=settings, outputs=[[Slow(), shown]], opens=feeds.Script(steps))
    with pytest.raises(InputError), live:
        live.wait(30)
    lefts = [[round(float(face.box[0]), -1) for face in seen.labelled.faces] for seen in shown.seen]
    assert lefts == [[40.0]] * 4 + [[200.0]] * 4


def test_frames_that_came_after_the_last_look_are_shown_too(detector: Detector) -> None:
    kept, shown = Kept(), Shown()
    picture = feeds.picture()
    steps: list[feeds.Step] = [picture, lambda: feeds.until(lambda: len(kept.seen) == 1)]
    hold = threading.Event()

    class Slow(Kept):
        def frame(self, seen: Seen) -> None:
            kept.frame(seen)
            hold.wait(20)

    steps += [*[feeds.picture() for _ in range(3)], hold.set]
    settings = LiveSettings(max_staleness=60, retries=0, every_frame=True)
    live = Live(cameras("a"), detector, settings=settings, outputs=[[Slow(), shown]], opens=feeds.Script(steps))
    with pytest.raises(InputError), live:
        live.wait(30)
    assert len(shown.seen) == live.cameras[0].room.tally.came == 4


def test_a_slate_stands_in_while_the_feed_is_down(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.live.camera.SLATE_AFTER", 0.05)
    monkeypatch.setattr("stream.live.camera.SLATE_EVERY", 0.05)
    analysed, kept, shown = threading.Semaphore(0), Kept(), Shown()
    back = threading.Event()
    script = feeds.Script(
        [feeds.picture(), lambda: feeds.until(lambda: bool(kept.seen)), "the cable is out"], [lambda: back.wait(30)]
    )
    settings = LiveSettings(max_staleness=60, retries=9, slate=True)
    live = Live(cameras("door"), detector, settings=settings, outputs=[[kept, shown]], opens=script)
    with live:
        feeds.until(lambda: len(shown.seen) > 4)
    back.set()
    analysed.release()
    slates = shown.seen[1:]
    pts = [seen.labelled.frame.pts for seen in shown.seen]
    assert pts == sorted(set(pts))
    assert len(kept.seen) == 1  # only where pictures are shown
    assert all(seen.labelled.faces == [] and seen.info is shown.seen[0].info for seen in slates)
    picture = slates[0].labelled.frame.picture
    assert (picture.width, picture.height, picture.format.name) == (320, 240, "yuv444p")
    grey = picture.to_ndarray(format="gray")
    assert grey.min() < 60 < 180 < grey.max()  # something is written on it
