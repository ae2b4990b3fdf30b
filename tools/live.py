"""`iznet live`: names on cameras and streams, as they come."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import IznetError, OutputError, UsageError
from engine.wording import count
from tools.config_file import CONFIG, config_option
from tools.copy_options import refuse
from tools.options import FILE, TOKEN, EngineOptions, Number, engine_options, json_option
from tools.run_log import run_log

if TYPE_CHECKING:
    from stream.encoding import EncoderSettings
    from stream.frames import VideoInfo
    from stream.live.address import Address, Transport
    from stream.live.outputs import Output
    from stream.live.recording import Rotation
    from stream.styles import Unknown
    from stream.tracks import Header


@click.command()
@click.argument("sources", metavar="[NAME=]SOURCE…", nargs=-1, required=True)
@click.option("-g", "--gallery", type=FILE, default=None, help="Whom to name; names given on the page are kept in it.")
@click.option("--serve", default=None, metavar="HOST:PORT", help="Serve a page to look at; a bare port means loopback.")
@click.option(
    "--token",
    default=None,
    envvar=TOKEN,
    help="What the page asks for; needed for addresses that others reach, where one is made up if none is given. "
    "Better in the variable IZNET_TOKEN, since others on this computer can read command lines.",
)
@click.option("--tracks", default=None, metavar="FILE|-", help="The record, JSON lines that can be followed.")
@click.option(
    "--out",
    "outs",
    multiple=True,
    metavar="FILE.mkv|FOLDER/|rtsp://…",
    help="The labelled pictures: a recording, HLS in a folder, or sent to an RTSP server; may be repeated.",
)
@click.option("--slate", is_flag=True, help="While a source is down, --out goes on with a picture that says so.")
@click.option(
    "--every-frame", is_flag=True, help="--out shows the dropped frames too, with who must have been on them."
)
@click.option(
    "--webhook",
    "webhooks",
    multiple=True,
    metavar="URL",
    help="POST who appears and who leaves, as JSON with a little picture; may be repeated.",
)
@click.option(
    "--mqtt",
    "brokers",
    multiple=True,
    metavar="mqtt://HOST[/TOPIC]",
    help="Publish the same under TOPIC/SOURCE/appeared and …/left; mqtts:// for TLS; may be repeated.",
)
@click.option("--event-strangers", is_flag=True, help="Tell of people whom nobody knows too.")
@click.option("--rotate-seconds", type=Number(1), default=None, help="Begin another file after so long.")
@click.option("--rotate-megabytes", type=Number(0.1, 10**9), default=None, help="Or when it is so large.")
@click.option("--encoder", default="auto", show_default=True, help="Of --out, as for `iznet label`.")
@click.option("--preset", default=None, help="The encoder's own word, for example veryfast or slow.")
@click.option("--crf", type=Number(0), default=None, help="Quality: smaller is better and larger.")
@click.option(
    "--unknown",
    type=click.Choice(["none", "box"]),
    default=None,
    help="What to draw for people nobody knows. Default: none, or a grey box where there is no gallery.",
)
@click.option(
    "--max-staleness",
    type=Number(0.01, 60),
    default=0.2,
    show_default=True,
    help="Seconds after which a frame that has not been analysed is dropped.",
)
@click.option(
    "--batch-wait",
    type=Number(0, 1),
    default=None,
    help="Seconds that a frame waits for those of other sources, to be looked at together; 0 looks at each by itself. "
    "Default: 0 on a CPU, 0.005 on a GPU.",
)
@click.option("--timeout", type=Number(0.1, 86400), default=5.0, show_default=True, help="Seconds that make a stall.")
@click.option("--log", "log_place", default=None, metavar="FILE|-", help="What happens, as JSON lines; - for stderr.")
@click.option("--retries", type=click.IntRange(0), default=None, help="Failures in a row that are borne.")
@click.option(
    "--transport", type=click.Choice(["tcp", "udp"]), default="tcp", show_default=True, help="Of RTSP, both ways."
)
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
    slate: bool,
    every_frame: bool,
    webhooks: tuple[str, ...],
    brokers: tuple[str, ...],
    event_strangers: bool,
    rotate_seconds: float | None,
    rotate_megabytes: float | None,
    encoder: str,
    preset: str | None,
    crf: float | None,
    unknown: Unknown | None,
    max_staleness: float,
    batch_wait: float | None,
    timeout: float,
    log_place: str | None,
    retries: int | None,
    transport: Transport,
    realtime: bool,
    overwrite: bool,
    engine: EngineOptions,
    as_json: bool,
) -> None:
    """Name the people on cameras and streams as they come.

    A SOURCE is rtsp://, rtsps://, http:// or https:// (MJPEG, HLS), udp:// (MPEG-TS), a webcam (0, /dev/video0,
    webcam:NAME), lavfi:GRAPH, or with --realtime a file. NAME= before it is what it is shown by. Frames that cannot be
    analysed in time are dropped and counted; a source that breaks is asked for again; an output that fails is left out
    and the others go on. Ctrl-C or SIGTERM ends the run and finishes all files.

    With several sources, {camera} in the name of a file or address stands for each one's name; codes of strftime
    (%H%M%S) in a file's stand for the time.
    """
    from engine.gallery import Gallery
    from engine.output_file import check_spared
    from stream.encoding import EncoderSettings
    from stream.label import record_header
    from stream.live.address import Address
    from stream.live.outputs import check_files, check_names
    from stream.live.piece import check_encoder
    from stream.live.recording import Rotation
    from stream.live.report import final_report
    from stream.live.run import Live, LiveSettings
    from stream.live.thumbnails import Thumbnails
    from stream.styles import usual_unknown

    if not outs:
        refuse(context, ("encoder", "preset", "crf", "slate", "every_frame"), "without --out")
    if all(out.endswith("/") or "://" in out for out in outs):
        refuse(context, ("rotate_seconds", "rotate_megabytes"), "without --out FILE.mkv")
    if not webhooks and not brokers:
        refuse(context, ("event_strangers",), "without --webhook or --mqtt")
    if len(sources) == 1:
        refuse(context, ("batch_wait",), "with one source")
    if serve is None and token is not None:
        refuse(context, ("token",), "without --serve")
    if tracks == "-" and (as_json or len(sources) > 1):
        raise UsageError("--tracks - writes one source's record to stdout, where nothing else can go; give a FILE")
    # First what is quickly told to be wrong: the networks take a second to load.
    addresses = [Address.parse(source, transport=transport, realtime=realtime) for source in sources]
    check_names([address.name for address in addresses])
    for address in addresses:
        address.check()
    people = Gallery.load(gallery) if gallery is not None else None
    rotation = Rotation(rotate_seconds, round(rotate_megabytes * 1e6) if rotate_megabytes is not None else None)
    encoding = EncoderSettings(encoder, preset, crf)
    if outs:
        check_encoder(encoding)
    read = [gallery, engine.detector, engine.embedder, context.meta.get(CONFIG)]
    made_from = [*(path for path in read if path), *(each.target for each in addresses if each.kind == "file")]
    logs = [log_place] if log_place is not None and log_place != "-" else []
    for log_file in logs:
        check_spared(log_file, made_from)
    wanted = Wanted(
        tracks,
        outs,
        webhooks,
        brokers,
        event_strangers,
        encoding,
        rotation,
        transport,
        timeout,
        overwrite,
        made_from,
    )

    def header(info: VideoInfo) -> Header:
        return record_header(info, detector, embedder, people)

    thumbnails = [Thumbnails() for _ in addresses]
    outputs = [
        wanted.outputs(address, len(addresses), header, little)
        for address, little in zip(addresses, thumbnails, strict=True)
    ]
    check_files([output for own in outputs for output in own], *logs)
    place, guard, listening = None, None, None
    if serve is not None:
        from stream.live.guard import Guard, Place
        from stream.live.naming import NameDesk
        from stream.live.screen import Screen
        from stream.live.server import LivePage, Server
        from stream.live.serving import bound

        place = Place.parse(serve)
        guard = Guard.of(place, token)
        listening = bound(place)
    with run_log(log_place, quiet=as_json) as log:
        detector = engine.open_detector(video=True)
        embedder = engine.open_embedder(video=True) if people is not None else None
        if gallery is not None and people is not None and embedder is not None:
            people.check_embedder(embedder, gallery)
        settings = LiveSettings(
            max_staleness,
            timeout,
            retries,
            unknown or usual_unknown(gallery),
            every_frame=every_frame,
            slate=slate,
            batch_wait=batch_wait,
        )
        server = None
        if place is not None:
            screens = [Screen() for _ in addresses]
            for own, little, screen in zip(outputs, thumbnails, screens, strict=True):
                own += [screen] if little in own else [little, screen]
        began = time.monotonic()
        run = Live(addresses, detector, embedder, people, settings, outputs)
        if place is not None and guard is not None:
            desk = NameDesk(run, gallery) if gallery is not None else None
            server = Server(LivePage(run, screens, thumbnails, guard, desk), place, listening)
        if not as_json:
            click.echo(f"Networks: {engine.explain()}", err=True)
        broken: IznetError | None = None
        with suppress(KeyboardInterrupt), server or nullcontext():  # the run ends first, since its files matter most
            if server is not None and guard is not None:
                click.echo(f"Page: {server.url}{guard.opened_with(token)}", err=True)
            log.logger.info("started", extra={"event": "run", "state": "started"})
            try:
                with run, suppress(KeyboardInterrupt):  # the usual end
                    run.wait()
            except IznetError as failure:
                broken = failure  # the figures are worth saying first
        report = final_report(run, time.monotonic() - began)
        log.logger.info("ended", extra={"event": "run", "state": "ended", "report": report})
    if log.failure is not None:
        broken = OutputError("; ".join(str(each) for each in (log.failure, broken) if each is not None))
    if as_json:
        if broken is not None:
            report |= {"error": str(broken), "code": broken.exit_code}
        click.echo(json.dumps(report, ensure_ascii=False))
        context.exit(broken.exit_code if broken is not None else 0)
    for source in report["sources"]:
        for line in _lines(source, "named" if gallery is not None else "looked at"):
            click.echo(line, err=True)
    if broken is not None:
        raise broken


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be done with what is seen."""

    tracks: str | None
    outs: tuple[str, ...]
    webhooks: tuple[str, ...]
    brokers: tuple[str, ...]
    strangers: bool
    encoding: EncoderSettings
    rotation: Rotation
    transport: Transport
    timeout: float
    overwrite: bool
    made_from: Sequence[str | Path]

    def outputs(
        self, address: Address, cameras: int, header: Callable[[VideoInfo], Header], thumbnails: Output
    ) -> list[Output]:
        """The outputs of one of so many cameras, ready for its first picture; all that can be refused is.

        Raises:
            UsageError, OutputError, MissingError: one cannot be.
        """
        from stream.live.outputs import name_for
        from stream.live.record import Record

        name = address.name
        made: list[Output] = []
        if self.tracks is not None:
            where = sys.stdout.buffer if self.tracks == "-" else name_for(self.tracks, name, cameras)
            made.append(Record(where, header, overwrite=self.overwrite, made_from=self.made_from))
        made += [self._out(name_for(out, name, cameras)) for out in self.outs]
        events = self._events(name, thumbnails)
        return [*made, thumbnails, *events] if events else made

    def _out(self, place: str) -> Output:
        from stream.live.hls import HlsFolder
        from stream.live.push import SCHEMES, RtspPush
        from stream.live.recording import Recording

        if "://" in place:
            server = _server("--out", place, SCHEMES, transport=self.transport)
            return RtspPush(server, self.encoding, timeout=self.timeout)
        if place.endswith("/"):
            return HlsFolder(place, self.encoding, overwrite=self.overwrite, made_from=self.made_from)
        return Recording(place, self.encoding, self.rotation, overwrite=self.overwrite, made_from=self.made_from)

    def _events(self, camera: str, thumbnails: Any) -> list[Output]:
        from stream.live.events import Event, Events
        from stream.live.mqtt import SCHEMES, Mqtt
        from stream.live.outbox import Carrier, Outbox
        from stream.live.webhook import SCHEMES as WEB
        from stream.live.webhook import Webhook

        carriers: list[tuple[Address, Carrier[Event]]] = []
        for url in self.webhooks:
            hook = _server("--webhook", url, WEB)
            carriers.append((hook, Webhook(hook)))
        for url in self.brokers:
            broker = _server("--mqtt", url, SCHEMES)
            carriers.append((broker, Mqtt(broker)))
        return [
            Events(camera, Outbox(address.shown, carrier), thumbnails.of, strangers=self.strangers)
            for address, carrier in carriers
        ]


