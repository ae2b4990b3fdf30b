"""COCO for video (`.coco.json`): `images` of one of the `videos`, `annotations` with boxes and five key points.

What plain COCO readers need is there; the links over time are given in both ways in use: `instance_id` (CocoVID) and
`track_id` with a list of `tracks` (TAO). Ids count from 1; a track's is the record's + 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stream.frames import Face
from stream.glyphs import clean
from stream.tracks import Tracks

_POINTS = ["left_eye", "right_eye", "nose", "left_mouth_corner", "right_mouth_corner"]
"""As seen on the picture."""


def encode(record: Tracks, video: Path) -> bytes:
    """UTF-8 JSON."""
    header = record.header
    size = {"width": header.width, "height": header.height}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for frame in record.frames:
        image = frame.index + 1
        images.append(
            {"id": image, "video_id": 1, "frame_id": frame.index, "file_name": f"{clean(video.stem)}/{image:06}.jpg"}
            | size
            | {"time": round(frame.time, 6), "shot": frame.shot}
        )
        annotations += [_annotation(face, len(annotations) + i, image) for i, face in enumerate(frame.faces, 1)]
    document = {
        "info": {"description": f"faces of {clean(video.name)}", "version": header.schema},
        "licenses": [],
        "categories": [
            {"id": 1, "name": "face", "supercategory": "person", "keypoints": _POINTS, "skeleton": []},
        ],
        "videos": [{"id": 1, "name": clean(video.name)} | size],
        "images": images,
        "tracks": [
            {"id": v.track + 1, "category_id": 1, "video_id": 1, "name": v.name, "verdict": v.verdict}
            for v in record.tracks
        ],
        "annotations": annotations,
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _annotation(face: Face, number: int, image: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (round(v, 1) for v in face.box.tolist())
    width, height = round(x2 - x1, 1), round(y2 - y1, 1)
    points = [value for x, y in face.landmarks.tolist() for value in (round(x, 1), round(y, 1), 2)]
    return {
        "id": number,
        "image_id": image,
        "video_id": 1,
        "category_id": 1,
        "instance_id": face.track + 1,
        "track_id": face.track + 1,
        "bbox": [x1, y1, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "keypoints": points,
        "num_keypoints": len(face.landmarks),
        "score": round(face.score, 3),
        "name": face.name,
    }
