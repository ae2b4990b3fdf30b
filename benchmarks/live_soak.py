"""A live feed for hours that is faster than it can be analysed: latency and memory as curves, and every frame accounted
for.

    python -m benchmarks.live_soak street_1080p.mp4 -g people.gallery --minutes 30

A web server on the loopback sends the clip in a loop as an MPEG transport stream, at its own speed and without a pause,
`--overload` times as fast as `iznet live` was found to name frames just before. A second process runs `iznet live` on
it with a record. Once a second its page is asked for the latency of the latest frames and the system for its memory.
When so many minutes have been sent, the feed ends, and three counts have to agree: the frames that were sent, the
frames that the run says it decoded, and the frames in the record plus those it says were dropped, by cause. The result
goes to `live_soak.json` and `live_soak.png`: beside what was asked for, how long it took and how many frames a second
arrived, which is less where the machine does not take them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
from PIL import Image

from benchmarks.help_text import shown
from benchmarks.soak import WARM, growth
from stream.bench.costs import ffmpeg_program, machine, run, versions
from stream.bench.drawing import FAINT, INK, PALE, Line, Shape, Text, paint
from stream.styles import PALETTE
from stream.tracks import read

RESULT = Path(__file__).with_suffix(".json")
TRYING = 15.0
"""Seconds of the run that finds out how many frames can be named."""
WARMING = 1 / 6
"""Part of a long run in which memory may still grow: faces come in all sizes only after a while."""
FASTEST = 120.0
"""Frames a second, while that is found out."""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _PANEL, _TOP = 1280, 900, 110, 40, 300, 110


def prepared(clip: Path, folder: Path) -> Path:
    """The clip's pictures in display order, as they can be repeated packet by packet at any speed."""
    made = folder / "loop.mkv"
    words = [ffmpeg_program(), "-loglevel", "error", "-nostdin", "-y", "-i", str(clip), "-map", "0:v:0", "-an"]
    run([*words, "-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "50", "-pix_fmt", "yuv420p", str(made)])
    return made


class Sender:
    """Serves the loop on the loopback, to one who asks, so many frames at so many a second."""

    def __init__(self, loop: Path, rate: float, frames: int) -> None:
        self.sent = 0
        sender = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                sender._send(self.wfile, loop, rate, frames)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/loop.ts"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _send(self, file: Any, loop: Path, rate: float, frames: int) -> None:
        if self.sent:
            return  # it is over: whoever asks again gets nothing
        began = time.monotonic()
        with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as out:
            stream = None
            while self.sent < frames:
                with av.open(str(loop)) as source:
                    if stream is None:
                        stream = out.add_stream_from_template(source.streams.video[0])
                    for packet in source.demux(source.streams.video[0]):
                        if not packet.size or self.sent == frames:
                            continue
                        wait = began + self.sent / rate - time.monotonic()
                        if wait > 0:
                            time.sleep(wait)
                        packet.stream = stream
                        packet.time_base = Fraction(1, 90_000)
                        packet.pts = packet.dts = round(self.sent * 90_000 / rate)
                        packet.duration = round(90_000 / rate)
                        out.mux_one(packet)
                        self.sent += 1


@dataclass(frozen=True, slots=True)
class Sample:
    """How a run was doing."""

    seconds: float
    memory: float
    """MB, resident."""
    p50: float | None
    """Milliseconds from packet to named frame, of the latest 150 frames."""
    p95: float | None
    fps: float
    """Frames named a second."""


def watch(sender: Sender, words: Sequence[str], port: int) -> tuple[list[Sample], dict[str, Any]]:
    """Run `iznet live` on the sender's feed until that ends: how it was doing every second, and its report."""
    import psutil

    command = [sys.executable, "-m", "tools", "live", f"soak={sender.url}", "--retries", "0", "--json"]
    command += ["--serve", f"127.0.0.1:{port}", *words]
    samples = []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        process = psutil.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        began = time.monotonic()
        while process.poll() is None:
            time.sleep(1)
            try:
                memory = process.memory_info().rss / 1e6
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/events", timeout=5) as answer:
                    state = json.loads(answer.readline().removeprefix(b"data: "))["cameras"][0]
            except (OSError, ValueError, psutil.NoSuchProcess):
                continue  # it has not begun to answer yet, or no longer does
            latency = state["latency"]
            samples.append(
                Sample(
                    round(time.monotonic() - began, 1),
                    round(memory, 1),
                    latency["p50"],
                    latency["p95"],
                    state["fps"],
                )
            )
        out.seek(0)
        printed = out.read()
    report: dict[str, Any] = json.loads(printed)
    if not report.get("sources") or not report["sources"][0]["named"]:
        raise click.ClickException(f"nothing was named: {printed.strip()}")
    return samples, report


def account(sent: int, source: dict[str, Any], record: Path) -> dict[str, Any]:
    """Where every frame went, by three counts that know nothing of each other.

    Raises:
        ClickException: they do not agree.
    """
    found = read(record)
    assert found.summary is not None
    counts = {
        "sent": sent,
        "decoded": source["frames"],
        "recorded": len(found.frames),
        "dropped": dict(found.summary.dropped),
    }
    recorded = counts["recorded"] + sum(found.summary.dropped.values())
    if not sent == source["frames"] == recorded or source["undecodable_packets"]:
        raise click.ClickException(f"frames are missing: {counts}, {source['undecodable_packets']} undecodable")
    return counts


def measured(counts: dict[str, Any], samples: Sequence[Sample]) -> dict[str, Any]:
    """What came of what was asked for, from the page's first answer to its last.

    Example:
        >>> ends = [Sample(at, 300.0, 30.0, 60.0, 20.0) for at in (4.0, 124.0)]
        >>> measured({"sent": 6000, "recorded": 2000}, ends)["frames_arrived_per_second"]
        50.0
    """
    seconds = samples[-1].seconds - samples[0].seconds
    return {
        "minutes": round(seconds / 60, 1),
        "frames_arrived_per_second": round(counts["sent"] / seconds, 2),
        "frames_arrived_per_named": round(counts["sent"] / counts["recorded"], 2),
        "peak_mb": max(sample.memory for sample in samples),
        "growth_mb_per_hour": growth([(s.seconds, s.memory) for s in samples], max(WARM, seconds * WARMING)),
    }


def heading(result: dict[str, Any]) -> str:
    """A result in a line."""
    return (
        f"{result['minutes']:g} minutes of {result['clip']}, {result['frames_arrived_per_second']:.0f} frames/s, "
        f"{result['frames_arrived_per_named']:g} for each one named: p95 {result['latency']['p95_ms']:.0f} ms, "
        f"at most {result['peak_mb']:.0f} MB"
    )


def curves(samples: Sequence[Sample], title: str) -> Image.Image:
    """Latency and memory over time."""
    seconds = [sample.seconds for sample in samples]
    shapes: list[Shape] = [Text(24, 34, title, 22)]
    latency = [("p95", [s.p95 for s in samples]), ("median", [s.p50 for s in samples])]
    shapes += _panel(_TOP, seconds, latency, "ms", "Latency of the latest 150 frames, from packet to named frame")
    shapes += _panel(_TOP + _PANEL + 110, seconds, [("", [s.memory for s in samples])], "MB", "Resident memory")
    return Image.fromarray(paint(_WIDTH, _HEIGHT, shapes))


def _panel(
    top: float, seconds: Sequence[float], lines: Sequence[tuple[str, Sequence[float | None]]], unit: str, title: str
) -> list[Shape]:
    most = 1.1 * max(value for _, values in lines for value in values if value is not None)
    last = max(seconds[-1], 1.0)

    def at(second: float, value: float) -> tuple[float, float]:
        return _LEFT + second / last * (_WIDTH - _LEFT - _RIGHT), top + _PANEL * (1 - value / most)

    shapes: list[Shape] = [Text(24, top - 30, title, 18)]
    step = next(s for s in (10, 20, 50, 100, 200, 500, 1000, 2000, 10**6) if most / s <= 8)
    for value in range(0, int(most) + 1, step):
        (x1, y), (x2, _) = at(0, value), at(last, value)
        shapes += [Line(((x1, y), (x2, y)), PALE, 1), Text(x1 - 10, y, f"{value} {unit}", 16, FAINT, "right")]
    tick = next(s for s in (10, 30, 60, 300, 600, 1800, 10**6) if last / s <= 12)
    for second in range(0, int(last) + 1, tick):
        x, y = at(second, 0)
        shapes.append(Text(x, y + 20, f"{second / 60:g} min" if tick >= 60 else f"{second} s", 16, INK, "middle"))
    for number, (name, values) in enumerate(lines):
        points = tuple(at(s, v) for s, v in zip(seconds, values, strict=True) if v is not None)
        shapes.append(Line(points, PALETTE[number], 2))
        if name:
            shapes.append(Text(_WIDTH - _RIGHT, top - 30 + 20 * number, name, 16, PALETTE[number], "right"))
    return shapes


@click.command(help=shown(__doc__))
@click.argument("clip", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-g", "--gallery", type=click.Path(exists=True, path_type=Path), default=None)
@click.option("--minutes", type=click.FloatRange(0.2), default=30.0, show_default=True)
@click.option("--overload", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Frames sent per named.")
@click.option("--rate", type=click.FloatRange(1), default=None, help="Frames a second, instead of finding that out.")
@click.option("--port", type=int, default=18765, show_default=True, help="Of the page.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=RESULT, show_default=True)
def main(
    clip: Path, gallery: Path | None, minutes: float, overload: float, rate: float | None, port: int, output: Path
) -> None:
    host = machine()
    people = ["-g", str(gallery)] if gallery else []
    with tempfile.TemporaryDirectory(prefix="iznet-live-soak-") as name:
        folder = Path(name)
        loop = prepared(clip, folder)
        if rate is None:
            sender = Sender(loop, FASTEST, round(FASTEST * TRYING))
            samples, _ = watch(sender, people, port)
            sender.close()
            rate = overload * float(np.median([sample.fps for sample in samples[len(samples) // 2 :]]))
        sender = Sender(loop, rate, round(60 * minutes * rate))
        record = folder / "soak.tracks.jsonl"
        samples, report = watch(sender, [*people, "--tracks", str(record)], port)
        sender.close()
        (source,) = report["sources"]
        counts = account(sender.sent, source, record)
    result = {
        "clip": clip.name,
        "asked": {"minutes": minutes, "frames_per_second": round(rate, 2)},
        **measured(counts, samples),
        "frames": counts,
        "latency": source["latency"],
        "machine": host,
        "versions": versions(),
        "samples": [[s.seconds, s.memory, s.p50, s.p95, s.fps] for s in samples],
    }
    output.write_text(json.dumps(result) + "\n", "utf-8")
    title = heading(result)
    curves(samples, title).save(output.with_suffix(".png"))
    click.echo(f"{title}; {result['growth_mb_per_hour']:+g} MB/h")
    click.echo(f"{counts['sent']} frames sent = {counts['recorded']} named + dropped {counts['dropped']}")


if __name__ == "__main__":
    main()
