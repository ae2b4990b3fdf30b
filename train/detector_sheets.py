"""Sheets to look at: hits and mistakes on whole pictures, missed faces by size, false finds, doubtful finds, curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.metrics import box_iou
from train.clip_eval import Find
from train.contenders import Contender
from train.data.boxes import Picture
from train.data.close_ups import CloseUp
from train.detector_eval import Judgement, scaled, scaled_truths
from train.output import replaced, write_whole

Image = NDArray[np.uint8]
GREEN, RED, YELLOW, GREY, WHITE = (0, 220, 0), (255, 0, 0), (255, 220, 0), (128, 128, 128), (255, 255, 255)
SIZES = (8.0, 16.0, 32.0, 64.0, np.inf)
"""Bounds of the groups of missed faces, in pixels at the measured size."""
TILE = 150
COLUMNS = 10


def rectangle(image: Image, box: NDArray[np.floating], colour: tuple[int, int, int], thickness: int = 1) -> None:
    """Draw a box, in place."""
    x1, y1, x2, y2 = (int(v) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thickness)


def write_png(path: Path, image: Image) -> None:
    """Write an RGB picture; its folder is made where it is missing.

    Raises:
        OutputError: it cannot be written.
    """
    ok, data = cv2.imencode(".png", image[..., ::-1])
    assert ok, "an array in memory can be encoded"
    write_whole(path, data.tobytes())


def picture_sheet(
    pictures: Sequence[Picture], judgement: Judgement, minimum: float = 16.0, columns: int = 6, rows: int = 5
) -> Image:
    """Half a sheet of the pictures with most mistakes, half of others: hits green, mistakes red, misses yellow,
    ignored grey."""
    tile = 320
    drawn = []
    for picture, truth, seen in zip(pictures, scaled_truths(pictures, judgement.size), judgement.found, strict=True):
        sure = seen.select(seen.scores >= judgement.threshold)
        overlaps = box_iou(sure.boxes, truth.boxes)
        met = overlaps.max(0, initial=0.0) >= 0.5
        known = overlaps.max(1, initial=0.0) >= 0.5
        small = (truth.boxes[:, 2:] - truth.boxes[:, :2]).min(1, initial=np.inf) < minimum
        missed = ~met & ~truth.ignore & ~small
        factor = tile / max(picture.rgb.shape[:2])
        image = cv2.resize(picture.rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        for box, good in zip(sure.boxes * (tile / judgement.size), known, strict=True):
            rectangle(image, box, GREEN if good else RED)
        for box, lost, ignored in zip(truth.boxes * (tile / judgement.size), missed, truth.ignore, strict=True):
            if lost or ignored:
                rectangle(image, box, YELLOW if lost else GREY)
        canvas = np.zeros((tile, tile, 3), np.uint8)
        canvas[: image.shape[0], : image.shape[1]] = image[:tile, :tile]
        drawn.append((int((~known).sum() + missed.sum()), canvas))
    drawn.sort(key=lambda pair: -pair[0])
    places = columns * rows
    worst = [canvas for _, canvas in drawn[: places // 2]]
    rest = [canvas for _, canvas in drawn[places // 2 :]]
    step = max(1, len(rest) // max(1, places - len(worst)))
    return grid((worst + rest[::step])[:places], columns, tile)


def grid(tiles: Sequence[Image], columns: int, side: int = TILE) -> Image:
    """Tiles of `side` × `side` in rows; a row that is not full ends in black."""
    blank = np.zeros((side, side, 3), np.uint8)
    full = [*tiles, *[blank] * (-len(tiles) % columns)] if tiles else [blank] * columns
    return np.concatenate([np.concatenate(full[k : k + columns], 1) for k in range(0, len(full), columns)], 0)


def face_tile(
    rgb: Image, box: NDArray[np.floating], colour: tuple[int, int, int], label: str, side: int = TILE
) -> Image:
    """A square part of a picture around a box, three times as large as it, enlarged to `side`, with a label."""
    middle = (box[:2] + box[2:]) / 2
    half = max(4.0, 1.5 * float((box[2:] - box[:2]).max()))
    zoom = side / (2 * half)
    matrix = np.array([[zoom, 0, side / 2 - zoom * middle[0]], [0, zoom, side / 2 - zoom * middle[1]]])
    tile = np.asarray(cv2.warpAffine(rgb, matrix, (side, side), flags=cv2.INTER_AREA), np.uint8)
    rectangle(tile, box * zoom + np.tile(matrix[:, 2], 2), colour)
    cv2.putText(tile, label, (3, side - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, label, (3, side - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, WHITE, 1, cv2.LINE_AA)
    return tile


def title(text: str, width: int) -> Image:
    """A line of text over a row of tiles."""
    line = np.zeros((26, width, 3), np.uint8)
    cv2.putText(line, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)
    return line


def miss_sheet(pictures: Sequence[Picture], judgement: Judgement, each: int = 3 * COLUMNS) -> Image:
    """Faces that were missed at the default threshold, by size; under each its best score, if it has any."""
    groups: dict[int, list[Image]] = {k: [] for k in range(len(SIZES) - 1)}
    counts = dict.fromkeys(groups, 0)
    wanted = dict.fromkeys(groups, 0)
    truths = scaled_truths(pictures, judgement.size)
    for picture, truth, seen in zip(pictures, truths, judgement.found, strict=True):
        factor = max(picture.rgb.shape[:2]) / judgement.size
        overlaps = box_iou(truth.boxes, seen.boxes)
        for face, box in enumerate(truth.boxes):
            group = int(np.searchsorted(SIZES, (box[2:] - box[:2]).min(), side="right")) - 1
            if truth.ignore[face] or group < 0:
                continue
            wanted[group] += 1
            here = overlaps[face] >= 0.5
            best = float(seen.scores[here].max(initial=0.0))
            if best < judgement.threshold:
                counts[group] += 1
                groups[group].append(face_tile(picture.rgb, box * factor, YELLOW, f"{best:.2f}"))
    parts = []
    for group, tiles in reversed(groups.items()):
        low, high = SIZES[group], SIZES[group + 1]
        name = f">= {low:.0f}" if np.isinf(high) else f"{low:.0f} to {high:.0f}"
        text = f"{name} px: {counts[group]} of {wanted[group]} missed"
        step = max(1, len(tiles) // each)
        parts += [title(text, COLUMNS * TILE), grid(tiles[::step][:each], COLUMNS)]
    return np.concatenate(parts, 0)


def false_sheet(pictures: Sequence[Picture], judgement: Judgement, most: int = 8 * COLUMNS) -> Image:
    """Finds on no label at the default threshold, best score first: mistakes, or faces that the labels miss."""
    tiles = []
    truths = scaled_truths(pictures, judgement.size)
    for picture, truth, seen in zip(pictures, truths, judgement.found, strict=True):
        factor = max(picture.rgb.shape[:2]) / judgement.size
        wrong = (seen.scores >= judgement.threshold) & (box_iou(seen.boxes, truth.boxes).max(1, initial=0.0) < 0.5)
        finds = scaled(seen, factor)
        tiles += [
            (float(finds.scores[k]), face_tile(picture.rgb, finds.boxes[k], RED, f"{finds.scores[k]:.2f}"))
            for k in np.flatnonzero(wrong)
        ]
    tiles.sort(key=lambda pair: -pair[0])
    text = f"{len(tiles)} finds without a label"
    return np.concatenate([title(text, COLUMNS * TILE), grid([t for _, t in tiles[:most]], COLUMNS)], 0)


def close_up_sheet(
    crops: Sequence[CloseUp], met: NDArray[np.bool_], contender: Contender, columns: int = 8, most: int = 64
) -> Image:
    """The close-ups that are missed, then others: the face yellow or green, what was found at any score red."""
    side = 200
    order = [*np.flatnonzero(~met), *np.flatnonzero(met)[:: max(1, int(met.sum()) // (most // 2))]][:most]
    tiles = []
    for k in order:
        rgb, label = crops[k].picture.rgb, crops[k].picture.boxes[0]
        found = contender.detect(rgb, 640)
        zoom = side / max(rgb.shape[:2])
        tile = np.zeros((side, side, 3), np.uint8)
        small = cv2.resize(rgb, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)[:side, :side]
        tile[: small.shape[0], : small.shape[1]] = small
        for box in found.boxes[:3] * zoom:
            rectangle(tile, box, RED)
        rectangle(tile, label * zoom, GREEN if met[k] else YELLOW)
        best = ", ".join(f"{score:.2f}" for score in found.scores[:3])
        cv2.putText(tile, best, (3, side - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, WHITE, 1, cv2.LINE_AA)
        tiles.append(tile)
    text = f"{int((~met).sum())} of {len(met)} close-ups missed"
    return np.concatenate([title(text, columns * side), grid(tiles, columns, side)], 0)


def doubtful_sheet(frames: Sequence[Picture], finds: Sequence[Find], columns: int = 6, side: int = 220) -> Image:
    """Finds on clips that the teachers do not confirm, numbered in their order, with the verdicts there are."""
    by_name = {frame.name: frame.rgb for frame in frames}
    colours = {True: GREEN, False: RED, None: YELLOW}
    tiles = [
        face_tile(
            by_name[find.picture],
            np.array(find.box),
            colours[find.face],
            f"{number}: {find.picture} {find.score:.2f}",
            side,
        )
        for number, find in enumerate(finds)
    ]
    return np.concatenate([title(f"{len(finds)} doubtful finds", columns * side), grid(tiles, columns, side)], 0)


def draw_curves(path: Path, judgements: Sequence[Judgement], minimum: int, heading: str) -> None:
    """Precision over recall of all detectors in one plot, their default thresholds as dots.

    Raises:
        OutputError: it cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 6), dpi=110)
    for judgement in judgements:
        curve = judgement.curves[str(minimum)]
        precision, recall = curve.at(judgement.threshold)
        label = f"{judgement.name} at {judgement.size}: AP {curve.ap:.3f}"
        (line,) = axes.plot(curve.recall, curve.precision, linewidth=1.3, label=label)
        axes.plot([recall], [precision], "o", color=line.get_color(), markersize=5)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0.4, 1.005), title=heading)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    figure.tight_layout()
    try:
        with replaced(path) as temporary:
            figure.savefig(temporary, metadata={"Software": None})
    finally:
        pyplot.close(figure)
