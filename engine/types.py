"""Value objects that pass between the parts of the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Detections:
    """The faces found in one picture, as a structure of arrays, best score first.

    Example:
        >>> d = Detections.empty()
        >>> len(d), d.boxes.shape, d.landmarks.shape
        (0, (0, 4), (0, 5, 2))
    """

    boxes: NDArray[np.float32]
    """`[N,4]` x1, y1, x2, y2 in pixels of the picture that was given."""
    scores: NDArray[np.float32]
    """`[N]` in 0…1."""
    landmarks: NDArray[np.float32]
    """`[N,5,2]` pixels: eye on the picture's left, eye on its right, nose tip, left and right corner of the mouth."""

    def __post_init__(self) -> None:
        n = len(self.boxes)
        if self.boxes.shape != (n, 4) or self.scores.shape != (n,) or self.landmarks.shape != (n, 5, 2):
            raise ValueError(
                f"boxes, scores and landmarks disagree: {self.boxes.shape = }, {self.scores.shape = }, "
                f"{self.landmarks.shape = }"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls) -> Detections:
        """No face at all."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))

    def select(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """The rows that `index` (positions or a mask) picks, in its order."""
        return Detections(self.boxes[index], self.scores[index], self.landmarks[index])
