"""Naming at once: every frame that is handed in comes back with everybody on it, and what is over is forgotten.

The parts are those of `stream.analysis`; what differs is time. Nothing waits for what comes next, tracks end for good
when they are lost, so that memory does not grow with the hours, and the gallery may change while it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from engine.alignment import ARCFACE_TEMPLATE, SIZE
from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from engine.levelling import Leveller
from engine.types import Detections
from stream.analysis import Analyser
from stream.eyes import HostEyes, cut_aligned, sharpness
from stream.frames import Face, Frame, LabelledFrame, TrackVerdict, VideoInfo
from stream.identity import Identity, Look, Naming
from stream.looking import find_together
from stream.overlay import Overlay
from stream.stages import StageClock
from stream.tracker import assignment

KEPT_LOOKS = 5
"""Embeddings that are kept of a track: what somebody is enrolled with who gets a name by hand."""
KEPT_GONE = 32
"""Tracks whose looks are kept when they have ended: who is to be named may be gone before the name is typed."""


class LiveIdentity(Identity):
    """Names of the tracks that are alive; the others are forgotten."""

    def __init__(self, gallery: Gallery | None, *, same: float, unlike: float) -> None:
        super().__init__(gallery, same=same, unlike=unlike)
        self._looks_of: dict[int, list[tuple[float, NDArray[np.float32]]]] = {}
        self._gone: dict[int, NDArray[np.float32]] = {}
        """The looks of the latest tracks that have ended, the latest last."""
        self._said: dict[int, str] = {}
        """What people said who a track is."""
        self._told: set[int] = set()
        """The tracks of which they ever said it."""

    def _believe(self, track: int, *looks: Look) -> None:
        super()._believe(track, *looks)
        best = self._looks_of.setdefault(track, [])
        best += [(look.clear, look.embedding) for look in looks]
        best.sort(key=lambda look: -look[0])
        del best[KEPT_LOOKS:]

    def looks_of(self, track: int) -> NDArray[np.float32] | None:
        """`[n,D]` the best embeddings of a track, the best first; None where there are none."""
        looks = self._looks_of.get(track)
        return np.stack([embedding for _, embedding in looks]) if looks else self._gone.get(track)

    def is_clear(self, track: int) -> bool:
        """Whether a living track has been seen so clearly that likeness to another one says something."""
        return track in self._evidence and self._evidence[track].clear >= self.clear_enough

    def met(self, track: int, other: int) -> bool:
        """Whether two tracks have stood on one frame, as far as a living one of them tells: of those that have ended it
        knows the latest `KEPT_GONE` and who was named by hand."""
        pairs = ((track, other), (other, track))
        return any(a in self._evidence and b in self._evidence[a].seen_with for a, b in pairs)

    def recognise(self, gallery: Gallery) -> None:
        """From now on these people are known, the tracks that are alive included."""
        self._gallery = gallery
        self._names.clear()

    def say(self, track: int, name: str | None) -> None:
        """Somebody who knows says who this track is, if it lives; None takes it back."""
        if name is None:
            self._said.pop(track, None)
        elif track in self._evidence:
            self._said[track] = name
            self._told.add(track)

    def naming(self, track: int) -> Naming:
        naming, said = super().naming(track), self._said.get(track)
        if said is not None:
            return Naming("named", said, naming.similarity)
        beside = self._evidence[track].seen_with
        if naming.name is not None and any(
            other in beside and name == naming.name for other, name in self._said.items()
        ):
            return Naming("conflict", None, naming.similarity)
        return naming

    def forget(self, track: int) -> None:
        """Nothing will be asked about this track again, except for its looks."""
        looks = self.looks_of(track)
        del self._evidence[track], self._born[track]
        if looks is None:
            self._forget_meetings(track)
        else:
            self._gone[track] = looks
            if len(self._gone) > KEPT_GONE:
                oldest = next(iter(self._gone))
                del self._gone[oldest]
                self._forget_meetings(oldest)
        self._looks_of.pop(track, None)
        self._said.pop(track, None)
        shot = self._shot_of.pop(track)
        self._tracks_of[shot].remove(track)
        self._names.pop(shot, None)
        if not self._tracks_of[shot]:
            del self._tracks_of[shot]

    def _forget_meetings(self, track: int) -> None:
        """Who stays for hours meets more people than can be kept in mind, but for the few who were named by hand."""
        if track in self._told:
            return
        for evidence in self._evidence.values():
            evidence.seen_with.pop(track, None)


class LiveAnalyser(Analyser):
    """Names the faces of one feed, one frame at a time.

    Args:
        info: the pictures' geometry; with another one, a new analyser is needed.
        detector: finds the faces.
        embedder: tells them apart; needed with a gallery only.
        gallery: whom to name.
        clock: where the time of each stage is added up.
        most: how many feeds' frames may be looked at together: see `look_together`.

    Example:
        >>> analyser = LiveAnalyser(info, detector, embedder, gallery)      # doctest: +SKIP
        >>> labelled = analyser.look(frame)                                 # doctest: +SKIP
        >>> [face.name for face in labelled.faces]                          # doctest: +SKIP
        ['yuri']
    """

    identity_type = LiveIdentity
    _identity: LiveIdentity

    def __init__(
        self,
        info: VideoInfo,
        detector: Detector,
        embedder: Embedder | None = None,
        gallery: Gallery | None = None,
        *,
        clock: StageClock | None = None,
        most: int = 1,
    ) -> None:
        self._most, self._detector = most, detector
        super().__init__(info, detector, embedder, gallery, lookahead=0.0, every_frame=True, clock=clock)
        self._level = Leveller(detector, *self.looker.box.padded)
        self._ended: list[TrackVerdict] = []

    @property
    def ready(self) -> Future[None]:
        """Done when the networks can look at pictures of this size, which takes seconds; holds what failed."""
        return self._ready

    def look(self, frame: Frame) -> LabelledFrame:
        """The frame with everyone on it, by all that is known now. Times must rise; where a cut or a gap lies before
        it, `break_off` has been called."""
        (labelled,) = look_together([(self, frame)])
        return labelled

    def break_off(self) -> None:
        """What comes next does not go on what came before: every track ends here."""
        self._tracker.cut()
        self._continuity.forget()
        self.looker.break_off()
        self._end(self._trajectories.lifespans)

    def ended(self) -> list[TrackVerdict]:
        """The tracks that have ended since the last call, each told once."""
        ended, self._ended = self._ended, []
        return ended

    def naming(self, track: int) -> Naming:
        """What a living track is called."""
        return self._identity.naming(track)

    def looks_of(self, track: int) -> NDArray[np.float32] | None:
        """`[n,D]` unit embeddings of a track that lives or ended lately, the best first; None if there are none."""
        return self._identity.looks_of(track)

    def is_clear(self, track: int) -> bool:
        """Whether a living track has been seen so clearly that likeness to another one says something."""
        return self._identity.is_clear(track)

    def met(self, track: int, other: int) -> bool:
        """Whether two tracks have stood on one frame, as far as a living one of them remembers."""
        return self._identity.met(track, other)

    def say(self, track: int, name: str | None) -> None:
        """Somebody who knows says who this track is: from the next frame on, if it lives. None takes it back."""
        self._identity.say(track, name)

    def recognise(self, gallery: Gallery) -> None:
        """From the next frame on these people are known.

        Raises:
            ValueError: this analyser began without a gallery.
        """
        if self._embedder is None:
            raise ValueError("an analyser without an embedder cannot know anybody")
        self._identity.recognise(gallery)

    def _prepare(self, gallery: Gallery | None) -> None:
        """Also for several at a time, and do once all that takes long the first time: a live picture would wait."""
        super()._prepare(gallery)
        assignment(np.zeros((2, 2)))  # two that want the same: what settles that takes a second to import
        self.looker.prepare(self._most)
        self.looker.rehearse(self._most)
        if self._embedder is not None:
            for count in range(1, self._most + 1):
                self._embedder.prepare(count)
                crops = self._embedder.job(count)
                crops.faces[...] = 0
                crops.start().result()
        self._rehearse(gallery)

    def _rehearse(self, gallery: Gallery | None) -> None:
        """See a face where there is none and draw it: the machine code for pictures of this kind is loaded, and made
        if this machine never had it."""
        picture = av.VideoFrame(self._info.coded_width, self._info.coded_height, self._info.pixel_format)
        for plane in picture.planes:
            plane.update(bytes(plane.buffer_size))
        frame = Frame(picture, 0, 0, self._info.time_base)
        width, height = self._info.width, self._info.height
        box = np.array([0, 0, width, height], np.float32)
        landmarks = ARCFACE_TEMPLATE * (min(width, height) / SIZE)
        eyes = HostEyes(
            self._info, self._detector, self._embedder
        )  # not the run's: its clock counts pictures that came
        eyes.cells(frame)
        eyes.patches(frame, box[None])
        if self._embedder is not None:
            embeddings, _ = eyes.embeddings(frame, [landmarks], [False])
            if gallery is not None:
                gallery.identify(embeddings)
        box /= 2
        Overlay(self._info, unknown="box").draw(picture, [Face(0, box, 1.0, landmarks, name="-")])

    def _followed(self, frame: Frame, found: Detections) -> LabelledFrame:
        labelled = self._hold(frame)
        self._track(labelled, found)
        return labelled

    def _finished(self) -> LabelledFrame:
        """The frame that was followed with the names that are known now; the tracks that are lost end."""
        self._end(self._trajectories.lifespans.keys() - {track.id for track in self._tracker.alive})
        (labelled,) = self.release()
        return labelled

    def _end(self, tracks: Iterable[int]) -> None:
        for track in sorted(tracks):
            self._ended.append(self._verdict(track))
            self._trajectories.forget(track)
            self._identity.forget(track)
            self._continuity.forget([track])


class _Wanted(NamedTuple):
    """A face that is worth being embedded."""

    analyser: LiveAnalyser
    frame: Frame
    face: Face
    quality: float


def look_together(looks: Sequence[tuple[LiveAnalyser, Frame]]) -> list[LabelledFrame]:
    """A frame of each of several feeds with everyone on it, by all that is known now.

    One inference finds the faces of all whose small pictures are of one size, and faces of all are embedded together.
    What is found on a frame does not depend on what it is looked at together with.

    Args:
        looks: of different feeds with the same networks, and not more than their analysers were told.

    Example:
        >>> look_together([(door, frame), (yard, other)])                   # doctest: +SKIP
    """
    found = find_together([(analyser.looker, frame) for analyser, frame in looks])
    labelled = [analyser._followed(frame, faces) for (analyser, frame), faces in zip(looks, found, strict=True)]
    wanted = [
        _Wanted(analyser, frame, face, quality)
        for (analyser, frame), each in zip(looks, labelled, strict=True)
        for face, quality in analyser._wanted(each)
    ]
    most = min(analyser._most for analyser, _ in looks)
    for start in range(0, len(wanted), most):
        _learn_together(wanted[start : start + most])
    return [analyser._finished() for analyser, _ in looks]


def _learn_together(faces: Sequence[_Wanted]) -> None:
    """Embed these faces and keep what that says of them."""
    first = faces[0].analyser
    assert first._embedder is not None
    job = first._embedder.job(len(faces))
    with first._clock("crop"):
        for (analyser, frame, face, _), crop in zip(faces, job.faces, strict=True):
            mirrored = analyser._identity.mirrors(face.track)
            cut_aligned(frame.picture, face.landmarks, analyser._info, crop, analyser._level, mirrored=mirrored)
        sharp = [sharpness(crop) for crop in job.faces]
    with first._clock("embed"):
        embeddings = job.start().result()
    for (analyser, frame, face, quality), embedding, share in zip(faces, embeddings, sharp, strict=True):
        analyser._learn(frame, [(face, quality)], embedding[None], [share])
