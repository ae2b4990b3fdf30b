"""Events by MQTT: each is published as JSON under PREFIX/CAMERA/appeared or PREFIX/CAMERA/left."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from engine.errors import MissingError, UsageError
from engine.wording import install
from stream.live.address import Address
from stream.live.events import Event
from stream.live.outbox import Unsent
from stream.live.unreachable import unreachable

if TYPE_CHECKING:
    from paho.mqtt.client import Client

SCHEMES = ("mqtt", "mqtts")
TIMEOUT = 5.0
"""Seconds for an answer."""
PREFIX = "iznet"
"""Where the address names no topic."""
KEEP_ALIVE = 30
"""Seconds between two signs of life."""


class Mqtt:
    """Publishes events at a broker, each at least once (quality of service 1). One whose certificate is not trusted
    (by the system, or the file named in `SSL_CERT_FILE`) is sent nothing, not even a password.

    Args:
        address: begins with one of `SCHEMES`, `mqtts://` for TLS; with name and password where the broker wants them;
            its path is the topic's beginning.

    Raises:
        UsageError: its path is no topic.
        MissingError: the MQTT library is not installed.
    """

    def __init__(self, address: Address) -> None:
        parts = urlsplit(address.target)
        try:
            import paho.mqtt.client  # noqa: F401
        except ImportError:
            raise MissingError(f"--mqtt needs a library: {install('live')}") from None
        self._address = address
        self._tls = parts.scheme.lower() == "mqtts"
        self._host = parts.hostname or ""
        self._port = parts.port or (8883 if self._tls else 1883)
        self._user = None if parts.username is None else unquote(parts.username)
        self._password = None if parts.password is None else unquote(parts.password)
        self._prefix = unquote(parts.path).strip("/") or PREFIX
        if re.search(r"[+#\0]", self._prefix):
            raise UsageError(f"--mqtt {address.shown}: a topic to publish under holds no + and no #")
        self._client: Client | None = None
        self._answered = threading.Event()
        self._refusal: str | None = None

    def send(self, event: Event, /) -> None:
        if self._client is None or not self._client.is_connected():
            self.close()
            self._client = self._connected()
        body = json.dumps(event.to_json(), ensure_ascii=False).encode()
        try:
            published = self._client.publish(self.topic(event), body, qos=1)
            published.wait_for_publish(TIMEOUT)
            arrived = published.is_published()
        except (ValueError, RuntimeError, OSError):
            arrived = False
        if not arrived:
            self.close()
            raise Unsent(f"{self._address.shown} does not confirm what is published")

    def topic(self, event: Event) -> str:
        """Where an event is published."""
        return f"{self._prefix}/{re.sub(r'[+#/]+', '-', event.camera).strip('-') or 'camera'}/{event.kind}"

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _connected(self) -> Client:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = TIMEOUT
        if self._user is not None:
            client.username_pw_set(self._user, self._password)
        self._answered.clear()
        self._refusal = None
        client.on_connect = self._on_connect
        try:
            if self._tls:
                client.tls_set()
            client.connect(self._host, self._port, KEEP_ALIVE)
        except (OSError, ValueError) as error:
            raise unreachable(self._address, error) from None
        client.loop_start()
        if not self._answered.wait(TIMEOUT) or self._refusal is not None:
            client.disconnect()
            client.loop_stop()
            raise Unsent(f"{self._address.shown} {self._refusal or 'does not answer'}")
        return client

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"lets nobody in: {reason}"
        self._answered.set()
