"""NVDEC and NVENC on the pretended machine, as PyAV has them: FFmpeg's own decoders and encoders do the work, and the
samples lie in the machine's memory in between, with a pitch of their own.

A decoder writes on the default stream and is done when somebody waits for it; it takes a picture's memory back as soon
as nobody holds the picture. An encoder reads when it is called.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import av
import numpy as np
from numpy.typing import NDArray

from stream import cuda_context, encoders, encoding, nvdec, source
from stream.planes import PixelLayout
from stream.probe import opened
from tests.engine.tensorrt.double.machine import Machine, Op

FORMATS = {"yuv420p": "nv12", "yuvj420p": "nv12", "nv12": "nv12", "yuv420p10le": "p010le", "p010le": "p010le"}
"""What NVDEC takes of the pixel formats here, and how it lays the samples out."""
PITCH = 256
"""Rows begin at multiples of so many bytes, and are one such longer than they need."""
KEPT = 3
"""Pictures that an encoder still holds after the call."""


class CudaPicture:
    """What PyAV's `VideoFrame` is on a GPU."""

    def __init__(self, machine: Machine, decoded: av.VideoFrame) -> None:
        host = decoded.reformat(format=FORMATS[decoded.format.name])
        self.__dict__["_machine"] = machine
        self.__dict__["_props"] = host  # times, colour and side data; never its samples
        self.__dict__["_layout"] = PixelLayout.of(host.format.name)
        rows = [_rows(plane).copy() for plane in host.planes]
        pitch = (-(-max(row.shape[1] for row in rows) // PITCH) + 1) * PITCH
        heights = [row.shape[0] for row in rows]
        machine.push(machine.primary)
        try:
            memory = machine.allocate(pitch * sum(heights), device=True)
        finally:
            machine.pop()
        memory.pitch = pitch
        self.__dict__["_memory"] = memory
        starts = self.__dict__["_starts"] = [0, pitch * heights[0]]

        def decode() -> None:  # without the picture: nobody holds it for its own decoding
            for start, row in zip(starts, rows, strict=True):
                place = memory.data[start : start + pitch * len(row)].reshape(len(row), pitch)
                place[:, : row.shape[1]] = row
            memory.written = len(memory.data)

        _on_default_stream(machine, Op("nvdec", decode, writes=(memory,)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("to_ndarray", "to_image", "to_rgb", "make_writable"):
            raise AssertionError(f"{name} of a picture in a GPU's memory")
        return getattr(self._props, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._props, name, value)

    def __del__(self) -> None:
        machine, memory = self._machine, self._memory
        if machine.forgiving or memory.freed:
            return
        if waiting := [op.name for op in memory.pending if op.stream is None or op.stream.handle]:
            machine.violation(f"a decoded picture was released before its stream had done: {', '.join(waiting)}")
            return
        machine.push(machine.primary)
        try:
            machine.synchronize(0)
            machine.free(memory.address)
        finally:
            machine.pop()

    @property
    def format(self) -> av.VideoFormat:
        return av.VideoFormat("cuda", self._props.width, self._props.height)

    @property
    def sw_format(self) -> av.VideoFormat:
        return av.VideoFormat(self._layout.name, self._props.width, self._props.height)

    @property
    def planes(self) -> list[Any]:
        return [
            SimpleNamespace(buffer_ptr=self._memory.address + start, line_size=self._memory.pitch)
            for start in self._starts
        ]

    def samples(self, why: str) -> av.VideoFrame:
        """A copy on the host, as things are when all that was put on the default stream is done."""
        machine, memory = self._machine, self._memory
        if waiting := [op.name for op in memory.pending if op.stream is None or op.stream.handle]:
            raise machine.violation(f"a picture was {why} before its stream had done: {', '.join(waiting)}")
        machine.push(machine.primary)
        try:
            machine.synchronize(0)
        finally:
            machine.pop()
        made = av.VideoFrame(self._props.width, self._props.height, self._layout.name)
        for plane, start in zip(made.planes, self._starts, strict=True):
            there = memory.data[start : start + memory.pitch * plane.height].reshape(plane.height, memory.pitch)
            here = _rows(plane)
            width = min(here.shape[1], memory.pitch)
            here[:, :width] = there[:, :width]
        for name in ("pts", "time_base", "duration", "colorspace", "color_range", "color_trc", "color_primaries"):
            setattr(made, name, getattr(self._props, name))
        return made

    def reformat(self, format: str) -> av.VideoFrame:
        """PyAV brings the picture down first."""
        made = self.samples("brought down")
        self._machine.pixels_down += len(self._memory.data)
        return made.reformat(format=format)


class Accelerator:
    """What PyAV's `HWAccel` is, as far as FFmpeg's choice of a context goes (libavutil/hwcontext_cuda.c)."""

    def __init__(self, machine: Machine, kind: str, options: dict[str, str], **_: bool) -> None:
        assert kind == "cuda"
        self._machine = machine
        self._options = {"primary_ctx": "1"} | options  # the first is PyAV's own for pictures that stay there

    def create(self, codec: av.Codec) -> None:
        """FFmpeg's device for a codec."""
        primary, current = (self._options.get(name, "0") == "1" for name in ("primary_ctx", "current_ctx"))
        assert primary != current
        if primary and self._machine.retained:  # with other flags than those that FFmpeg wants of it
            raise av.error.OSError(errno.ENOTSUP, "Operation not supported")
        if current:
            self._machine.need_context(f"FFmpeg's {codec.name} was opened")


class Encoder:
    """What PyAV's encoder context is with frames on a GPU: x264 does the work."""

    def __init__(self, machine: Machine) -> None:
        self.__dict__["_machine"] = machine
        self.__dict__["_own"] = av.CodecContext.create("libx264", "w")
        self.__dict__["_kept"] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "pix_fmt":
            assert value in ("nv12", "p010le"), value
            value = "yuv420p"
        setattr(self._own, name, value)

    def encode(self, picture: Any) -> list[Any]:
        if isinstance(picture, CudaPicture):
            self._kept.append(picture)
            del self._kept[:-KEPT]
            host = picture.samples("encoded").reformat(format="yuv420p")
            host.pict_type = 0
            picture = host
        elif picture is not None:
            assert picture.format.name in ("nv12", "p010le"), picture.format.name
            self._machine.pixels_up += sum(plane.buffer_size for plane in picture.planes)
            picture = picture.reformat(format="yuv420p")
        else:
            self._kept.clear()
        packets: list[Any] = self._own.encode(picture)
        return packets


@contextmanager
def video(machine: Machine) -> Iterator[None]:
    """NVDEC and NVENC for a test."""
    decode = source.FileSource._decode
    create = encoding._create

    def decoded(self: source.FileSource, *arguments: Any) -> Iterator[Any]:
        for picture in decode(self, *arguments):
            there = machine.nvdec and self.on_gpu and not self._deinterlace and picture.format.name in FORMATS
            yield CudaPicture(machine, picture) if there else picture

    def opened_there(path: Any, cuda: Any) -> Any:
        cuda.create(av.Codec("h264", "r"))
        return opened(path)

    def created(codec: str, on_gpu: bool = False) -> Any:
        if not on_gpu:
            return create(codec)
        with cuda_context.accelerator() as cuda:
            cuda.create(av.Codec("libx264", "w"))
        return Encoder(machine)

    kind = encoders.Kind("libx264", "h264", "veryfast", 20, ("yuv420p", "yuv444p"), "NVIDIA")
    with ExitStack() as stack:
        stack.enter_context(patch.object(cuda_context, "HWAccel", partial(Accelerator, machine)))
        stack.enter_context(patch.object(nvdec, "opened", opened_there))
        stack.enter_context(patch.object(source.FileSource, "_decode", decoded))
        stack.enter_context(patch.object(encoding, "_create", created))
        stack.enter_context(patch.dict(encoders.KINDS, {"nvenc": kind}))
        words = {"preset": "veryfast", "crf": "20"}
        stack.enter_context(patch.object(encoding, "hardware_options", lambda *arguments: dict(words)))
        yield


def _rows(plane: Any) -> NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)


def _on_default_stream(machine: Machine, op: Op) -> None:
    machine.push(machine.primary)
    try:
        machine.enqueue(0, op)
    finally:
        machine.pop()
