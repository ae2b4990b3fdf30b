"""One clip, measured: the plain transcode, decoding alone, and labelling with and without a video, in turns."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stream.bench.costs import Cost, ffmpeg_program, machine, ratios, run, summary, versions
from stream.encoders import KINDS
from stream.encoding import EncoderSettings, plan_encoder
from stream.probe import probe
from stream.sink import CONTAINERS

SCHEMA = "iznet.bench/1.0"
DECODES = ("ffmpeg decode", "PyAV decode")
TRANSCODES = ("ffmpeg transcode", "PyAV transcode")
LABEL, RECORD, START_UP = "iznet label", "iznet label --no-video", "iznet label --no-video of one frame"
ENGINE: Mapping[str, Any] = {
    "device": "auto",
    "backend": None,
    "precision": "auto",
    "detector": None,
    "embedder": None,
    "size": 640,
    "threads": None,
}
"""The options of the networks, as they are if nobody says anything."""
STILL = "still.mkv"
SCALER = ("scale",)
"""The stages that make small pictures."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    video: Path
    label: Sequence[str]
    """The command that labels, up to its first argument."""
    gallery: Path | None = None
    encoder: str = "x264"
    preset: str = "veryfast"
    crf: float = 20
    repeats: int = 3
    record: bool = True
    """Whether the record alone is measured too, against decoding."""
    engine: Mapping[str, Any] = field(default_factory=dict)
    """Options of the networks, by name; the others are those of `ENGINE`."""
    more: Sequence[str] = ()
    """Further arguments of both labelling commands."""

    def options(self) -> dict[str, Any]:
        """All options of the networks, as plain values."""
        given = {**ENGINE, **self.engine}
        return {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}


def label_arguments(plan: Plan) -> list[str]:
    """What both labelling commands are given beside the video."""
    words = ["--json", "--overwrite", *(["--gallery", str(plan.gallery)] if plan.gallery else [])]
    for name, value in plan.options().items():
        if value != ENGINE[name]:
            words += [f"--{name}", str(value)]
    return [*words, *plan.more]


