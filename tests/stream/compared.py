"""How many pictures of faces were brought down from a GPU to be compared."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.frames import Frame
from stream.gpu_eyes import GpuEyes


def faces_compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each call from now on, in the order of calls."""
    counts: list[int] = []
    patches = GpuEyes.patches

    def counted(self: GpuEyes, frame: Frame, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        counts.append(len(boxes))
        return patches(self, frame, boxes)

    monkeypatch.setattr(GpuEyes, "patches", counted)
    return counts
