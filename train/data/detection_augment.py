"""Training pictures for the detector: zoomed, tiled, tinted, blurred; faces from a few pixels to beyond the frame.

Every canvas is made from one affine warp a source picture (one picture, or four as a mosaic) and one look-up table for
colour, so that a batch costs a fraction of a training step. A batch depends on the seed and the step number alone:
a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.boxes import Floats, Picture, candidate_cells, cells_inside, large_faces, unknown_landmarks

Image = NDArray[np.uint8]
LEFT_RIGHT = [1, 0, 2, 4, 3]


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How training pictures are made; probabilities are per canvas unless said otherwise."""

    mosaic: float = 0.6
    smallest: float = 9.0
    """Pixels of the smallest face that is zoomed to; its neighbours may be smaller."""
    small: float = 0.0
    """Odds that a face is zoomed to a small one, of at most three times the smallest; else sizes up to the largest are
    as likely as the logarithm of their range."""
    largest: float = 1.35
    """Largest face that is zoomed to, as a part of the canvas side."""
    close: float = 0.0
    """Odds that a canvas is one picture, zoomed until one of its faces is half as large as the canvas or larger."""
    learnable: float = 6.0
    """Shorter side in pixels under which a face is ignored."""
    rotate: float = 40.0
    """Degrees either way, of the tiles and pasted faces that are turned."""
    turned: float = 0.35
    """Odds that a tile is turned."""
    paste: float = 0.3
    """Odds that faces from portraits are pasted into a canvas: between one and `pasted` of them."""
    pasted: int = 6
    paste_sizes: tuple[float, float] = (10.0, 96.0)
    """Pixels of the sides of pasted faces."""
    zoom_per_pixel: float = 0.1
    """A face of n pixels is enlarged at most n times this much (but 2.2 to 6 times): more shows only blur."""
    background: float = 0.15
    """A place that was not chosen for its faces."""
    tint: float = 0.2
    haze: float = 0.08
    strobe: float = 0.04
    grey: float = 0.05
    soft: float = 0.0
    """Enlarged from a smaller picture, as small videos and photos are before they are looked at."""
    blur: float = 0.12
    jpeg: float = 0.15
    noise: float = 0.1
    occlude: float = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """One canvas `[S,S,3]` RGB and the faces in it (pixels; landmarks NaN where unknown)."""

    rgb: Image
    boxes: Floats
    ignore: NDArray[np.bool_]
    landmarks: Floats


@dataclass(frozen=True, slots=True)
class Batch:
    """What one training step takes; `G` faces over all pictures, `A` cells a picture."""

    images: Image
    """`[B,S,S,3]`."""
    boxes: Floats
    """`[G,4]`."""
    landmarks: Floats
    """`[G,5,2]`, NaN where unknown."""
    cells: NDArray[np.int32]
    """`[G,K]` cell numbers in the whole batch (picture · A + cell)."""
    valid: NDArray[np.bool_]
    """`[G,K]`."""
    ignore: Floats
    """`[B·A]`: 1 where a cell is neither face nor background."""


def half_sizes(rgb: Image) -> tuple[Image, ...]:
    """The picture at 1, 1/2 and 1/4 of its size, for warps that shrink without aliasing."""
    levels = [rgb]
    while len(levels) < 3 and min(levels[-1].shape[:2]) >= 16:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return tuple(levels)


