"""Where the time goes, as a picture: CPU-ms a frame of every command, and of labelling by stage."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from engine.output_file import atomic_output
from stream.bench.drawing import FAINT, INK, PALE, Bar, Shape, Text, paint
from stream.bench.measure import LABEL, SCALER
from stream.styles import PALETTE

_WIDTH, _LEFT, _RIGHT, _ROW, _BAR, _HEAD = 1280, 260, 90, 44, 26, 80


def parts(result: Mapping[str, Any]) -> list[tuple[str, float]]:
    """What labelling's CPU-ms a frame consist of: the transcode that cannot be avoided, the networks, each of the own
    stages, start-up, and what is left. Stages whose work is in the transcode or the networks are not named again.
    """
    transcode = result["commands"][result["baselines"]["transcode"]]["cpu_ms_per_frame"]
    surplus = result["surplus_cpu_ms_per_frame"]
    inside = ("decode", "encode", "detect", "embed")
    own = {name: stage["cpu_ms_per_frame"] for name, stage in result["label"]["stages"].items() if name not in inside}
    rest = surplus["rest"] - sum(ms for name, ms in own.items() if name not in SCALER)
    listed = [
        ("transcode", transcode),
        ("networks", surplus["networks"]),
        *own.items(),
        ("start-up", surplus["total"] - surplus["without_startup"]),
        ("all else", rest),
    ]
    return [(name, ms) for name, ms in listed if ms > 0]


def shapes(result: Mapping[str, Any]) -> tuple[int, int, list[Shape]]:
    """Lay the picture out: width, height and what is on it."""
    commands = {name: cost["cpu_ms_per_frame"] for name, cost in result["commands"].items()}
    portions = parts(result)
    most: float = max([*commands.values(), sum(ms for _, ms in portions)])
    clip, settings = result["clip"], result["settings"]

    def long(ms: float) -> float:
        return ms / most * float(_WIDTH - _LEFT - _RIGHT)

    title = f"{clip['name']}, {clip['width']}x{clip['height']}: CPU-ms a frame"
    below = f"{settings['encoder']} {settings['preset']} crf {settings['crf']:g}, {result['machine']['cpu']}"
    drawn: list[Shape] = [Text(24, 28, title, 26), Text(24, 56, below, 17, FAINT)]
    top = float(_HEAD)
    for name, ms in commands.items():
        drawn += [
            Text(_LEFT - 12, top + _BAR / 2, name, 18, INK, "right"),
            Bar(_LEFT, top, max(1.0, long(ms)), _BAR, PALETTE[0] if name == LABEL else PALETTE[5]),
            Text(_LEFT + long(ms) + 8, top + _BAR / 2, f"{ms:.2f}", 17, FAINT),
        ]
        top += _ROW
    drawn.append(Text(_LEFT - 12, top + _BAR / 2, "labelling, by part", 18, INK, "right"))
    at = 0.0
    for i, (name, ms) in enumerate(portions):
        colour = PALE if name == "all else" else PALETTE[i % len(PALETTE)]
        x, y = _LEFT + (i % 4) * 240, top + _ROW + (i // 4) * 28
        drawn += [
            Bar(_LEFT + long(at), top, max(1.0, long(ms)), _BAR, colour),
            Bar(x, y, 16, 16, colour),
            Text(x + 24, y + 8, f"{name} {ms:.2f}", 17),
        ]
        at += ms
    return _WIDTH, round(top + _ROW + 28 * -(-len(portions) // 4)) + 20, drawn


def plot(result: Mapping[str, Any], output: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write the picture as PNG.

    Raises:
        OutputError: the output exists or cannot be written.
    """
    with atomic_output(output, overwrite) as temporary:
        Image.fromarray(paint(*shapes(result))).save(temporary, "PNG")
    return Path(output)
