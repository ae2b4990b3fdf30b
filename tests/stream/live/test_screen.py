"""What pages are shown: the latest picture, made once for all who look, and the faces' little pictures."""

from __future__ import annotations

import threading
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from stream.frames import Face, Frame, LabelledFrame, Rotation, TrackVerdict, VideoInfo
from stream.live import screen
from stream.live.analysis import KEPT_GONE
from stream.live.outputs import Seen
from stream.live.screen import Screen
from stream.live.thumbnails import SIDE, Thumbnails
from stream.live.timeline import TICK
from tests import networks
from tests.stream.live import feeds

POINTS = np.array([[50, 80], [76, 80], [63, 92], [52, 104], [74, 104]], np.float32)


def seen(index: int, rotation: Rotation = 0, epoch: int = 1, box: tuple[float, ...] = (40, 60, 88, 120)) -> Seen:
    picture = feeds.picture([(feeds.ANN[0], (230, 20, min(255, 20 + index)))])
    info = VideoInfo("cam", 320, 240, rotation, TICK, None, None, "yuv444p")
    face = Face(7, np.array(box, np.float32), 0.9, POINTS, "ann", 0.8)
    return Seen(LabelledFrame(Frame(picture, index, 3600 * index, TICK), rotation, [face]), info, epoch)


def test_many_who_look_get_one_picture_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    original = screen.jpeg

    def counted(bgr: NDArray[np.uint8]) -> bytes:
        made.append(1)
        return original(bgr)

    monkeypatch.setattr(screen, "jpeg", counted)
    shown = Screen()
    for index in range(20):
        shown.frame(seen(index))
        together, got = threading.Barrier(8), list[tuple[int, bytes] | None]()

        def look(together: threading.Barrier = together, got: list[tuple[int, bytes] | None] = got) -> None:
            together.wait()
            got.append(shown.picture(after=0))

        threads = [threading.Thread(target=look) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(picture) for picture in got}) == 1
        assert got[0] is not None
        assert got[0][0] == index + 1
    assert len(made) == 20


def test_nothing_is_made_twice_nor_before_there_is_anything() -> None:
    shown = Screen()
    assert shown.picture(after=0) is None
    shown.frame(seen(0))
    first = shown.picture(after=0)
    assert first is not None
    assert shown.picture(after=first[0]) is None
    shown.frame(seen(1))
    assert shown.picture(after=first[0]) is not None


@pytest.mark.parametrize(
    ("rotation", "size"), [(0, (320, 240)), (90, (240, 320)), (180, (320, 240)), (270, (240, 320))]
)
def test_the_picture_stands_upright(rotation: Rotation, size: tuple[int, int]) -> None:
    shown = Screen()
    shown.frame(seen(0, rotation))
    picture = shown.picture(after=0)
    assert picture is not None
    with Image.open(BytesIO(picture[1])) as image:
        assert image.size == size


def test_marks_are_drawn_only_while_somebody_looks() -> None:
    shown = Screen()
    assert not shown.draws
    shown.viewers = 1
    assert shown.draws


def test_who_asks_for_single_pictures_looks_until_they_have_not_asked_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [1000.0]
    monkeypatch.setattr("stream.live.screen.time.monotonic", lambda: now[0])
    shown = Screen()
    assert shown.picture(after=0) is None
    assert shown.draws
    now[0] += screen.LOOKED
    assert not shown.draws


def test_who_is_there_in_parts_of_the_picture_and_since_when() -> None:
    shown = Screen()
    for index in range(26):
        shown.frame(seen(index))
    state = shown.snapshot()
    assert (state["width"], state["height"], state["epoch"]) == (320, 240, 1)
    assert state["faces"] == [{"track": 7, "name": "ann", "similarity": 0.8, "box": [0.125, 0.25, 0.275, 0.5]}]
    assert state["timeline"]["rows"] == [{"name": "ann", "stays": [[0.0, 1.0]]}]


@pytest.mark.parametrize("box", [(40, 60, 88, 120), (-30, -30, 10, 10), (300, 220, 360, 280), (0, 0, 320, 240)])
def test_a_little_picture_of_every_face_wherever_it_is(box: tuple[float, ...]) -> None:
    little = Thumbnails()
    little.frame(seen(0, box=box))
    data = little.of(1, 7)
    assert data is not None
    with Image.open(BytesIO(data)) as image:
        assert image.size == (SIDE, SIDE)


def test_little_pictures_go_with_their_track_and_their_feed() -> None:
    little = Thumbnails()
    little.frame(seen(0))
    with Image.open(BytesIO(little.of(1, 7) or b"")) as image:
        assert image.convert("RGB").getpixel((SIDE // 2, SIDE // 2)) == pytest.approx(networks.PEOPLE["ann"], abs=12)
    assert little.of(2, 7) is None
    little.over([TrackVerdict(7, 0, "named", "ann", 0.8, 0, 0, 1)])
    assert little.of(1, 7) is not None  # it may still be named
    little.over([TrackVerdict(track, 0, "unknown", None, None, 0, 0, 1) for track in range(100, 100 + KEPT_GONE)])
    assert little.of(1, 7) is None
    little.frame(seen(1))
    little.frame(seen(2, epoch=2))
    assert little.of(1, 7) is None
    assert little.of(2, 7) is not None
