"""Non-maximum suppression: `engine.nms` next to OpenCV's and a torchvision-style one in NumPy.

    python -m benchmarks.nms

Boxes are what a detector leaves before suppression: clusters around faces, scores falling from each cluster's middle.
All three take turns on the same boxes, each turn starting with another one; times are CPU time, medians over the turns;
ratios are taken within a turn. Before anything is timed their answers are compared. The result goes to `nms.json`.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.help_text import shown
from engine.nms import nms
from stream.bench.costs import machine
from train.detector_cost import time_in_turns

RESULT = Path(__file__).with_suffix(".json")
COUNTS = (1, 12, 50, 100, 300, 1000)
IOU = 0.4
OURS = "engine.nms"


def clustered_boxes(count: int, seed: int = 0, cluster: int = 8) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`[count,4]` boxes in clusters of about `cluster`, and their scores `[count]`, all different."""
    rng = np.random.default_rng(seed)
    faces = max(1, count // cluster)
    middle, side = rng.uniform(0, 640, (faces, 2)), np.exp(rng.uniform(np.log(10), np.log(200), faces))
    owner = np.arange(count) % faces
    shift = rng.normal(0, 0.12, (count, 2))
    centre = middle[owner] + shift * side[owner, None]
    half = side[owner, None] / 2 * np.exp(rng.normal(0, 0.1, (count, 2)))
    scores = 0.95 * np.exp(-4 * np.linalg.norm(shift, axis=1)) * rng.uniform(0.9, 1, count)
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32), scores.astype(np.float32)


def numpy_nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float) -> NDArray[np.intp]:
    """What `torchvision.ops.nms` computes, as it is usually written in NumPy: sort, then one vectorised row a box."""
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1) * (y2 - y1)
    order = scores.argsort()[::-1]
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        width = np.maximum(0, np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]))
        height = np.maximum(0, np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]))
        shared = width * height
        order = rest[shared / (areas[best] + areas[rest] - shared) <= iou]
    return np.array(kept, np.intp)


def contestants(boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> dict[str, Callable[[], NDArray[np.intp]]]:
    """Each on these boxes, from arrays to indices; OpenCV's also with the x, y, width, height it takes ready-made."""

    def rects() -> NDArray[np.float64]:
        return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1).astype(np.float64)

    ready, double = rects(), scores.astype(np.float64)
    opencv: Any = cv2.dnn.NMSBoxes  # takes arrays too, whatever its stubs say
    return {
        OURS: lambda: nms(boxes, scores, IOU),
        "cv2.dnn.NMSBoxes": lambda: np.asarray(opencv(rects(), scores, 0.0, IOU), np.intp),
        "the same, boxes ready-made": lambda: np.asarray(opencv(ready, double, 0.0, IOU), np.intp),
        "NumPy, torchvision-style": lambda: numpy_nms(boxes, scores, IOU),
    }


def measure(rounds: int) -> dict[str, Any]:
    """All counts of boxes; a run of one contestant repeats its call until it takes about a millisecond."""
    rows = []
    for count in COUNTS:
        boxes, scores = clustered_boxes(count)
        calls = contestants(boxes, scores)
        answers = {name: call().tolist() for name, call in calls.items()}
        if len({tuple(answer) for answer in answers.values()}) != 1:
            raise click.ClickException(f"the three disagree on {count} boxes: {answers}")
        repeats = {name: _repeats(call) for name, call in calls.items()}
        runners = {name: _repeated(call, repeats[name]) for name, call in calls.items()}
        taken = time_in_turns(runners, OURS, rounds)
        ratio = {name: taken[name]["ratio"] * repeats[OURS] / repeats[name] for name in calls}
        rows.append(
            {
                "boxes": count,
                "kept": len(answers[OURS]),
                "microseconds": {name: round(1000 * taken[name]["ms"] / repeats[name], 2) for name in calls},
                "ratio": {name: round(value, 2) for name, value in ratio.items()},
            }
        )
    names = ("numpy", "numba", "opencv-python-headless")
    versions = {"python": platform.python_version(), **{name: version(name) for name in names}}
    return {"iou": IOU, "rounds": rounds, "machine": machine(), "versions": versions, "rows": rows}


def _repeats(call: Callable[[], Any]) -> int:
    begun = time.perf_counter()
    for _ in range(5):
        call()
    return max(1, round(5e-3 / (time.perf_counter() - begun)))


def _repeated(call: Callable[[], Any], repeats: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(repeats):
            call()

    return run


def table(result: dict[str, Any]) -> str:
    """Microseconds, and how many times as long as ours, in Markdown."""
    names = list(result["rows"][0]["microseconds"])
    lines = ["| boxes | kept | " + " | ".join(names) + " |", "|---:|---:|" + "---:|" * len(names)]
    for row in result["rows"]:
        cells = [
            f"{row['microseconds'][n]:.1f} µs" + (f" ({row['ratio'][n]:.1f} ×)" if n != OURS else "") for n in names
        ]
        lines.append(f"| {row['boxes']} | {row['kept']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@click.command(help=shown(__doc__))
@click.option("--rounds", type=click.IntRange(1), default=101, show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(rounds: int, output: Path) -> None:
    result = measure(rounds)
    output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    click.echo(table(result))


if __name__ == "__main__":
    main()
