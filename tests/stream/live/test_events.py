"""Who comes and goes, as events: what is told, and how it reaches web servers and brokers."""

from __future__ import annotations

import base64
import contextlib
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np
import pytest

from engine.errors import MissingError, UsageError
from stream.frames import Face
from stream.live import mqtt, webhook
from stream.live.address import Address
from stream.live.events import GAP, SURE, Appearances, Event, Events
from stream.live.mqtt import Mqtt
from stream.live.outbox import MOST, Outbox, Refused, Unsent
from stream.live.reconnect import Backoff
from stream.live.thumbnails import Thumbnails
from stream.live.webhook import Webhook
from tests.stream.live import feeds
from tests.stream.live.authority import Authority
from tests.stream.live.test_outputs import info_of, seen


def quick() -> Backoff:
    return Backoff(first=0.01, longest=0.02)


def face(name: str | None = "ann", track: int = 3) -> Face:
    return Face(track, np.array([40, 60, 88, 120], np.float32), 0.9, np.zeros((5, 2), np.float32), name, 0.61)


def event(number: int = 0, kind: str = "appeared", camera: str = "door") -> Event:
    at = datetime(2026, 5, 4, 3, 2, 1, 500_000, UTC)
    what: Literal["appeared", "left"] = "left" if kind == "left" else "appeared"
    return Event(what, camera, "ann", number, at, 1.5, None, 0.61, b"\xff\xd8jpeg")


class Watched:
    """Appearances, and what they told: a sign for coming or going, and the name."""

    def __init__(self, *, strangers: bool = False) -> None:
        self.appearances = Appearances(strangers=strangers)
        self.told: list[tuple[str, str | None, float]] = []

    def see(self, start: float, end: float, *faces: Face, epoch: int = 1) -> None:
        for tenth in range(round(start * 10), round(end * 10) + 1):
            for kind, stay in self.appearances.see(faces, epoch, tenth / 10):
                self.told.append((kind, stay.face.name, stay.first if kind == "appeared" else stay.last))


def test_who_is_there_for_a_while_has_appeared_and_who_is_missed_for_a_while_has_left() -> None:
    watched = Watched()
    watched.see(0.0, 2.0, face())
    assert watched.told == [("appeared", "ann", 0.0)]
    watched.see(2.1, 2.0 + GAP)
    assert len(watched.told) == 1
    watched.see(2.1 + GAP, 9.0)
    assert watched.told[1:] == [("left", "ann", 2.0)]


def test_a_moment_is_no_appearance_and_a_short_absence_no_leaving() -> None:
    watched = Watched()
    watched.see(0.0, SURE - 0.1, face())
    watched.see(1.0, 6.0)
    assert watched.told == []
    watched.see(7.0, 8.0, face(track=4))
    watched.see(8.1, 8.0 + GAP - 0.1)
    watched.see(8.0 + GAP, 14.0, face(track=5))  # the same person, another track
    assert [(kind, name) for kind, name, _ in watched.told] == [("appeared", "ann")]


def test_strangers_are_told_where_they_are_asked_for_each_for_himself() -> None:
    for asked in (False, True):
        watched = Watched(strangers=asked)
        watched.see(0.0, 2.0, face(None, 1), face(None, 2))
        watched.see(2.1, 3.0, face(None, 1), epoch=2)  # another geometry: another person
        watched.see(3.1, 9.0)
        kinds = [kind for kind, _, _ in watched.told]
        assert kinds == (["appeared"] * 3 + ["left"] * 3 if asked else [])


def test_everybody_who_appeared_leaves_at_the_end() -> None:
    watched = Watched()
    watched.see(0.0, 1.0, face("ann", 1), face("ben", 2))
    watched.see(1.1, 1.2, face("cai", 3))
    assert sorted(stay.face.name or "" for _, stay in watched.appearances.all_gone()) == ["ann", "ben"]


def test_an_event_as_it_is_sent() -> None:
    sent = event(7).to_json()
    assert base64.b64decode(sent.pop("thumbnail")) == b"\xff\xd8jpeg"
    assert len(sent.pop("id")) == 32
    assert sent == {
        "event": "appeared",
        "camera": "door",
        "name": "ann",
        "track": 7,
        "time": "2026-05-04T03:02:01.500Z",
        "seconds": 1.5,
        "stayed": None,
        "similarity": 0.61,
    }
    assert event().id != event().id


