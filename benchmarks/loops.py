"""Labelling as it is commonly written, one frame after the other, to compare with: one run of one of three loops.

    python -m benchmarks.loops scrfd clip.mp4 out.mp4 --people members/ \\
        --detector scrfd_2.5g.onnx --embedder edgeface_xs.onnx

`cv2.VideoCapture` decodes to BGR, a detector and an embedder in ONNX Runtime look at every frame and every face, the
nearest of the people's mean embeddings gives the name, OpenCV draws and `cv2.VideoWriter` encodes (MPEG-4 Part 2, the
only encoder in OpenCV's wheels; no sound). `face_recognition` is the same loop as in that package's examples. The
networks are the user's; none is shipped. Prints one JSON object.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.help_text import shown
from engine.alignment import align_face
from engine.types import Detections
from stream.accuracy import PanelShot, name_accuracy, read_panels
from stream.frames import Face
from stream.tracks import Header, RecordedFrame, Tracks
from train.data.face_teachers import decode_scrfd, decode_yunet

LOOPS = ("scrfd", "yunet", "face_recognition")
SIZE = 640
"""Pixels that the longer side is scaled to."""

Picture = NDArray[np.uint8]
Look = Callable[[Picture], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""From a BGR picture to boxes `[N,4]` xyxy and unit embeddings `[N,D]`."""


def session(path: Path, threads: int) -> Any:
    """ONNX Runtime as it is used if nobody says anything; 0 threads leave their number to it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnx_look(kind: str, detector: Path, embedder: Path, threads: int) -> Look:
    """A detector and EdgeFace."""
    finder, embed = session(detector, threads), session(embedder, threads)
    names = [output.name for output in finder.get_outputs()]
    decode, mean, scale, swap, square, least = {
        "scrfd": (decode_scrfd, 127.5, 1 / 128, True, True, 0.5),
        "yunet": (decode_yunet, 0.0, 1.0, False, False, 0.6),
    }[kind]

    def look(bgr: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width = bgr.shape[:2]
        factor = SIZE / max(height, width)
        small = cv2.resize(bgr, (round(width * factor), round(height * factor)))
        rows, columns = (SIZE, SIZE) if square else (-(-n // 32) * 32 for n in small.shape[:2])
        canvas = np.zeros((rows, columns, 3), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small
        blob = cv2.dnn.blobFromImage(canvas, scale, (columns, rows), (mean,) * 3, swapRB=swap)
        outputs = finder.run(None, {finder.get_inputs()[0].name: blob})
        found: Detections = decode(dict(zip(names, outputs, strict=True)), rows, columns, least)
        if not len(found):
            return np.zeros((0, 4), np.float32), np.zeros((0, 1), np.float32)
        crops = np.stack([align_face(bgr, points / factor) for points in found.landmarks])
        faces = cv2.dnn.blobFromImages(list(crops), 1 / 127.5, (112, 112), (127.5,) * 3, swapRB=True)
        vectors = np.concatenate([embed.run(None, {embed.get_inputs()[0].name: face[None]})[0] for face in faces])
        return found.boxes / np.float32(factor), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return look


DLIB_SIZE = 128
"""Numbers of dlib's embedding."""


