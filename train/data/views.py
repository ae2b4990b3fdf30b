"""Augmented views of face crops for distillation.

Teacher and student should see the same augmented picture, mixed faces included, for very long (Beyer et al.,
"Knowledge distillation: a good teacher is patient and consistent", CVPR 2022).

A view is made in two steps. `scene` changes who or what is seen: two faces mixed, geometry, light, occlusion; the
teachers see its result. `degrade` flips and shifts it a little and loses quality (small pictures, blur, noise, JPEG):
the student learns to answer for a bad picture as the teachers do for the good one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.faces import CROP, FACE

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Strength:
    """How often (probability per view) and how much each change happens."""

    blend: float = 0.2
    """Two faces laid over each other."""
    splice: float = 0.3
    """A part of the face taken from another one: eyes here, mouth there."""
    warp: float = 0.25
    """Smooth local displacement of a few pixels, which changes the proportions of the face."""
    tint: float = 0.2
    """Strong coloured light, as on a stage."""
    shade: float = 0.25
    """Light from one side."""
    grey: float = 0.06
    occlude: float = 0.15
    shrink: float = 0.25
    """Scaled down to as little as 18 px and up again."""
    blur: float = 0.12
    noise: float = 0.12
    jpeg: float = 0.3


PLAIN = Strength(blend=0, splice=0, warp=0, tint=0, shade=0, grey=0.02, occlude=0)
"""A face nearly as it is."""


def _smooth_mask(rng: Rng) -> NDArray[np.float32]:
    """`[128,128,1]` in 0…1: a half-plane or an ellipse near the middle with a soft border."""
    y, x = np.mgrid[0:CROP, 0:CROP].astype(np.float32) / CROP - 0.5
    softness = rng.uniform(0.02, 0.12)
    if rng.random() < 0.6:
        angle = rng.uniform(0, 2 * np.pi)
        distance = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(-0.15, 0.15)
    else:
        u, v = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.25)
        a, b = rng.uniform(0.12, 0.4, 2)
        distance = (1 - np.sqrt(((x - u) / a) ** 2 + ((y - v) / b) ** 2)) * min(a, b)
    return np.asarray(np.clip(distance / softness + 0.5, 0, 1)[..., None], np.float32)


def _mix(rng: Rng, face: NDArray[np.float32], other: NDArray[np.uint8], s: Strength) -> NDArray[np.float32]:
    chance = rng.random()
    if chance >= s.blend + s.splice:
        return face
    second = other[:, ::-1].astype(np.float32) if rng.random() < 0.5 else other.astype(np.float32)
    weight = np.float32(rng.uniform(0.15, 0.85)) if chance < s.blend else _smooth_mask(rng)
    return np.asarray(face + (second - face) * weight, np.float32)


def _geometry(rng: Rng, face: NDArray[np.float32], s: Strength) -> NDArray[np.float32]:
    """Rotation, scale, aspect, shear, shift, flip and sometimes a local warp; cuts 128 px to 112 px."""
    angle = np.deg2rad(np.clip(rng.normal(0, 5), -15, 15))
    scale = rng.uniform(0.9, 1.1) * np.exp(rng.normal(0, 0.03, 2))
    scale[0] *= rng.choice([-1.0, 1.0])
    cos, sin, shear = np.cos(angle), np.sin(angle), rng.normal(0, 0.03)
    inverse = np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, shear], [0, 1]]) @ np.diag(1 / scale)
    offset = (CROP - 1) / 2 + np.clip(rng.normal(0, 2.5, 2), -6, 6) - inverse @ np.full(2, (FACE - 1) / 2)
    matrix = np.column_stack([inverse, offset])
    if rng.random() >= s.warp:
        return np.asarray(
            cv2.warpAffine(
                face, matrix, (FACE, FACE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
            )
        )
    x, y = np.meshgrid(np.arange(FACE, dtype=np.float32), np.arange(FACE, dtype=np.float32))
    grid = rng.normal(0, rng.uniform(0.5, 3.0), (5, 5, 2)).astype(np.float32)
    shift = cv2.resize(grid, (FACE, FACE), interpolation=cv2.INTER_CUBIC)
    place = np.stack([x, y], -1) @ matrix[:, :2].T.astype(np.float32) + matrix[:, 2].astype(np.float32) + shift
    return np.asarray(cv2.remap(face, place.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _light(rng: Rng, face: NDArray[np.float32], s: Strength) -> NDArray[np.float32]:
    """Gamma, contrast, brightness, colour cast, stage tint, light from one side, grey."""
    if rng.random() < 0.5:
        curve = np.asarray((np.arange(256) / 255) ** np.exp(rng.normal(0, 0.3)), np.float32)
        face = curve[np.clip(face, 0, 255).astype(np.uint8)]
    else:
        face = np.clip(face, 0, 255) / np.float32(255)
    gain = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.35 if rng.random() < s.tint else 0.05, 3)).astype(np.float32)
    contrast, lift = np.float32(rng.uniform(0.7, 1.2)), np.float32(rng.normal(0, 0.06))
    face = (face - np.float32(0.5)) * contrast + (np.float32(0.5) + lift)
    if rng.random() < s.shade:
        angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.6)
        ramp = np.linspace(-1, 1, FACE)
        slope = 1 + depth * (ramp[None, :, None] * np.cos(angle) + ramp[:, None, None] * np.sin(angle))
        gain = gain * np.asarray(slope, np.float32)
    face = face * gain
    grey = (face @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    amount = np.float32(0.0 if rng.random() < s.grey else np.clip(rng.normal(1, 0.2), 0.3, 1.5))
    return np.asarray(np.clip(grey + (face - grey) * amount, 0, 1) * np.float32(255), np.float32)


def _occlude(rng: Rng, face: NDArray[np.float32], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Cover one rectangle or ellipse by a colour or by a piece of another picture."""
    h, w = rng.integers(14, 52, 2)
    y, x = rng.integers(-h // 3, FACE - h // 2), rng.integers(-w // 3, FACE - w // 2)
    mask = np.zeros((FACE, FACE), np.uint8)
    if rng.random() < 0.5:
        cv2.rectangle(mask, (int(x), int(y)), (int(x + w), int(y + h)), 1, -1)
    else:
        cv2.ellipse(
            mask, (int(x + w // 2), int(y + h // 2)), (int(w // 2), int(h // 2)), rng.uniform(0, 180), 0, 360, 1, -1
        )
    if rng.random() < 0.5:
        cover = np.broadcast_to(rng.uniform(0, 255, 3), face.shape)
    else:
        cover = np.roll(other[:FACE, :FACE], tuple(rng.integers(0, FACE, 2)), (0, 1))
    return np.where(mask[..., None] > 0, cover, face).astype(np.float32)


def scene(rng: Rng, face: NDArray[np.uint8], other: NDArray[np.uint8], strength: Strength) -> NDArray[np.uint8]:
    """What the teachers see: `face` `[128,128,3]`, perhaps mixed with `other`, turned, lit, covered: `[112,112,3]`."""
    picture = _mix(rng, face.astype(np.float32), other, strength)
    picture = _light(rng, _geometry(rng, picture, strength), strength)
    if rng.random() < strength.occlude:
        picture = _occlude(rng, picture, other)
    return np.asarray(np.clip(picture + 0.5, 0, 255), np.uint8)


def degrade(rng: Rng, picture: NDArray[np.uint8], strength: Strength) -> NDArray[np.uint8]:
    """What a camera and a codec may leave of `picture` `[112,112,3]`: mirrored, shifted, small, blurred, noisy."""
    dx, dy = (int(n) for n in rng.integers(-2, 3, 2))
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    framed = cv2.copyMakeBorder(picture, 2, 2, 2, 2, cv2.BORDER_REFLECT)
    picture = np.asarray(framed[2 + dy : 2 + dy + FACE, 2 + dx : 2 + dx + FACE], np.uint8)
    if rng.random() < strength.shrink:
        side = int(np.exp(rng.uniform(np.log(18), np.log(90))))
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        if rng.random() < strength.jpeg:
            small = _jpeg(rng, np.asarray(small, np.uint8), 45)
        up = cv2.INTER_LINEAR if rng.random() < 0.6 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(small, (FACE, FACE), interpolation=up), np.uint8)
    if rng.random() < strength.blur:
        if rng.random() < 0.6:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 2.2)), np.uint8)
        else:
            length, angle = rng.uniform(2, 9), rng.uniform(0, np.pi)
            kernel = np.zeros((11, 11), np.float32)
            dx, dy = length / 2 * np.cos(angle), length / 2 * np.sin(angle)
            cv2.line(kernel, (round(5 - dx), round(5 - dy)), (round(5 + dx), round(5 + dy)), 1.0, 1)
            picture = np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)
    if rng.random() < strength.noise:
        grain = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(2, 12))
        picture = np.asarray(np.clip(picture + grain + 0.5, 0, 255), np.uint8)
    return _jpeg(rng, picture, 20) if rng.random() < strength.jpeg else picture


