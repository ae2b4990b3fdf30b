"""Frames in, labelled frames out: detection, shots, tracks, embeddings, names.

Everything is decided by the content alone and in frame order, never by the clock: the same frames and settings
give the same names, with one thread or eight. Frames are held back for a look-ahead so that a track carries, from
its first frame, the best name known by then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.alignment import face_region, shifted, similarity_transform, warp_face
from engine.detector import DetectionJob, Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from engine.types import Detections
from stream.frames import Face, Frame, LabelledFrame, TrackVerdict, VideoInfo
from stream.identity import Identity, face_quality
from stream.orientation import to_coded, upright
from stream.pictures import region_rgb, small_rgb
from stream.shots import ShotDetector, glance
from stream.stages import StageClock
from stream.tracker import Looks, Tracker

WORTH_A_LOOK = 0.1
"""Quality of a face from which its embedding may settle a doubt of the tracker."""
HELD_BYTES = 512 << 20
"""Decoded pictures that the look-ahead may hold; it is shortened for pictures too large for that."""


@dataclass(slots=True)
class _Life:
    """What is kept of a track until the end."""

    shot: int
    first: int
    last: int
    frames: int
    latest: Face
    latest_index: int
    latest_time: float


class Analyser:
    """Finds and names the faces of one video, frame after frame.

    Args:
        info: the video's geometry.
        detector: finds the faces.
        embedder: tells them apart; needed with a gallery only.
        gallery: whom to name; None leaves everybody unknown.
        lookahead: seconds a frame is held back before its names are decided.
        batch: frames detected together.
        clock: where the time of each stage is added up.

    Example:
        >>> with FileSource("mv.mp4") as source:                            # doctest: +SKIP
        ...     analyser = Analyser(source.info, detector, embedder, gallery)
        ...     for frame in source.frames():
        ...         for labelled in analyser.push(frame):
        ...             print(labelled.frame.index, [face.name for face in labelled.faces])
    """

    fill_gap = 0.35
    """Seconds a face may be missed and still be drawn in between, where it must have been."""

    def __init__(
        self,
        info: VideoInfo,
        detector: Detector,
        embedder: Embedder | None = None,
        gallery: Gallery | None = None,
        *,
        lookahead: float = 2.0,
        batch: int = 4,
        clock: StageClock | None = None,
    ) -> None:
        if gallery is not None and embedder is None:
            raise ValueError("a gallery needs the embedder that it was made with")
        self._info = info
        self._detector = detector
        self._embedder = embedder
        self._clock = clock or StageClock()
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
        self._letterbox = detector.letterbox(info.width, info.height)
        self._weak = 0.4 * detector.threshold
        self._batch_size = batch
        # Hundreds of batches of this one shape follow.
        detector.prepare(batch, self._letterbox.padded_height, self._letterbox.padded_width)
        self._job: DetectionJob | None = None
        """The batch being filled, in the memory that the network reads."""
        self._batch: list[Frame] = []
        """The frames in it."""
        self._flying: tuple[DetectionJob, list[Frame]] | None = None
        """The batch that the network is working on."""
        self._detected: deque[tuple[Frame, Detections]] = deque()
        self._shots = ShotDetector()
        self._cuts: deque[bool] = deque()
        # What is one person is the embedder's business: its cosines mean what its threshold says.
        same, strangers = (embedder.threshold, embedder.strangers) if embedder is not None else (0.5, 0.0)
        unlike = 0.3 * (same - strangers) / (1 - strangers)
        self._tracker = Tracker(confident=detector.threshold, unlike=unlike, strangers=strangers)
        self._identity = Identity(gallery, same=same)
        self._lives: dict[int, _Life] = {}
        self._joined: dict[int, int] = {}
        """Tracks that turned out to be an earlier one, seen again."""
        self._here: list[int] = []
        """Tracks of the current shot."""
        self._tracked: dict[int, int] = {}
        """What the tracker calls the faces of the current frame."""
        self._held: deque[LabelledFrame] = deque()
        self._bounds = np.array([info.width, info.height] * 2, np.float32)

    def push(self, frame: Frame) -> list[LabelledFrame]:
        """Take the next frame; return those whose names are decided now, in order."""
        pixels = self._room()
        with self._clock("scale"):
            self._shrink(frame, pixels)
        with self._clock("shots"):
            self._cuts.extend(self._shots.push(glance(pixels)))
        self._batch.append(frame)
        if len(self._batch) == self._batch_size:
            self._launch()
        return self._advance()

    def finish(self) -> list[LabelledFrame]:
        """The frames still held, after the last one was pushed."""
        self._launch()
        self._land()
        self._cuts.extend(self._shots.flush())
        released = self._advance()
        released += [self._named(held) for held in self._held]
        self._held.clear()
        return released

    def verdicts(self) -> list[TrackVerdict]:
        """What became of every track, by all that is known now, in order of their ids."""
        verdicts = []
        strangers = self._identity.strangers()
        for track, life in sorted(self._lives.items()):
            naming = self._identity.naming(track)
            verdicts.append(
                TrackVerdict(
                    track=track,
                    shot=life.shot,
                    verdict=naming.verdict,
                    name=naming.name,
                    similarity=naming.similarity,
                    first=life.first,
                    last=life.last,
                    frames=life.frames,
                    stranger=strangers.get(track),
                )
            )
        return verdicts

    def _room(self) -> NDArray[np.uint8]:
        """Where the next small picture goes: its place in the batch, without the padding."""
        box = self._letterbox
        if self._job is None:
            self._job = self._detector.job(self._batch_size, box.padded_height, box.padded_width)
            self._job.pixels[:, box.inner_height :] = 0
            self._job.pixels[:, :, box.inner_width :] = 0
        return self._job.pixels[len(self._batch), : box.inner_height, : box.inner_width]

    def _shrink(self, frame: Frame, out: NDArray[np.uint8]) -> None:
        height, width = out.shape[:2]
        rotation = self._info.rotation
        if rotation == 0:
            small_rgb(frame.picture, width, height, out)
            return
        if rotation in (90, 270):
            height, width = width, height
        stored = np.empty((height, width, 3), np.uint8)
        small_rgb(frame.picture, width, height, stored)
        out[...] = upright(stored, rotation)

    def _launch(self) -> None:
        """Start the network on the batch, after the one before has landed; the next is filled meanwhile."""
        self._land()
        if self._job is not None and self._batch:
            # A batch that the video's end left short goes as it is; what its unused rows say is not looked at.
            job = self._job.start([self._letterbox] * self._batch_size, self._weak)
            self._flying = (job, self._batch)
            self._job, self._batch = None, []

    def _land(self) -> None:
        if self._flying is None:
            return
        job, frames = self._flying
        self._flying = None
        with self._clock("detect"):
            found = job.result()
        self._detected.extend(zip(frames, found[: len(frames)], strict=True))

    def _advance(self) -> list[LabelledFrame]:
        """Track as far as shots are known; release what has waited long enough."""
        released: list[LabelledFrame] = []
        while self._detected and self._cuts:
            frame, found = self._detected.popleft()
            if self._cuts.popleft():
                self._tracker.cut()
                self._here.clear()
            frame.shot = self._tracker.shot
            with self._clock("track"):
                faces = self._track(frame, found)
            self._look(frame, faces)
            faces = self._reunite(frame, faces)
            self._held.append(LabelledFrame(frame, self._info.rotation, faces))
            while self._held and (
                frame.time - self._held[0].frame.time >= self._lookahead or len(self._held) > self._held_limit
            ):
                released.append(self._named(self._held.popleft()))
        return released

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
            life = self._lives.get(face.track)
            if life is None:
                self._here.append(face.track)
                self._lives[face.track] = _Life(frame.shot, frame.pts, frame.pts, 1, face, frame.index, frame.time)
                continue
            self._fill(life, face, frame)
            life.last, life.latest, life.latest_index, life.latest_time = (
                frame.pts,
                face,
                frame.index,
                frame.time,
            )
            life.frames += 1
        return faces

    def _fill(self, life: _Life, face: Face, frame: Frame) -> None:
        """Put a face that was missed for a moment on the held frames in between, moving evenly."""
        missed = frame.index - life.latest_index - 1
        gap = frame.time - life.latest_time
        if not 1 <= missed <= len(self._held) or gap > self.fill_gap:
            return
        for held in list(self._held)[-missed:]:
            share = np.float32((held.frame.time - life.latest_time) / gap)
            held.faces.append(
                Face(
                    face.track,
                    life.latest.box + share * (face.box - life.latest.box),
                    0.0,
                    life.latest.landmarks + share * (face.landmarks - life.latest.landmarks),
                )
            )
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
        alive = {self._joined.get(track.id, track.id) for track in self._tracker.alive}
        for number, face in enumerate(faces):
            life = self._lives[face.track]
            if life.first < oldest or life.last != frame.pts:
                continue
            ended = [
                track
                for track in self._here
                if track in self._lives and track not in alive and self._lives[track].last < life.first
            ]
            into = self._identity.reunion(face.track, ended) if ended else None
            if into is None:
                continue
            self._identity.join(face.track, into)
            self._joined.update({old: into for old, new in self._joined.items() if new == face.track})
            self._joined[face.track] = into
            gone, kept = self._lives.pop(face.track), self._lives[into]
            kept.last, kept.frames = gone.last, kept.frames + gone.frames
            kept.latest, kept.latest_index, kept.latest_time = gone.latest, gone.latest_index, gone.latest_time
            for held in self._held:
                held.faces[:] = [replace(f, track=into) if f.track == face.track else f for f in held.faces]
            faces[number] = replace(face, track=into)
            alive.add(into)
        return faces

    def _look(self, frame: Frame, faces: list[Face]) -> None:
        """Embed the faces that could change what is known of their tracks."""
        if self._embedder is None:
            return
        wanted = [
            (face, quality)
            for face in faces
            if self._identity.wants(
                face.track, quality := face_quality(face.box, face.score, face.landmarks), frame.time
            )
            and self._is_seen(face)
        ]
        if not wanted:
            return
        embeddings, sharp = self._embed(frame, [face for face, _ in wanted])
        for (face, quality), share, embedding in zip(wanted, sharp, embeddings, strict=True):
            self._identity.add(face.track, embedding, quality, frame.time, share)
            self._tracker.remember(self._tracked[face.track], embedding)

    def _embed(self, frame: Frame, faces: Sequence[Face]) -> tuple[NDArray[np.float32], list[float]]:
        """Unit embeddings `[N,D]` of the faces, and how sharp each is."""
        assert self._embedder is not None
        job = self._embedder.job(len(faces))
        with self._clock("crop"):
            for face, out in zip(faces, job.faces, strict=True):
                self._crop(frame, face, out)
            sharp = [sharpness(crop) for crop in job.faces]
        with self._clock("embed"):
            return job.start().result().copy(), sharp

    def _is_seen(self, face: Face) -> bool:
        """Whether the middle of the face's five points lies inside the picture."""
        middle = face.landmarks.mean(axis=0)
        return bool(np.all(middle > 0) and np.all(middle < self._bounds[:2]))

    def _crop(self, frame: Frame, face: Face, out: NDArray[np.uint8]) -> None:
        """The aligned face, cut from no more of the full picture than it needs."""
        matrix = similarity_transform(to_coded(face.landmarks, self._info))
        x1, y1, x2, y2 = face_region(matrix, self._info.coded_width, self._info.coded_height)
        region = region_rgb(frame.picture, x1, y1, x2, y2)
        if self._info.interlaced:
            # Two moments lie woven into one picture; one field alone is one moment.
            field = region[y1 % 2 :: 2]
            region = cv2.resize(field, (x2 - x1, y2 - y1)).astype(np.uint8)
        warp_face(region, shifted(matrix, x1, y1), out=out)

    def _named(self, held: LabelledFrame) -> LabelledFrame:
        """The frame with the names known now; on one frame nobody is there twice."""
        faces = []
        for face in held.faces:
            naming = self._identity.naming(face.track)
            faces.append(replace(face, name=naming.name, similarity=naming.similarity))
        return LabelledFrame(held.frame, held.rotation, faces)


def sharpness(crop: NDArray[np.uint8]) -> float:
    """How sharp an aligned uint8 `[112,112,3]` RGB face is, 0.1 … 1, by the variance of its Laplacian."""
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    return float(np.clip(cv2.Laplacian(grey, cv2.CV_32F).var() / 150.0, 0.1, 1.0))
