"""Galleries that grow, as `engine.enrolment` and a name given by hand make them."""

from __future__ import annotations

from collections.abc import Mapping

from engine.gallery import Gallery
from engine.gallery_photos import put_in
from engine.photos import Photos


def with_people(gallery: Gallery, more: Mapping[str, Photos]) -> Gallery:
    """The gallery and these people."""
    together = gallery.photos_by_name()
    for name, photos in more.items():
        put_in(together, name, photos)
    return gallery.rebuilt(together)
