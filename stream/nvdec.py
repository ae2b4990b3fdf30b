"""Decoding on an NVIDIA GPU: the pictures come out in its memory and stay there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import av
import av.error
from av.container import InputContainer

from engine.errors import MissingError
from stream.cuda_context import accelerator
from stream.probe import opened


@contextmanager
def opened_on_gpu(path: str | os.PathLike[str]) -> Iterator[InputContainer]:
    """`stream.probe.opened`, with decoders on the GPU where FFmpeg has one for the codec and the GPU takes the stream,
    and on the CPU where not: what comes out tells (`stream.planes.on_gpu`).

    They work in the context of the networks, and each picture is the caller's alone (FFmpeg copies it, on the GPU, out
    of the decoder's own few surfaces): it may be held and drawn on.

    Raises:
        InputError: the file cannot be opened.
        MissingError: there is no GPU, or FFmpeg cannot decode on it.
    """
    with ExitStack() as stack:
        with accelerator(software=True) as cuda:
            try:
                # By itself: when a file is opened, nobody could tell which of the two had failed.
                cuda.create(av.Codec("h264", "r"))
            except av.error.FFmpegError as error:
                raise MissingError(f"FFmpeg cannot decode on the GPU ({error.strerror}); use --device cpu") from error
            container = stack.enter_context(opened(path, cuda))
        yield container
