"""What every record keeps, whatever the video shows: people who come, go, jump, hide and pass each other, over cuts."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from stream.label import label_video
from stream.tracks import Tracks, read
from tests import networks
from tests.stream import media
from tests.stream.test_label import gallery  # noqa: F401 - a fixture

WIDTH, HEIGHT = 160, 120
COLOURS = [*networks.PEOPLE.values(), (230, 120, 120), (230, 60, 180)]
"""The gallery's people and two strangers."""


@dataclass(frozen=True)
class Actor:
    """A face on a straight way, on some frames only."""

    colour: tuple[int, int, int]
    place: tuple[float, float]
    speed: tuple[float, float]
    size: int
    missing: frozenset[int]

    def box(self, index: int) -> tuple[float, float, float, float]:
        x, y = self.place[0] + index * self.speed[0], self.place[1] + index * self.speed[1]
        return x, y, x + self.size, y + 1.2 * self.size


ACTORS = st.builds(
    Actor,
    st.sampled_from(COLOURS),
    st.tuples(st.floats(-20, WIDTH), st.floats(-20, HEIGHT)),
    st.tuples(st.floats(-6, 6), st.floats(-4, 4)),
    st.integers(16, 40),
    st.frozensets(st.integers(0, 40), max_size=12),
)
SHOTS = st.lists(st.tuples(st.integers(2, 14), st.lists(ACTORS, max_size=4)), min_size=1, max_size=3)


def clip(path: Path, shots: list[tuple[int, list[Actor]]], step: int) -> Path:
    frames = [(number, actors, i) for number, (length, actors) in enumerate(shots) for i in range(length)]

    def picture(index: int, width: int, height: int) -> NDArray[np.uint8]:
        number, actors, i = frames[index]
        rgb = networks.scene(width, height)
        coarse = np.random.default_rng(number).integers(0, 110, (6, 8, 3), dtype=np.uint8)
        rgb[...] = coarse.repeat(height // 6, 0).repeat(width // 8, 1)
        for actor in actors:
            if i not in actor.missing:
                networks.paint(rgb, actor.box(i), actor.colour)
        return rgb

    video = media.Video(
        len(frames), WIDTH, HEIGHT, picture=picture, pixel_format="yuv444p", pts=[step * i for i in range(len(frames))]
    )
    return media.write(path, video)


def check(record: Tracks, drawn: Tracks, frames: int) -> None:
    """The promises of a record."""
    assert [frame.index for frame in record.frames] == list(range(frames)), "a line for every frame"
    assert record.summary is not None
    assert record.summary.frames == frames
    verdicts = {verdict.track: verdict for verdict in record.tracks}
    assert len(verdicts) == len(record.tracks)
    shots_of: defaultdict[int, set[int]] = defaultdict(set)
    on: defaultdict[int, list[int]] = defaultdict(list)
    for frame in record.frames:
        ids = [face.track for face in frame.faces]
        assert len(set(ids)) == len(ids), f"frame {frame.index}: two faces with one id"
        for face in frame.faces:
            x1, y1, x2, y2 = face.box.tolist()
            assert 0 <= x1 < x2 <= WIDTH, frame.index
            assert 0 <= y1 < y2 <= HEIGHT, frame.index
            shots_of[face.track].add(frame.shot)
            on[face.track].append(frame.pts)
    assert on.keys() == verdicts.keys(), "every track has a verdict and every verdict a track"
    for track, verdict in verdicts.items():
        assert shots_of[track] == {verdict.shot}, "no track crosses a cut"
        assert (verdict.first, verdict.last, verdict.frames) == (on[track][0], on[track][-1], len(on[track]))
    for frame in (*record.frames, *drawn.frames):
        names = Counter(face.name for face in frame.faces if face.name is not None)
        assert not names or max(names.values()) == 1, f"frame {frame.index}: {names}"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(shots=SHOTS, step=st.sampled_from([256, 512, 1600]), lookahead=st.sampled_from([0.0, 0.2, 2.0]))
def test_whatever_is_shown(
    shots: list[tuple[int, list[Actor]]],
    step: int,
    lookahead: float,
    gallery: Gallery,  # noqa: F811
    detector: Detector,
    embedder: Embedder,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    video = clip(tmp_path_factory.mktemp("clip") / "mv.mkv", shots, step)
    result = label_video(video, gallery=gallery, detector=detector, embedder=embedder, video=False, lookahead=lookahead)
    check(read(result.tracks), read(result.tracks, drawn=True), sum(length for length, _ in shots))