def _jpeg(rng: Rng, picture: NDArray[np.uint8], lowest: int) -> NDArray[np.uint8]:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(lowest, 95))]
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR), np.uint8)


@dataclass(frozen=True, slots=True)
class Views:
    """What one step learns from, `B` of each."""

    scenes: NDArray[np.uint8]
    """`[B,112,112,3]` RGB as the teachers see them."""
    faces: NDArray[np.uint8]
    """`[B,112,112,3]` RGB: the same, degraded, as the student sees them."""


@dataclass(frozen=True)
class ViewMaker:
    """Views that depend on seed and step alone, so an interrupted training goes on as if nothing had happened.

    It can be sent to other processes: the pictures stay in their file.

    Example:
        >>> maker = ViewMaker(Path("runs/embedder/faces.npy"), np.ones(16_278), batch=32, seed=1)    # doctest: +SKIP
        >>> maker(0).faces.shape                                                                     # doctest: +SKIP
        (32, 112, 112, 3)
    """

    pictures: Path
    """`[N,128,128,3]` uint8, `.npy`."""
    weights: NDArray[np.float64]
    """`[N]`: how often each is drawn, relative to the others."""
    batch: int
    seed: int
    strength: Strength = field(default_factory=Strength)
    plain: float = 0.5
    """Odds that a view is nearly the face as it is."""

    @cached_property
    def _stack(self) -> NDArray[np.uint8]:
        try:
            return np.asarray(np.load(self.pictures, mmap_mode="r"))
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{self.pictures} cannot be read ({error}); delete it and start again") from error

    def __getstate__(self) -> dict[str, object]:
        """Without the opened file."""
        return {name: value for name, value in vars(self).items() if name != "_stack"}

    def __call__(self, step: int) -> Views:
        """The views for `step`.

        Raises:
            InputError: the file of pictures is missing or damaged.
        """
        rng = np.random.default_rng([self.seed, step])
        pictures = self._stack
        chosen = rng.choice(len(pictures), self.batch, p=self.weights / self.weights.sum())
        others = rng.integers(len(pictures), size=self.batch)
        strengths = [PLAIN if odds < self.plain else self.strength for odds in rng.random(self.batch)]
        scenes = [scene(rng, pictures[i], pictures[k], s) for i, k, s in zip(chosen, others, strengths, strict=True)]
        faces = [degrade(rng, picture, self.strength) for picture in scenes]
        return Views(np.stack(scenes), np.stack(faces))
