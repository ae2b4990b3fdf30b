"""How a run is doing: for the page, for Prometheus, and at its end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

from stream.live.camera import Camera
from stream.live.encoded import Encoded
from stream.live.events import Events
from stream.live.freshest import CAUSES
from stream.live.meter import Metric, histogram_samples
from stream.live.outbox import Outcome
from stream.live.outlet import Outlet
from stream.live.recording import Recording
from stream.live.run import Live


def camera_state(camera: Camera, now: float) -> dict[str, Any]:
    """One feed at `now`, seconds of the monotonic clock; latencies in milliseconds. `named` counts the frames on which
    everybody was looked for, without a gallery too."""
    tally = camera.room.tally
    return {
        "name": camera.address.name,
        "source": camera.address.shown,
        "state": camera.reader.state,
        "problem": camera.reader.problem,
        "fps": round(camera.recent.rate(now), 1),
        "latency": {name: _ms(camera.recent.percentile(percent)) for name, percent in (("p50", 50), ("p95", 95))},
        "came": tally.came,
        "named": tally.went,
        "dropped": tally.as_dict(),
        "connections": camera.reader.connections,
        "outputs": [_output_state(outlet) for outlet in camera.outlets if outlet.reported],
    }


def _output_state(outlet: Outlet) -> dict[str, Any]:
    health, output = outlet.health, outlet.output
    state: dict[str, Any] = {"name": health.name, "state": outlet.state, "problem": health.problem}
    if isinstance(output, Encoded):
        state["skipped"] = output.skipped
    if isinstance(output, Events):
        state["events"] = {outcome: number for outcome, number in sorted(output.outbox.outcomes.items()) if number}
    return state


def final_report(live: Live, seconds: float) -> dict[str, Any]:
    """What became of all frames of a run that is over; latencies in milliseconds, from packet to named frame."""
    sources = []
    for camera in live.cameras:
        tally, walls = camera.room.tally, camera.walls
        encoded = [outlet.output for outlet in camera.outlets if isinstance(outlet.output, Encoded)]
        sources.append(
            {
                "name": camera.address.name,
                "source": camera.address.shown,
                "state": camera.reader.state,
                "problem": camera.reader.problem,
                "frames": tally.came,
                "named": tally.went,
                "dropped": tally.as_dict(),
                "undecodable_packets": camera.reader.refused,
                "connections": camera.reader.connections,
                "latency": walls.as_dict(),
                "outputs": [_output_state(outlet) for outlet in camera.outlets if outlet.reported],
                "recorded": [
                    str(path) for output in encoded if isinstance(output, Recording) for path in output.written
                ],
                "not_encoded": sum(output.skipped for output in encoded),
                "not_shown": camera.given_up,
            }
        )
    return {
        "seconds": round(seconds, 3),
        "sources": sources,
        "looks": live.looks,
        "stages": {name: stage.as_dict() for name, stage in live.clock.stages.items()},
    }


def metrics(live: Live) -> list[Metric]:
    """Everything that is counted, in Prometheus's terms. The label `camera` is the name that the source is shown by."""
    cameras = [(camera, {"camera": camera.address.name}) for camera in live.cameras]
    outputs = [
        (outlet, {**labels, "output": outlet.health.name})
        for camera, labels in cameras
        for outlet in camera.outlets
        if outlet.reported
    ]
    stages = dict(live.clock.stages)
    memory = resident_bytes()
    return [
        Metric(
            "process_resident_memory_bytes",
            "Memory in use.",
            "gauge",
            [("", {}, memory)] if memory is not None else [],
        ),
        Metric(
            "iznet_frames_total",
            "Frames that were decoded.",
            "counter",
            [("", labels, camera.room.tally.came) for camera, labels in cameras],
        ),
        Metric(
            "iznet_frames_named_total",
            "Frames on which everybody was looked for.",
            "counter",
            [("", labels, camera.room.tally.went) for camera, labels in cameras],
        ),
        Metric(
            "iznet_frames_dropped_total",
            "Frames that were not analysed, by cause.",
            "counter",
            [
                ("", {**labels, "cause": cause}, camera.room.tally.drops[cause])
                for camera, labels in cameras
                for cause in CAUSES
            ],
        ),
        Metric(
            "iznet_frames_waiting",
            "Frames that wait to be analysed.",
            "gauge",
            [("", labels, camera.room.waiting) for camera, labels in cameras],
        ),
        Metric(
            "iznet_looks_total",
            "Looks for people, each at one frame or at those of several feeds together.",
            "counter",
            [("", {}, live.looks)],
        ),
        Metric(
            "iznet_faces_total",
            "Faces on the analysed frames.",
            "counter",
            [("", labels, camera.faces) for camera, labels in cameras],
        ),
        Metric(
            "iznet_undecodable_packets_total",
            "Packets that the decoder refused.",
            "counter",
            [("", labels, camera.reader.refused) for camera, labels in cameras],
        ),
        Metric(
            "iznet_connections_total",
            "How many times a feed began to give pictures.",
            "counter",
            [("", labels, camera.reader.connections) for camera, labels in cameras],
        ),
        Metric(
            "iznet_up",
            "Whether the feed gives pictures.",
            "gauge",
            [("", labels, float(camera.reader.state == "live")) for camera, labels in cameras],
        ),
        Metric(
            "iznet_output_up",
            "Whether an output takes what is seen.",
            "gauge",
            [("", labels, float(outlet.up)) for outlet, labels in outputs],
        ),
        Metric(
            "iznet_output_skipped_total",
            "Pictures that an output left out, since it did not keep up or was not connected.",
            "counter",
            [("", labels, outlet.output.skipped) for outlet, labels in outputs if isinstance(outlet.output, Encoded)],
        ),
        Metric(
            "iznet_events_total",
            "Events by what became of them.",
            "counter",
            [
                ("", {**labels, "outcome": outcome}, outlet.output.outbox.outcomes[outcome])
                for outlet, labels in outputs
                if isinstance(outlet.output, Events)
                for outcome in get_args(Outcome)
            ],
        ),
        Metric(
            "iznet_events_waiting",
            "Events that wait to be sent.",
            "gauge",
            [
                ("", labels, outlet.output.outbox.waiting)
                for outlet, labels in outputs
                if isinstance(outlet.output, Events)
            ],
        ),
        Metric(
            "iznet_latency_seconds",
            "From a packet's arrival to its named frame.",
            "histogram",
            [sample for camera, labels in cameras for sample in histogram_samples(camera.latency, labels)],
        ),
        Metric(
            "iznet_stage_seconds_total",
            "Time spent in each stage of the analysis.",
            "counter",
            [("", {"stage": name}, stage.wall_ms / 1e3) for name, stage in stages.items()],
        ),
        Metric(
            "iznet_stage_calls_total",
            "How often each stage ran.",
            "counter",
            [("", {"stage": name}, stage.calls) for name, stage in stages.items()],
        ),
    ]


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Memory that the process occupies now; None where the system does not say."""
    try:
        return int(statm.read_text("utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 1)
