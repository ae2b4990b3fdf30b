"""Decoding on an NVIDIA GPU: the pictures come out in its memory and stay there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import av
import av.error
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from engine.errors import MissingError
from stream.probe import opened


@contextmanager
def opened_on_gpu(path: str | os.PathLike[str]) -> Iterator[InputContainer]:
    """`stream.probe.opened`, with decoders on the GPU where FFmpeg has one for the codec and the GPU takes the stream,
    and on the CPU where not: what comes out tells (`stream.planes.on_gpu`).

    They use the device's primary context, as the networks do, and each picture is the caller's alone (FFmpeg copies it,
    on the GPU, out of the decoder's own few surfaces): it may be held and drawn on.

    Raises:
        InputError: the file cannot be opened.
        MissingError: FFmpeg finds no GPU.
    """
    accelerator = HWAccel("cuda", is_hw_owned=True, allow_software_fallback=True)
    try:
        # By itself: when a file is opened, nobody could tell which of the two had failed.
        accelerator.create(av.Codec("h264", "r"))
    except av.error.FFmpegError as error:
        raise MissingError(f"FFmpeg cannot decode on the GPU ({error.strerror}); use --device cpu") from error
    with opened(path, accelerator) as container:
        yield container
