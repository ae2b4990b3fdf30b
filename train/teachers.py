"""The networks that the embedder is distilled from: ONNX files the user gives, never part of the project."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.quiet_openvino import ov
from train.data.faces import FACE

BATCH = 16
"""Faces per call; a fixed shape is quicker than a dynamic one."""


@dataclass(frozen=True, slots=True)
class TeacherSpec:
    """A face-embedding network in ONNX, input NCHW RGB `(x - mean) / scale`."""

    file: str
    mean: float
    scale: float


TEACHERS = (TeacherSpec("edgeface_xs.onnx", 127.5, 127.5), TeacherSpec("mobilefacenet_y1.onnx", 0.0, 1.0))


class Teachers:
    """Several teachers as one: their unit embeddings side by side, divided by √(number of teachers).

    The dot product of two such answers is the mean of the teachers' cosines.
    """

    def __init__(self, folder: Path, specs: tuple[TeacherSpec, ...] = TEACHERS, threads: int = 1) -> None:
        core = ov.Core()
        self.specs = specs
        self._networks: list[Any] = []
        for spec in specs:
            path = folder / spec.file
            try:
                network = core.read_model(path)
                network.reshape([BATCH, 3, FACE, FACE])
                self._networks.append(core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads}))
            except RuntimeError as error:
                raise InputError(f"{path} cannot be opened as a teacher network: {error}") from error

    def each(self, faces: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Every teacher's unit embeddings `[N,D]` of aligned RGB `faces` `[N,112,112,3]`."""
        answers = []
        for spec, network in zip(self.specs, self._networks, strict=True):
            parts = []
            for start in range(0, len(faces), BATCH):
                batch = faces[start : start + BATCH].transpose(0, 3, 1, 2).astype(np.float32)
                padded = np.zeros((BATCH, 3, FACE, FACE), np.float32)
                padded[: len(batch)] = (batch - spec.mean) / spec.scale
                parts.append(network([padded])[0][: len(batch)])
            raw = np.concatenate(parts)
            answers.append(raw / np.linalg.norm(raw, axis=1, keepdims=True))
        return answers

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Unit vectors `[N, ΣD]`: all teachers' embeddings side by side."""
        return np.concatenate(self.each(faces), axis=1) / np.float32(np.sqrt(len(self.specs)))


def fit_projection(answers: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """`[T,dimension]`: the directions that keep most of the dot products between `answers` `[N,T]` (PCA, not centred).

    Without centring, the product of two projections is the best rank-`dimension` estimate of the teachers' cosine.
    """
    _, vectors = np.linalg.eigh((answers.T @ answers).astype(np.float64))
    return np.ascontiguousarray(vectors[:, ::-1][:, :dimension], np.float32)


def project(answers: NDArray[np.floating[Any]], projection: NDArray[np.float32]) -> NDArray[np.float32]:
    """The unit targets `[N,D]` for teachers' `answers` `[N,T]`."""
    targets = answers.astype(np.float32) @ projection
    return np.asarray(targets / np.linalg.norm(targets, axis=1, keepdims=True), np.float32)
