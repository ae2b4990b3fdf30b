"""One setting after the other: how often faces are looked for, threads of the networks, pictures in an inference.

`python -m stream.bench.sweep VIDEO OPTIONS` is one analysis with one setting, in a process of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.devices import available_cpus
from stream.bench.costs import Cost, machine, run, summary, versions
from stream.bench.measure import Plan
from stream.bench.report import table
from stream.probe import probe

SCHEMA = "iznet.bench-sweep/1.0"
INTERVALS = (0.0, 0.13, 0.2, 0.27, 0.4, 0.6)
"""Seconds between two looks at the most; 0 looks at every frame."""
BATCHES = (1, 2, 4, 8)


def sweep(plan: Plan, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Analyse the plan's video with each setting, the others as they are, in turns; and time the networks in batches.

    Raises:
        InputError, MissingError: as `stream.bench.measure.measure`.
    """
    engine = plan.options()
    threads = sorted({1, 2, available_cpus()})
    variants = [("interval", i, {"longest": i}) for i in INTERVALS] + [("threads", n, {"threads": n}) for n in threads]
    host = machine()
    costs: list[list[Cost]] = [[] for _ in variants]
    printed: list[dict[str, int]] = [{} for _ in variants]
    info = probe(plan.video).info
    here = [sys.executable, "-m"]
    for turn in range(plan.repeats):
        for i, (kind, value, change) in enumerate(variants):
            options = {"gallery": plan.gallery and str(plan.gallery), "longest": None, **engine, **change}
            cost, text = run([*here, "stream.bench.sweep", str(plan.video), json.dumps(options)])
            costs[i].append(cost)
            printed[i] = json.loads(text)
            say(f"{turn + 1}/{plan.repeats} {kind} {value:g}: CPU {cost.cpu:.2f} s")
    sizes = [str(info.width), str(info.height), *map(str, BATCHES)]
    batches = json.loads(run([*here, "stream.bench.networks", *sizes, json.dumps(engine)])[1])
    return {
        "schema": SCHEMA,
        "clip": {"name": plan.video.name, "width": info.width, "height": info.height},
        "machine": host,
        "versions": versions(),
        "repeats": plan.repeats,
        "variants": [
            {"setting": kind, "value": value, **said, **summary(taken, said["frames"])}
            for (kind, value, _), taken, said in zip(variants, costs, printed, strict=True)
        ],
        "batches": batches,
    }


def text(result: Mapping[str, Any]) -> str:
    """The result as tables."""
    rows: list[Sequence[str]] = [
        (
            f"{v['setting']} {v['value']:g}",
            f"{v['looks'] / v['frames']:.3f}",
            f"{v['cpu_ms_per_frame']:.2f}",
            f"{v['frames_per_second']:.0f}",
        )
        for v in result["variants"]
    ]
    first = table(("analysis alone, decoding in it", "looks a frame", "CPU-ms a frame", "frames a second"), rows)
    batches: list[Sequence[str]] = [
        (f"batch {b['batch']}", *(f"{b[name]['cpu_ms'] / b['batch']:.2f}" for name in ("detector", "embedder")))
        for b in result["batches"]
    ]
    return f"{first}\n\n{table(('networks alone', 'CPU-ms a picture', 'CPU-ms a face'), batches)}"


def analyse(video: str, options: Mapping[str, Any]) -> dict[str, int]:
    """Analyse a video and write nothing; frames and looks of the detector."""
    from engine.detector import Detector
    from engine.embedder import Embedder
    from engine.gallery import Gallery
    from stream.analysis import Analyser
    from stream.pipeline import labelled_frames
    from stream.source import FileSource
    from stream.stages import StageClock

    paths = [None if options[name] is None else Path(options[name]) for name in ("detector", "embedder")]
    common = {name: options[name] for name in ("device", "backend", "threads", "precision")}
    detector = Detector.open(paths[0], size=options["size"], video=True, **common)
    embedder = Embedder.open(paths[1], video=True, **common) if options["gallery"] else None
    gallery = Gallery.load(options["gallery"], embedder) if embedder is not None else None
    with FileSource(video) as reader:
        analyser = Analyser(reader.info, detector, embedder, gallery, longest=options["longest"])
        frames = sum(1 for _ in labelled_frames(reader, analyser, StageClock()))
    return {"frames": frames, "looks": detector.looks.items}


if __name__ == "__main__":
    print(json.dumps(analyse(sys.argv[1], json.loads(sys.argv[2]))))
