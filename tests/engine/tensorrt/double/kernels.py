"""The CUDA kernels on the pretended machine: the host library's same source, run on its memory and watched.

What a kernel reads and writes follows from its struct. Every stretch has to lie inside one live allocation, a decoded
picture has to be read with its own pitch, and what is read has to have been written.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.cuda import structs
from engine.cuda.loading import Size
from tests.engine.cuda.host import HostModule
from tests.engine.tensorrt.double.machine import Machine, Memory, Op

_FORMS = {"bytes": 1, "f16": 2, "f32": 4}


@dataclass(frozen=True)
class Stretch:
    """Memory that a kernel is told of by a field of its struct."""

    owner: Any
    field: str
    size: int
    writes: bool = False
    pitch: int | None = None
    """Bytes from a row to the next, of a picture."""
    back: int = 0
    """Bytes before the address that it says: of a picture that is stored bottom up."""


def stretches(name: str, job: Any, grid: Size) -> Iterator[Stretch]:
    """All that a launch reads and writes."""
    kind, _, form = name.partition("_u")
    sample = 2 if form.startswith("16") else 1
    match kind:
        case "letterbox" | "warp":
            yield from _picture(job.picture.components, sample)
            pixel = 3 * _FORMS[form.partition("_")[2]]
            pixels = job.padded_width * job.padded_height if kind == "letterbox" else job.size * job.size * grid[2]
            yield Stretch(job, "out", pixels * pixel, writes=True)
        case "cells":
            yield from _picture(job.components, sample)
            yield Stretch(job, "out", 3 * job.columns * job.rows * sample, writes=True)
        case "draw":
            yield from _picture(job.components, sample, writes=True)
            for mark in job.marks[: job.count]:
                if mark.mask:
                    yield Stretch(mark, "mask", (mark.bottom - mark.top) * mark.mask_width)
        case "decode":
            for head in job.heads[: job.head_count]:
                yield Stretch(head, "data", grid[0] * head.rows * head.columns * head.boxes * 60)
            yield Stretch(job, "faces", grid[0] * job.capacity * 60, writes=True)
            yield Stretch(job, "counts", grid[0] * 4, writes=True)
        case "normalise":
            yield Stretch(job, "in", job.rows * job.columns * 4)
            yield Stretch(job, "out", job.rows * job.columns * 4, writes=True)
        case "sharpness":
            yield Stretch(job, "crops", job.count * job.size * job.size * 3)
            yield Stretch(job, "out", job.count * 4, writes=True)
        case _:
            raise NotImplementedError(f"{name} is launched by no command")


def _picture(components: Any, sample: int, writes: bool = False) -> Iterator[Stretch]:
    for component in components:
        row = ((component.width - 1) * component.step + 1) * sample
        pitch, below = component.stride, component.height - 1
        back = -pitch * below if pitch < 0 else 0
        yield Stretch(component, "data", abs(pitch) * below + row, writes, pitch, back)


_JOBS: dict[str, type[ctypes.Structure]] = {
    "letterbox": structs.LetterboxJob,
    "warp": structs.WarpJob,
    "cells": structs.CellsJob,
    "draw": structs.DrawJob,
    "decode": structs.DecodeJob,
    "normalise": structs.NormaliseJob,
    "sharpness": structs.SharpnessJob,
}


class Kernels:
    """Launches on a machine's streams."""

    def __init__(self, machine: Machine, library: Path) -> None:
        self._machine = machine
        self._host = HostModule(library)
        self.names: dict[int, str] = {}
        """Functions that were asked for, by their handles."""

    def launch(self, name: str, grid: Size, block: Size, pointer: int, stream: int) -> None:
        """Put a kernel on a stream; its struct is taken as it is now."""
        machine = self._machine
        job = _JOBS[name.partition("_u")[0]].from_buffer_copy(
            ctypes.string_at(pointer, ctypes.sizeof(_JOBS[name.partition("_u")[0]]))
        )
        found: list[tuple[Stretch, Memory, int]] = []
        for one in stretches(name, job, grid):
            address = getattr(one.owner, one.field)
            memory, offset = machine.memory_holding(address - one.back, one.size, f"{name}, {one.field}")
            if one.pitch is not None and memory.pitch is not None and abs(one.pitch) % memory.pitch:
                raise machine.violation(f"{name} was told a pitch of {one.pitch}; the picture's is {memory.pitch}")
            found.append((one, memory, offset))
            setattr(one.owner, one.field, memory.data.ctypes.data + offset + one.back)

        def run() -> None:
            for one, memory, offset in found:
                if not one.writes and (memory.written is None or offset + one.size > memory.written):
                    raise machine.violation(f"{name} reads {one.size} bytes of {memory}, {memory.written} were written")
            self._host.function(name, ctypes.sizeof(job)).launch(grid, block, bytes(job), 0)
            for one, memory, offset in found:
                if one.writes and one.pitch is None:
                    memory.written, memory.rows = offset + one.size, True

        reads = tuple({id(memory): memory for one, memory, _ in found if not one.writes}.values())
        writes = tuple({id(memory): memory for one, memory, _ in found if one.writes}.values())
        machine.enqueue(stream, Op(name, run, reads, writes))
