"""What the networks take by themselves, all their threads: `python -m stream.bench.networks WIDTH HEIGHT BATCH…`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from engine.detector import Detector
from engine.devices import Backend, Device
from engine.embedder import Embedder
from engine.runtime import Precision

ROUNDS = 60


def cost_of(call: Callable[[], object], rounds: int = ROUNDS) -> dict[str, float]:
    """CPU of the whole process, and wall time, milliseconds a call; a tenth as many calls go before."""
    for _ in range(max(1, rounds // 10)):
        call()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(rounds):
        call()
    return {
        "cpu_ms": round((time.process_time() - cpu) * 1e3 / rounds, 4),
        "wall_ms": round((time.perf_counter() - wall) * 1e3 / rounds, 4),
    }


def measure(detector: Detector, embedder: Embedder, width: int, height: int, batch: int) -> dict[str, Any]:
    """An inference of each network on noise: the detector on pictures that are `width` x `height` as displayed."""
    box = detector.letterbox(width, height)
    detector.prepare(batch, box.padded_height, box.padded_width)
    embedder.prepare(batch)

    def detect() -> None:
        job = detector.job(batch, box.padded_height, box.padded_width)
        job.pixels[...] = 90
        job.start([box] * batch).result()

    def embed() -> None:
        job = embedder.job(batch)
        job.faces[...] = 90
        job.start().result()

    before = detector.session.work.inferences
    found = {"detector": cost_of(detect), "embedder": cost_of(embed)}
    # One look at a picture may be several inferences.
    found["detector"]["inferences"] = round((detector.session.work.inferences - before) / (ROUNDS + ROUNDS // 10), 3)
    found["embedder"]["inferences"] = 1.0
    return {"batch": batch, **found}


def main(arguments: list[str]) -> None:
    width, height, *batches = (int(word) for word in arguments[:-1])
    options: dict[str, Any] = json.loads(arguments[-1])
    device, backend = cast(Device, options["device"]), cast(Backend | None, options["backend"])
    precision, threads = cast(Precision, options["precision"]), options["threads"]
    paths = [None if options[name] is None else Path(options[name]) for name in ("detector", "embedder")]
    detector = Detector.open(
        paths[0], device=device, backend=backend, size=options["size"], threads=threads, precision=precision
    )
    embedder = Embedder.open(paths[1], device=device, backend=backend, threads=threads, precision=precision)
    print(json.dumps([measure(detector, embedder, width, height, batch) for batch in batches]))


if __name__ == "__main__":
    main(sys.argv[1:])