def _server(option: str, url: str, schemes: Sequence[str], transport: Transport = "tcp") -> Address:
    """The address that was given with this option."""
    from stream.live.address import Address

    try:
        return Address.server(url, schemes, transport=transport)
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from None


def _lines(source: dict[str, Any], done: str) -> list[str]:
    """What became of a source's frames, most of which were `done`, and of what they were handed to where that is worth
    a word."""
    dropped = ", ".join(f"{number} {cause}" for cause, number in source["dropped"].items())
    words = f"{source['name']}: {count(source['frames'], 'frame')}, {source['named']} {done}"
    words += f"; dropped: {dropped}" if dropped else "; none dropped"
    latency = source["latency"]
    if source["named"]:
        words += f"; latency {latency['p50_ms']:.0f} ms (median), {latency['p95_ms']:.0f} ms (95 %)"
    lines = [words]
    for output in source["outputs"]:
        if output.get("skipped"):
            why = "since it did not keep up" + (" or was not connected" if "://" in output["name"] else "")
            lines.append(f"{output['name']}: {count(output['skipped'], 'picture')} left out, {why}")
        if output.get("events"):
            became = ", ".join(f"{number} {outcome}" for outcome, number in output["events"].items())
            lines.append(f"{output['name']}: events: {became}")
    return lines
