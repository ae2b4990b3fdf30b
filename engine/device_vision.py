"""Pictures in a GPU's memory: looked at, cut out of and drawn on where they are.

A decoded picture is scaled into the detector's input, the detector's maps become claims, faces are cut into the
embedder's input, all on the GPU; what comes back is boxes, landmarks and embeddings, how sharp each face is, and the
few cells that shots, and faces that change at once, are told apart by.

    vision = Vision(detector, embedder)
    faces = vision.look(frame, detector.letterbox(1920, 1080), threshold=0.2, coarse=True).result()
    embeddings, variances = vision.embed(frame, matrices)
    vision.draw(frame, [Outline(Place(10, 10, 90, 90), (82, 90, 240), 4)])

Frames stay as they are and where they are until what was asked about them has come back; see `DeviceFrame`.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.alignment import SIZE
from engine.coarse import CoarseLook
from engine.cuda.kernels import HeadMap, Kernels, Mark, claims
from engine.cuda.loading import DriverModule, fatbin
from engine.cuda.pictures import Picture
from engine.cuda_device import CudaDevice, DeviceMemory
from engine.cuda_driver import follow
from engine.cuda_memory import GpuBuffer, TwinMemory
from engine.decoding import CHANNELS, VOTES
from engine.detector import Detector
from engine.embedder import Embedder
from engine.letterbox import Letterbox
from engine.network import Network
from engine.runtime import Buffer
from engine.tensorrt_session import TensorRTRequest, TensorRTSession
from engine.types import Detections

_FACES = 16
"""In one inference: what an embedder's engine takes."""


@dataclass(frozen=True, slots=True)
class DeviceFrame:
    """A decoded picture in the GPU's memory.

    Whoever uses it on a stream holds on to it until that stream is done: its memory is given to the next picture when
    nobody holds it any more.
    """

    picture: Picture
    written_on: int
    """Handle of the stream that its samples were put on; 0 is the default stream."""
    owner: object
    """What keeps the memory."""


class Place(NamedTuple):
    """A rectangle of whole pixels of the stored picture, inside it; right and bottom not included."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Outline:
    """The frame of a box; its strokes lie inside `place`."""

    place: Place
    ink: tuple[int, ...]
    """Samples, one a component."""
    thickness: int
    """Pixels."""


@dataclass(frozen=True, slots=True)
class Plate:
    """A plate with a name on it."""

    place: Place
    ink: tuple[int, ...]
    """The plate's samples."""
    text: tuple[int, ...]
    """The name's."""
    mask: NDArray[np.uint8]
    """`[h,w]`, at least as large as `place`: 255 where the plate shows text."""
    key: object
    """Equal for equal masks, which are put on the GPU once."""


class Look:
    """A picture on its way through a detector. `result` is taken once; until then the frame stays as it is."""

    def __init__(self, vision: Vision, frame: DeviceFrame, box: Letterbox, turns: int, threshold: float) -> None:
        self._detector = vision.detector
        self._box = box
        self._threshold = threshold
        self._begin = partial(_Claims, vision, frame, turns=turns, least=VOTES * threshold)
        self._taken = False
        self._second: CoarseLook | None = None
        self._claims = [self._begin(box)]
        self._detector.looks.add(inferences=1, items=1)

    def again(self) -> None:
        """Look a second time, for faces that fill the picture (see `engine.coarse`); returns at once."""
        self._second = look = self._detector.coarse_look(*self._box.padded)
        if look is not None:
            box = self._box
            self._claims.append(
                self._begin(Letterbox(box.width, box.height, *look.inner(box), look.width, look.height))
            )
            self._detector.coarse_looks.add(inferences=1, items=1)

    def result(self) -> Detections:
        """Wait, and give the faces in pixels of the picture as displayed, best score first."""
        if self._taken:
            raise RuntimeError("a look's result is taken once")
        self._taken = True
        parts = [claimed.result() for claimed in self._claims]
        if self._second is not None:
            parts[1] = self._second.enlarge(parts[1], self._box)
        del self._begin  # and the frame with it
        return self._detector.faces_of(parts, self._box, self._threshold)


class _Claims:
    """What a detector claims about a picture at one size. Dropped on its way, it waits first, as the picture does."""

    def __init__(self, vision: Vision, frame: DeviceFrame, box: Letterbox, turns: int, least: float) -> None:
        detector, kernels = vision.detector, vision.kernels
        self._pool = detector.pool
        self._request = request = _taken(detector)
        pixels = request.input("images", (1, box.padded_height, box.padded_width, 3))

        def before() -> None:
            follow(request.stream, frame.written_on)
            kernels.letterbox(frame.picture, box, pixels.address, turns=turns, stream=request.stream)

        def after(outputs: Mapping[str, Buffer]) -> None:
            maps = [_map(outputs[f"head{stride}"], stride) for stride in detector.strides]
            most = claims(maps)
            self._faces: GpuBuffer = request.room("faces", (most, CHANNELS), np.float32)
            counts = request.room("counts", (1,), np.int32)
            kernels.decode(maps, [box.inner], least, self._faces.address, counts.address, most, stream=request.stream)
            self._count: NDArray[np.int32] = request.fetch(counts, 1)

        request.start(before, after)
        self._end = weakref.finalize(self, _wait, request, frame)

    def result(self) -> NDArray[np.float32]:
        """Float32 `[N,15]`, as `engine.decoding.candidates` gives them, of all maps."""
        request = self._request
        request.wait()
        self._end.detach()
        count = int(self._count[0])
        found = np.empty((0, CHANNELS), np.float32)
        if count:
            # So many rows as there are: most of the memory is for claims that nobody makes.
            rows = request.fetch(self._faces, count)
            request.wait()
            found = rows.copy()
        self._pool.give(request)
        return found


