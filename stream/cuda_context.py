"""FFmpeg's decoders and encoders on an NVIDIA GPU, in the context where the networks are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from av.codec.hwaccel import HWAccel

from engine.cuda_device import open_device


@contextmanager
def accelerator(software: bool = False) -> Iterator[HWAccel]:
    """What PyAV makes decoders and encoders with whose pictures stay on the GPU; what is made of it is made here.

    They join the context that is current. FFmpeg's other way, `primary_ctx`, retains the same context by itself, but
    refuses (ENOTSUP) one that was made by anybody else, with other flags than FFmpeg's own: so the networks, or
    PyTorch in the same process, would keep it from decoding.

    Args:
        software: whether a stream that the GPU does not take is decoded on the CPU.

    Raises:
        MissingError: there is no GPU that networks can run on.

    Example:
        >>> with accelerator() as cuda:  # doctest: +SKIP
        ...     encoder = av.CodecContext.create("h264_nvenc", "w", hwaccel=cuda)
    """
    with open_device().current():
        yield HWAccel(
            "cuda",
            is_hw_owned=True,
            allow_software_fallback=software,
            options={"primary_ctx": "0", "current_ctx": "1"},
        )
