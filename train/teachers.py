"""The networks that the embedder is distilled from: ONNX files the user gives, never part of the project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from train.compiled_step import on_tensorflow
from train.data.faces import FACE

BATCH = 16
"""Faces per call in OpenVINO; a fixed shape is quicker than a dynamic one."""
LARGEST = 512
"""Faces per call in JAX, at most: powers of two up to this, as every number of faces is compiled anew."""

Network = Callable[[NDArray[np.uint8]], Any]
"""From faces `[batch,112,112,3]` to embeddings `[batch,D]`."""


@dataclass(frozen=True, slots=True)
class TeacherSpec:
    """A face-embedding network in ONNX, input NCHW RGB `(x - mean) / scale`."""

    file: str
    mean: float
    scale: float


TEACHERS = (TeacherSpec("edgeface_xs.onnx", 127.5, 127.5), TeacherSpec("mobilefacenet_y1.onnx", 0.0, 1.0))


def _in_openvino(path: Path, spec: TeacherSpec, threads: int) -> Network:
    from engine.quiet_openvino import core

    try:
        network = core.read_model(path)
        network.reshape([BATCH, 3, FACE, FACE])
        compiled = core.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": threads})
    except RuntimeError as error:
        raise InputError(f"{path} cannot be opened as a teacher network: {error}") from error

    def answer(faces: NDArray[np.uint8]) -> Any:
        return compiled([(faces.transpose(0, 3, 1, 2).astype(np.float32) - spec.mean) / spec.scale])[0]

    return answer


def _in_jax(path: Path, spec: TeacherSpec) -> Network:
    import jax

    from train.onnx_network import OnnxNetwork

    network = OnnxNetwork(path)

    def answer(faces: Any) -> Any:
        return network((faces.transpose(0, 3, 1, 2).astype("float32") - spec.mean) / spec.scale)

    compiled: Network = jax.jit(answer)
    return compiled


class Teachers:
    """Several teachers as one: their unit embeddings side by side, divided by √(number of teachers).

    The dot product of two such answers is the mean of the teachers' cosines. They are computed by OpenVINO, or where
    Keras runs on JAX by that.

    Args:
        folder: of the networks.
        specs: which ones.
        threads: that OpenVINO may use.

    Raises:
        InputError: a network is missing or damaged.
    """

    def __init__(self, folder: Path, specs: tuple[TeacherSpec, ...] = TEACHERS, threads: int = 1) -> None:
        self.specs = specs
        if on_tensorflow():
            self._largest = BATCH
            self._networks = [_in_openvino(folder / spec.file, spec, threads) for spec in specs]
        else:
            self._largest = LARGEST
            self._networks = [_in_jax(folder / spec.file, spec) for spec in specs]

    def each(self, faces: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Every teacher's unit embeddings `[N,D]` of aligned RGB `faces` `[N,112,112,3]`."""
        answers = []
        for network in self._networks:
            parts = []
            for start in range(0, len(faces), self._largest):
                batch = faces[start : start + self._largest]
                size = max(BATCH, 1 << (len(batch) - 1).bit_length())
                whole = np.concatenate([batch, np.zeros((size - len(batch), *batch.shape[1:]), np.uint8)])
                parts.append(np.asarray(network(whole))[: len(batch)])
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
