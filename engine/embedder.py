"""From aligned faces to points on a sphere, where the same person's lie close together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.alignment import SIZE
from engine.devices import Backend, Device, threads_beside_video
from engine.errors import InputError
from engine.modelfile import ModelFile
from engine.network import Network
from engine.runtime import Precision, Request, Session, open_session

_BATCH = 16


class EmbeddingJob:
    """Faces on their way through the embedder. Write them into `faces`, call `start`, later `result`: each once."""

    def __init__(self, embedder: Embedder, request: Request, count: int) -> None:
        self._embedder = embedder
        self._request: Request | None = request
        self.faces: NDArray[np.uint8] = request.input("faces", (count, SIZE, SIZE, 3)).host()
        """uint8 `[N,112,112,3]` RGB, the backend's own memory; its contents are not cleared."""

    def start(self) -> EmbeddingJob:
        """Begin; returns at once."""
        if self._request is None:
            raise RuntimeError("a job is started once")
        self._request.start()
        return self

    def result(self) -> NDArray[np.float32]:
        """Wait, and give float32 `[N,D]` unit vectors."""
        request, self._request = self._request, None
        if request is None:
            raise RuntimeError("a job's result is taken once")
        request.wait()
        embeddings = unit(request.output("embeddings").host())
        self._embedder.pool.give(request)
        return embeddings


class Embedder(Network):
    """A face recogniser without its names. May be used from several threads.

    Example:
        >>> faces = np.zeros((2, 112, 112, 3), np.uint8)
        >>> Embedder.open().embed(faces).shape  # doctest: +SKIP
        (2, 128)
    """

    def __init__(self, session: Session) -> None:
        """Use a session whose network takes `faces` uint8 `[N,112,112,3]` RGB and gives `embeddings` float32 `[N,D]`.

        Raises:
            InputError: it does not, or its metadata lacks `iznet.threshold` or says that strangers are as alike as one.
        """
        super().__init__(session)
        model = session.model
        inputs, outputs = session.inputs, {spec.name: spec for spec in session.outputs}
        embeddings = outputs.get("embeddings")
        if (
            [s.name for s in inputs] != ["faces"]
            or inputs[0].dtype != np.uint8
            or not inputs[0].accepts((inputs[0].shape[0] or 1, SIZE, SIZE, 3))
        ):
            raise InputError(
                f"{model.path}: an embedder has one input, faces uint8 [N,{SIZE},{SIZE},3]; "
                f"this has {', '.join(f'{s.name} {s.dtype} {s.shape}' for s in inputs)}"
            )
        if (
            embeddings is None
            or embeddings.dtype != np.float32
            or len(embeddings.shape) != 2
            or embeddings.shape[1] is None
        ):
            raise InputError(
                f"{model.path}: an embedder has an output embeddings float32 [N,D] with a fixed D; "
                f"this has {', '.join(f'{s.name} {s.dtype} {s.shape}' for s in session.outputs)}"
            )
        self.dimension: int = embeddings.shape[1]
        self.threshold = model.number("iznet.threshold")
        """The cosine from which on two faces are taken for one person."""
        self.strangers = model.number("iznet.strangers", 0.0)
        """The mean cosine of two people, 0 where the network does not say: from there to 1 cosines mean something."""
        if not -1 <= self.strangers < self.threshold:
            raise InputError(
                f"{model.path}: strangers with a mean cosine of {self.strangers:g} would pass the threshold "
                f"{self.threshold:g}; correct iznet.strangers or iznet.threshold in the file"
            )

    @classmethod
    def open(
        cls,
        model: Path | str | None = None,
        device: Device = "cpu",
        backend: Backend | None = None,
        threads: int | None = None,
        precision: Precision = "auto",
        video: bool = False,
    ) -> Embedder:
        """Load an embedder.

        Args:
            model: an ONNX file; None takes the shipped one.
            device: `auto`, `cpu` or `gpu`.
            backend: `openvino` or `onnxruntime`; None takes the device's default.
            threads: of the CPU; None takes all, or half of them for a video.
            precision: `auto`, `f32`, `bf16` or `int8`.
            video: whether it runs while a video is decoded and encoded.

        Raises:
            InputError: the file is no embedder.
            MissingError: the device or backend is not here.
        """
        file = ModelFile.shipped("embedder") if model is None else ModelFile.read(model, "embedder")
        if threads is None and video:
            threads = threads_beside_video()
        return cls(open_session(file, device, backend, precision, threads))

    def embed(self, faces: NDArray[np.uint8], mirrored: bool = False) -> NDArray[np.float32]:
        """The embeddings of aligned faces.

        Args:
            faces: uint8 `[N,112,112,3]` RGB, from `align_face`. N may be 0.
            mirrored: look at each a second time, mirrored, and give the direction of the sum. That takes twice as long
                and is surer; either kind may be compared with the other.

        Returns:
            float32 `[N,D]` unit vectors; the cosine of two is their dot product.

        Raises:
            ValueError: another shape or dtype.
        """
        if faces.dtype != np.uint8 or faces.shape[1:] != (SIZE, SIZE, 3):
            raise ValueError(f"expected uint8 [N,{SIZE},{SIZE},3], got {faces.dtype} {faces.shape}")
        if mirrored:
            return unit(self.embed(faces) + self.embed(faces[:, :, ::-1]))

        def jobs() -> Iterator[EmbeddingJob]:
            for start in range(0, len(faces), _BATCH):
                part = faces[start : start + _BATCH]
                job = self.job(len(part))
                job.faces[...] = part
                yield job.start()

        return np.concatenate([np.empty((0, self.dimension), np.float32), *self.overlapped(jobs())])

    def job(self, count: int) -> EmbeddingJob:
        """A batch of `count` faces to be filled in place: what a pipeline uses to save a copy."""
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        return EmbeddingJob(self, self.pool.take(), count)

    def prepare(self, count: int) -> None:
        """Make ready for jobs of exactly so many faces: worth it where hundreds follow. See `Session.prepare`."""
        self.session.prepare({"faces": (count, SIZE, SIZE, 3)})


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows scaled to length one, as a new float32 array; a row of zeros stays as it is.

    Networks give unit vectors already; this takes the rounding of half-precision arithmetic out.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return (vectors / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)