def transform_faces(
    boxes: Floats, landmarks: Floats, matrix: NDArray[np.float64], flipped: bool
) -> tuple[Floats, Floats]:
    """Boxes and landmarks under an affine 2×3 map. A turned box keeps its width and height: heads stay as they are."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
    half_width = (boxes[:, 2] - boxes[:, 0]) / 2 * np.hypot(matrix[0, 0], matrix[1, 0])
    half_height = (boxes[:, 3] - boxes[:, 1]) / 2 * np.hypot(matrix[0, 1], matrix[1, 1])
    half = np.stack([half_width, half_height], 1)
    points = landmarks @ matrix[:, :2].T + matrix[:, 2]
    if flipped:
        points = points[:, LEFT_RIGHT]
    return np.concatenate([middles - half, middles + half], 1).astype(np.float32), points.astype(np.float32)


def crop_faces(
    boxes: Floats, ignore: NDArray[np.bool_], landmarks: Floats, window: tuple[int, int, int, int], learnable: float
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """The faces as seen through a window (x1, y1, x2, y2).

    Boxes are clipped. Of a face at least 45 % must be seen for it to be learnt (30 % of one that is larger than the
    window); one that is less visible, or smaller than `learnable`, is ignored, one under 8 % is dropped.
    Landmarks outside the window become unknown.
    """
    if not len(boxes):
        return boxes, ignore, landmarks
    x1, y1, x2, y2 = window
    clipped = np.clip(boxes, [x1, y1, x1, y1], [x2, y2, x2, y2]).astype(np.float32)
    sides, seen_sides = boxes[:, 2:] - boxes[:, :2], clipped[:, 2:] - clipped[:, :2]
    seen = seen_sides.prod(1) / np.maximum(sides.prod(1), 1e-6)
    needed = np.where(sides.max(1) > min(x2 - x1, y2 - y1), 0.3, 0.45)
    keep = seen > 0.08
    unlearnable = ignore | (seen < needed) | (seen_sides.min(1) < learnable)
    outside = (landmarks < [x1, y1]).any(2) | (landmarks >= [x2, y2]).any(2)
    points = landmarks.copy()
    points[outside] = np.nan
    return clipped[keep], unlearnable[keep], points[keep]


def _zoom_map(
    picture: Picture, size: tuple[int, int], settings: AugmentSettings, rng: np.random.Generator, close: bool
) -> tuple[NDArray[np.float64], bool]:
    """An affine map from the picture to a tile of `size` (width, height), and whether it mirrors."""
    width, height = size
    tall, wide = picture.rgb.shape[:2]
    known = large_faces(picture) if close else np.nonzero(~picture.ignore)[0]
    cover = max(width / wide, height / tall)
    if close or (len(known) and rng.random() > settings.background):
        box = picture.boxes[rng.choice(known)]
        extent = max(1.0, float(np.sqrt((box[2] - box[0]) * (box[3] - box[1]))))
        largest = max(settings.smallest, settings.largest * min(size))
        if not close and settings.small and rng.random() < settings.small:
            largest = min(largest, 3 * settings.smallest)
        smallest = 0.5 * min(size) if close else settings.smallest
        target = np.exp(rng.uniform(np.log(smallest), np.log(largest)))
        anchor = (box[:2] + box[2:]) / 2
        zoom = min(target / extent, float(np.clip(extent * settings.zoom_per_pixel, 2.2, 6.0)))
    else:
        anchor = rng.uniform(0, 1, 2) * [wide, tall]
        zoom = cover * np.exp(rng.uniform(np.log(0.6), np.log(3)))
    zoom = float(max(zoom, 0.6 * cover))
    aspect = np.exp(rng.uniform(-0.14, 0.14))
    angle = np.deg2rad(rng.uniform(-settings.rotate, settings.rotate)) if rng.random() < settings.turned else 0.0
    flipped = bool(rng.random() < 0.5)
    scale = np.diag([zoom * np.sqrt(aspect) * (-1 if flipped else 1), zoom / np.sqrt(aspect)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ scale
    place = rng.uniform(0.08, 0.92, 2) * [width, height]
    shift = place - linear @ anchor
    if angle == 0 and rng.random() < 0.9:  # keep the picture over the tile where it is large enough
        for axis, (room, extent) in enumerate(((width, wide), (height, tall))):
            ends = np.sort([shift[axis], shift[axis] + linear[axis, axis] * extent])
            if ends[1] - ends[0] >= room:
                shift[axis] += min(0.0, -ends[0]) if ends[0] > 0 else max(0.0, room - ends[1])
            else:
                shift[axis] += float(np.clip(0, -ends[0], room - ends[1]))
    return np.concatenate([linear, shift[:, None]], 1), flipped


def _tile(
    picture: Picture,
    levels: Sequence[Image],
    size: tuple[int, int],
    settings: AugmentSettings,
    rng: np.random.Generator,
    close: bool = False,
) -> Sample:
    """One picture warped into a tile of `size` (width, height); `close` fills it with one of the large faces."""
    matrix, flipped = _zoom_map(picture, size, settings, rng, close)
    zoom = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    level = min(len(levels) - 1, max(0, int(np.floor(-np.log2(max(zoom, 1e-3)) + 0.25))))
    source = levels[level] if rng.random() < 0.8 else levels[0]
    ratio = np.array([source.shape[1] / picture.rgb.shape[1], source.shape[0] / picture.rgb.shape[0]])
    to_tile = matrix.copy()
    to_tile[:, :2] /= ratio
    fill = tuple(float(v) for v in (rng.integers(0, 256, 3) if rng.random() < 0.3 else np.zeros(3)))
    warped = cv2.warpAffine(
        source, to_tile, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=fill
    )
    boxes, landmarks = transform_faces(picture.boxes, picture.landmarks, matrix, flipped)
    window = (0, 0, size[0], size[1])
    return Sample(
        np.asarray(warped, np.uint8), *crop_faces(boxes, picture.ignore, landmarks, window, settings.learnable)
    )


def _colour_table(settings: AugmentSettings, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A `[1,256,3]` look-up table: exposure, contrast, gamma, colour cast, strobe."""
    ramp = np.linspace(0, 1, 256)[:, None] * np.ones(3)
    ramp = ramp ** np.exp(rng.uniform(-0.45, 0.45))
    ramp = (ramp - 0.5) * np.exp(rng.uniform(-0.35, 0.3)) + 0.5 + rng.uniform(-0.12, 0.12)
    ramp = ramp * np.exp(rng.uniform(-0.1, 0.1, 3))
    if rng.random() < settings.tint:  # stage light: one or two channels nearly gone, some light of its own
        cast = rng.uniform(0.25, 1.15, 3)
        ramp = ramp * cast / max(0.8, cast.max()) + rng.uniform(0, 0.25) * rng.random(3)
    if rng.random() < settings.strobe:
        ramp = ramp * rng.uniform(1.5, 2.6) + rng.uniform(0, 0.3)
    if rng.random() < settings.strobe:
        ramp = ramp * rng.uniform(0.3, 0.6)
    return np.asarray(np.clip(ramp, 0, 1) * 255, np.uint8)[None]