class Carried:
    """A carrier that keeps what it takes, after as many failures as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.items: list[int] = []
        self.attempts = 0
        self.closed = False
        self._failures = list(failures)

    def send(self, item: int, /) -> None:
        self.attempts += 1
        if self._failures:
            raise self._failures.pop(0)
        self.items.append(item)

    def close(self) -> None:
        self.closed = True


class Held(Carried):
    """One that takes nothing until it may."""

    def __init__(self, hold: threading.Event) -> None:
        super().__init__()
        self._hold = hold

    def send(self, item: int, /) -> None:
        self._hold.wait(20)
        super().send(item)


def test_an_outbox_sends_in_order_and_tries_again() -> None:
    carried = Carried(Unsent("the cable is out"), Unsent("still out"), Refused("not this one"))
    outbox = Outbox("place", carried, quick())
    for n in range(4):
        outbox.put(n)
    outbox.start()
    feeds.until(lambda: carried.items == [1, 2, 3])
    assert carried.attempts == 6
    outbox.close()
    assert carried.closed
    assert outbox.outcomes == {"sent": 3, "refused": 1, "unsent": 0}
    assert (outbox.health.state, outbox.health.problem) == ("on", None)


def test_an_outbox_is_bounded_and_gives_up_the_oldest() -> None:
    hold = threading.Event()
    carried = Held(hold)
    outbox = Outbox("place", carried, quick())
    outbox.start()
    outbox.put(-1)
    feeds.until(lambda: outbox.waiting == 0)
    for n in range(MOST + 10):
        outbox.put(n)
    assert outbox.waiting == MOST
    hold.set()
    feeds.until(lambda: len(carried.items) == MOST + 1)
    assert carried.items == [-1, *range(10, MOST + 10)]
    outbox.close()
    assert outbox.outcomes == {"sent": MOST + 1, "overflow": 10, "unsent": 0}


def test_an_outbox_ends_at_once_when_its_place_is_down_and_counts_what_is_left() -> None:
    carried = Carried(*[Unsent("the cable is out")] * 1000)
    outbox = Outbox("place", carried, Backoff(first=500, longest=500))
    outbox.start()
    for n in range(3):
        outbox.put(n)
    feeds.until(lambda: carried.attempts == 1)
    feeds.until(lambda: outbox.waiting == 3)
    outbox.close()
    assert carried.attempts == 1
    assert outbox.outcomes == {"unsent": 3}
    assert (outbox.health.state, outbox.health.problem) == ("waiting", "the cable is out")


def test_one_that_hangs_while_the_run_ends_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.live.outbox.LAST", 0.05)
    hold = threading.Event()
    outbox = Outbox("place", Held(hold), quick())
    outbox.start()
    outbox.put(1)
    feeds.until(lambda: outbox.waiting == 0)
    outbox.put(2)
    outbox.close()
    hold.set()
    feeds.until(lambda: not outbox._thread.is_alive())
    assert outbox.outcomes == {"unsent": 2}


def hook(url: str) -> Webhook:
    return Webhook(Address.server(url, webhook.SCHEMES))


def test_a_webhook_gets_json_and_its_password_in_a_header() -> None:
    posted = feeds.Posted(204)
    with feeds.serving(posted.handler) as port:
        hook(f"http://me:s3cr%40t@127.0.0.1:{port}/hook?key=k3y").send(event(5))
    ((headers, body),) = posted.requests
    assert headers["path"] == "/hook?key=k3y"
    assert headers["content-type"] == "application/json"
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"me:s3cr@t"
    assert body["track"] == 5
    assert "s3cr" not in headers["host"]


@pytest.mark.parametrize(
    ("status", "failure"), [(500, Unsent), (503, Unsent), (429, Unsent), (404, Refused), (401, Refused), (307, Refused)]
)
def test_answers_that_mean_later_and_answers_that_mean_never(status: int, failure: type[Exception]) -> None:
    posted = feeds.Posted(status)
    with feeds.serving(posted.handler) as port:
        carrier = hook(f"http://me:s3cret@127.0.0.1:{port}/hook?key=k3y")
        with pytest.raises(failure, match=str(status)) as told:
            carrier.send(event())
    assert "s3cret" not in str(told.value)
    assert "k3y" not in str(told.value)
    assert len(posted.requests) == 1  # a redirection is not followed


def test_a_web_server_that_is_not_there() -> None:
    with pytest.raises(Unsent, match="cannot be reached: Connection refused") as told:
        hook(f"http://me:s3cret@127.0.0.1:{feeds.free_port()}/hook").send(event())
    assert "s3cret" not in str(told.value)


@pytest.fixture
def broker() -> Iterator[feeds.Broker]:
    made = feeds.Broker()
    yield made
    made.kill()


def publisher(url: str) -> Mqtt:
    pytest.importorskip("paho.mqtt", reason="the MQTT library is not installed: pip install 'iznet[live]'")
    return Mqtt(Address.server(url, mqtt.SCHEMES))


def test_a_broker_gets_every_event_under_its_topic(broker: feeds.Broker) -> None:
    carrier = publisher(f"mqtt://me:s3cr%40t@127.0.0.1:{broker.port}/home/faces")
    for n in range(3):
        carrier.send(event(n, "left" if n == 2 else "appeared", "front/door +1"))
    carrier.close()
    topics = [topic for topic, _ in broker.published]
    assert topics == ["home/faces/front-door -1/appeared"] * 2 + ["home/faces/front-door -1/left"]
    assert [body["track"] for _, body in broker.published] == [0, 1, 2]
    (connect,) = broker.connects
    assert b"me" in connect
    assert b"s3cr@t" in connect


def test_a_broker_that_goes_and_comes_back(broker: feeds.Broker) -> None:
    carrier = publisher(f"mqtt://127.0.0.1:{broker.port}")
    outbox = Outbox("broker", carrier, quick())
    outbox.start()
    outbox.put(event(1))
    feeds.until(lambda: len(broker.published) == 1)
    broker.kill()
    outbox.put(event(2))
    feeds.until(lambda: outbox.health.state == "waiting")
    again = feeds.Broker(broker.port)
    feeds.until(lambda: [body["track"] for _, body in again.published] == [2])
    outbox.close()
    again.kill()
    assert again.published[0][0] == "iznet/door/appeared"
    assert outbox.outcomes["sent"] == 2


def test_a_broker_that_lets_nobody_in_or_confirms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "TIMEOUT", 0.5)
    strict, mute = feeds.Broker(answer=5), feeds.Broker(confirms=False)
    for broker, words in ((strict, "lets nobody in"), (mute, "does not confirm")):
        carrier = publisher(f"mqtt://me:s3cret@127.0.0.1:{broker.port}/a")
        with pytest.raises(Unsent, match=words) as told:
            carrier.send(event())
        assert "s3cret" not in str(told.value)
        carrier.close()
        broker.kill()
    with pytest.raises(Unsent, match="cannot be reached"):
        publisher(f"mqtt://127.0.0.1:{strict.port}").send(event())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


Place = Literal["https", "mqtts"]


@contextlib.contextmanager
def secured(place: Place, tls: ssl.SSLContext) -> Iterator[tuple[Webhook | Mqtt, Callable[[], list[int]]]]:
    """A server that talks TLS, whoever sends to it, and the tracks of the events that it got."""
    if place == "https":
        posted = feeds.Posted(200)
        with feeds.serving(posted.handler, tls) as port:
            yield hook(f"https://me:s3cret@127.0.0.1:{port}/hook"), lambda: [b["track"] for _, b in posted.requests]
    else:
        broker = feeds.Broker(tls=tls)
        yield publisher(f"mqtts://me:s3cret@127.0.0.1:{broker.port}"), lambda: [b["track"] for _, b in broker.published]
        assert not broker.published or broker.connects
        broker.kill()


@pytest.mark.parametrize("place", get_args(Place))
def test_a_server_with_a_trusted_certificate_gets_events_by_tls(
    place: Place, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with secured(place, authority.server()) as (carrier, got):
        carrier.send(event(5))
        carrier.send(event(6))
        carrier.close()
        assert got() == [5, 6]


@pytest.mark.parametrize("place", get_args(Place))
@pytest.mark.parametrize(
    ("trusted", "name", "expired", "words"),
    [
        (False, "127.0.0.1", False, r"not trusted: .*issuer.*; name the file .* SSL_CERT_FILE$"),
        (True, "broker.example", False, r"not trusted: .*not valid for '127.0.0.1'$"),
        (True, "127.0.0.1", True, r"not trusted: certificate has expired$"),
    ],
)
def test_a_wrong_certificate_is_refused_before_anything_is_said(
    place: Place,
    trusted: bool,
    name: str,
    expired: bool,
    words: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with secured(place, authority.server(name, expired=expired)) as (carrier, got):
        with pytest.raises(Unsent, match=words) as told:
            carrier.send(event())
        carrier.close()
        assert got() == []
    assert "s3cret" not in str(told.value)


def test_a_server_that_talks_no_tls(broker: feeds.Broker) -> None:
    with pytest.raises(Unsent, match=r"cannot be talked to by TLS|cannot be reached|does not answer") as told:
        publisher(f"mqtts://me:s3cret@127.0.0.1:{broker.port}").send(event())
    assert "s3cret" not in str(told.value)
    assert broker.published == []
    assert not any(b"me" in said for said in broker.connects)  # a handshake at the most


def test_a_wrong_certificate_harms_nobody_else(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other")
    with secured("https", authority.server()) as (good, got), secured("mqtts", stranger.server()) as (bad, never):
        outboxes = [Outbox(name, carrier, quick()) for name, carrier in (("good", good), ("bad", bad))]
        for outbox in outboxes:
            outbox.start()
            for number in range(3):
                outbox.put(event(number))
        feeds.until(lambda: got() == [0, 1, 2] and outboxes[1].health.state == "waiting")
        for outbox in outboxes:
            outbox.close()
        assert never() == []
    assert "not trusted" in (outboxes[1].health.problem or "")
    assert [outbox.outcomes for outbox in outboxes] == [{"sent": 3, "unsent": 0}, {"unsent": 3}]


def test_what_cannot_be_published_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no \\+ and no #"):
        publisher("mqtt://h/a/#".replace("#", "%23"))
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingError, match="pip install"):
        Mqtt(Address.server("mqtt://h", mqtt.SCHEMES))


def test_what_a_feed_shows_becomes_events_with_faces() -> None:
    carried: list[Event] = []

    class Keep:
        def send(self, item: Event, /) -> None:
            carried.append(item)

        def close(self) -> None:
            pass

    little = Thumbnails()
    events = Events("door", Outbox("place", Keep()), little.of)
    info = info_of()
    for n in range(40):
        frame = seen(n, info)
        little.frame(frame)
        events.frame(frame)
    feeds.until(lambda: len(carried) == 1)
    events.close({})
    appeared, left = carried
    assert (appeared.kind, appeared.camera, appeared.name, appeared.seconds) == ("appeared", "door", "ann", 0.0)
    assert left.kind == "left"
    assert (left.seconds, left.stayed) == pytest.approx((39 / 25, 39 / 25))
    assert (left.at - appeared.at).total_seconds() == pytest.approx(39 / 25, abs=1e-4)
    assert appeared.picture is not None
    picture = cv2.imdecode(np.frombuffer(appeared.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (112, 112, 3)


def test_people_leave_a_feed_that_gives_no_frames_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream.live.events.GAP", 0.1)
    monkeypatch.setattr("stream.live.outbox.TURN", 0.02)
    kinds: list[str] = []

    class Keep:
        def send(self, item: Event, /) -> None:
            kinds.append(item.kind)

        def close(self) -> None:
            pass

    events = Events("door", Outbox("place", Keep()))
    info = info_of()
    monkeypatch.setattr("stream.live.events.SURE", 0.0)
    events.frame(seen(0, info))
    feeds.until(lambda: kinds == ["appeared", "left"])
    events.close({})
    assert kinds == ["appeared", "left"]
