"""Decoding on an NVIDIA GPU: the pictures come out in its memory and stay there."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from stream.probe import opened


def opened_on_gpu(path: str | os.PathLike[str]) -> AbstractContextManager[InputContainer]:
    """`stream.probe.opened`, with decoders on the GPU where it has one for the codec, and on the CPU where not: what
    comes out tells (`stream.planes.on_gpu`). They use the device's primary context, as the networks do, and each
    picture is the caller's alone (FFmpeg copies it, on the GPU, out of the decoder's own few surfaces): it may be held
    and drawn on.

    Raises:
        InputError: the file cannot be opened, or there is no GPU.
    """
    return opened(path, HWAccel("cuda", is_hw_owned=True, allow_software_fallback=True))
