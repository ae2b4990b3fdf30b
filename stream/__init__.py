"""Video in, labelled video out: packets, frames, time, threads and tracks.

Example:
    >>> from stream import label_video, open_stream
    >>> label_video("mv.mp4", "out.mp4", gallery="izone.gallery").frames     # doctest: +SKIP
    5412
    >>> for frame in open_stream("mv.mp4", "izone.gallery"):                 # doctest: +SKIP
    ...     print(frame.frame.time, [face.name for face in frame.faces])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.lazy import lazy

if TYPE_CHECKING:
    from stream.encoding import EncoderSettings
    from stream.frames import Face, Frame, LabelledFrame
    from stream.label import label_video, open_stream
    from stream.photo import label_photo, render_photo
    from stream.render import render_video
    from stream.result import LabelResult
    from stream.tracks import read as read_tracks

_PLACES = {
    "EncoderSettings": "encoding",
    "Face": "frames",
    "Frame": "frames",
    "LabelResult": "result",
    "LabelledFrame": "frames",
    "label_photo": "photo",
    "label_video": "label",
    "open_stream": "label",
    "render_photo": "photo",
    "render_video": "render",
    "read_tracks": "tracks.read",
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

__getattr__, __dir__ = lazy(__name__, _PLACES)
