"""What the networks take by themselves, all their threads: `python -m stream.bench.networks WIDTH HEIGHT BATCH…`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
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
    """One call of each network: the detector's look at pictures that are `width` x `height` as displayed, what its
    second, coarse look adds to it, and the embedder.
    """
    box = detector.letterbox(width, height)
    detector.prepare(batch, box.padded_height, box.padded_width)
    embedder.prepare(batch)

    def detect(coarse: bool) -> None:
        job = detector.job(batch, box.padded_height, box.padded_width)
        job.pixels[...] = 90
        job.start([box] * batch, coarse=coarse).result()

    def embed() -> None:
        job = embedder.job(batch)
        job.faces[...] = 90
        job.start().result()

    look, both = cost_of(partial(detect, False)), cost_of(partial(detect, True))
    added = {name: round(max(0.0, both[name] - look[name]), 4) for name in look}
    return {"batch": batch, "detector": look, "coarse": added, "embedder": cost_of(embed)}


def main(arguments: list[str]) -> None:
    width, height, *batches = (int(word) for word in arguments[:-1])
    options: dict[str, Any] = json.loads(arguments[-1])
    device, backend = cast(Device, options["device"]), cast(Backend | None, options["backend"])
    precision, threads = cast(Precision, options["precision"]), options["threads"]
    paths = [None if options[name] is None else Path(options[name]) for name in ("detector", "embedder")]
    common: dict[str, Any] = {"device": device, "backend": backend, "threads": threads, "precision": precision}
    detector = Detector.open(paths[0], size=options["size"], video=True, **common)
    embedder = Embedder.open(paths[1], video=True, **common)
    print(json.dumps([measure(detector, embedder, width, height, batch) for batch in batches]))


if __name__ == "__main__":
    main(sys.argv[1:])
