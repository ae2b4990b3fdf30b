"""Finding faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.coarse import CoarseLook
from engine.decoding import CHANNELS, VOTES, candidates, select
from engine.devices import Backend, Device, choose, threads_beside_video
from engine.errors import InputError
from engine.letterbox import Letterbox, letterbox
from engine.modelfile import ModelFile
from engine.network import Network
from engine.runtime import Precision, Request, Session, Work, open_session
from engine.types import Detections

MAX_FACES = 300
"""On one picture."""
_BATCH = 8
"""Pictures in one inference of `detect`: enough to keep the CPU busy, little enough to keep memory small."""


class DetectionJob:
    """One batch on its way through the detector, for callers that have better things to do than wait.

    Write the pictures into `pixels`, call `start`, do something else, call `result`: each once, in this order.
    """

    def __init__(self, detector: Detector, request: Request, shape: tuple[int, int, int]) -> None:
        self._detector = detector
        self._request: Request | None = request
        self._letterboxes: Sequence[Letterbox] = ()
        self._threshold = detector.threshold
        self._look = detector.coarse_look(shape[2], shape[1])
        self._coarse: Request | None = None
        self._again: Sequence[int] = ()
        """The pictures that are looked at a second time."""
        self.pixels: NDArray[np.uint8] = request.input("images", (*shape, 3)).host()
        """uint8 `[N,H,W,3]` RGB, the backend's own memory; its contents are not cleared."""

    def start(
        self,
        letterboxes: Sequence[Letterbox],
        threshold: float | None = None,
        *,
        coarse: bool | Sequence[bool] = True,
        work: Work | None = None,
    ) -> DetectionJob:
        """Begin; returns at once. `letterboxes` has one for each picture; without `coarse`, for all or for each of
        them, the second look at it (see `engine.coarse`) is saved: for callers who know that no face fills the picture.
        The looks are counted in `work`, else in the detector's `looks`.

        Raises:
            ValueError: a letterbox is missing or of another padded size, or not every picture has its `coarse`.
        """
        n, height, width = self.pixels.shape[:3]
        if len(letterboxes) != n or any(box.padded != (width, height) for box in letterboxes):
            raise ValueError(
                f"expected {n} letterboxes padded to {width}x{height}, got {[box.padded for box in letterboxes]}"
            )
        wanted = [coarse] * n if isinstance(coarse, bool) else coarse
        if len(wanted) != n:
            raise ValueError(f"expected coarse for {n} pictures, got it for {len(wanted)}")
        if self._request is None:
            raise RuntimeError("a job is started once")
        self._letterboxes = letterboxes
        self._threshold = self._detector.threshold if threshold is None else threshold
        self._request.start()
        (work or self._detector.looks).add(inferences=1, items=n)
        if self._look is not None and any(wanted):
            self._again = [row for row in range(n) if wanted[row]]
            again = len(self._again)
            self._detector.coarse_looks.add(inferences=1, items=again)
            self._coarse = self._detector.pool.take()
            copies = self._coarse.input("images", (again, self._look.height, self._look.width, 3)).host()
            boxes = [letterboxes[row] for row in self._again]
            self._look.shrink([self.pixels[row] for row in self._again], boxes, copies)
            self._coarse.start()
        return self

    def result(self) -> list[Detections]:
        """Wait, and give the faces of every picture in pixels of the picture, clipped to it, best score first."""
        request, self._request = self._request, None
        if request is None:
            raise RuntimeError("a job's result is taken once")
        parts: list[list[NDArray[np.float32]]] = [[] for _ in self._letterboxes]
        self._gather(request, None, range(len(parts)), parts)
        if self._coarse is not None:
            self._gather(self._coarse, self._look, self._again, parts)
        return [
            self._detector.faces_of(part, box, self._threshold)
            for part, box in zip(parts, self._letterboxes, strict=True)
        ]

    def _gather(
        self, request: Request, look: CoarseLook | None, rows: Sequence[int], parts: list[list[NDArray[np.float32]]]
    ) -> None:
        """Add what a finished request claims about these pictures to each one's part."""
        request.wait()
        heads = [(stride, request.output(f"head{stride}").host()) for stride in self._detector.strides]
        least = VOTES * self._threshold  # what is no face by itself still votes on the box of one
        for n, row in enumerate(rows):
            box = self._letterboxes[row]
            width, height = box.inner if look is None else look.inner(box)
            for stride, head in heads:
                for one in np.split(head[n], head.shape[3] // CHANNELS, axis=2):
                    claims = candidates(np.ascontiguousarray(one), stride, least, float(width), float(height))
                    parts[row].append(claims if look is None else look.enlarge(claims, box))
        self._detector.pool.give(request)


class Detector(Network):
    """A face detector. May be used from several threads.

    Example:
        >>> from skimage.data import astronaut                            # doctest: +SKIP
        >>> faces = Detector.open().detect([astronaut()])[0]              # doctest: +SKIP
        >>> len(faces), faces.boxes.shape, faces.landmarks.shape          # doctest: +SKIP
        (1, (1, 4), (1, 5, 2))
    """

    def __init__(
        self,
        session: Session,
        size: int = 640,
        threshold: float | None = None,
        iou: float = 0.4,
        limit: int = MAX_FACES,
    ) -> None:
        """Use a session whose network follows the conventions below.

        Input `images`, uint8 `[N,H,W,3]` RGB. For each stride s of the metadata's `iznet.strides` an output
        `head{s}`, float32 `[N,H/s,W/s,15]`, as `engine.decoding.candidates` describes it; 15·B channels where every
        cell has B boxes. The metadata's `iznet.threshold` is the default threshold; `iznet.coarse`, where it is given,
        the size at which every picture is looked at again for faces that fill it (`engine.coarse`).

        Raises:
            InputError: it does not.
        """
        super().__init__(session)
        model = session.model
        self.strides = _strides(model)
        _check(session, self.strides)
        self.size = size
        """Pixels that `detect` scales the longer side of a picture to."""
        self.threshold = model.number("iznet.threshold") if threshold is None else threshold
        self.iou = iou
        self.limit = limit
        self.coarse = int(model.number("iznet.coarse", 0))
        """Pixels of the longer side of the copy in which faces that fill the picture are looked for; 0: none."""
        self.looks = Work()
        """The looks at pictures so far; those at coarse copies, and at tilted faces turned upright, which are as small
        (`engine.levelling`), are counted apart, in `coarse_looks`."""
        self.coarse_looks = Work()

    @classmethod
    def open(
        cls,
        model: Path | str | None = None,
        device: Device = "cpu",
        backend: Backend | None = None,
        size: int = 640,
        threshold: float | None = None,
        threads: int | None = None,
        precision: Precision = "auto",
        video: bool = False,
    ) -> Detector:
        """Load a detector.

        Args:
            model: an ONNX file; None takes the shipped one.
            device: `auto`, `cpu` or `gpu`.
            backend: `openvino` or `onnxruntime`; None takes the device's default.
            size: pixels that `detect` scales the longer side of a picture to.
            threshold: the least score in 0…1; None takes what the network's metadata says.
            threads: of the CPU; None takes all, or half of them for a video.
            precision: `auto`, `f32`, `f16`, `bf16` or `int8`.
            video: whether the pictures of a video follow, by the hundred and of one size. `auto` then takes the shipped
                network in 8-bit integers where that is the fastest: in OpenVINO. It has to be made ready for every size
                anew, which is not worth it for photos.

        Raises:
            InputError: the file is no detector.
            MissingError: the device, backend or precision is not here.
        """
        if model is not None:
            file = ModelFile.read(model, "detector")
        else:
            quick = precision == "auto" and video and choose(device, backend).backend == "openvino"
            integer = quick or precision == "int8"
            file = ModelFile.shipped("detector", "int8" if integer else "")
        if threads is None and video:
            threads = threads_beside_video()
        return cls(open_session(file, device, backend, precision, threads, size), size, threshold)

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], threshold: float | None = None, size: int | None = None
    ) -> list[Detections]:
        """The faces on each picture.

        Args:
            pictures: uint8 `[H,W,3]` RGB, of any sizes.
            threshold: the least score, else the detector's own.
            size: pixels that the longer side is scaled to, else the detector's own.

        Returns:
            One `Detections` a picture, in its pixels, best score first.

        Raises:
            ValueError: something that is no picture.
        """
        for n, picture in enumerate(pictures):
            _check_picture(picture, n)
        boxes = [self.letterbox(picture.shape[1], picture.shape[0], size) for picture in pictures]
        groups: dict[tuple[int, int], list[int]] = {}
        for n, box in enumerate(boxes):
            groups.setdefault(box.padded, []).append(n)
        parts = [
            (padded, members[start : start + _BATCH])
            for padded, members in groups.items()
            for start in range(0, len(members), _BATCH)
        ]

        def jobs() -> Iterator[DetectionJob]:
            for (width, height), part in parts:
                job = self.job(len(part), height, width)
                for row, n in enumerate(part):
                    letterbox(pictures[n], boxes[n], job.pixels[row])
                yield job.start([boxes[n] for n in part], threshold)

        found: dict[int, Detections] = {}
        for (_, part), faces in zip(parts, self.overlapped(jobs()), strict=True):
            found.update(zip(part, faces, strict=True))
        return [found[n] for n in range(len(pictures))]

    def detect_letterboxed(
        self, batch: NDArray[np.uint8], letterboxes: Sequence[Letterbox], threshold: float | None = None
    ) -> list[Detections]:
        """The faces on pictures that are letterboxed already; the same arithmetic as `detect`.

        Args:
            batch: uint8 `[N,H,W,3]` RGB, H and W multiples of the largest stride.
            letterboxes: how each picture lies in its row.
            threshold: the least score, else the detector's own.

        Returns:
            One `Detections` a row, in pixels of the picture (`Letterbox.width`, `height`).

        Raises:
            ValueError: other shapes or dtype.
        """
        return self.submit(batch, letterboxes, threshold).result() if len(batch) else []

    def submit(
        self, batch: NDArray[np.uint8], letterboxes: Sequence[Letterbox], threshold: float | None = None
    ) -> DetectionJob:
        """`detect_letterboxed` in two steps: this one returns at once, `.result()` waits."""
        if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype != np.uint8:
            raise ValueError(f"expected uint8 [N,H,W,3], got {batch.dtype} {batch.shape}")
        job = self.job(*batch.shape[:3])
        job.pixels[...] = batch
        return job.start(letterboxes, threshold)

    def job(self, count: int, height: int, width: int) -> DetectionJob:
        """A batch to be filled in place: what a pipeline uses to save a copy.

        Args:
            count: of pictures.
            height: padded, in pixels, a multiple of the largest stride.
            width: likewise.
        """
        largest = max(self.strides)
        if count < 1 or height < 1 or width < 1 or height % largest or width % largest:
            raise ValueError(f"sides must be multiples of {largest}, got {count}x{height}x{width}")
        return DetectionJob(self, self.pool.take(), (count, height, width))

    def prepare(self, count: int, height: int, width: int) -> None:
        """Make ready for jobs of exactly this shape: worth it where hundreds follow. See `Session.prepare`."""
        self.session.prepare({"images": (count, height, width, 3)})
        look = self.coarse_look(width, height)
        if look is not None:
            self.session.prepare({"images": (count, look.height, look.width, 3)})

    def coarse_look(self, width: int, height: int) -> CoarseLook | None:
        """How pictures of that padded width and height are looked at again; None where they are not."""
        return CoarseLook.fit(width, height, self.coarse, max(self.strides)) if self.coarse else None

    def faces_of(self, claimed: Sequence[NDArray[np.float32]], box: Letterbox, threshold: float) -> Detections:
        """The faces of a picture, clipped to it, best score first.

        Args:
            claimed: what is claimed to be faces, as `engine.decoding.candidates` gives it, down to `VOTES` of the
                threshold: what is no face by itself still votes on the box of one.
            box: how the picture lies in what the claims are about.
            threshold: the least score.
        """
        faces = select(np.concatenate(claimed), self.iou, self.limit, threshold)
        if not len(faces):
            return Detections.empty()
        boxes = box.to_frame(faces[:, :4])
        # The product of two roundings may pass the edge by a hair.
        np.clip(boxes, 0, np.array([box.width, box.height] * 2, np.float32), out=boxes)
        landmarks = box.to_frame(faces[:, 5:].reshape(-1, 5, 2))
        return Detections(boxes, np.ascontiguousarray(faces[:, 4]), landmarks)

    def letterbox(
        self, width: int, height: int, size: int | None = None, pixel_aspect: Fraction = Fraction(1)
    ) -> Letterbox:
        """How `detect` fits a picture of that width and height; see `Letterbox.fit`."""
        return Letterbox.fit(width, height, size or self.size, max(self.strides), pixel_aspect)


