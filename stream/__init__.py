"""Video in, labelled video out: packets, frames, time, threads and tracks.

Example:
    >>> from stream import label_video, open_stream
    >>> label_video("mv.mp4", "out.mp4", gallery="izone.gallery").frames     # doctest: +SKIP
    5412
    >>> for frame in open_stream("mv.mp4", "izone.gallery"):                 # doctest: +SKIP
    ...     print(frame.frame.time, [face.name for face in frame.faces])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream.encoding import EncoderSettings
    from stream.frames import Face, Frame, LabelledFrame
    from stream.label import label_video, open_stream
    from stream.photo import label_photo, render_photo
    from stream.render import render_video
    from stream.result import LabelResult
    from stream.tracks import read as read_tracks

# Imported when first asked for, as in `engine`.
_PLACES = {
    "EncoderSettings": ("encoding", "EncoderSettings"),
    "Face": ("frames", "Face"),
    "Frame": ("frames", "Frame"),
    "LabelResult": ("result", "LabelResult"),
    "LabelledFrame": ("frames", "LabelledFrame"),
    "label_photo": ("photo", "label_photo"),
    "label_video": ("label", "label_video"),
    "open_stream": ("label", "open_stream"),
    "render_photo": ("photo", "render_photo"),
    "render_video": ("render", "render_video"),
    "read_tracks": ("tracks", "read"),
}

__all__ = [
    "EncoderSettings",
    "Face",
    "Frame",
    "LabelResult",
    "LabelledFrame",
    "label_photo",
    "label_video",
    "open_stream",
    "read_tracks",
    "render_photo",
    "render_video",
]


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
