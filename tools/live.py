"""`iznet live`: names on cameras and streams, as they come."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import PartialError, UsageError
from tools.config_file import config_option
from tools.copy_options import refuse
from tools.options import FILE, EngineOptions, engine_options, json_option
from tools.wording import count

if TYPE_CHECKING:
    from stream.live.address import Transport
    from stream.live.outputs import Output
    from stream.live.run import Live
    from stream.styles import Unknown

LOOK = 0.2
"""Seconds between two looks at the feeds' states."""


@click.command()
@click.argument("sources", metavar="[NAME=]SOURCE…", nargs=-1, required=True)
@click.option("-g", "--gallery", type=FILE, default=None, help="Whom to name; names given on the page are kept in it.")
@click.option("--serve", default=None, metavar="HOST:PORT", help="Serve a page to look at; a bare port means loopback.")
@click.option(
    "--token",
    default=None,
    envvar="IZNET_TOKEN",
    help="What the page asks for; needed for addresses that others reach, where one is made up if none is given. "
    "Better in the variable IZNET_TOKEN, since others on this computer can read command lines.",
)
@click.option("--tracks", default=None, metavar="FILE|-", help="The record, JSON lines that can be followed.")
@click.option(
    "--out",
    "outs",
    multiple=True,
    metavar="FILE.mkv|FOLDER/",
    help="The labelled pictures: a recording, or HLS in a folder; may be repeated.",
)
@click.option("--rotate-seconds", type=click.FloatRange(1), default=None, help="Begin another file after so long.")
@click.option("--rotate-megabytes", type=click.FloatRange(0.1), default=None, help="Or when it is so large.")
@click.option("--encoder", default="auto", show_default=True, help="Of --out, as for `iznet label`.")
@click.option("--preset", default=None, help="The encoder's own word, for example veryfast or slow.")
@click.option("--crf", type=float, default=None, help="Quality: smaller is better and larger.")
@click.option(
    "--unknown",
    type=click.Choice(["none", "box"]),
    default=None,
    help="What to draw for people nobody knows. Default: none, or a grey box where there is no gallery.",
)
@click.option(
    "--max-staleness",
    type=click.FloatRange(0.01, 60),
    default=0.2,
    show_default=True,
    help="Seconds after which a frame that has not been analysed is dropped.",
)
@click.option(
    "--timeout", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Seconds that make a stall."
)
@click.option("--retries", type=click.IntRange(0), default=None, help="Failures in a row that are borne.")
@click.option("--transport", type=click.Choice(["tcp", "udp"]), default="tcp", show_default=True, help="Of RTSP.")
@click.option("--realtime", is_flag=True, help="Sources may be files, played at their own speed.")
@click.option("--overwrite", is_flag=True, help="Replace files that exist.")
@config_option
@engine_options
@json_option
@click.pass_context
def live(
    context: click.Context,
    sources: tuple[str, ...],
    gallery: Path | None,
    serve: str | None,
    token: str | None,
    tracks: str | None,
    outs: tuple[str, ...],
    rotate_seconds: float | None,
    rotate_megabytes: float | None,
    encoder: str,
    preset: str | None,
    crf: float | None,
    unknown: Unknown | None,
    max_staleness: float,
    timeout: float,
    retries: int | None,
    transport: Transport,
    realtime: bool,
    overwrite: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Name the people on cameras and streams as they come.

    A SOURCE is rtsp://, rtsps://, http:// or https:// (MJPEG), udp:// (MPEG-TS), a webcam (0, /dev/video0,
    webcam:NAME), lavfi:GRAPH, or with --realtime a file. NAME= before it is what it is shown by. Frames that cannot be
    analysed in time are dropped and counted; a source that breaks is asked for again. Ctrl-C or SIGTERM ends the run
    and finishes all files.

    With several sources, {camera} in the name of a file stands for each one's name; codes of strftime (%H%M%S) stand
    for the time.
    """
    from engine.gallery import Gallery
    from stream.encoding import EncoderSettings
    from stream.label import record_header
    from stream.live.address import Address
    from stream.live.hls import HlsFolder
    from stream.live.outputs import check_names, name_for
    from stream.live.record import Record
    from stream.live.recording import Recording, Rotation
    from stream.live.report import final_report
    from stream.live.run import Live, LiveSettings
    from stream.live.screen import Screen
    from stream.live.thumbnails import Thumbnails
    from stream.styles import usual_unknown

    if not outs:
        refuse(context, ("encoder", "preset", "crf"), "without --out")
    if all(out.endswith("/") for out in outs):
        refuse(context, ("rotate_seconds", "rotate_megabytes"), "without --out FILE.mkv")
    if serve is None and token is not None:
        refuse(context, ("token",), "without --serve")
    if tracks == "-" and (as_json or len(sources) > 1):
        raise UsageError("--tracks - writes one source's record to stdout, where nothing else can go; give a FILE")
    addresses = [Address.parse(source, transport=transport, realtime=realtime) for source in sources]
    check_names([address.name for address in addresses])
    place = None
    if serve is not None:
        from stream.live.guard import Guard, Place, new_token
        from stream.live.naming import NameDesk
        from stream.live.server import LivePage, Server

        place = Place.parse(serve)
    detector = engine.open_detector()
    embedder = engine.open_embedder() if gallery is not None else None
    people = Gallery.load(gallery, embedder) if gallery is not None else None

    encoding = EncoderSettings(encoder, preset, crf)
    outputs: list[list[Output]] = [[] for _ in addresses]
    rotation = Rotation(rotate_seconds, round(rotate_megabytes * 1e6) if rotate_megabytes is not None else None)
    for address, own in zip(addresses, outputs, strict=True):
        if tracks is not None:
            where = sys.stdout.buffer if tracks == "-" else name_for(tracks, address.name, len(addresses))
            header = partial(record_header, detector=detector, embedder=embedder, gallery=people)
            own.append(Record(where, header, overwrite=overwrite))
        for out in outs:
            name = name_for(out, address.name, len(addresses))
            if out.endswith("/"):
                own.append(HlsFolder(name, encoding, overwrite=overwrite))
            else:
                own.append(Recording(name, encoding, rotation, overwrite=overwrite))
    screens = [Screen() for _ in addresses] if place is not None else []
    thumbnails = [Thumbnails() for _ in screens]
    for own, little, screen in zip(outputs, thumbnails, screens, strict=False):
        own += [little, screen]
    settings = LiveSettings(max_staleness, timeout, retries, unknown or usual_unknown(gallery))
    began = time.monotonic()
    run = Live(addresses, detector, embedder, people, settings, outputs)
    server, made = None, None
    if place is not None:
        made = new_token() if token is None and not place.loopback else None
        desk = NameDesk(run, gallery) if gallery is not None else None
        guard = Guard(place.loopback, token or made)
        server = Server(LivePage(run, screens, thumbnails, guard, desk), place)
    incomplete: PartialError | None = None
    try:
        with run, server or nullcontext():
            if not as_json:
                click.echo(f"Networks: {engine.explain()}", err=True)
            if server is not None:
                click.echo(f"Page: {server.url}{f'?token={made}' if made else ''}", err=True)
            _watch(run, quiet=as_json)
    except KeyboardInterrupt:
        pass  # the usual end; everything is finished
    except PartialError as failure:
        incomplete = failure  # the others' figures are worth saying first
    report = final_report(run, time.monotonic() - began)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        for source in report["sources"]:
            click.echo(_line(source), err=True)
    if incomplete is not None:
        raise incomplete


def _watch(run: Live, *, quiet: bool) -> None:
    """Wait for the end, and say what changes."""
    said: dict[int, tuple[str, str | None]] = {}
    over = False
    while not over:
        over = run.wait(LOOK)
        for camera in run.cameras:
            now = camera.reader.state, camera.reader.problem
            if said.get(camera.number) != now and not quiet:
                said[camera.number] = now
                why = f": {now[1]}" if now[1] is not None and now[0] in ("waiting", "failed") else ""
                click.echo(f"{time.strftime('%H:%M:%S')} {camera.address.name}: {now[0]}{why}", err=True)


def _line(source: dict[str, Any]) -> str:
    """What became of a source's frames."""
    dropped = ", ".join(f"{number} {cause}" for cause, number in source["dropped"].items())
    words = f"{source['name']}: {count(source['frames'], 'frame')}, {source['named']} named"
    words += f"; dropped: {dropped}" if dropped else "; none dropped"
    latency = source["latency"]
    words += f"; latency {latency['p50_ms']:.0f} ms (median), {latency['p95_ms']:.0f} ms (95 %)"
    if source["not_encoded"]:
        words += f"; {source['not_encoded']} not encoded, since the encoder did not keep up"
    return words
