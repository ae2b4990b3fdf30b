"""The sizes that an engine is made for: TensorRT's optimisation profiles."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from engine.alignment import SIZE
from engine.errors import InputError, UsageError
from engine.modelfile import ModelFile

Shape = tuple[int, ...]

USUAL_SIZE = 640
"""Pixels of the longer side of the pictures that a detector gets, where nobody says."""
_PICTURES, _FACES = 8, 16
"""The largest batches: what `Detector.detect` and `Embedder.embed` put together."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Sizes of one input: the engine takes all from `least` to `most` and is fastest at `usual`.

    TensorRT calls them min, opt and max. Networks here have one input.

    Example:
        >>> profile = Profile("faces", (1, 112, 112, 3), (1, 112, 112, 3), (16, 112, 112, 3))
        >>> profile.covers((16, 112, 112, 3)), profile.covers((17, 112, 112, 3))
        (True, False)
        >>> str(profile)
        'faces 1x112x112x3 … 16x112x112x3'
    """

    name: str
    """Of the input."""
    least: Shape
    usual: Shape
    most: Shape

    def __post_init__(self) -> None:
        sizes = list(zip(self.least, self.usual, self.most, strict=False))
        same = len(self.least) == len(self.usual) == len(self.most)
        if not same or any(not 1 <= least <= usual <= most for least, usual, most in sizes):
            raise UsageError(
                f"sizes must grow from min to opt to max, not {_text(self.least)}, {_text(self.usual)}, "
                f"{_text(self.most)}"
            )

    def covers(self, shape: Shape) -> bool:
        """Whether an input of that shape lies inside."""
        return len(shape) == len(self.least) and all(
            least <= size <= most for least, size, most in zip(self.least, shape, self.most, strict=True)
        )

    def __str__(self) -> str:
        return f"{self.name} {_text(self.least)} … {_text(self.most)}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(values["name"], *(tuple(values[name]) for name in ("least", "usual", "most")))


def default_profiles(model: ModelFile, size: int = USUAL_SIZE) -> tuple[Profile, ...]:
    """What a network is asked for by the rest of this package.

    A detector gets a video's pictures one by one, photos up to eight at a time, and single photos at twice the size; an
    embedder gets faces, up to sixteen.

    Args:
        model: a detector or an embedder.
        size: pixels of the longer side of the pictures that a detector gets.

    Raises:
        InputError: the network is neither.
    """
    kind = model.metadata.get("iznet.kind")
    if kind == "embedder":
        face = (SIZE, SIZE, 3)
        return (Profile("faces", (1, *face), (1, *face), (_FACES, *face)),)
    if kind != "detector":
        raise InputError(f"{model.path}: neither a detector nor an embedder, and others do not run on a GPU here")
    step = max(int(word) for word in model.metadata["iznet.strides"].split(","))
    side, wide, twice = (-(-pixels // step) * step for pixels in (size, size * 9 // 16, 2 * size))
    least = (1, step, step, 3)
    return (
        Profile("images", least, (1, wide, side, 3), (_PICTURES, side, side, 3)),
        Profile("images", least, (1, twice, twice, 3), (1, twice, twice, 3)),
    )


def explicit_profile(model: ModelFile, least: str, usual: str, most: str) -> Profile:
    """A profile that people asked for, of the one input that a detector or an embedder has.

    Raises:
        InputError: the network is neither.
        UsageError: what is given is no shape, or smaller than the one before.

    Example:
        >>> str(explicit_profile(model, "1x64x64x3", "1x384x640x3", "4x640x640x3"))  # doctest: +SKIP
        'images 1x64x64x3 … 4x640x640x3'
    """
    name = default_profiles(model)[0].name
    return Profile(name, *(parse_shape(text) for text in (least, usual, most)))


def covering(profiles: Sequence[Profile], shape: Shape) -> int | None:
    """Which of the profiles is the first to cover a shape."""
    return next((n for n, profile in enumerate(profiles) if profile.covers(shape)), None)


def parse_shape(text: str) -> Shape:
    """A shape as people write it.

    Raises:
        UsageError: it is none.

    Example:
        >>> parse_shape("1x384x640x3")
        (1, 384, 640, 3)
    """
    if not re.fullmatch(r"[1-9]\d*([x×,][1-9]\d*)*", text):
        raise UsageError(f"{text!r} is no shape; write it like 1x384x640x3")
    return tuple(int(word) for word in re.split("[x×,]", text))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
