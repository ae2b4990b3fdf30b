"""Which face on each of a person's photos is the person's: pure decisions over embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ODD = 0.5
"""A face whose cosines stay below this part of the threshold is probably somebody else's."""


@dataclass(frozen=True, slots=True)
class PhotoFaces:
    """The faces found on one photo; at least one."""

    embeddings: NDArray[np.float32]
    """`[k,D]` unit vectors."""
    prominence: NDArray[np.float32]
    """`[k]` how large and central each is; any scale."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What became of one photo."""

    face: int | None
    """Which face was taken; None where none was."""
    remark: str = ""
    """Why none was taken, or what to look at in the one that was."""


def choose_faces(photos: Sequence[PhotoFaces], threshold: float) -> list[Choice]:
    """Pick one face from each of a person's photos.

    A photo with one face is taken at its word, with a remark if it is far from the person's others. Of several faces,
    the one with the largest median cosine to the faces of the one-face photos is taken, if it reaches `threshold`, or
    if it alone reaches the part `ODD` of it.
    Where every photo has several faces, it is the face that recurs: the one whose best likenesses on the other photos
    have the largest median cosine, if that reaches `threshold`; failing that, the most prominent one on each photo.

    Args:
        photos: all of one person.
        threshold: the cosine from which on two faces are taken for one person.

    Returns:
        One `Choice` a photo.
    """
    alone = [photo.embeddings[0] for photo in photos if len(photo.embeddings) == 1]
    if alone:
        return _by_consensus(photos, np.stack(alone), threshold)
    recurring = _recurring(photos)
    if recurring is not None and recurring[1] >= threshold:
        anchor = recurring[0]
        return [_closest(photo, anchor[None], threshold, "took the face that recurs") for photo in photos]
    return [
        Choice(
            int(np.argmax(photo.prominence)),
            f"took the largest of {len(photo.embeddings)} faces; check that it is the right one",
        )
        for photo in photos
    ]


def _by_consensus(photos: Sequence[PhotoFaces], alone: NDArray[np.float32], threshold: float) -> list[Choice]:
    choices = []
    for photo in photos:
        if len(photo.embeddings) > 1:
            choices.append(_closest(photo, alone, threshold, "took the one like the other photos"))
            continue
        # Its own cosine of 1 is among them; leave that one out.
        cosines = np.sort(alone @ photo.embeddings[0])[:-1]
        odd = len(cosines) > 0 and float(np.median(cosines)) < ODD * threshold
        choices.append(Choice(0, f"unlike the other photos (cosine {np.median(cosines):.2f}); check it" if odd else ""))
    return choices


def _closest(photo: PhotoFaces, anchors: NDArray[np.float32], threshold: float, how: str) -> Choice:
    cosines = np.median(photo.embeddings @ anchors.T, axis=1)
    best = int(np.argmax(cosines))
    count = len(photo.embeddings)
    # Below the threshold it may still be the only one that comes into question.
    if cosines[best] < threshold and (cosines >= ODD * threshold).sum() != 1:
        return Choice(None, f"none of its {count} faces is like the other photos (best cosine {cosines[best]:.2f})")
    return Choice(best, f"{count} faces; {how} (cosine {cosines[best]:.2f})")


def _recurring(photos: Sequence[PhotoFaces]) -> tuple[NDArray[np.float32], float] | None:
    """The face best supported by the other photos, and that support; None with fewer than two photos."""
    if len(photos) < 2:
        return None
    best: tuple[float, float, NDArray[np.float32]] | None = None
    for n, photo in enumerate(photos):
        others = [other.embeddings for m, other in enumerate(photos) if m != n]
        likeness = np.stack([(photo.embeddings @ other.T).max(1) for other in others])
        support = np.median(likeness, axis=0).round(6)
        for k, face in enumerate(photo.embeddings):
            key = (float(support[k]), float(photo.prominence[k]))
            if best is None or key > best[:2]:
                best = (*key, face)
    assert best is not None
    return best[2], best[0]