def _haze(rgb: Image, rng: np.random.Generator) -> Image:
    """Smoke and beams: a smooth coloured veil."""
    height, width = rgb.shape[:2]
    coarse = rng.uniform(0, 1, (4, 4)).astype(np.float32) * rng.uniform(0.3, 0.75)
    veil = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None].clip(0, 0.8)
    colour = rng.integers(90, 256, 3).astype(np.float32)
    return np.asarray(rgb * (1 - veil) + colour * veil, np.uint8)


def _enlarged(rgb: Image, rng: np.random.Generator) -> Image:
    """As if it had been enlarged from 0.4 to 0.85 of its size."""
    height, width = rgb.shape[:2]
    factor = rng.uniform(0.4, 0.85)
    small = cv2.resize(rgb, (int(width * factor), int(height * factor)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _blur(rgb: Image, rng: np.random.Generator) -> Image:
    """Defocus, motion, or a picture that was enlarged."""
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(cv2.GaussianBlur(rgb, (0, 0), rng.uniform(0.5, 1.8)), np.uint8)
    if kind == 1:
        length = int(rng.integers(3, 10))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        tip = (length - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
        middle = (length - 1) / 2
        start, end = (round(middle - tip[0]), round(middle - tip[1])), (round(middle + tip[0]), round(middle + tip[1]))
        cv2.line(kernel, start, end, 1.0)
        return np.asarray(cv2.filter2D(rgb, -1, kernel / max(kernel.sum(), 1)), np.uint8)
    return _enlarged(rgb, rng)


def _occlude(sample: Sample, rng: np.random.Generator) -> None:
    """Something in front of a face: a patch from elsewhere or a plain colour over up to 45 % of it, in place."""
    known = np.nonzero(~sample.ignore)[0]
    if not len(known):
        return
    size = sample.rgb.shape[0]
    x1, y1, x2, y2 = sample.boxes[rng.choice(known)]
    width, height = (x2 - x1) * rng.uniform(0.3, 0.7), (y2 - y1) * rng.uniform(0.3, 0.6)
    left = int(np.clip(rng.uniform(x1 - width / 3, x2 - width * 2 / 3), 0, size - 2))
    top = int(np.clip(rng.uniform(y1 - height / 3, y2 - height * 2 / 3), 0, size - 2))
    right, bottom = int(min(size, left + max(2, width))), int(min(size, top + max(2, height)))
    if rng.random() < 0.5:
        sample.rgb[top:bottom, left:right] = rng.integers(0, 256, 3)
    else:
        row, column = rng.integers(0, size - (bottom - top) + 1), rng.integers(0, size - (right - left) + 1)
        patch = sample.rgb[row : row + bottom - top, column : column + right - left].copy()
        sample.rgb[top:bottom, left:right] = patch


def _finish(sample: Sample, settings: AugmentSettings, rng: np.random.Generator) -> Sample:
    """Light and picture quality."""
    rgb = sample.rgb
    if rng.random() < settings.occlude:
        _occlude(sample, rng)
    if rng.random() < settings.grey:
        rgb = np.asarray(cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    rgb = np.asarray(cv2.LUT(rgb, _colour_table(settings, rng)), np.uint8)
    if rng.random() < settings.haze:
        rgb = _haze(rgb, rng)
    if settings.soft and rng.random() < settings.soft:
        rgb = _enlarged(rgb, rng)
    if rng.random() < settings.blur:
        rgb = _blur(rgb, rng)
    if rng.random() < settings.noise:
        noise = rng.normal(0, rng.uniform(2, 14), rgb.shape).astype(np.float32)
        rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    if rng.random() < settings.jpeg:
        _, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return Sample(rgb, sample.boxes, sample.ignore, sample.landmarks)


def picture_odds(pictures: Sequence[Picture]) -> NDArray[np.float64]:
    """Odds of drawing each picture: more for crowds, and rare sources more often than their number says.

    Proportional to the root of its faces, and to one over the root of the number of pictures of its source.
    """
    sources = Counter(p.source for p in pictures)
    odds = np.array([np.sqrt((1 + len(p.boxes)) / sources[p.source]) for p in pictures])
    return np.asarray(odds / odds.sum(), np.float64)


class Pool:
    """Pictures to draw from: those with true boxes, and those with pseudo-labels, with the odds between them."""

    def __init__(
        self,
        true: Sequence[Picture],
        pseudo: Sequence[Picture] = (),
        share: float = 0.65,
        portraits: Sequence[Picture] = (),
        portrait_share: float = 0.08,
    ) -> None:
        self._groups = [[(p, half_sizes(p.rgb)) for p in group] for group in (true, pseudo, portraits)]
        self._close = [[each for each in group if len(large_faces(each[0]))] for group in self._groups[:2]]
        self._odds = [np.cumsum(picture_odds(group)) if group else np.ones(1) for group in (true, pseudo, portraits)]
        self._share = share if true and pseudo else float(bool(true))
        self._portrait_share = portrait_share if portraits else 0.0

    def draw(self, rng: np.random.Generator) -> tuple[Picture, tuple[Image, ...]]:
        """One picture and its smaller copies."""
        kind = 0 if rng.random() < self._share else 1
        if self._portrait_share and rng.random() < self._portrait_share:
            kind = 2
        group = self._groups[kind]
        return group[min(len(group) - 1, int(np.searchsorted(self._odds[kind], rng.random(), side="right")))]

    @property
    def has_close(self) -> bool:
        """Whether there are faces large enough to fill a canvas."""
        return any(self._close)

    def draw_close(self, rng: np.random.Generator) -> tuple[Picture, tuple[Image, ...]]:
        """One picture with a large face, in the same odds between true and pseudo-labels."""
        true, pseudo = self._close
        group = true if not pseudo or (true and rng.random() < self._share) else pseudo
        return group[int(rng.integers(len(group)))]

    @property
    def has_portraits(self) -> bool:
        """Whether there are faces to paste."""
        return bool(self._groups[2])

    def draw_portrait(self, rng: np.random.Generator) -> tuple[Picture, tuple[Image, ...]]:
        """One portrait and its smaller copies."""
        return self._groups[2][int(rng.integers(len(self._groups[2])))]


def _paste_one(sample: Sample, pool: Pool, settings: AugmentSettings, rng: np.random.Generator) -> Sample:
    """The canvas with one more face on it, drawn into a soft-edged oval, where no other face is hidden.

    A place that is taken leaves the canvas as it is.
    """
    portrait, levels = pool.draw_portrait(rng)
    box = portrait.boxes[0]
    size = float(np.exp(rng.uniform(*np.log(settings.paste_sizes))))
    zoom = size / float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))
    angle = np.deg2rad(rng.uniform(-settings.rotate, settings.rotate)) * (rng.random() < 0.6)
    flipped = bool(rng.random() < 0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([-zoom if flipped else zoom, zoom])
    side = sample.rgb.shape[0]
    middle = rng.uniform(size * 0.4, side - size * 0.4, 2)
    anchor = (box[:2] + box[2:]) / 2
    matrix = np.concatenate([linear, (middle - linear @ anchor)[:, None]], 1)
    boxes, points = transform_faces(portrait.boxes, portrait.landmarks, matrix, flipped)
    reach = np.concatenate([middle - 0.75 * size, middle + 0.75 * size])
    if len(sample.boxes):
        shared = np.minimum(sample.boxes[:, 2:], reach[2:]) - np.maximum(sample.boxes[:, :2], reach[:2])
        if (shared.min(1) > 0).any():
            return sample
    corner = np.floor(np.clip(reach[:2], 0, side - 1)).astype(int)
    end = np.ceil(np.clip(reach[2:], 1, side)).astype(int)
    extent = (int(end[0] - corner[0]), int(end[1] - corner[1]))
    level = min(len(levels) - 1, max(0, int(np.floor(-np.log2(max(zoom, 1e-3)) + 0.25))))
    ratio = levels[level].shape[0] / portrait.rgb.shape[0]
    local = matrix.copy()
    local[:, 2] -= corner
    local[:, :2] /= ratio
    patch = cv2.warpAffine(levels[level], local, extent, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    half = (boxes[0, 2:] - boxes[0, :2]) / 2 * rng.uniform(1.02, 1.22)
    ys, xs = np.mgrid[corner[1] : end[1], corner[0] : end[0]]
    dx, dy = xs + 0.5 - middle[0], ys + 0.5 - middle[1]
    along = (np.cos(angle) * dx + np.sin(angle) * dy) / half[0]
    down = (-np.sin(angle) * dx + np.cos(angle) * dy) / half[1]
    edge = rng.uniform(0.06, 0.35)
    alpha = np.clip((1.0 - np.hypot(along, down)) / edge + 0.5, 0, 1)[..., None]
    canvas = sample.rgb.copy()
    region = canvas[corner[1] : end[1], corner[0] : end[0]]
    light = 1.0 + rng.uniform(0, 0.7) * (region.mean() / max(patch.mean(), 1.0) - 1.0)
    lit = np.clip(patch * np.clip(light, 0.35, 1.6), 0, 255)
    region[:] = (region * (1 - alpha) + lit * alpha).astype(np.uint8)
    window = (0, 0, side, side)
    new = crop_faces(boxes, np.zeros(1, bool), points, window, settings.learnable)
    return Sample(
        canvas,
        np.concatenate([sample.boxes, new[0]]),
        np.concatenate([sample.ignore, new[1]]),
        np.concatenate([sample.landmarks, new[2]]),
    )


def _paste(sample: Sample, pool: Pool, settings: AugmentSettings, rng: np.random.Generator) -> Sample:
    """The canvas with a few pasted faces, in the odds that the settings say."""
    if pool.has_portraits and rng.random() < settings.paste:
        for _ in range(int(rng.integers(1, settings.pasted + 1))):
            sample = _paste_one(sample, pool, settings, rng)
    return sample


def make_sample(pool: Pool, size: int, settings: AugmentSettings, rng: np.random.Generator) -> Sample:
    """One canvas of `size` × `size`: a zoomed picture, or a mosaic of four."""
    if settings.close and pool.has_close and rng.random() < settings.close:
        return _finish(_tile(*pool.draw_close(rng), (size, size), settings, rng, close=True), settings, rng)
    if rng.random() >= settings.mosaic:
        single = _tile(*pool.draw(rng), (size, size), settings, rng)
        return _finish(_paste(single, pool, settings, rng), settings, rng)
    cut_x, cut_y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * size)
    canvas = np.empty((size, size, 3), np.uint8)
    boxes, ignore, landmarks = [], [], []
    for left, right in ((0, cut_x), (cut_x, size)):
        for top, bottom in ((0, cut_y), (cut_y, size)):
            tile = _tile(*pool.draw(rng), (right - left, bottom - top), settings, rng)
            canvas[top:bottom, left:right] = tile.rgb
            shift = np.array([left, top], np.float32)
            boxes.append(tile.boxes + np.tile(shift, 2))
            ignore.append(tile.ignore)
            landmarks.append(tile.landmarks + shift)
    whole = Sample(canvas, np.concatenate(boxes), np.concatenate(ignore), np.concatenate(landmarks))
    return _finish(_paste(whole, pool, settings, rng), settings, rng)


ROWS = 512
"""Faces in a batch come to a multiple of this, so that a step need not be compiled for every number of faces."""


def assemble(samples: Sequence[Sample], strides: Sequence[int]) -> Batch:
    """Stack canvases of one size and number their cells through the whole batch; rows without an answer fill it up."""
    size = samples[0].rgb.shape[0]
    total = sum((size // s) ** 2 for s in strides)
    boxes, landmarks, cells, valid, ignore = [], [], [], [], []
    for number, sample in enumerate(samples):
        learn = ~sample.ignore
        found = candidate_cells(sample.boxes[learn], size, size, strides)
        boxes.append(sample.boxes[learn])
        landmarks.append(sample.landmarks[learn])
        cells.append(np.where(found.valid, found.cells + number * total, 0))
        valid.append(found.valid)
        ignore.append(cells_inside(sample.boxes[sample.ignore], size, size, strides))
    more = ROWS - sum(len(b) for b in boxes) % ROWS
    boxes.append(np.tile(np.array([0, 0, 8, 8], np.float32), (more, 1)))
    landmarks.append(unknown_landmarks(more))
    cells.append(np.zeros((more, cells[0].shape[1]), np.int32))
    valid.append(np.zeros((more, cells[0].shape[1]), bool))
    return Batch(
        np.stack([s.rgb for s in samples]),
        np.concatenate(boxes),
        np.concatenate(landmarks),
        np.concatenate(cells).astype(np.int32),
        np.concatenate(valid),
        np.concatenate(ignore).astype(np.float32),
    )
