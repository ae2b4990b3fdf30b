"""Feeds for tests: scripted ones that need no network and no time, and servers of real streams on the loopback.

The people are the coloured rectangles of `tests.networks`.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.live.address import Address
from stream.live.source import Arrival, Connect, Lost
from tests import networks
from tests.needs import need
from tests.stream import media

STRANGER = (230, 120, 120)
Box = tuple[int, int, int, int]
People = Sequence[tuple[Box, tuple[int, int, int]]]
ANN: tuple[Box, tuple[int, int, int]] = ((40, 60, 88, 120), networks.PEOPLE["ann"])
SOMEBODY: tuple[Box, tuple[int, int, int]] = ((200, 100, 248, 160), STRANGER)
gallery_of = networks.gallery_of


def picture(people: People = (ANN,), width: int = 320, height: int = 240) -> av.VideoFrame:
    """A decoded picture with these people on it."""
    return av.VideoFrame.from_ndarray(networks.scene(width, height, people), "rgb24").reformat(format="yuv444p")


Step = av.VideoFrame | str | Callable[[], object]
"""A picture; the words of a loss; or something to do between two pictures."""


class Script:
    """A feed that gives what a test says: one list of steps for each connection, each ending in a loss, then losses for
    ever.

    Pictures arrive 1/25 s apart by their own stamps and by the clock that arrivals are told by. `Reader` calls it as it
    does `connect`.
    """

    def __init__(self, *connections: Sequence[Step], began: float | None = None) -> None:
        self.opened = 0
        self._connections = list(connections)
        self._now = time.monotonic() if began is None else began

    def __call__(self, address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]:
        self.opened += 1
        if self.opened > len(self._connections):
            raise Lost(f"{address.shown} is not there")
        seconds = 0.0
        for step in self._connections[self.opened - 1]:
            if isinstance(step, str):
                raise Lost(step)
            if isinstance(step, av.VideoFrame):
                yield Arrival(step, self._now, seconds)
                seconds += 0.04
                self._now += 0.04
            else:
                step()
        raise Lost(f"{address.shown} ended")


def by_address(**scripts: Script) -> Connect:
    """Each camera gets the script of its name."""

    def opens(address: Address, timeout: float, refused: Callable[[], None]) -> Iterator[Arrival]:
        return scripts[address.name](address, timeout, refused)

    return opens


def stage(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """Ann walks, somebody unknown stands."""
    x = 40 + 2 * (index % 40)
    return networks.scene(width, height, [((x, 60, x + 48, 120), networks.PEOPLE["ann"]), SOMEBODY])


def clip(path: Path, frames: int = 50, width: int = 320, height: int = 240, **settings: Any) -> Path:
    """A file of the stage, 25 frames a second."""
    video = media.Video(
        frames=frames, width=width, height=height, picture=stage, time_base=Fraction(1, 12800), **settings
    )
    return media.write(path, video)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Web(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever breaks off a handshake has a reason."""


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """An HTTP server on the loopback; gives its port."""
    server = _Web(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def mjpeg(
    pictures: Sequence[NDArray[np.uint8]], then: Callable[[], object] = lambda: None
) -> type[BaseHTTPRequestHandler]:
    """What a webcam with a web server does: JPEG after JPEG in one answer. At the end `then` is called, and the
    connection closed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            with contextlib.suppress(OSError):
                for rgb in pictures:
                    data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    self.wfile.write(head.encode() + data + b"\r\n")
                    self.wfile.flush()
                then()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def answering(status: int, body: bytes) -> type[BaseHTTPRequestHandler]:
    """Always the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def folder(path: Path) -> type[BaseHTTPRequestHandler]:
    """The files of a folder."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, directory=str(path), **settings)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


RTSP_BINDINGS = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
"""
RTSP_SERVER = (
    RTSP_BINDINGS
    + """
import sys
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory.new()
if sys.argv[3] == "takes":
    factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    factory.set_eos_shutdown(True)
    factory.set_launch(
        "( rtph264depay name=depay0 ! h264parse ! matroskamux streamable=true "
        f"! filesink buffer-mode=unbuffered location={sys.argv[2]} )"
    )
else:
    factory.set_launch(
        f"( filesrc location={sys.argv[2]} ! matroskademux ! h264parse config-interval=-1 "
        "! rtph264pay name=pay0 pt=96 )"
    )
server.get_mount_points().add_factory("/stage", factory)
if not server.attach(None):
    sys.exit("the port is taken")
print("serving", flush=True)
GLib.MainLoop().run()
"""
)
SYSTEM_PYTHON = "/usr/bin/python3"
"""Debian's, which has the bindings of its GStreamer."""


@functools.cache
def has_rtsp_server() -> bool:
    """Whether GStreamer's RTSP server is installed; whether it works is for the tests to find out."""
    if not Path(SYSTEM_PYTHON).exists():
        return False
    return not subprocess.run([SYSTEM_PYTHON, "-c", RTSP_BINDINGS], capture_output=True).returncode


class RtspServer:
    """A real RTSP server (GStreamer's) in a process of its own, playing a file to everybody who asks, or writing a file
    of what somebody sends."""

    def __init__(self, clip: Path, port: int, *, takes: bool = False) -> None:
        self.url = f"rtsp://127.0.0.1:{port}/stage"
        command = [SYSTEM_PYTHON, "-c", RTSP_SERVER, str(port), str(clip), "takes" if takes else "gives"]
        cure = "apt install gir1.2-gst-rtsp-server-1.0 python3-gi"
        need("rtsp", has_rtsp_server(), f"GStreamer's RTSP server is not installed: {cure}")
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
            assert self._process.stdout is not None
            if self._process.stdout.readline().strip() != b"serving":
                self.kill()
                errors.seek(0)
                pytest.fail(f"GStreamer's RTSP server did not start: {errors.read().decode('utf-8', 'replace')}")

    def kill(self) -> None:
        """As a power cut would."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class TlsDoor:
    """Talks TLS outside and hands on what it hears to a port of the loopback, as stunnel does.

    Args:
        inner: the port.
        context: with the certificate to show.
    """

    def __init__(self, inner: int, context: ssl.SSLContext) -> None:
        self._inner = inner
        self._outer = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)
        self.port = self._outer.getsockname()[1]
        threading.Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                try:
                    guest = self._outer.accept()[0]
                except ssl.SSLError:
                    continue
                host = socket.create_connection(("127.0.0.1", self._inner))
                for ways in ((guest, host), (host, guest)):
                    threading.Thread(target=self._hand_on, args=ways, daemon=True).start()

    @staticmethod
    def _hand_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # either side has gone
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let nobody in any more."""
        self._outer.close()


class Posted:
    """A web server that keeps what is posted to it and answers as it is told: one status after another, the last one
    for ever."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[tuple[dict[str, str], Any]] = []
        kept, left = self.requests, list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append(({k.lower(): v for k, v in self.headers.items()} | {"path": self.path}, json.loads(body)))
                status = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status, "no, s3cret" if status >= 400 else None)
                if status in (301, 307):
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.handler: type[BaseHTTPRequestHandler] = Handler


class Broker:
    """As much of an MQTT 3.1.1 broker as a publisher meets: lets people in, or not, and confirms what they publish."""

    def __init__(
        self, port: int = 0, *, answer: int = 0, confirms: bool = True, tls: ssl.SSLContext | None = None
    ) -> None:
        self.published: list[tuple[str, Any]] = []
        self.connects: list[bytes] = []
        self._answer, self._confirms, self._tls = answer, confirms, tls
        self._server = socket.create_server(("127.0.0.1", port))
        self.port: int = self._server.getsockname()[1]
        self._talks: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def kill(self) -> None:
        """As a power cut would."""
        for each in [self._server, *self._talks]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                talk, _ = self._server.accept()
                self._talks.append(talk)
                threading.Thread(target=self._talk, args=(talk,), daemon=True).start()

    def _talk(self, talk: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._understand(talk if self._tls is None else self._tls.wrap_socket(talk, server_side=True))

    def _understand(self, talk: socket.socket) -> None:
        with talk.makefile("rb") as reading:
            while head := reading.read(1):
                length = shift = 0
                while True:
                    (byte,) = reading.read(1)
                    length |= (byte & 0x7F) << shift
                    shift += 7
                    if not byte & 0x80:
                        break
                body = reading.read(length)
                kind = head[0] >> 4
                if kind == 1:
                    self.connects.append(body)
                    talk.sendall(bytes([0x20, 2, 0, self._answer]))
                elif kind == 3 and self._confirms:
                    size = int.from_bytes(body[:2], "big")
                    self.published.append((body[2 : 2 + size].decode(), json.loads(body[4 + size :])))
                    talk.sendall(bytes([0x40, 2]) + body[2 + size : 4 + size])
                elif kind == 12:
                    talk.sendall(bytes([0xD0, 0]))


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that has to happen; fails the test if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