def dlib_look() -> Look:
    """`face_recognition`, as its examples use it."""
    import face_recognition

    def look(bgr: Picture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rgb = np.ascontiguousarray(bgr[:, :, ::-1])
        places = face_recognition.face_locations(rgb)
        vectors = np.array(face_recognition.face_encodings(rgb, places), np.float32).reshape(-1, DLIB_SIZE)
        boxes = np.array([(left, top, right, bottom) for top, right, bottom, left in places], np.float32)
        return boxes.reshape(-1, 4), vectors

    return look


def enrolled(people: Path, look: Look) -> dict[str, NDArray[np.float32]]:
    """Each person's mean embedding, of the largest face on each photo."""
    known = {}
    for folder in sorted(p for p in people.iterdir() if p.is_dir()):
        seen = []
        for photo in sorted(folder.iterdir()):
            bgr = cv2.imread(str(photo))
            if bgr is None:
                continue
            boxes, vectors = look(np.asarray(bgr, np.uint8))
            if len(boxes):
                seen.append(vectors[int(np.argmax((boxes[:, 2:] - boxes[:, :2]).prod(axis=1)))])
        if seen:
            known[folder.name] = np.mean(seen, axis=0)
    return known


def nearest(
    vectors: NDArray[np.float32], known: dict[str, NDArray[np.float32]], least: float | None, most: float
) -> list[str | None]:
    """Names by cosine of at least `least`; or, where that is None, by Euclidean distance of at most `most`."""
    names, table = list(known), np.stack(list(known.values()))
    if least is None:
        distance = np.linalg.norm(vectors[:, None] - table[None], axis=2)
        return [names[int(row.argmin())] if row.min() <= most else None for row in distance]
    cosine = vectors @ (table / np.linalg.norm(table, axis=1, keepdims=True)).T
    return [names[int(row.argmax())] if row.max() >= least else None for row in cosine]


def stepped(shots: tuple[PanelShot, ...], step: int) -> tuple[PanelShot, ...]:
    """The truth for a record of every `step`th frame."""
    some = [PanelShot(-(-shot.first // step), shot.last // step, shot.panels) for shot in shots]
    return tuple(shot for shot in some if shot.first <= shot.last)


@click.command(help=shown(__doc__))
@click.argument("loop", type=click.Choice(LOOPS))
@click.argument("video", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--people", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--detector", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--embedder", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--threads", type=click.IntRange(0), default=0, show_default=True, help="0: ONNX Runtime's own choice.")
@click.option("--cosine", type=float, default=0.35, show_default=True, help="From which on it is that person.")
@click.option("--distance", type=float, default=0.6, show_default=True, help="The same for face_recognition: up to it.")
@click.option("--truth", type=click.Path(exists=True, path_type=Path), default=None, help="Panels, to judge names by.")
@click.option("--step", type=click.IntRange(1), default=1, show_default=True, help="Look at every so many-th frame.")
@click.option("--frames", type=click.IntRange(1), default=None, help="Stop after so many.")
def main(
    loop: str,
    video: Path,
    output: Path,
    people: Path,
    detector: Path | None,
    embedder: Path | None,
    threads: int,
    cosine: float,
    distance: float,
    truth: Path | None,
    step: int,
    frames: int | None,
) -> None:
    if loop == "face_recognition":
        look = dlib_look()
    elif detector is None or embedder is None:
        raise click.UsageError(f"{loop} needs --detector and --embedder")
    else:
        look = onnx_look(loop, detector, embedder, threads)
    known = enrolled(people, look)
    reader = cv2.VideoCapture(str(video))
    size = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    rate = reader.get(cv2.CAP_PROP_FPS)
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(output), fourcc, rate, size)
    lines: list[RecordedFrame] = []
    started, number = time.perf_counter(), 0
    while frames is None or len(lines) < frames:
        there, bgr = reader.read()
        if not there:
            break
        number += 1
        if (number - 1) % step:
            continue
        boxes, vectors = look(np.asarray(bgr, np.uint8))
        names = nearest(vectors, known, None if loop == "face_recognition" else cosine, distance) if len(boxes) else []
        faces = []
        for i, (box, name) in enumerate(zip(boxes, names, strict=True)):
            faces.append(Face(i, box, 1.0, np.zeros((5, 2), np.float32), name))
            if name is not None:
                x1, y1, x2, y2 = (int(v) for v in box)
                cv2.rectangle(bgr, (x1, y1), (x2, y2), (0, 0, 255), 2)
                cv2.putText(bgr, name, (x1, y1 - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 255), 2)
        writer.write(bgr)
        lines.append(RecordedFrame(len(lines), len(lines), 0.0, 0, tuple(faces)))
    writer.release()
    seconds = time.perf_counter() - started
    result: dict[str, Any] = {"loop": loop, "frames": len(lines), "seconds": round(seconds, 3), "threads": threads}
    result |= {"faces": sum(len(line.faces) for line in lines), "step": step}
    result["least"] = {"distance": distance} if loop == "face_recognition" else {"cosine": cosine}
    if truth is not None:
        header = Header(str(video), *size, 0, Fraction(1, 30), None)
        shots = stepped(read_panels(truth), step)
        result["names"] = name_accuracy(Tracks(header, tuple(lines), (), None), shots).as_json()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