def commands(plan: Plan, folder: Path, ffmpeg: str) -> dict[str, list[str]]:
    """Every command by its name; what they write goes into `folder`."""
    source = str(plan.video)
    suffix = plan.video.suffix if plan.video.suffix.lower() in CONTAINERS else ".mkv"
    out, record, still = (str(folder / name) for name in (f"out{suffix}", "out.tracks.jsonl", STILL))
    codec = KINDS[plan.encoder].codec
    program = [ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-i", source]
    coded = ["-c:v", codec, "-preset", plan.preset, "-crf", f"{plan.crf:g}"]
    encoder = ["--encoder", plan.encoder, "--preset", plan.preset, "--crf", f"{plan.crf:g}"]
    given = [*label_arguments(plan), "--tracks", record]
    plain = [sys.executable, "-m", "stream.bench.plain", source]
    without_video = {
        DECODES[0]: [*program, "-map", "0:v:0", "-f", "null", "-"],
        DECODES[1]: plain,
        RECORD: [*plan.label, source, "--no-video", *given],
    }
    return {
        **(without_video if plan.record else {}),
        TRANSCODES[0]: [*program, "-map", "0", "-c", "copy", *coded, out],
        TRANSCODES[1]: [*plain, out, codec, plan.preset, f"{plan.crf:g}"],
        LABEL: [*plan.label, source, "-o", out, *encoder, *given],
        START_UP: [*plan.label, still, "--no-video", *given],
    }


def measure(plan: Plan, say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Run all commands in turns and gather medians; see `benchmarks/README.md` for what the figures mean.

    Args:
        plan: what to measure.
        say: told what has been measured, as it goes on.

    Raises:
        InputError: the video cannot be used, or a command failed.
        UsageError: the encoder refuses the preset or quality; told before anything runs.
        MissingError: a program or library that is needed is not here.
    """
    facts, ffmpeg = probe(plan.video), ffmpeg_program()
    plan_encoder(EncoderSettings(plan.encoder, plan.preset, plan.crf), facts).open()
    host = machine()
    info = facts.info
    with tempfile.TemporaryDirectory(prefix="iznet-bench-") as name:
        folder = Path(name)
        todo = commands(plan, folder, ffmpeg)
        quietly = [ffmpeg, "-loglevel", "error", "-nostdin", "-y"]
        run([*quietly, "-i", str(plan.video), "-map", "0:v:0", "-c", "copy", "-frames:v", "1", str(folder / STILL)])
        run(todo[START_UP])  # compiles what is compiled once
        costs: dict[str, list[Cost]] = {name: [] for name in todo}
        said: dict[str, list[str]] = {name: [] for name in todo}
        for turn in range(plan.repeats):
            for name, command in todo.items():
                cost, printed = run(command)
                costs[name].append(cost)
                said[name].append(printed)
                say(f"{turn + 1}/{plan.repeats} {name}: {cost.wall:.2f} s, CPU {cost.cpu:.2f} s")
        options = plan.options()
        sizes = [str(info.width), str(info.height), "1"]
        alone = json.loads(run([sys.executable, "-m", "stream.bench.networks", *sizes, json.dumps(options)])[1])[0]
    labelled = [json.loads(text) for text in said[LABEL]]
    frames = labelled[0]["frames"]
    clip = {
        "name": plan.video.name,
        "width": info.width,
        "height": info.height,
        "codec": facts.codec,
        "frames": frames,
        "seconds": info.duration,
    }
    settings = {
        **{name: value for name, value in asdict(plan).items() if name in ("encoder", "preset", "crf", "repeats")},
        "gallery": plan.gallery is not None,
        "engine": {name: str(value) for name, value in options.items() if value is not None},
        "more": list(plan.more),
    }
    return {
        "schema": SCHEMA,
        "clip": clip,
        "settings": settings,
        "machine": host,
        "versions": versions(ffmpeg),
        "commands": {name: summary(taken, frames) for name, taken in costs.items() if name != START_UP},
        "label": _details(labelled, costs[LABEL], frames, decoded=int(said[TRANSCODES[1]][0])),
        **compared(costs, labelled, alone, frames),
    }


def compared(
    costs: Mapping[str, Sequence[Cost]], labelled: Sequence[Mapping[str, Any]], alone: Mapping[str, Any], frames: int
) -> dict[str, Any]:
    """Labelling against what cannot be avoided, and where its surplus goes.

    Args:
        costs: by command, a cost a turn.
        labelled: what `iznet label` printed, a turn each.
        alone: an inference of each network by itself, as `stream.bench.networks` prints it.
        frames: of the clip.
    """
    transcode = min(TRANSCODES, key=lambda name: statistics.median(c.wall for c in costs[name]))
    recorded: dict[str, dict[str, float]] = {}
    baselines = {"transcode": transcode}
    if RECORD in costs:
        baselines["decode"] = min(DECODES, key=lambda name: statistics.median(c.wall for c in costs[name]))
        recorded["record_to_decode"] = ratios(costs[RECORD], costs[baselines["decode"]])
    start = [(c.wall, c.cpu) for c in costs[START_UP]]
    bare = [Cost(c.wall - wall, c.cpu - cpu) for c, (wall, cpu) in zip(costs[LABEL], start, strict=True)]
    surplus = _surplus(costs[LABEL], costs[transcode], frames)
    without = _surplus(bare, costs[transcode], frames)
    networks = _networks(labelled[0], alone, frames)
    scaled = statistics.median(
        sum(run["stages"].get(stage, {}).get("cpu_ms", 0.0) for stage in SCALER) / frames for run in labelled
    )
    in_networks = sum(figures["cpu_ms_per_frame"] for figures in networks.values())
    return {
        "baselines": baselines,
        "ratios": {
            "label_to_transcode": ratios(costs[LABEL], costs[transcode]),
            "label_without_startup_to_transcode": ratios(bare, costs[transcode]),
            **recorded,
        },
        "startup": {
            "wall_seconds": round(statistics.median(wall for wall, _ in start), 3),
            "cpu_seconds": round(statistics.median(cpu for _, cpu in start), 3),
        },
        "surplus_cpu_ms_per_frame": {
            "total": surplus,
            "without_startup": without,
            "networks": round(in_networks, 3),
            "scaler": round(scaled, 3),
            "rest": round(without - in_networks - scaled, 3),
        },
        "networks": networks,
    }


def _networks(run: Mapping[str, Any], alone: Mapping[str, Any], frames: int) -> dict[str, dict[str, float]]:
    """How often each network ran, and the CPU of that; the detector's coarse looks are counted apart."""
    return {
        name: {
            "inferences_per_frame": round(counts["inferences"] / frames, 4),
            "cpu_ms_per_inference": alone[name]["cpu_ms"],
            "cpu_ms_per_frame": round(counts["inferences"] / frames * alone[name]["cpu_ms"], 3),
        }
        for name, counts in run["networks"].items()
    }


def _surplus(one: Sequence[Cost], other: Sequence[Cost], frames: int) -> float:
    return round(statistics.median((a.cpu - b.cpu) * 1e3 / frames for a, b in zip(one, other, strict=True)), 3)


def _details(runs: Sequence[Mapping[str, Any]], costs: Sequence[Cost], frames: int, decoded: int) -> dict[str, Any]:
    """What `iznet label` said of itself: the run with the median wall time; start-up is seen from outside."""
    middle = sorted(range(len(runs)), key=lambda i: costs[i].wall)[len(runs) // 2]
    result = runs[middle]
    first = [run["stages"]["encode"]["first_at"] - cost.started for run, cost in zip(runs, costs, strict=True)]
    stages = {
        name: {
            **{key: value for key, value in stage.items() if key != "first_at"},
            "cpu_ms_per_frame": round(stage["cpu_ms"] / frames, 4),
            "wall_ms_per_frame": round(stage["wall_ms"] / frames, 4),
            "first_after": round(stage["first_at"] - costs[middle].started, 3),
        }
        for name, stage in result["stages"].items()
    }
    return {
        "frames": frames,
        "dropped": decoded - frames,
        "first_frame_seconds": round(statistics.median(first), 3),
        "latency": result["latency"],
        "stages": stages,
        "queues": result["queues"],
        "batches": {
            name: round(counts["items"] / max(1, counts["inferences"]), 2)
            for name, counts in result["networks"].items()
        },
    }
