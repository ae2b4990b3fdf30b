"""The CUDA kernels on a GPU against the same source on the host: `pytest tests/gpu` runs them where there is one.

`tests/engine/cuda` proves what the kernels compute; what is left for a GPU is that it computes the same. That these
tests themselves are right is shown without one by `tests/engine/cuda/test_rehearsal.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.cuda.kernels import PARTIAL_BYTES, DeviceGallery, Form, HeadMap, Kernels, Mark, Normalisation, claims
from engine.cuda.loading import DriverModule, fatbin
from engine.cuda.pictures import Picture, Plane
from engine.cuda_device import CudaDevice, DeviceMemory, Stream, open_device
from engine.decoding import CHANNELS
from engine.embedder import unit
from engine.errors import MissingError
from engine.letterbox import Letterbox
from stream.colours import rgb_matrix
from tests.engine.cuda.host import MATRICES, HostModule, build, missing_tools
from tests.engine.cuda.test_warp import turned

pytestmark = pytest.mark.gpu
T = TypeVar("T", bound=np.generic)
Place = Callable[[NDArray[Any]], int]
"""Puts an array where a kernel can read it, and gives the address."""


class Gpu:
    """Memory of a GPU, a stream, and the kernels; everything is given back at the end."""

    def __init__(self, device: CudaDevice, kernels: Kernels) -> None:
        self.device = device
        self.kernels = kernels
        self.stream: Stream = device.stream()
        self._held: list[DeviceMemory] = []

    def put(self, array: NDArray[Any]) -> int:
        """Copy an array over: its address there."""
        memory = self.device.allocate(max(1, array.nbytes))
        self._held.append(memory)
        pinned = self.device.pinned(max(1, array.nbytes))
        pinned.array[: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        self.device.copy_in(memory.address, pinned.array, self.stream)
        self.stream.synchronize()
        pinned.free()
        return memory.address

    def get(self, address: int, like: NDArray[T]) -> NDArray[T]:
        """Copy as much back as `like` holds, when all work is done."""
        pinned = self.device.pinned(max(1, like.nbytes))
        self.device.copy_out(pinned.array[: like.nbytes], address, self.stream)
        self.stream.synchronize()
        found = np.frombuffer(pinned.array[: like.nbytes].tobytes(), like.dtype).reshape(like.shape)
        pinned.free()
        return found

    def close(self) -> None:
        self.stream.synchronize()
        for memory in self._held:
            memory.free()
        self.stream.close()


@pytest.fixture(scope="module")
def device() -> CudaDevice:
    try:
        return open_device()
    except MissingError as error:
        pytest.skip(f"no GPU: {error}")


@pytest.fixture
def gpu(device: CudaDevice) -> Iterator[Gpu]:
    with device.current():
        try:
            module = DriverModule(fatbin().read_bytes())
        except MissingError as error:
            pytest.skip(str(error))
        made = Gpu(device, Kernels(module))
        yield made
        made.close()
        module.close()


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    """The reference: the same source on the host."""
    if reason := missing_tools():
        pytest.skip(reason)
    return Kernels(HostModule(build("host")))


SIZES = [(1920, 1080, 640, 0), (641, 361, 320, 1), (320, 180, 640, 2), (50, 33, 64, 3)]
"""Width, height, letterbox and quarter turns."""
FACES, PEOPLE = 70, 3001
KINDS = {"nv12": "nv12", "p010": "p010le", "yuv420p": "yuv420p"}


def planes_of(rng: np.random.Generator, width: int, height: int, kind: str) -> list[NDArray[Any]]:
    """Noise in the planes of a picture, rows a little longer than they need to be."""
    dtype, top = (np.uint16, 65536) if kind == "p010" else (np.uint8, 256)
    half, rows = (width + 1) // 2, (height + 1) // 2
    luma = rng.integers(0, top, (height, width + 3), dtype)
    if kind == "yuv420p":
        return [luma, *rng.integers(0, top, (2, rows, half + 5), dtype)]
    return [luma, rng.integers(0, top, (rows, 2 * half + 2), dtype)]


def picture(planes: list[NDArray[Any]], width: int, height: int, kind: str, place: Place) -> Picture:
    """The picture with its planes put somewhere."""
    matrix = rgb_matrix(KINDS[kind], MATRICES["bt2020" if kind == "p010" else "bt709"], False)
    where, strides = [place(plane) for plane in planes], [plane.strides[0] for plane in planes]
    if kind == "yuv420p":
        half = {"width": (width + 1) // 2, "height": (height + 1) // 2, "shift_x": 1, "shift_y": 1}
        y, u, v = zip(where, strides, strict=True)
        parts = Plane(*y, width, height), Plane(*u, **half), Plane(*v, **half)
        return Picture(width, height, parts, np.asarray(matrix, np.float32))
    return Picture.semi_planar(
        where[0], strides[0], where[1], strides[1], width, height, matrix, 2 if kind == "p010" else 1
    )


def here(array: NDArray[Any]) -> int:
    return array.ctypes.data


def blank(form: Form, count: int, height: int, width: int) -> NDArray[Any]:
    if form == "bytes":
        return np.full((count, height, width, 3), 77, np.uint8)
    return np.full((count, 3, height, width), 77, np.float16 if form == "f16" else np.float32)


def close(found: NDArray[Any], expected: NDArray[Any], form: Form) -> None:
    """Equal but for the last bit: both sides round each product and sum once, in the same order."""
    if form == "bytes":
        assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    else:
        np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("form", ["bytes", "f16", "f32"])
@pytest.mark.parametrize("kind", ["nv12", "p010", "yuv420p"])
def test_letterbox(kind: str, form: Form, gpu: Gpu, kernels: Kernels) -> None:
    rng = np.random.default_rng(1)
    to = Normalisation((1 / 255,) * 3, (-0.5,) * 3)
    for width, height, size, turns in SIZES:
        box = Letterbox.fit(*((height, width) if turns % 2 else (width, height)), size)
        expected = blank(form, 1, box.padded_height, box.padded_width)
        planes = planes_of(rng, width, height, kind)
        kernels.letterbox(
            picture(planes, width, height, kind, here), box, here(expected), form=form, turns=turns, normalisation=to
        )
        there = picture(planes, width, height, kind, gpu.put)
        out = gpu.put(np.full_like(expected, 3))
        gpu.kernels.letterbox(there, box, out, form=form, turns=turns, normalisation=to, stream=gpu.stream.handle)
        close(gpu.get(out, expected), expected, form)


@pytest.mark.parametrize("form", ["bytes", "f16", "f32"])
@pytest.mark.parametrize("kind", ["nv12", "p010", "yuv420p"])
def test_warp(kind: str, form: Form, gpu: Gpu, kernels: Kernels) -> None:
    rng = np.random.default_rng(2)
    planes = planes_of(rng, 641, 361, kind)
    places = rng.uniform((0.3, -3, 0, 0), (6, 3, 641, 361), (FACES, 4))
    matrices = np.stack([turned(*place) for place in places.tolist()])
    expected = blank(form, FACES, 112, 112)
    kernels.warp(picture(planes, 641, 361, kind, here), matrices, here(expected), form=form)
    there = picture(planes, 641, 361, kind, gpu.put)
    out = gpu.put(np.full_like(expected, 3))
    gpu.kernels.warp(there, matrices, out, form=form, stream=gpu.stream.handle)
    close(gpu.get(out, expected), expected, form)


def test_decode(gpu: Gpu, kernels: Kernels) -> None:
    rng = np.random.default_rng(3)
    maps = [rng.normal(1, 2, (4, 384 // s, 640 // s, CHANNELS)).astype(np.float32) for s in (8, 16, 32)]
    for head in maps:
        head[..., 0] = rng.random(head.shape[:-1])
        head[0, 0, 0, 3] = np.nan
    sizes = [(640, 360), (640, 384), (633, 384), (640, 200)]

    def told(place: Place) -> list[HeadMap]:
        return [HeadMap(place(h), h.shape[1], h.shape[2], s) for h, s in zip(maps, (8, 16, 32), strict=True)]

    capacity = claims(told(here))
    faces, counts = np.full((4, capacity, CHANNELS), 7, np.float32), np.zeros(4, np.int32)
    kernels.decode(told(here), sizes, 0.6, here(faces), here(counts), capacity)
    there_faces, there_counts = gpu.put(np.full_like(faces, 7)), gpu.put(counts)
    there = told(gpu.put)
    for _ in range(3):  # the same rows in the same order every time
        gpu.kernels.decode(there, sizes, 0.6, there_faces, there_counts, capacity, stream=gpu.stream.handle)
        np.testing.assert_array_equal(gpu.get(there_counts, counts), counts)
        np.testing.assert_array_equal(gpu.get(there_faces, faces), faces)


@pytest.mark.parametrize("dimension", [4, 128, 132, 512])
def test_normalise_and_nearest(dimension: int, gpu: Gpu, kernels: Kernels) -> None:
    rng = np.random.default_rng(4)
    raw = rng.normal(size=(19, dimension)).astype(np.float32)
    raw[7] = 0
    embeddings = gpu.put(raw)
    gpu.kernels.normalise(embeddings, embeddings, *raw.shape, stream=gpu.stream.handle)
    rows = gpu.get(embeddings, raw)
    np.testing.assert_allclose(rows, unit(raw), rtol=2e-7)

    gallery = unit(rng.normal(size=(PEOPLE, dimension)).astype(np.float32))
    owners = rng.integers(0, 900, len(gallery), np.int32)
    answers: list[NDArray[Any]] = [np.full(19, 7, np.int32), np.full(19, 7, np.float32), np.full(19, 7, np.float32)]
    local = DeviceGallery(here(gallery), here(owners), *gallery.shape)
    scratch = np.zeros(PARTIAL_BYTES * 19 * local.blocks, np.uint8)
    rows = rows.copy()
    kernels.nearest(here(rows), 19, local, here(scratch), *(here(answer) for answer in answers))
    there = DeviceGallery(gpu.put(gallery), gpu.put(owners), *gallery.shape)
    out = [gpu.put(np.zeros_like(answer)) for answer in answers]
    gpu.kernels.nearest(embeddings, 19, there, gpu.put(scratch), out[0], out[1], out[2], stream=gpu.stream.handle)
    for place, answer in zip(out, answers, strict=True):
        np.testing.assert_array_equal(gpu.get(place, answer), answer)


@pytest.mark.parametrize("kind", ["nv12", "p010", "yuv420p"])
def test_cells(kind: str, gpu: Gpu, kernels: Kernels) -> None:
    rng = np.random.default_rng(6)
    planes = planes_of(rng, 641, 361, kind)
    expected = np.full((3, 18, 32), 7, np.uint16 if kind == "p010" else np.uint8)
    kernels.cells(picture(planes, 641, 361, kind, here), 32, 18, here(expected))
    out = gpu.put(np.zeros_like(expected))
    gpu.kernels.cells(picture(planes, 641, 361, kind, gpu.put), 32, 18, out, stream=gpu.stream.handle)
    np.testing.assert_array_equal(gpu.get(out, expected), expected)


def test_sharpness(gpu: Gpu, kernels: Kernels) -> None:
    crops = np.random.default_rng(7).integers(0, 256, (9, 112, 112, 3), np.uint8)
    expected = np.full(9, 7, np.float32)
    kernels.sharpness(here(crops), 9, here(expected))
    out = gpu.put(np.zeros_like(expected))
    gpu.kernels.sharpness(gpu.put(crops), 9, out, stream=gpu.stream.handle)
    np.testing.assert_array_equal(gpu.get(out, expected), expected)


@pytest.mark.parametrize("kind", ["nv12", "p010", "yuv420p"])
def test_draw(kind: str, gpu: Gpu, kernels: Kernels) -> None:
    """Outlines and plates at odd places, over one another."""
    rng = np.random.default_rng(8)
    mask = rng.integers(0, 256, (23, 71), np.uint8)
    drawn = planes_of(rng, 321, 181, kind)
    places = [gpu.put(plane) for plane in drawn]
    top = 65535 if kind == "p010" else 255

    def marks(text: int) -> list[Mark]:
        inks = [tuple(rng.integers(0, top, 3).tolist()) for _ in range(6)]
        outlines = [Mark(5 + 31 * k, 7 + 9 * k, 180 + 20 * k, 99 + 11 * k, inks[k], 1 + k) for k in range(5)]
        return [*outlines, Mark(33, 11, 104, 34, inks[5], 0, inks[0], text, 71)]

    rng = np.random.default_rng(9)
    kernels.draw(picture(drawn, 321, 181, kind, here), marks(here(mask)))
    rng = np.random.default_rng(9)
    there = picture(drawn, 321, 181, kind, lambda plane: places[[id(one) for one in drawn].index(id(plane))])
    gpu.kernels.draw(there, marks(gpu.put(mask)), stream=gpu.stream.handle)
    for place, plane in zip(places, drawn, strict=True):
        np.testing.assert_array_equal(gpu.get(place, plane), plane)


def test_threads_with_streams_of_their_own_do_not_disturb_each_other(gpu: Gpu) -> None:
    rng = np.random.default_rng(5)
    box = Letterbox.fit(1280, 720)
    like = blank("bytes", 1, box.padded_height, box.padded_width)
    there = picture(planes_of(rng, 1280, 720, "nv12"), 1280, 720, "nv12", gpu.put)
    found: list[NDArray[Any]] = []

    def work() -> None:
        with gpu.device.current():
            own = Gpu(gpu.device, gpu.kernels)
            out = own.put(np.zeros_like(like))
            for _ in range(20):
                own.kernels.letterbox(there, box, out, stream=own.stream.handle)
            found.append(own.get(out, like))
            own.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])