def _wait(request: TensorRTRequest, frame: DeviceFrame) -> None:
    """The frame is held until this is over."""
    with suppress(Exception):  # the failure of work that nobody waits for any more, or of a closed session
        request.wait()


def _map(head: Buffer, stride: int) -> HeadMap:
    _, rows, columns, channels = head.shape
    return HeadMap(head.address, rows, columns, stride, channels // CHANNELS)


def _taken(network: Network) -> TensorRTRequest:
    request = network.pool.take()
    assert isinstance(request, TensorRTRequest)
    return request


class Vision:
    """What is done with pictures in a GPU's memory. May be used from several threads.

    Closing gives back what it holds on the GPU, not the networks; so does dropping it.
    """

    def __init__(self, detector: Detector, embedder: Embedder | None = None) -> None:
        """Load the kernels beside networks that run on a GPU.

        Raises:
            MissingError: the kernels are not part of this installation, or cannot run on this GPU.
            TypeError: a network that runs elsewhere.
        """
        for network in (detector, embedder):
            if network is not None and not isinstance(network.session, TensorRTSession):
                raise TypeError(f"{network.name} runs on the {network.device}, not on a GPU")
        assert isinstance(detector.session, TensorRTSession)
        self.device: CudaDevice = detector.session.gpu
        self.detector = detector
        self.embedder = embedder
        image = fatbin().read_bytes()
        with self.device.current():
            module = DriverModule(image)
            self.kernels = Kernels(module)
        self._held = _Held(self.device, module)
        self.close = weakref.finalize(self, self._held.close)
        """Give everything back; nothing may be on its way. A second call does nothing."""

    def cells(self, frame: DeviceFrame, columns: int, rows: int) -> NDArray[Any]:
        """Each component in a few cells, `[3,rows,columns]` of the samples' type: see `Kernels.cells`."""
        samples = np.uint8 if frame.picture.sample_bytes == 1 else np.uint16
        with self._held.bench() as bench:
            out = bench.room("cells", (3, rows, columns), samples)
            follow(bench.stream.handle, frame.written_on)
            self.kernels.cells(frame.picture, columns, rows, out.address, stream=bench.stream.handle)
            found = out.twin
            self.device.copy_out(found, out.address, bench.stream)
            bench.stream.synchronize()
            cells: NDArray[Any] = found.copy()
            return cells

    def look(
        self, frame: DeviceFrame, box: Letterbox, *, turns: int = 0, threshold: float | None = None, coarse: bool = True
    ) -> Look:
        """Look for faces; returns at once.

        Args:
            frame: stays as it is until the look's `result`.
            box: from the detector's `letterbox`, for the picture as displayed.
            turns: quarter turns clockwise that a player makes.
            threshold: the least score, else the detector's own.
            coarse: whether to look again for faces that fill the picture; both looks are under way together.
        """
        look = Look(self, frame, box, turns, self.detector.threshold if threshold is None else threshold)
        if coarse:
            look.again()
        return look

    def embed(self, frame: DeviceFrame, matrices: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Cut faces out and tell them apart.

        Args:
            frame: the picture.
            matrices: `[N,2,3]`, pixels of the stored picture → crop, from `engine.alignment.similarity_transform`.

        Returns:
            Unit vectors float32 `[N,D]`, and the variance of each crop's Laplacian, float32 `[N]`.
        """
        assert self.embedder is not None
        embeddings = np.empty((len(matrices), self.embedder.dimension), np.float32)
        variances = np.empty(len(matrices), np.float32)
        for start in range(0, len(matrices), _FACES):
            part = slice(start, start + _FACES)
            embeddings[part], variances[part] = self._embed(frame, matrices[part])
        return embeddings, variances

    def _embed(self, frame: DeviceFrame, matrices: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert self.embedder is not None
        count, kernels = len(matrices), self.kernels
        request = _taken(self.embedder)
        crops = request.input("faces", (count, SIZE, SIZE, 3))
        found: list[NDArray[np.float32]] = []

        def before() -> None:
            follow(request.stream, frame.written_on)
            kernels.warp(frame.picture, matrices, crops.address, stream=request.stream)

        def after(outputs: Mapping[str, Buffer]) -> None:
            vectors = outputs["embeddings"]
            assert isinstance(vectors, GpuBuffer)
            kernels.normalise(vectors.address, vectors.address, *vectors.shape, stream=request.stream)
            variances = request.room("variances", (count,), np.float32)
            kernels.sharpness(crops.address, count, variances.address, stream=request.stream)
            found.extend((request.fetch(vectors, count), request.fetch(variances, count)))

        request.start(before, after)
        request.wait()
        embeddings, variances = (one.copy() for one in found)
        self.embedder.pool.give(request)
        return embeddings, variances

    def draw(self, frame: DeviceFrame, marks: Sequence[Outline | Plate]) -> None:
        """Draw into a picture, mark over mark; returns when that is done."""
        with self._held.bench() as bench:
            todo = [self._mark(mark, bench) for mark in marks]
            follow(bench.stream.handle, frame.written_on)
            self.kernels.draw(frame.picture, todo, stream=bench.stream.handle)
            bench.stream.synchronize()

    def _mark(self, mark: Outline | Plate, bench: _Bench) -> Mark:
        first, second, third = mark.ink[:3]
        if isinstance(mark, Outline):
            return Mark(*mark.place, (first, second, third), mark.thickness)
        a, b, c = mark.text[:3]
        address = self._held.mask(mark.key, mark.mask, bench)
        return Mark(*mark.place, (first, second, third), 0, (a, b, c), address, mark.mask.shape[1])

    def upload(self, planes: Sequence[NDArray[np.uint8]], picture: Callable[[Sequence[int]], Picture]) -> DeviceFrame:
        """Put a decoded picture on the GPU; returns while it is on its way. See `release`.

        Args:
            planes: flat uint8, each as the decoder left it.
            picture: makes the picture of the addresses that the planes have then.
        """
        sizes = [-(-len(plane) // 256) * 256 for plane in planes]
        starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        bench = self._held.take()
        with self.device.current():
            bench.stream.synchronize()  # a picture that nobody waited for
            room = bench.room("planes", (starts[-1],), np.uint8)
            twin = room.twin
            for plane, start in zip(planes, starts, strict=False):
                twin[start : start + len(plane)] = plane
            self.device.copy_in(room.address, twin, bench.stream)
        addresses = [room.address + start for start in starts[:-1]]
        return DeviceFrame(picture(addresses), bench.stream.handle, bench)

    def release(self, frame: DeviceFrame) -> None:
        """What `upload` gave is not used any more: its memory is for the next picture."""
        assert isinstance(frame.owner, _Bench)
        self._held.give(frame.owner)


class _Bench:
    """A stream and memory to work with, for one thread at a time."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self.stream = device.stream()
        self._rooms: dict[str, TwinMemory] = {}

    def room(self, name: str, shape: tuple[int, ...], dtype: Any) -> TwinMemory:
        """Memory for an array; the same for the same name. Wants the context current."""
        room = self._rooms.setdefault(name, TwinMemory(self._device))
        room.shaped(shape, np.dtype(dtype))
        return room

    def close(self) -> None:
        with ExitStack() as steps:
            steps.callback(self.stream.close)
            for room in self._rooms.values():
                steps.callback(room.free)
            with suppress(Exception):  # the failure of work that nobody waits for any more
                self.stream.synchronize()


class _Held:
    """What a `Vision` has on the GPU, apart from it so that it can be given back without it."""

    def __init__(self, device: CudaDevice, module: DriverModule) -> None:
        self._device = device
        self._module = module
        self._benches: list[_Bench] = []
        self._free: list[_Bench] = []
        self._masks: dict[object, DeviceMemory] = {}
        # Reentrant: the garbage collector may close a vision in the middle of anything.
        self._lock = threading.RLock()

    def take(self) -> _Bench:
        """A bench that nobody else uses."""
        with self._lock:
            if self._free:
                return self._free.pop()
            with self._device.current():
                bench = _Bench(self._device)
            self._benches.append(bench)
            return bench

    def give(self, bench: _Bench) -> None:
        with self._lock:
            self._free.append(bench)

    @contextmanager
    def bench(self) -> Iterator[_Bench]:
        """A bench, with the context current; waited for in any case."""
        bench = self.take()
        with self._device.current():
            try:
                yield bench
            except BaseException:
                with suppress(Exception):  # the first failure is the one to tell
                    bench.stream.synchronize()
                raise
            finally:
                self.give(bench)

    def mask(self, key: object, mask: NDArray[np.uint8], bench: _Bench) -> int:
        """Where a mask lies, put there the first time."""
        with self._lock:
            if key not in self._masks:
                room = bench.room("mask", (mask.size,), np.uint8)
                room.twin[...] = np.ascontiguousarray(mask).reshape(-1)
                memory = self._masks[key] = self._device.allocate(mask.size)
                self._device.copy_in(memory.address, room.twin, bench.stream)
                bench.stream.synchronize()
            return self._masks[key].address

    def close(self) -> None:
        with self._lock, self._device.current(), ExitStack() as steps:
            steps.callback(self._module.close)
            for memory in self._masks.values():
                steps.callback(memory.free)
            for bench in self._benches:
                steps.callback(bench.close)
            self._benches, self._free, self._masks = [], [], {}
