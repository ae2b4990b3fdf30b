"""Frames in, labelled frames out: tracks, embeddings, names, for what `stream.looking` has found.

Everything is decided by the content alone and in frame order, never by the clock: the same frames and settings
give the same names, with one thread or eight. Frames are held back for a look-ahead so that a track carries, from
its first frame, the best name known by then.
Between the frames that were looked at, faces are put where they must have been.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from engine.types import Detections
from stream.cadence import EVEN, EVERY_FRAME
from stream.continuity import Continuity, sightings
from stream.eyes import Eyes, HostEyes
from stream.frames import Face, Frame, LabelledFrame, TrackVerdict, VideoInfo
from stream.identity import Identity, face_quality
from stream.looking import Gap, Looker
from stream.stages import StageClock
from stream.tracker import FAINT, Looks, Tracker, apart

WORTH_A_LOOK = 0.1
"""Quality of a face from which its embedding may settle a doubt of the tracker."""
FASTEST = 10.0
"""Face sizes a second that a face may go unseen and still be the same one; a change of size counts as its logarithm."""
HELD_BYTES = 512 << 20
"""Decoded pictures that the look-ahead may hold; it is shortened for pictures too large for that."""


@dataclass(slots=True)
class _Life:
    """What is kept of a track until the end."""

    shot: int
    first: int
    last: int
    frames: int
    drawn: int = 0
    """pts of the latest frame it is on that was given out."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    """Where a face was found."""

    face: Face
    index: int
    time: float


@dataclass(slots=True)
class _Course:
    """Where a track was found, which matters until its shot ends."""

    after: float
    """Seconds of the look before it was found first."""
    first: _Sighting
    latest: _Sighting


def _within_reach(before: _Sighting, after: _Sighting) -> bool:
    """Whether a face may have got from the one to the other meanwhile."""
    distance, growth = apart(before.face.box[None], after.face.box[None])
    return bool(distance + growth <= 1 + FASTEST * (after.time - before.time))


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

    fill_gap = 0.35
    """Seconds a face may be missed by looks and still be drawn in between, where it must have been."""

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
        picture_bytes = info.width * info.height * (6 if "10" in info.pixel_format else 3) // 2
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
        self._ready = preparing.submit(self._prepare, gallery is not None)
        preparing.shutdown(wait=False)
        # What is one person is the embedder's business: its cosines mean what its threshold says.
        same, strangers = (embedder.threshold, embedder.strangers) if embedder is not None else (0.5, 0.0)
        unlike = 0.3 * (same - strangers) / (1 - strangers)
        another = strangers + 0.65 * (same - strangers)
        faint = np.inf if cautious else FAINT
        self._tracker = Tracker(confident=detector.threshold, faint=faint, unlike=unlike, strangers=strangers)
        self._identity = Identity(gallery, same=same, unlike=another)
        self._continuity = Continuity(self._eyes)
        self._lives: dict[int, _Life] = {}
        self._joined: dict[int, int] = {}
        """Tracks that turned out to be an earlier one, seen again."""
        self._here: dict[int, _Course] = {}
        """The tracks of the current shot, in order of appearance."""
        self._passed_over: list[_Sighting] = []
        """The weak detections of the latest look that are in no track."""
        self._tracked_at = 0.0
        """Seconds of the latest frame that was looked at and tracked."""
        self._tracked: dict[int, int] = {}
        """What the tracker calls the faces of the current frame."""
        self._held: deque[LabelledFrame] = deque()
        self._bounds = np.array([info.width, info.height] * 2, np.float32)

    def _prepare(self, named: bool) -> None:
        """Make the networks ready for what this video asks of them, by the hundred."""
        # One picture or face at a time: a batch saves nothing on a CPU, integer networks are compiled anew for every
        # size of it, and which frame is next depends on this one's faces.
        self.looker.prepare()
        if self._embedder is not None and named:
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
            self._here.clear()
            self._passed_over.clear()
            self._continuity.forget()
            self._joined.clear()
        for i, frame in enumerate(gap.frames):
            frame.shot = self._tracker.shot
            faces: list[Face] = []
            if i in gap.found:
                with self._clock("track"):
                    faces = self._track(frame, gap.found[i])
                self._look(frame, faces)
                faces = self._reunite(frame, faces)
            self._held.append(LabelledFrame(frame, self._info.rotation, faces))
        self._eyes.done(gap.frames)
        now = gap.frames[-1].time
        released = []
        while self._held and (now - self._held[0].frame.time >= self._lookahead or len(self._held) > self._held_limit):
            released.append(self._named(self._held.popleft()))
        return released

    def release(self) -> list[LabelledFrame]:
        """The frames still held, after the last gap was followed."""
        released = [self._named(held) for held in self._held]
        self._held.clear()
        return released

    def verdicts(self) -> list[TrackVerdict]:
        """What became of every track, by all that is known now, in order of their ids."""
        strangers = self._identity.strangers()
        return [self._verdict(track, strangers.get(track)) for track in sorted(self._lives)]

    def _verdict(self, track: int, stranger: int | None = None) -> TrackVerdict:
        """What became of a track, by all that is known now."""
        life, naming = self._lives[track], self._identity.naming(track)
        return TrackVerdict(
            track=track,
            shot=life.shot,
            verdict=naming.verdict,
            name=naming.name,
            similarity=naming.similarity,
            first=life.first,
            last=life.last,
            frames=life.frames,
            stranger=stranger,
        )

    def _track(self, frame: Frame, found: Detections) -> list[Face]:
        ids = self._tracker.update(found, frame.time, self._looks(frame, found))
        boxes = np.clip(found.boxes, 0, self._bounds)
        self._tracked = {self._joined.get(track, track): track for track in ids if track >= 0}
        faces = [
            Face(self._joined.get(track, track), boxes[row], float(found.scores[row]), found.landmarks[row])
            for row, track in enumerate(ids)
            if track >= 0 and bool(np.all(boxes[row, 2:] > boxes[row, :2]))
        ]
        self._identity.see(frame.shot, [face.track for face in faces], frame.time)
        for face in faces:
            now, course = _Sighting(face, frame.index, frame.time), self._here.get(face.track)
            if course is None:
                self._lives[face.track] = _Life(frame.shot, frame.pts, frame.pts, 0)
                self._here[face.track] = _Course(self._tracked_at, self._gone_back(now), now)
            else:
                if self._tracked_at <= course.latest.time or now.time - course.latest.time <= self.fill_gap:
                    self._fill(course.latest, now)
                course.latest = now
            self._lives[face.track].last = frame.pts
            self._lives[face.track].frames += 1
        self._passed_over = [
            _Sighting(Face(-1, boxes[row], float(found.scores[row]), found.landmarks[row]), frame.index, frame.time)
            for row, track in enumerate(ids)
            if track < 0 and bool(np.all(boxes[row, 2:] > boxes[row, :2]))
        ]
        self._tracked_at = frame.time
        return faces

    def _gone_back(self, now: _Sighting) -> _Sighting:
        """Where a track really begins that is found with confidence only `now`: if the face stood there at the latest
        look already, though weakly, then also in between, where nobody looked."""
        near = [
            (float(np.sum(apart(before.face.box[None], now.face.box[None]))), number)
            for number, before in enumerate(self._passed_over)
        ]
        unlike, number = min(near, default=(np.inf, 0))
        if unlike > EVEN or not 1 < now.index - self._passed_over[number].index <= len(self._held):
            return now
        before = self._passed_over.pop(number)
        before = replace(before, face=replace(before.face, track=now.face.track))
        self._put(self._held[before.index - now.index], before.face)
        self._fill(before, now)
        return before

    def _fill(self, before: _Sighting, after: _Sighting) -> None:
        """Put the face of one track that was not found between two sightings on the held frames there, moving evenly;
        not where the same person was found elsewhere meanwhile."""
        gap = after.time - before.time
        name = self._identity.naming(after.face.track).name
        for held in self._held_between(before.index, after.index):
            if name is not None and any(self._identity.naming(other.track).name == name for other in held.faces):
                continue
            share = np.float32((held.frame.time - before.time) / gap)
            box = before.face.box + share * (after.face.box - before.face.box)
            landmarks = before.face.landmarks + share * (after.face.landmarks - before.face.landmarks)
            self._put(held, Face(after.face.track, box, 0.0, landmarks))

    def _held_between(self, before: int, after: int) -> list[LabelledFrame]:
        """The frames between those two, if all of them are still held."""
        oldest = self._held[0].frame.index if self._held else after
        return list(islice(self._held, before + 1 - oldest, after - oldest)) if oldest <= before + 1 < after else []

    def _put(self, held: LabelledFrame, face: Face) -> None:
        """One more face on a held frame."""
        life = self._lives[face.track]
        if held.faces:
            self._identity.see(life.shot, [*(other.track for other in held.faces), face.track], held.frame.time)
        held.faces.append(face)
        life.first = min(life.first, held.frame.pts)
        life.frames += 1

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
                embeddings[worth] = self._embed(frame, [faces[i] for i in worth])[0]
            return embeddings

        return embed

    def _reunite(self, frame: Frame, faces: list[Face]) -> list[Face]:
        """Let a track that goes on an earlier one of this shot carry its id, while all of its frames are still held."""
        if not self._lookahead:
            return faces
        oldest = self._held[0].frame.pts if self._held else frame.pts
        living = {track.id for track in self._tracker.alive}
        self._joined = {track: into for track, into in self._joined.items() if track in living}
        alive = {self._joined.get(track.id, track.id) for track in self._tracker.alive}
        for number, face in enumerate(faces):
            life = self._lives[face.track]
            if life.first < oldest or life.last != frame.pts:
                continue
            ended = [
                track
                for track, course in self._here.items()
                if track not in alive
                and self._lives[track].last < life.first
                and _within_reach(course.latest, self._here[face.track].first)
            ]
            into = self._identity.reunion(face.track, ended) if ended else None
            if into is None:
                continue
            self._identity.join(face.track, into)
            self._joined.update({old: into for old, new in self._joined.items() if new == face.track})
            self._joined[face.track] = into
            self._continuity.call(face.track, into)
            gone, kept = self._lives.pop(face.track), self._lives[into]
            kept.last, kept.frames = gone.last, kept.frames + gone.frames
            course, earlier = self._here.pop(face.track), self._here[into]
            for held in self._held:
                held.faces[:] = [replace(f, track=into) if f.track == face.track else f for f in held.faces]
            if earlier.latest.time >= course.after:
                # Nobody looked in between, since it was known who stands there.
                self._fill(earlier.latest, replace(course.first, face=replace(course.first.face, track=into)))
            earlier.latest = course.latest
            faces[number] = replace(face, track=into)
            alive.add(into)
        return faces

    def _look(self, frame: Frame, faces: list[Face]) -> None:
        """Embed the faces that could change what is known of their tracks."""
        wanted = self._wanted(frame, faces)
        if wanted:
            self._learn(frame, faces, wanted, *self._embed(frame, [face for face, _ in wanted]))

    def _wanted(self, frame: Frame, faces: Sequence[Face]) -> list[tuple[Face, float]]:
        """The faces whose embeddings could change what is known of their tracks, and their qualities."""
        if self._embedder is None or not self._identity.names_anybody:
            return []
        with self._clock("track"):
            changes = self._continuity.changes(frame, faces, self._held)
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
        faces: list[Face],
        wanted: Sequence[tuple[Face, float]],
        embeddings: NDArray[np.float32],
        sharp: Sequence[float],
    ) -> None:
        """Keep the embeddings of such faces, and how sharp each is; of the frame's `faces` those that turn out to be
        others than their tracks' get tracks of their own."""
        for (face, quality), share, embedding in zip(wanted, sharp, embeddings, strict=True):
            track = face.track
            after = self._identity.add(track, embedding, quality, frame.time, share)
            if after is not None:
                track = self._part(frame, faces, face, after)
            elif self._identity.is_certain(track):
                self._continuity.know(track)
            self._tracker.remember(self._tracked[track], embedding)

    def _part(self, frame: Frame, faces: list[Face], face: Face, after: float) -> int:
        """This face is not that of its track any more, which it may have been until `after` seconds: it gets another
        track, which begins on the held frame where its picture shows another face."""
        old = face.track
        new = self._tracker.part(self._tracked.pop(old))
        self._tracked[new] = new
        now = LabelledFrame(frame, self._info.rotation, faces)
        since = [held for held in (*self._held, now) if held.frame.shot == frame.shot and held.frame.time >= after]
        sight = sightings(old, since)
        self._identity.see(frame.shot, [new], frame.time)
        doubted = self._identity.part(old, new)
        sure = next(n for n, (seen, _) in enumerate(sight) if seen.time >= doubted)
        first = self._continuity.parting(old, sight[: sure + 1], after)
        self._continuity.call(old, new)
        self._continuity.know(new)
        self._identity.leave(old, sight[first][0].time)
        moved = {seen.index for seen, _ in sight[first:]}
        for held in since:
            if held.frame.index in moved:
                held.faces[:] = [replace(f, track=new) if f.track == old else f for f in held.faces]
                self._identity.see(frame.shot, [f.track for f in held.faces], held.frame.time)
        life = self._lives[old]
        self._lives[new] = _Life(frame.shot, sight[first][0].pts, frame.pts, len(moved))
        life.last, life.frames = sight[first - 1][0].pts if first else life.drawn, life.frames - len(moved)
        begin, end = (_Sighting(replace(f, track=new), s.index, s.time) for s, f in (sight[first], sight[-1]))
        self._here[new] = _Course(after, begin, end)
        if first:
            before, there = sight[first - 1]
            self._here[old].latest = _Sighting(there, before.index, before.time)
        else:
            del self._here[old]  # where it was seen last is not held any more, so nobody goes it on
        return new

    def _embed(self, frame: Frame, faces: Sequence[Face]) -> tuple[NDArray[np.float32], list[float]]:
        """Unit embeddings `[N,D]` of the faces, and how sharp each is."""
        return self._eyes.embeddings(frame, [face.landmarks for face in faces])

    def _is_seen(self, face: Face) -> bool:
        """Whether the middle of the face's five points lies inside the picture."""
        middle = face.landmarks.mean(axis=0)
        return bool(np.all(middle > 0) and np.all(middle < self._bounds[:2]))

    def _named(self, held: LabelledFrame) -> LabelledFrame:
        """The frame with the names known now; on one frame nobody is there twice."""
        faces = []
        for face in held.faces:
            naming = self._identity.naming(face.track)
            self._lives[face.track].drawn = held.frame.pts
            faces.append(Face(face.track, face.box, face.score, face.landmarks, naming.name, naming.similarity))
        return LabelledFrame(held.frame, held.rotation, faces)
