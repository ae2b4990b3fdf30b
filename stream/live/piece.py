"""One file or connection of encoded pictures of a feed: all of one geometry, from one encoder, begun with its first
picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.stream import VideoStream

from engine.errors import OutputError
from engine.output_file import writing
from stream.encoding import EncoderPlan, EncoderSettings, plan_encoder
from stream.frames import VideoInfo
from stream.live.address import Address
from stream.live.outputs import Seen
from stream.live.timeline import TICK
from stream.pictures import convert
from stream.probe import Colour, VideoFacts, for_ffmpeg


@dataclass(frozen=True, slots=True)
class Container:
    """How the packets are kept."""

    format: str
    """FFmpeg's name of the muxer."""
    options: Mapping[str, str] = field(default_factory=dict)
    key_every: float | None = None
    """Seconds after which a key frame is due, as nobody can begin to play elsewhere; None leaves it to the encoder."""
    timeout: float | None = None
    """Seconds that a server may take to answer."""
    opens: Callable[[str, int, Mapping[str, str]], Any] | None = None
    """Opens what the muxer asks for, by its name, FFmpeg's flags and options; None leaves that to FFmpeg."""


class Piece:
    """Takes pictures of one geometry.

    Args:
        target: the file, which is replaced if it exists, or the address.
        seen: the first picture, which is not written yet.
        settings: of the encoder.
        container: how packets are kept.
        address: of the server, if it is one: what may be shown of it.

    Raises:
        OutputError: it cannot be written; from `write` and `end` too.
        MissingError, UsageError: as `plan_encoder`.
    """

    def __init__(
        self,
        target: str | Path,
        seen: Seen,
        settings: EncoderSettings,
        container: Container,
        address: Address | None = None,
    ) -> None:
        self.info = seen.info
        self.first = seen.labelled.frame.pts
        self.size = 0
        """Bytes of the packets so far."""
        self._target = str(target)
        self._address = address
        picture = seen.labelled.frame.picture
        colour = Colour(picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace, None)
        plan = at_once(plan_encoder(settings, _facts(seen.info, colour)))
        self._key_every = container.key_every
        self._key = -1
        self._format = plan.pixel_format
        self._encoder: VideoCodecContext = plan.open()
        place = for_ffmpeg(target) if isinstance(target, Path) else target
        try:
            self._container: OutputContainer = av.open(
                place,
                "w",
                format=container.format,
                options=dict(container.options),
                timeout=container.timeout,
                io_open=container.opens,
            )
        except (av.error.FFmpegError, OSError) as error:
            raise self._lost(error) from None
        self._stream: VideoStream = plan.add_stream(self._container)
        if seen.info.rotation:
            self._stream.set_display_rotation(-seen.info.rotation)

    def write(self, seen: Seen) -> None:
        """Encode and keep the next picture."""
        frame = seen.labelled.frame
        picture = convert(frame.picture, self._format)
        picture.pts, picture.time_base = frame.pts - self.first, TICK
        picture.pict_type = PictureType.NONE
        if self._key_every is not None and (self._key < 0 or (frame.pts - self._key) * TICK >= self._key_every):
            self._key = frame.pts
            picture.pict_type = PictureType.I
        self._mux(picture)

    def end(self) -> None:
        """Finish it."""
        try:
            self._mux(None)
        finally:
            try:
                self._container.close()
            except (av.error.FFmpegError, OSError) as error:
                raise self._lost(error) from None

    def drop(self) -> None:
        """Let it go, as nobody is there to take its end."""
        with suppress(av.error.FFmpegError, OSError):
            self._container.close()

    def _mux(self, picture: av.VideoFrame | None) -> None:
        try:
            for packet in self._encoder.encode(picture):
                packet.stream = self._stream
                packet.time_base = TICK
                self.size += packet.size
                self._container.mux_one(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> OutputError:
        if self._address is None:
            return _unwritten(self._target, error)
        reason = str(getattr(error, "strerror", None) or error)
        if isinstance(error, av.error.ExitError):
            reason = "no answer within the timeout"
        return OutputError(f"cannot send to {self._address.shown}: {self._address.clean(reason).strip()}")


def _unwritten(target: str, error: Exception) -> OutputError:
    """Why the file could not be written, and what to do."""
    try:
        with writing(target):
            raise error
    except OutputError as told:
        return told
    except av.error.FFmpegError:  # none of the system's refusals
        return OutputError(f"cannot write {target}: {error}")


def check_encoder(settings: EncoderSettings) -> None:
    """Refuse an encoder that cannot be, whatever a feed will show: it is opened for a picture of a usual kind.

    Raises:
        UsageError: there is none of that name, or it refuses the preset or crf.
        MissingError: it is not in this FFmpeg, or its device is not here.
    """
    usual = VideoInfo("", 1280, 720, 0, TICK, None, None, "yuv420p")
    at_once(plan_encoder(settings, _facts(usual, Colour()))).open()


def at_once(plan: EncoderPlan) -> EncoderPlan:
    """The plan with an encoder that holds no pictures back, where it can be told so: a run then ends quickly, and a
    crash loses little."""
    if plan.encoder not in ("x264", "x265"):
        return plan
    return replace(plan, slices=True, options={**plan.options, "tune": "zerolatency"})


def _facts(info: VideoInfo, colour: Colour) -> VideoFacts:
    """What an encoder has to know of a feed: it has no file to be asked."""
    return VideoFacts(
        info=info,
        stream_index=0,
        codec="h264",
        format="live",
        colour=colour,
        sample_aspect=None,
        display_matrix=None,
        mirrored=False,
        field_order=None,
        rate=info.average_rate or Fraction(30),
    )
