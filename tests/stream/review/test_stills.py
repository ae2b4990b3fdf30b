"""Single frames of a video by their number: the right ones, in whatever order they are asked for."""

from __future__ import annotations

import threading
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.errors import InputError
from stream.probe import probe
from stream.review import stills
from stream.review.stills import SIDE, Stills
from stream.tracks import read
from tests.stream import media
from tests.stream.review import stage

KINDS: dict[str, dict[str, Any]] = {
    "mp4": {},
    "mkv": {"options": {"preset": "ultrafast", "crf": "18", "bf": "2", "g": "12"}},
    "late.mp4": {"pts": [6400 + 512 * i for i in range(stage.FRAMES)]},
    "vfr.mp4": {"pts": media.vfr(stage.FRAMES, 512)},
    "avi": {"time_base": Fraction(1, 25)},
}


def opened(path: Path) -> Stills:
    record = read(path)
    return Stills(record.header.path, probe(record.header.path).info, record)


def pixels(jpeg: bytes) -> Any:
    with Image.open(BytesIO(jpeg)) as picture:
        return np.array(picture.convert("RGB"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_itself_in_any_order(kind: str, tmp_path: Path) -> None:
    path = stage.both(tmp_path, kind, **KINDS[kind])
    with opened(path) as frames:
        for index in (0, 44, 1, 2, 3, 30, 29, 12, 13, 5, 44, 43):
            assert stage.square(pixels(frames.frame(index))) == index


def test_what_is_kept_is_bounded_and_near_frames_are_decoded_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stills, "KEPT", 5)
    begun = []
    original = Stills._decoded

    def counted(self: Stills, index: int) -> Any:
        begun.append(index)
        return original(self, index)

    monkeypatch.setattr(Stills, "_decoded", counted)
    with opened(stage.both(tmp_path)) as frames:
        for index in range(0, 40, 4):
            frames.frame(index)
        assert begun == [0]
        assert len(frames._jpegs) == 5
        frames.frame(36)
        assert begun == [0]  # kept
        frames.frame(2)
        assert begun == [0, 2]


def test_faces_are_cut_out_and_the_video_is_gone_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stage.both(tmp_path)
    with opened(path) as frames:
        last = frames.face(5)
        decoded = frames._last
        for track in range(6):
            face = pixels(frames.face(track))
            assert face.shape == (SIDE, SIDE, 3)
        assert frames.face(5) is last
        assert frames._last == decoded  # nothing was decoded again: the others were met on the way
        whole = pixels(frames.frame(30))
    # The face of track 4 is what lies in its box.
    x1, y1, x2, y2 = stage.LEFT
    middle = whole[int((y1 + y2) / 2), int((x1 + x2) / 2)].astype(int)
    with opened(path) as frames:
        cut = pixels(frames.face(4)).astype(int)
    assert np.abs(cut[SIDE // 2, SIDE // 2] - middle).max() < 60


def test_a_turned_video_is_shown_as_a_player_shows_it(tmp_path: Path) -> None:
    with opened(stage.both(tmp_path, rotation=90)) as frames:
        assert pixels(frames.frame(3)).shape[:2] == (stage.WIDTH, stage.HEIGHT)


def test_what_is_not_there(tmp_path: Path) -> None:
    path = stage.both(tmp_path)
    with opened(path) as frames:
        for index in (-1, stage.FRAMES, 10**9):
            with pytest.raises(InputError, match="there is no frame"):
                frames.frame(index)
        with pytest.raises(InputError, match="there is no track 9"):
            frames.face(9)
        (tmp_path / "mv.mp4").unlink()
        with pytest.raises(InputError, match=r"mv\.mp4"):
            frames.frame(3)


def test_many_who_ask_at_once_get_what_they_asked_for(tmp_path: Path) -> None:
    path = stage.both(tmp_path)
    got: dict[int, int] = {}
    with opened(path) as frames:

        def ask(indices: range) -> None:
            for index in indices:
                got[index] = stage.square(pixels(frames.frame(index)))

        threads = [threading.Thread(target=ask, args=(range(first, stage.FRAMES, 3),)) for first in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {index: index for index in range(stage.FRAMES)}
