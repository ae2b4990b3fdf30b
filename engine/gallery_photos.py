"""A person's photos put among those of a gallery's people (`Gallery.photos_by_name`) and taken out again."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from engine.names import same_person
from engine.photos import Photos


def take_out(people: dict[str, Photos], name: str, files: Collection[str]) -> Photos | None:
    """Take some photos of a person out of `people`, and the person if none is left; the photos that were there, if
    any."""
    theirs = people.get(name)
    gone = np.array([file in files for file in theirs.files] if theirs is not None else [], np.bool_)
    if theirs is None or not gone.any():
        return None
    if gone.all():
        del people[name]
    else:
        people[name] = theirs.select(~gone)
    return theirs.select(gone)


def put_in(people: dict[str, Photos], name: str, photos: Photos) -> str:
    """Add photos of a person to `people`, to those that are there of them; how the name is spelt there."""
    known = next((person for person in people if same_person(person, name)), name)
    people[known] = Photos.join([people[known], photos]) if known in people else photos
    return known