def _strides(model: ModelFile) -> tuple[int, ...]:
    text = model.metadata.get("iznet.strides", "")
    try:
        strides = tuple(int(word) for word in text.split(","))
    except ValueError:
        strides = ()
    if not strides or min(strides) < 1:
        raise InputError(f"{model.path}: the metadata iznet.strides is {text!r}; it should be like 8,16,32")
    return strides


def _check(session: Session, strides: tuple[int, ...]) -> None:
    path = session.model.path
    if (
        [s.name for s in session.inputs] != ["images"]
        or session.inputs[0].dtype != np.uint8
        or len(session.inputs[0].shape) != 4
        or session.inputs[0].shape[3] not in (None, 3)
    ):
        raise InputError(
            f"{path}: a detector has one input, images uint8 [N,H,W,3]; this has {_listed(session.inputs)}"
        )
    outputs = {spec.name: spec for spec in session.outputs}
    for stride in strides:
        spec = outputs.get(f"head{stride}")
        channels = spec.shape[3] if spec is not None and len(spec.shape) == 4 else 0
        if spec is None or spec.dtype != np.float32 or channels == 0 or (channels is not None and channels % CHANNELS):
            raise InputError(
                f"{path}: a detector of strides {','.join(map(str, strides))} has an output head{stride} float32 "
                f"[N,H/{stride},W/{stride},{CHANNELS}]; this has {_listed(session.outputs)}"
            )


def _listed(specs: Sequence[Any]) -> str:
    return ", ".join(f"{s.name} {s.dtype} {['?' if n is None else n for n in s.shape]}" for s in specs)


def _check_picture(picture: object, n: int) -> None:
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"picture {n} must be a uint8 array [H,W,3], got {type(picture).__name__}")
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise ValueError(f"picture {n} must be uint8 [H,W,3], got {picture.dtype} {picture.shape}")
