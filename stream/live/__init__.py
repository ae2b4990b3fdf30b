"""Live feeds: cameras and streams, named frame by frame, with a latency that stays bounded.

    reader (a thread a camera) ──► freshest frame ──► analysis (one thread for all) ──► record, recording, page

Pictures that cannot be analysed in time are dropped and counted by cause; a feed that breaks is asked for again.

Example:
    >>> from stream.live import frames
    >>> for seen in frames("rtsp://10.0.0.7/1", gallery):                   # doctest: +SKIP
    ...     print([face.name for face in seen.labelled.faces])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.lazy import lazy

if TYPE_CHECKING:
    from stream.live.address import Address
    from stream.live.outputs import Seen
    from stream.live.run import Live, LiveSettings, aframes, frames

_PLACES = {
    "Address": "address",
    "Live": "run",
    "LiveSettings": "run",
    "Seen": "outputs",
    "aframes": "run",
    "frames": "run",
}

__all__ = ["Address", "Live", "LiveSettings", "Seen", "aframes", "frames"]

__getattr__, __dir__ = lazy(__name__, _PLACES)
