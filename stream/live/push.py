"""The labelled pictures of a feed sent to an RTSP server, which hands them on: `--out rtsp://…`."""

from __future__ import annotations

import logging
import time

from engine.errors import OutputError, UsageError
from stream.encoding import EncoderSettings
from stream.live.address import Address
from stream.live.encoded import Encoded
from stream.live.outputs import Seen
from stream.live.piece import Container, Piece
from stream.live.reconnect import Backoff

log = logging.getLogger(__name__)

SCHEMES = ("rtsp", "rtsps")
KEY_EVERY = 2.0
"""Seconds that somebody who begins to watch waits for a picture at the most."""
ENCODERS = ("auto", "x264", "x265", "nvenc", "qsv")
STEADY = 5.0
"""Seconds after which a connection counts as a success."""


class RtspPush(Encoded):
    """Sends what is seen to an RTSP server that takes it (ANNOUNCE and RECORD, as MediaMTX does).

    A server that is gone is asked again, for as long as the run lasts; pictures of the meantime are left out and
    counted in `skipped`.

    Args:
        address: begins with one of `SCHEMES`.
        settings: of the encoder: x264 or x265.
        timeout: seconds without an answer after which the server counts as gone.
        backoff: when it is asked again.

    Raises:
        UsageError: an encoder whose pictures RTSP does not carry.

    Example:
        >>> RtspPush(Address.server("rtsp://me:secret@10.0.0.9/door", SCHEMES))         # doctest: +SKIP
    """

    def __init__(
        self,
        address: Address,
        settings: EncoderSettings | None = None,
        *,
        timeout: float = 5.0,
        backoff: Backoff | None = None,
    ) -> None:
        super().__init__(address.shown, patience=1.0)
        self._settings = settings or EncoderSettings()
        if self._settings.encoder not in ENCODERS:
            raise UsageError(f"--encoder {self._settings.encoder}: RTSP takes {', '.join(ENCODERS)}")
        self._address = address
        transport = address.options.get("rtsp_transport", "tcp")
        self._container = Container("rtsp", {"rtsp_transport": transport}, KEY_EVERY, timeout)
        self._backoff = backoff or Backoff(seed=address.shown)
        self._piece: Piece | None = None
        self._since = 0.0
        """When the connection was made, seconds of the monotonic clock."""
        self._again = 0.0
        """When the server is asked again."""

    def _write(self, seen: Seen) -> None:
        if self._piece is not None and self._piece.info is not seen.info:
            self._finish()  # another size is another stream
        now = time.monotonic()
        if self._piece is None and now < self._again:
            self.skipped += 1
            return
        try:
            if self._piece is None:
                self._piece = Piece(self._address.target, seen, self._settings, self._container, self._address)
                self._since = time.monotonic()
            self._piece.write(seen)  # the first one connects
            self._tell("on", None)
        except OutputError as loss:
            self.skipped += 1
            self._lose(str(loss))
            return
        if now - self._since >= STEADY:
            self._backoff.succeeded()

    def _lose(self, problem: str) -> None:
        wait = self._backoff.failed()
        if wait is None:
            raise OutputError(problem)
        self._again = time.monotonic() + wait
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.drop()
        self._tell("waiting", problem)

    def _tell(self, state: str, problem: str | None) -> None:
        if (self.health.state, self.health.problem) == (state, problem):
            return
        self.health.state = "on" if state == "on" else "waiting"
        self.health.problem = problem
        facts = {"event": "output", "output": self.health.name, "state": state, "problem": problem}
        words = problem or f"sending to {self.health.name}"
        log.log(logging.INFO if state == "on" else logging.WARNING, "%s", words, extra=facts)

    def _finish(self) -> None:
        piece, self._piece = self._piece, None
        if piece is not None:
            piece.end()
