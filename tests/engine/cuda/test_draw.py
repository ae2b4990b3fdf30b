"""The drawing kernel against the overlay's own strokes: the same samples, bit for bit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.cuda.kernels import Kernels, Mark
from stream.frames import Face, Rotation, VideoInfo
from stream.overlay import Inked, Overlay
from stream.planes import PixelLayout
from stream.styles import Style
from tests.engine.cuda.host import HostModule, address, frame, picture_of

FORMATS = ["nv12", "yuv420p", "p010le", "yuv422p10le", "yuv444p", "yuv410p", "rgb24"]


def mark_of(mark: Inked, kept: list[Any]) -> Mark:
    a, b, c = mark.back[:3]
    if mark.mask is None:
        return Mark(*mark.rect, (a, b, c), mark.thickness)
    mask = np.ascontiguousarray(mark.mask)
    kept.append(mask)
    d, e, f = mark.text[:3]
    return Mark(*mark.rect, (a, b, c), 0, (d, e, f), address(mask), mask.shape[1])


def people(seed: int, width: int, height: int) -> list[Face]:
    """Boxes anywhere, also over one another and out of the picture."""
    rng = np.random.default_rng(seed)
    faces = []
    for track in range(int(rng.integers(1, 8))):
        x, y = rng.uniform(-10, width), rng.uniform(-10, height)
        w, h = rng.uniform(1, width / 2), rng.uniform(1, height / 2)
        box = np.array([x, y, x + w, y + h], np.float32)
        name = ["yuri", "Yena", "은비", None][track % 4]
        faces.append(Face(track, box, 0.9, np.zeros((5, 2), np.float32), name))
    return faces


def views_of(made: Any) -> list[NDArray[Any]]:
    return [view.copy() for view in PixelLayout.of(made.format.name).views(made)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 10_000),
    st.sampled_from(FORMATS),
    st.integers(24, 180),
    st.integers(24, 140),
    st.sampled_from([0, 90, 180, 270]),
    st.sampled_from(["boxes", "corners", "colours"]),
)
def test_what_the_cpu_draws(
    kernels: Kernels, seed: int, pixel_format: str, width: int, height: int, rotation: Rotation, style: Any
) -> None:
    info = VideoInfo("a.mp4", width, height, rotation, Fraction(1, 30), None, None, pixel_format)
    faces = people(seed, info.width, info.height)
    on_cpu, on_gpu = (frame(pixel_format, width, height, seed=seed) for _ in range(2))
    untouched = views_of(on_gpu)

    def overlay() -> Overlay:
        return Overlay(info, unknown="box", style=Style(style), people=("yuri", "Yena"))

    overlay().draw(on_cpu, faces)
    kept: list[Any] = []
    marks = [mark_of(mark, kept) for mark in overlay().inked(on_gpu, faces)]
    kernels.draw(picture_of(on_gpu), marks)
    expected, found = views_of(on_cpu), views_of(on_gpu)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    if marks:
        assert any((one != before).any() for one, before in zip(found, untouched, strict=True))


def test_more_marks_than_a_launch_takes(kernels: Kernels, module: HostModule) -> None:
    """The last one lies over all others, whatever launch it is in."""
    made = frame("nv12", 64, 48)
    marks = [Mark(0, 0, 64, 48, (k, 128, 128), 30) for k in range(130)]
    before = len(module.launches)
    kernels.draw(picture_of(made), marks)
    assert len(module.launches) - before == 3
    luma, *_ = PixelLayout.of("nv12").views(made)
    assert (luma == 129).all()


def test_a_mark_outside_is_refused(kernels: Kernels) -> None:
    picture = picture_of(frame("nv12", 64, 48))
    for place in ((0, 0, 65, 10), (0, 0, 0, 10), (-1, 0, 5, 5), (0, 40, 5, 49)):
        with pytest.raises(ValueError, match="is not inside 64x48"):
            kernels.draw(picture, [Mark(*place, (1, 2, 3), 1)])


def test_nothing_to_draw_is_no_launch(kernels: Kernels, module: HostModule) -> None:
    before = len(module.launches)
    kernels.draw(picture_of(frame("nv12", 64, 48)), [])
    assert len(module.launches) == before
