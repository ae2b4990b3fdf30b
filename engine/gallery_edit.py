"""Changing a gallery without its photos: people taken out or renamed, the threshold found anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.calibration import FAR, calibrate
from engine.cohort import cohort_for
from engine.errors import UsageError
from engine.gallery import Gallery
from engine.names import clean_name
from engine.prototypes import Method


def edit(
    gallery: Gallery,
    remove: Iterable[str] = (),
    rename: Iterable[str] = (),
    *,
    method: Method | None = None,
    cohort: Path | None = None,
    far: float | None = None,
) -> Gallery:
    """The gallery with people taken out and renamed, in that order, and its threshold found anew: names alone change
    nothing about it.

    Args:
        gallery: as it is.
        remove: names.
        rename: `OLD=NEW` each.
        method: how everybody's prototypes are chosen; None takes the gallery's.
        cohort: as for `recalibrated`, and so is `far`.

    Raises:
        UsageError: as `changed`, or a rate that no threshold can be found for.
        InputError: the cohort that was asked for does not fit.
    """
    gone = list(remove)
    gallery = changed(gallery, gone, rename)
    if method is not None:
        gallery = gallery.rebuilt(gallery.photos_by_name(), method)
    return recalibrated(gallery, cohort, far) if gone or method or cohort or far else gallery


def changed(gallery: Gallery, remove: Iterable[str] = (), rename: Iterable[str] = ()) -> Gallery:
    """The gallery with people taken out and renamed, in that order; its threshold stays.

    Args:
        gallery: as it is.
        remove: names.
        rename: `OLD=NEW` each.

    Raises:
        UsageError: somebody is not in it, nobody would be left, a new name is taken or none, or no `=` in a renaming.

    Example:
        >>> import numpy as np
        >>> gallery = Gallery.build({"a": np.eye(2, dtype=np.float32), "b": np.eye(2, dtype=np.float32)}, "", 0.5)
        >>> changed(gallery, remove=["a"], rename=["b=c"]).people
        ('c',)
    """
    gone = list(remove)
    if gone:
        gallery = gallery.without(gone)
    for pair in rename:
        gallery = gallery.renamed(*split_pair(pair, gallery.people))
    return gallery


def split_pair(pair: str, people: Sequence[str]) -> tuple[str, str]:
    """`OLD=NEW`, cut at the sign that leaves somebody's name before it: names may hold one themselves.

    Raises:
        UsageError: there is no such sign.
    """
    cuts = [n for n, sign in enumerate(pair) if sign == "="]
    if not cuts:
        raise UsageError(f"{pair!r} does not say what the new name is; write OLD=NEW")
    known = [n for n in cuts if pair[:n].strip() and clean_name(pair[:n]) in people]
    cut = (known or cuts)[0]
    return pair[:cut], pair[cut + 1 :]


def recalibrated(gallery: Gallery, cohort: Path | None = None, far: float | None = None) -> Gallery:
    """The gallery with a threshold for the people that are in it now.

    Args:
        gallery: its threshold stays where no cohort fits its embedder, and the calibration says why.
        cohort: strangers; None takes those that come with the shipped embedder.
        far: false-accept rate; None takes the gallery's.

    Raises:
        UsageError: a rate that no threshold can be found for.
        InputError: the cohort that was asked for does not fit.
    """
    strangers, reason = cohort_for(gallery.embedder, gallery.embedder_sha256, cohort)
    return calibrate(gallery, strangers, far or gallery.calibration.far or FAR, reason)
