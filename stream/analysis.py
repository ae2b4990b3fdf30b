"""Frames in, labelled frames out: tracks, embeddings, names, for what `stream.looking` has found.

Everything is decided by the content alone and in frame order, never by the clock: the same frames and settings
give the same names, with one thread or eight. Frames are held back for a look-ahead so that a track carries, from
its first frame, the best name known by then; where the tracks are on them is the business of `stream.trajectories`.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from engine.types import Detections
from stream.cadence import EVERY_FRAME
from stream.continuity import Continuity
from stream.eyes import Eyes, HostEyes
from stream.frames import Face, Frame, LabelledFrame, TrackVerdict, VideoInfo
from stream.identity import Identity, face_quality
from stream.looking import Gap, Looker
from stream.stages import StageClock
from stream.tracker import FAINT, Looks, Tracker
from stream.trajectories import Trajectories

WORTH_A_LOOK = 0.1
"""Quality of a face from which its embedding may settle a doubt of the tracker."""
HELD_BYTES = 512 << 20
"""Decoded pictures that the look-ahead may hold; it is shortened for pictures too large for that."""


class Analyser:
    """Finds and names the faces of one video, frame after frame.

    Args:
        info: the video's geometry.
        detector: finds the faces.
        embedder: tells them apart; needed with a gallery only.
        gallery: whom to name; None leaves everybody unknown.
        lookahead: seconds a frame is held back before its names are decided.
        every_frame: look for faces on every frame, as the cadence otherwise does where much happens.
        cautious: rather follow what may be no face than lose one, as for hiding faces.
        longest: seconds between two looks at the most; None leaves it to the cadence.
        clock: where the time of each stage is added up.
        eyes: looks at the pictures; None for the CPU.

    Example:
        >>> with FileSource("mv.mp4") as source:                            # doctest: +SKIP
        ...     analyser = Analyser(source.info, detector, embedder, gallery)
        ...     for frame in source.frames():
        ...         for labelled in analyser.push(frame):
        ...             print(labelled.frame.index, [face.name for face in labelled.faces])
    """

    identity_type: type[Identity] = Identity
    """What names the tracks."""

    def __init__(
        self,
        info: VideoInfo,
        detector: Detector,
        embedder: Embedder | None = None,
        gallery: Gallery | None = None,
        *,
        lookahead: float = 2.0,
        every_frame: bool = False,
        cautious: bool = False,
        longest: float | None = None,
        clock: StageClock | None = None,
        eyes: Eyes | None = None,
    ) -> None:
        if gallery is not None and embedder is None:
            raise ValueError("a gallery needs the embedder that it was made with")
        self._info = info
        self._embedder = embedder
        self._clock = clock or StageClock()
        self._eyes = eyes or HostEyes(info, detector, embedder, self._clock)
        longest = EVERY_FRAME if every_frame else longest
        self.looker = Looker(
            info, detector, lambda: self._ready.result(), longest=longest, clock=self._clock, eyes=self._eyes
        )
        """Finds the faces; may work in another thread than the rest, see `follow`."""
        self._lookahead = lookahead
        picture_bytes = info.width * info.height * av.VideoFormat(info.pixel_format).padded_bits_per_pixel // 8
        self._held_limit = max(8, HELD_BYTES // max(1, picture_bytes))
        rate = float(info.average_rate or 30)
        self.notes: list[str] = []
        if self._held_limit < lookahead * rate:
            self.notes.append(
                f"pictures of {info.width}x{info.height} are held back for {self._held_limit / rate:.1f} s instead of "
                f"{lookahead:g} s before their names are decided, to keep memory small"
            )
        # On a thread of its own, while the first frames are decoded and compared: it takes a good part of a second.
        preparing = ThreadPoolExecutor(1, "iznet-prepare")
        self._ready = preparing.submit(self._prepare, gallery)
        preparing.shutdown(wait=False)
        # What is one person is the embedder's business: its cosines mean what its threshold says.
        same, strangers = (embedder.threshold, embedder.strangers) if embedder is not None else (0.5, 0.0)
        unlike = 0.3 * (same - strangers) / (1 - strangers)
        another = strangers + 0.65 * (same - strangers)
        faint = np.inf if cautious else FAINT
        self._tracker = Tracker(confident=detector.threshold, faint=faint, unlike=unlike, strangers=strangers)
        self._identity = self.identity_type(gallery, same=same, unlike=another)
        self._continuity = Continuity(self._eyes)
        self._trajectories = Trajectories(self._identity)
        self._bounds = np.array([info.width, info.height] * 2, np.float32)

    def _prepare(self, gallery: Gallery | None) -> None:
        """Make the networks ready for what this video asks of them, by the hundred."""
        # One picture or face at a time: a batch saves nothing on a CPU, integer networks are compiled anew for every
        # size of it, and which frame is next depends on this one's faces.
        self.looker.prepare()
        if self._embedder is not None and gallery is not None:
            self._embedder.prepare(1)

    def push(self, frame: Frame) -> list[LabelledFrame]:
        """Take the next frame; return those whose names are decided now, in order."""
        return [labelled for gap in self.looker.push(frame) for labelled in self.follow(gap)]

    def finish(self) -> list[LabelledFrame]:
        """The frames still held, after the last one was pushed."""
        return [*(labelled for gap in self.looker.finish() for labelled in self.follow(gap)), *self.release()]

    def follow(self, gap: Gap) -> list[LabelledFrame]:
        """Track the faces of the next gap that `looker` has looked at; return the frames whose names are decided now.

        For whoever lets `looker` work in a thread of its own, in place of `push`.
        """
        if gap.cut:
            self._identity.settle(self._tracker.shot)
            self._tracker.cut()
            self._continuity.forget()
            self._trajectories.cut()
        for i, frame in enumerate(gap.frames):
            labelled = self._hold(frame)
            if i in gap.found:
                self._track(labelled, gap.found[i])
                self._look(labelled)
                self._reunite(labelled)
        self._eyes.done(gap.frames)
        now, held = gap.frames[-1].time, self._trajectories.held
        released = []
        while held and (now - held[0].frame.time >= self._lookahead or len(held) > self._held_limit):
            released.append(self._released())
        return released

    def release(self) -> list[LabelledFrame]:
        """The frames still held, after the last gap was followed."""
        return [self._released() for _ in range(len(self._trajectories.held))]

    def verdicts(self) -> list[TrackVerdict]:
        """What became of every track, by all that is known now, in order of their ids."""
        strangers = self._identity.strangers()
        return [self._verdict(track, strangers.get(track)) for track in sorted(self._trajectories.lifespans)]

    def _verdict(self, track: int, stranger: int | None = None) -> TrackVerdict:
        """What became of a track, by all that is known now."""
        lifespan, naming = self._trajectories.lifespans[track], self._identity.naming(track)
        return TrackVerdict(
            track=track,
            shot=lifespan.shot,
            verdict=naming.verdict,
            name=naming.name,
            similarity=naming.similarity,
            first=lifespan.first,
            last=lifespan.last,
            frames=lifespan.frames,
            stranger=stranger,
        )

    def _hold(self, frame: Frame) -> LabelledFrame:
        """The next frame, with nobody on it yet."""
        frame.shot = self._tracker.shot
        labelled = LabelledFrame(frame, self._info.rotation)
        self._trajectories.hold(labelled)
        return labelled

    def _track(self, labelled: LabelledFrame, found: Detections) -> None:
        """Follow the faces that were found on the latest frame."""
        with self._clock("track"):
            frame = labelled.frame
            ids = self._tracker.update(found, frame.time, self._looks(frame, found))
            boxes = np.clip(found.boxes, 0, self._bounds)
            faces = [
                Face(track, boxes[row], float(found.scores[row]), found.landmarks[row])
                for row, track in enumerate(ids)
                if bool(np.all(boxes[row, 2:] > boxes[row, :2]))
            ]
            self._trajectories.find([f for f in faces if f.track >= 0], [f for f in faces if f.track < 0])

    def _looks(self, frame: Frame, found: Detections) -> Looks | None:
        """How the tracker may look at detections of this frame."""
        if self._embedder is None:
            return None

        def embed(rows: Sequence[int]) -> NDArray[np.float32]:
            faces = [
                Face(-1, found.boxes[row], float(found.scores[row]), np.asarray(found.landmarks[row])) for row in rows
            ]
            worth = [
                i
                for i, face in enumerate(faces)
                if face_quality(face.box, face.score, face.landmarks) > WORTH_A_LOOK and self._is_seen(face)
            ]
            embeddings = np.full((len(rows), self._embedder.dimension if self._embedder else 0), np.nan, np.float32)
            if worth:
                points = [faces[i].landmarks for i in worth]
                embeddings[worth] = self._eyes.embeddings(frame, points, [False] * len(worth))[0]
            return embeddings

        return embed

    def _look(self, labelled: LabelledFrame) -> None:
        """Embed the faces of the latest frame that could change what is known of their tracks."""
        wanted = self._wanted(labelled)
        if wanted:
            points = [face.landmarks for face, _ in wanted]
            mirrored = [self._identity.mirrors(face.track) for face, _ in wanted]
            self._learn(labelled.frame, wanted, *self._eyes.embeddings(labelled.frame, points, mirrored))

    def _wanted(self, labelled: LabelledFrame) -> list[tuple[Face, float]]:
        """The faces of the latest frame whose embeddings could change what is known of their tracks, and their
        qualities."""
        if self._embedder is None or not self._identity.names_anybody:
            return []
        frame, faces = labelled.frame, labelled.faces
        with self._clock("track"):
            changes = self._continuity.changes(frame, faces, self._trajectories.held)
        wanted = []
        for face in faces:
            track, quality = face.track, face_quality(face.box, face.score, face.landmarks)
            likeness = self._continuity.likeness(track)
            wants = self._identity.wants(track, quality, frame.time, changes.get(track), likeness)
            if wants and self._is_seen(face):
                wanted.append((face, quality))
        return wanted

    def _learn(
        self,
        frame: Frame,
        wanted: Sequence[tuple[Face, float]],
        embeddings: NDArray[np.float32],
        sharp: Sequence[float],
    ) -> None:
        """Keep the embeddings of such faces, and how sharp each is; those that turn out to be others than their tracks'
        get tracks of their own."""
        for (face, quality), share, embedding in zip(wanted, sharp, embeddings, strict=True):
            track = face.track
            after = self._identity.add(track, embedding, quality, frame.time, share)
            if after is not None:
                track = self._part(frame, track, after)
            elif self._identity.is_certain(track):
                self._continuity.know(track)
            self._tracker.remember(track, embedding)

    def _part(self, frame: Frame, old: int, after: float) -> int:
        """The face on the latest frame is not that of its track any more, which it may have been until `after` seconds:
        it gets another track, which begins on the held frame where its picture shows another face."""
        new = self._tracker.part(old)
        sight = self._trajectories.sightings(old, after)
        self._identity.see(frame.shot, [new], frame.time)
        doubted = self._identity.part(old, new)
        sure = next(n for n, (seen, _) in enumerate(sight) if seen.time >= doubted)
        since = sight[self._continuity.parting(old, sight[: sure + 1], after)][0].time
        self._continuity.call(old, new)
        self._continuity.know(new)
        self._identity.leave(old, since)
        self._trajectories.part(old, new, since, after)
        return new

    def _reunite(self, labelled: LabelledFrame) -> None:
        """Let a track of the latest frame that goes on an earlier one carry its id, while all of its frames are still
        held."""
        if not self._lookahead:
            return
        for track in [face.track for face in labelled.faces]:
            ended = self._trajectories.predecessors(track, {each.id for each in self._tracker.alive})
            into = self._identity.reunion(track, ended) if ended else None
            if into is not None:
                self._identity.join(track, into)
                self._tracker.join(track, into)
                self._continuity.call(track, into)
                self._trajectories.join(track, into)

    def _is_seen(self, face: Face) -> bool:
        """Whether the middle of the face's five points lies inside the picture."""
        middle = face.landmarks.mean(axis=0)
        return bool(np.all(middle > 0) and np.all(middle < self._bounds[:2]))

    def _released(self) -> LabelledFrame:
        """The oldest frame that is held, with the names known now; on one frame nobody is there twice."""
        held = self._trajectories.release()
        faces = []
        for face in held.faces:
            naming = self._identity.naming(face.track)
            faces.append(Face(face.track, face.box, face.score, face.landmarks, naming.name, naming.similarity))
        return LabelledFrame(held.frame, held.rotation, faces)
