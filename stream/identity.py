"""From a track's embeddings to a name.

A track collects evidence: embeddings of the faces that were worth looking at, each weighted by its quality.
Its name is the nearest prototype of their weighted mean, if that is near enough; and one person is at most once
on a frame, so of two tracks that are seen together and claim one name, the less similar one gets none.

A look that contradicts what the track was like before is never averaged into it: another face may have taken the place
of the one that was followed. If its picture changed all at once as well, or a second such look agrees with the first,
that is so, and the track is to be parted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.gallery import Gallery
from stream.frames import Verdict
from stream.strangers import number_strangers


@dataclass(frozen=True, slots=True)
class Naming:
    """What a track is called, and how sure that is."""

    verdict: Verdict
    name: str | None
    similarity: float | None
    """Cosine between the track's mean embedding and the nearest prototype."""


UNKNOWN = Naming("unknown", None, None)


def face_quality(box: NDArray[np.float32], score: float, landmarks: NDArray[np.float32]) -> float:
    """How much an embedding of this face would be worth, 0…1, before any pixel is looked at.

    The product of the detection score, size (full marks from 80 px between brow and chin) and how frontal the
    face is: the nose tip stands midway between the eyes in a frontal face and over an eye in a profile.
    `box` is `[4]` xyxy pixels, `landmarks` `[5,2]`.

    Example:
        >>> frontal = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
        >>> profile = np.array([[30, 40], [40, 40], [28, 60], [35, 80], [40, 80]], np.float32)
        >>> box = np.array([0, 0, 100, 100], np.float32)
        >>> face_quality(box, 1.0, frontal) > face_quality(box, 1.0, profile)
        True
    """
    size = float(min(box[2] - box[0], box[3] - box[1]))
    left, right, nose = landmarks[0], landmarks[1], landmarks[2]
    eyes = right - left
    span = float(np.hypot(*eyes))
    if size <= 0 or span < 1e-3:
        return 0.0
    across = float((nose - left) @ eyes) / span**2
    frontal = max(0.0, 1.0 - 2.0 * abs(across - 0.5))
    # Seen from the side, eyes close up against the height of the face.
    breadth = min(1.0, span / (0.35 * size))
    return score * min(1.0, size / 80.0) * (0.15 + 0.85 * frontal) * breadth


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One embedding of a face."""

    embedding: NDArray[np.float32]
    """`[D]` unit."""
    quality: float
    sharpness: float
    time: float
    """Seconds."""

    @property
    def clear(self) -> float:
        """What it is worth, 0…1."""
        return self.quality * self.sharpness


@dataclass(slots=True)
class _Evidence:
    total: NDArray[np.float64]
    """Weighted sum of the embeddings."""
    best: float = 0.0
    """Quality of the best face that was looked at so far, sharp or not."""
    clear: float = 0.0
    """Quality times sharpness of the clearest."""
    count: int = 0
    latest: float = 0.0
    """Seconds of the latest embedding."""
    doubts: tuple[Look, ...] = ()
    """The looks since then that contradict them."""
    changed: float | None = None
    """Seconds of the latest frame before its picture changed all at once, while nobody knows whose it is since."""
    tries: int = 0
    """Looks that have not settled a doubt or a change."""
    tried: float = 0.0
    """Seconds of the latest of them."""
    seen_with: dict[int, float] = field(default_factory=dict)
    """Tracks that stood on one frame with it, and the seconds of the first such frame."""


@dataclass(frozen=True, slots=True, eq=False)
class _Unknown:
    """The tracks of a shot that were looked at and are nobody in the gallery."""

    tracks: tuple[int, ...]
    means: NDArray[np.float32]
    """`[n,D]` unit."""
    seen_with: tuple[tuple[int, ...], ...]
    """Of each the others of these that it was seen beside."""
    clear: tuple[bool, ...]


class Identity:
    """Names of all tracks of a run.

    `wants` is the quality gate: a face is embedded when it is new, when it is clearly better than what the track
    has, or when the last look is so long ago that a second opinion is due; not on every frame, and seldom where the
    looks so far leave no doubt.

    Args:
        gallery: whom to look for; None names nobody and wants no embedding.
        first_delay: seconds a new track waits for a better face before a poor one has to do.
        good: quality of a face that a new track need not wait beyond.
        same: cosine between the means of two tracks from which they are one person.
        unlike: cosine between a look and the mean of its track under which they are two.
    """

    looks = 8
    """How many embeddings settle a track; then only a clearly better face is looked at, or
    one whose picture has changed."""

    agreement = 0.45
    """How many looks, times how far the similarity of their mean is from the gallery's threshold, are beyond doubt: two
    looks 0.23 away, three 0.15 away."""
    clear_enough = 0.1
    """Quality times sharpness of a look under which likeness over shots says nothing: whatever is dark, blurred or no
    face looks like whatever else is (cosines of 0.7 to 0.9 between a dozen of them, where two shots of one clear face
    reach 0.55)."""
    scattered = 3
    """Looks that contradict a track, and each other as well, are no other face but poor looks: from so many on."""
    check = 2.0
    """Seconds until a track beyond doubt is looked at again: another face may have slipped into it."""
    still = 0.7
    """Likeness of its picture with that of the latest look down to which a face is the one that was looked at then."""
    drift = 1.2
    """Seconds until a face of which that is not so any more is looked at again."""

    def __init__(
        self,
        gallery: Gallery | None,
        first_delay: float = 0.2,
        good: float = 0.45,
        same: float = 0.5,
        unlike: float = 0.2,
    ) -> None:
        self._gallery = gallery
        self._first_delay = first_delay
        self._good = good
        self._same = same
        self._unlike = unlike
        self._evidence: dict[int, _Evidence] = {}
        self._born: dict[int, float] = {}
        self._shot_of: dict[int, int] = {}
        self._tracks_of: dict[int, list[int]] = {}
        self._names: dict[int, dict[int, Naming]] = {}
        """Per shot: the naming of its tracks, dropped when evidence changes."""
        self._settled: dict[int, _Unknown] = {}
        """All that is kept of the shots that are over, beside their names."""

    @property
    def names_anybody(self) -> bool:
        """Whether there is a gallery: without one no look is wanted."""
        return self._gallery is not None

    def see(self, shot: int, tracks: list[int], time: float) -> None:
        """These tracks stand on one frame together, at `time` seconds of shot `shot`."""
        for track in tracks:
            if track not in self._evidence:
                self._evidence[track] = _Evidence(np.zeros(0))
                self._born[track] = time
                self._shot_of[track] = shot
                self._tracks_of.setdefault(shot, []).append(track)
            others = self._evidence[track].seen_with
            if not others.keys() >= set(tracks):
                others.update({other: min(time, others.get(other, time)) for other in tracks})
                self._names.pop(shot, None)

    def wants(
        self, track: int, quality: float, time: float, changed: float | None = None, likeness: float | None = None
    ) -> bool:
        """Whether an embedding of this face could change what is known of the track.

        Args:
            track: whose face that should be.
            quality: of the face, see `face_quality`.
            time: of the frame, seconds.
            changed: seconds of the frame before this one that was looked at, if the face's picture changed all at once
                since.
            likeness: of the face's picture with that of the latest embedding, which it may have lost little by little;
                None where there is nothing to compare it with.
        """
        evidence = self._evidence[track]
        if likeness is not None and likeness >= self.still and not evidence.doubts:
            evidence.changed = None  # the face that it was is back: that was a flash, or a hand before it
        elif evidence.clear >= self.clear_enough and evidence.changed is None:
            evidence.changed = changed
        if self._gallery is None or quality <= 0.02:
            return False
        if not evidence.count:
            return quality >= self._good or time - self._born[track] >= self._first_delay
        if evidence.doubts or evidence.changed is not None:
            pause = 0.1 * 2.0**evidence.tries if evidence.tries > 1 else 0.0
            return quality > self.clear_enough and time - evidence.tried >= pause
        settled = self._is_settled(track)
        if quality > (2.0 if settled else 1.3) * evidence.best:
            return True
        if (
            likeness is not None
            and likeness < self.still
            and quality > self.clear_enough
            and time - evidence.latest >= self.drift
        ):
            return True
        pause = max(0.1 * 2.0**evidence.count, self.check if settled else 0.0)
        return evidence.count < self.looks and quality > 0.5 * evidence.best and time - evidence.latest >= pause

    def _is_settled(self, track: int) -> bool:
        """Whether the looks so far agree so clearly that one more would hardly change the verdict."""
        evidence, naming = self._evidence[track], self.naming(track)
        if self._gallery is None or evidence.count < 2 or naming.similarity is None or naming.verdict == "conflict":
            return False
        return evidence.count * abs(naming.similarity - self._gallery.threshold) >= self.agreement

    def mirrors(self, track: int) -> bool:
        """Whether the next look is to be at the mirror image of the face, as every other one is: what an embedder errs
        by is another amount there, so that the mean of both errs less than that of two looks from one side."""
        evidence = self._evidence[track]
        return (evidence.count + len(evidence.doubts)) % 2 == 1

    def is_certain(self, track: int) -> bool:
        """Whether the latest look at the track left no question open whose face that is."""
        return not self._evidence[track].doubts and self._evidence[track].changed is None

    def add(
        self, track: int, embedding: NDArray[np.float32], quality: float, time: float, sharpness: float = 1.0
    ) -> float | None:
        """One more look at a track: a unit `[D]` embedding, the quality that `wants` was asked with, and how sharp
        the face then turned out to be (0…1). A blurred face counts for less, but it has been looked at.

        If the face is surely not the track's any more, returns the seconds until which it may have been: whoever asks
        is to `part` them. Else None.
        """
        evidence, look = self._evidence[track], Look(embedding, quality, sharpness, time)
        asked = bool(evidence.doubts) or evidence.changed is not None
        if asked and look.clear < self.clear_enough:
            evidence.tries, evidence.tried = evidence.tries + 1, time
            return None
        outweighs = evidence.changed is None and look.clear**2 > 4 * float(np.linalg.norm(evidence.total))
        if outweighs or evidence.clear < self.clear_enough or look.clear < self.clear_enough:
            self._believe(track, look)
            return None
        likeness = float(_unit(evidence.total) @ embedding)
        if likeness >= (self._same if asked else self._unlike):
            self._believe(track, *evidence.doubts, look)
            return None
        agreed = [doubt for doubt in evidence.doubts if float(doubt.embedding @ embedding) >= self._same]
        if not agreed and len(evidence.doubts) >= self.scattered:
            self._believe(track, *evidence.doubts, look)
            return None
        evidence.doubts = (*(agreed or evidence.doubts), look)
        evidence.tries, evidence.tried = evidence.tries + 1, time
        if evidence.changed is not None and (agreed or likeness < self._unlike):
            if not agreed:
                evidence.doubts = (look,)
            # Where a look contradicted the track before its picture changed, the face was lost before.
            return evidence.changed if evidence.doubts[0].time > evidence.changed else evidence.latest
        if agreed and evidence.count == 1:
            # One against two, and nobody saw a change: the one was the odd one out.
            evidence.count = 0
            self._believe(track, *evidence.doubts)
            return None
        return evidence.latest if agreed else None

    def _believe(self, track: int, *looks: Look) -> None:
        """These are looks at the track's own face, and leave no question open."""
        evidence = self._evidence[track]
        for look in looks:
            weighted = look.embedding.astype(np.float64) * look.clear**2
            evidence.total = evidence.total + weighted if evidence.count else weighted
            evidence.best = max(evidence.best, look.quality)
            evidence.clear = max(evidence.clear, look.clear)
            evidence.count += 1
            evidence.latest = look.time
        evidence.doubts, evidence.changed, evidence.tries = (), None, 0
        self._names.pop(self._shot_of[track], None)

    def part(self, track: int, into: int) -> float:
        """The latest looks at `track` were at another face, which is the track `into` from now on: one that has been
        seen, but not looked at. Returns the seconds of the first of these looks."""
        evidence = self._evidence[track]
        looks = evidence.doubts
        evidence.doubts, evidence.changed, evidence.tries = (), None, 0
        for look in looks:
            self.add(into, look.embedding, look.quality, look.time, look.sharpness)
        return looks[0].time

    def leave(self, track: int, since: float) -> None:
        """From `since` seconds on it was another track that stood where this one was said to stand: whom this one was
        first seen beside since then it was not seen beside."""
        met = self._evidence[track].seen_with
        for other in [other for other, first in met.items() if first >= since and other != track]:
            del met[other]
            if other in self._evidence:
                self._evidence[other].seen_with.pop(track, None)
        self._names.pop(self._shot_of[track], None)

    def reunion(self, track: int, ended: Sequence[int]) -> int | None:
        """Which of the `ended` tracks of the same shot this one goes on, if its face says so.

        Never one that was seen beside it, and only where both were seen clearly; of several the most alike.
        """
        evidence = self._evidence[track]
        if evidence.clear < self.clear_enough:
            return None
        best, found = self._same, None
        for other in ended:
            theirs = self._evidence[other]
            if (
                theirs.clear < self.clear_enough
                or other in evidence.seen_with
                or self._shot_of[other] != self._shot_of[track]
            ):
                continue
            likeness = float(_unit(evidence.total) @ _unit(theirs.total))
            if likeness >= best:
                best, found = likeness, other
        return found

    def join(self, track: int, into: int) -> None:
        """Both are one: `track` ceases to exist, what is known of it is known of `into`."""
        gone, kept = self._evidence.pop(track), self._evidence[into]
        if gone.count:
            kept.total = kept.total + gone.total if kept.count else gone.total
        kept.best = max(kept.best, gone.best)
        kept.clear = max(kept.clear, gone.clear)
        kept.count += gone.count
        kept.latest = max(kept.latest, gone.latest)
        kept.doubts, kept.changed, kept.tries, kept.tried = gone.doubts, gone.changed, gone.tries, gone.tried
        for other, first in gone.seen_with.items():
            if other == track:
                continue
            kept.seen_with[other] = min(first, kept.seen_with.get(other, first))
            if other in self._evidence:
                theirs = self._evidence[other].seen_with
                theirs[into] = min(theirs.pop(track, first), theirs.get(into, first))
        shot = self._shot_of.pop(track)
        self._born.pop(track)
        self._tracks_of[shot].remove(track)
        self._names.pop(shot, None)

    def settle(self, shot: int) -> None:
        """A shot is over: what its tracks are called stays as it is, and of their evidence no more is kept than
        `strangers` asks for. They are only asked for their names from now on."""
        if shot not in self._tracks_of:
            return
        self._settled[shot] = self._unknown(shot)
        if shot not in self._names:
            self._names[shot] = self._name_shot(shot)
        for track in self._tracks_of[shot]:
            del self._evidence[track], self._born[track]

    def strangers(self) -> dict[int, int]:
        """The unknown tracks that were looked at, numbered: tracks with one number are one person. Whoever was never
        seen clearly has a number alone."""
        shots = [self._settled.get(shot) or self._unknown(shot) for shot in self._tracks_of]
        found = sorted(
            (each for shot in shots for each in zip(shot.tracks, shot.means, shot.seen_with, shot.clear, strict=True)),
            key=lambda each: each[0],
        )
        if not found:
            return {}
        place = {track: row for row, (track, *_) in enumerate(found)}
        apart = [[place[other] for other in seen_with] for _, _, seen_with, _ in found]
        unclear = {row for row, (*_, clear) in enumerate(found) if not clear}
        numbers = number_strangers(np.stack([mean for _, mean, _, _ in found]), apart, self._same, unclear)
        return dict(zip(place, numbers.tolist(), strict=True))

    def _unknown(self, shot: int) -> _Unknown:
        evidence = {
            track: self._evidence[track]
            for track in self._tracks_of[shot]
            if self._evidence[track].count and self.naming(track).verdict == "unknown"
        }
        return _Unknown(
            tuple(evidence),
            np.array([_unit(each.total) for each in evidence.values()], np.float32),
            tuple(tuple(each.seen_with.keys() & evidence.keys() - {track}) for track, each in evidence.items()),
            tuple(each.clear >= self.clear_enough for each in evidence.values()),
        )

    def naming(self, track: int) -> Naming:
        """What the track is called by all that is known now."""
        shot = self._shot_of[track]
        if shot not in self._names:
            self._names[shot] = self._name_shot(shot)
        return self._names[shot][track]

    def _name_shot(self, shot: int) -> dict[int, Naming]:
        tracks = self._tracks_of[shot]
        names = dict.fromkeys(tracks, UNKNOWN)
        known = [track for track in tracks if self._evidence[track].count]
        if self._gallery is None or not known:
            return names
        means = np.stack([self._evidence[track].total for track in known])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        matches = self._gallery.identify(means.astype(np.float32))
        similarity = dict(zip(known, matches.similarities.tolist(), strict=True))
        claimed: dict[str, list[int]] = {}
        for track, name in sorted(zip(known, matches.names, strict=True), key=lambda claim: -similarity[claim[0]]):
            if name is None:
                names[track] = Naming("unknown", None, similarity[track])
            elif self._evidence[track].seen_with.keys().isdisjoint(claimed.get(name, ())):
                names[track] = Naming("named", name, similarity[track])
                claimed.setdefault(name, []).append(track)
            else:
                names[track] = Naming("conflict", None, similarity[track])
        return names
