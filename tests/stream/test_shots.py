"""Shot cuts, flashes, coloured light and camera moves on drawn scenes."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.shots import Glance, ShotDetector, difference, glance

Picture = NDArray[np.uint8]


def scene(seed: int, width: int = 640, height: int = 90) -> Picture:
    """A picture with structure at the size of bodies and stage sets."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (6, 10 * width // 160, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def view(picture: Picture, x: int = 0) -> Picture:
    return np.ascontiguousarray(picture[:, x : x + 160])


def cuts(pictures: list[Picture]) -> list[int]:
    detector = ShotDetector()
    decisions = [cut for picture in pictures for cut in detector.push(glance(picture))] + detector.flush()
    assert len(decisions) == len(pictures)
    return [i for i, cut in enumerate(decisions) if cut]


def shot(seed: int, frames: int) -> list[Picture]:
    """A slow pan with a little noise."""
    wide, rng = scene(seed), np.random.default_rng(seed + 1000)
    noise = rng.integers(-3, 4, (frames, 90, 160, 3))
    return [np.clip(view(wide, i) + noise[i], 0, 255).astype(np.uint8) for i in range(frames)]


def test_hard_cuts_are_exact_to_the_frame() -> None:
    assert cuts(shot(1, 20) + shot(2, 9) + shot(3, 30)) == [20, 29]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_white_flash_is_no_cut(length: int) -> None:
    frames = shot(1, 40)
    for i in range(20, 20 + length):
        frames[i] = np.full_like(frames[i], 255)
    assert cuts(frames) == []


def test_a_flash_that_leaves_some_structure_is_no_cut() -> None:
    frames = shot(1, 40)
    frames[20] = np.clip(frames[20].astype(int) // 3 + scene(9)[:, :160] // 2 + 100, 0, 255).astype(np.uint8)
    assert cuts(frames) == []


def test_a_strobe_is_no_cut() -> None:
    frames = shot(1, 60)
    for i in range(10, 50, 2):
        frames[i] = np.full_like(frames[i], 250)
    assert cuts(frames) == []


def test_coloured_light_that_switches_is_no_cut() -> None:
    frames = shot(1, 40)
    for i in range(20, 40):
        frames[i] = (frames[i] * np.array([1.0, 0.35, 0.5])).astype(np.uint8)
    assert cuts(frames) == []


def test_a_whip_pan_is_no_cut() -> None:
    wide = scene(1, width=3200)
    frames = [view(wide, 10 * i * i) for i in range(17)] + [view(wide, 2900 - i) for i in range(10)]
    assert cuts([view(wide)] * 10 + frames) == []


def test_a_shot_that_follows_a_fade_to_black_starts_where_its_picture_does() -> None:
    frames = shot(1, 31)
    for i in range(20, 31):
        frames[i] = (frames[i] * (30 - i) / 10).astype(np.uint8)
    assert cuts(frames + shot(2, 20)) == [31]


def test_a_cut_beside_a_flash_is_found() -> None:
    first, second = shot(1, 20), shot(2, 20)
    first[19] = np.full_like(first[19], 255)
    assert cuts(first + second) == [20]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_fewer_frames_than_the_delay(count: int) -> None:
    assert cuts(shot(1, 10)[:count]) == []


def test_difference_ignores_brightness_and_contrast() -> None:
    picture = view(scene(4)).astype(np.float32)
    dimmed = (0.5 * picture + 20).astype(np.uint8)
    a, b = glance(picture.astype(np.uint8)), glance(dimmed)
    assert float(a.structure @ b.structure) == pytest.approx(1.0, abs=1e-3)
    assert difference(a, b) < 0.3


def test_a_blank_picture_has_no_structure() -> None:
    grey: Glance = glance(np.full((90, 160, 3), 77, np.uint8))
    assert grey.blank
    assert not grey.structure.any()


@pytest.mark.shared
def test_the_cuts_of_an_edited_clip(shared_data: Path) -> None:
    folder = shared_data / "clips" / "montage"
    truth = {s["first"] for s in json.loads((folder / "truth.json").read_text("utf-8"))["shots"]} - {0}
    detector = ShotDetector()
    decisions: list[bool] = []
    with av.open(str(folder / "montage.mp4")) as container:
        for frame in container.decode(video=0):
            small = frame.reformat(width=160, height=90, format="rgb24").to_ndarray()
            decisions += detector.push(glance(np.asarray(small, np.uint8)))
    decisions += detector.flush()
    found = {i for i, cut in enumerate(decisions) if cut}
    assert 2 * len(truth & found) / (len(truth) + len(found)) >= 0.97
