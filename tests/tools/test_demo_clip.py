"""The clip that the demo makes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from engine.errors import MissingError
from tests.tools.conftest import SHOT_FRAMES
from tools import demo_clip
from tools.demo_clip import DemoFiles


def test_720p_with_sound_chapters_and_every_frame_in_its_place(demo_files: DemoFiles) -> None:
    with av.open(str(demo_files.clip)) as clip:
        video, audio = clip.streams.video[0], clip.streams.audio[0]
        assert (video.codec_context.width, video.codec_context.height) == (1280, 720)
        assert video.average_rate == Fraction(30000, 1001)
        assert video.time_base is not None
        times = [frame.pts * video.time_base for frame in clip.decode(video=0) if frame.pts is not None]
        assert times == [Fraction(1001 * i, 30000) for i in range(demo_files.frames)]
        assert audio.duration is not None
        assert audio.time_base is not None
        assert float(audio.duration * audio.time_base) == pytest.approx(demo_files.frames * 1.001 / 30, abs=0.05)
        chapters = clip.chapters()
    assert [chapter["metadata"]["title"] for chapter in chapters] == list(demo_clip.SHOTS)
    assert demo_files.frames == 3 * SHOT_FRAMES


def test_the_sound_is_to_be_heard(demo_files: DemoFiles) -> None:
    with av.open(str(demo_files.clip)) as clip:
        samples = np.concatenate([frame.to_ndarray() for frame in clip.decode(audio=0)], axis=1)
    assert samples.shape[0] == 2
    assert np.abs(samples).max() > 0.1


def test_three_shots_with_hard_cuts_between_them(demo_files: DemoFiles) -> None:
    with av.open(str(demo_files.clip)) as clip:
        small = [frame.to_ndarray(width=64, height=36, format="gray").astype(float) for frame in clip.decode(video=0)]
    change = [float(np.abs(a - b).mean()) for a, b in pairwise(small)]
    cuts = [SHOT_FRAMES - 1, 2 * SHOT_FRAMES - 1]
    calm = max(value for index, value in enumerate(change) if index not in cuts)
    assert min(change[index] for index in cuts) > 3 * calm


def test_a_zoom_moves_smoothly() -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8)[:, None], (1, 256))
    picture = demo_clip.enlarged(np.repeat(ramp[..., None], 3, axis=2))
    for shift in (0.0, 0.3, 0.6):
        middle = demo_clip.view(picture, (128, 100 + shift), 64, (64, 64))[32, 32, 0]
        assert abs(float(middle) - (100 + shift)) <= 1.0


def test_photos_of_one_person_are_four_different_pictures(demo_files: DemoFiles) -> None:
    (person,) = demo_files.photos.iterdir()
    assert person.name == demo_clip.PERSON
    contents = set()
    for photo in person.iterdir():
        with Image.open(photo) as image:
            assert image.format == "JPEG"
            contents.add(image.tobytes())
    assert len(contents) == 4


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r"scikit-image.*'\.\[demo\]'"):
        demo_clip.build(tmp_path)
    assert not list(tmp_path.iterdir())
