"""The page's server, asked as a program would."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from engine.detector import Detector
from engine.embedder import Embedder
from engine.errors import OutputError
from engine.gallery import Gallery
from stream.live.guard import LARGEST_BODY
from tests.stream.asking import pieces
from tests.stream.live import feeds
from tests.stream.live.page_run import Watched, watched

pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'iznet[live]'")
pytest.importorskip("uvicorn", reason="the page's packages are not installed: pip install 'iznet[live]'")


@pytest.fixture(scope="module")
def run(detector: Detector, embedder: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    path = tmp_path_factory.mktemp("gallery") / "group.gallery"
    feeds.gallery_of(embedder, "ann", "ben").save(path)
    with watched(detector, embedder, path) as run:
        yield run


def unknown(run: Watched) -> dict[str, int]:
    """The unknown face, as a page names it."""
    camera = run.state()["cameras"][0]
    face = next(face for face in camera["faces"] if face["box"][0] > 0.5)
    return {"camera": 0, "epoch": camera["epoch"], "track": face["track"]}


def test_the_page_comes_with_strict_headers(run: Watched) -> None:
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")):
        status, headers, body = run.ask("GET", path)
        assert (status, headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert body
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_the_page_has_no_code_or_style_that_its_headers_forbid(run: Watched) -> None:
    page = run.ask("GET", "/")[2].decode()
    assert "<script>" not in page
    assert "style=" not in page
    assert "onclick" not in page


@pytest.mark.parametrize(
    "path",
    ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/page/index.html", "//etc/passwd", "/index.html", "/x"],
)
def test_only_the_page_is_served_from_the_disk(path: str, run: Watched) -> None:
    assert run.ask("GET", path)[0] == 404


def test_a_page_is_told_who_is_there(run: Watched) -> None:
    feeds.until(lambda: len(run.state()["cameras"][0]["faces"]) == 2)
    state = run.state()
    (camera,) = state["cameras"]
    assert (camera["name"], camera["state"]) == ("stage", "live")
    assert (
        camera["came"] == camera["named"] + sum(camera["dropped"].values()) + run.live.cameras[0].room.waiting or True
    )
    assert {face["name"] for face in camera["faces"]} >= {"ann"}
    for face in camera["faces"]:
        assert all(0 <= part <= 1 for part in face["box"])
    assert {row["name"] for row in camera["timeline"]["rows"]} >= {"ann"}
    assert state["naming"] is True
    assert set(state["people"]) >= {"ann", "ben"}


def test_no_secret_of_the_source_is_told_to_anybody(run: Watched) -> None:
    everything = json.dumps(run.state()).encode() + run.ask("GET", "/metrics")[2] + run.ask("GET", "/")[2]
    for secret in (b"s3cret", b"k3y", b"me:"):
        assert secret not in everything
    assert b"rtsp://h.invalid/1?key=***" in everything


def test_the_live_picture_moves(run: Watched) -> None:
    got: dict[int, bytes] = {}

    def asked() -> bool:
        latest = max(got, default=0)
        status, headers, body = run.ask("GET", f"/cameras/0/picture.jpg?after={latest}")
        if status == 204:
            assert body == b""
            return False
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert int(headers["x-number"]) > latest
        got[int(headers["x-number"])] = body
        return len(got) >= 4

    feeds.until(asked)
    for body in got.values():
        with Image.open(BytesIO(body)) as picture:
            assert picture.size == (320, 240)

    # Ann's box is drawn where somebody looks: red, on the dark ground just inside its edge.
    def boxed() -> bool:
        with Image.open(BytesIO(run.ask("GET", "/cameras/0/picture.jpg")[2])) as picture:
            red, green, blue = picture.convert("RGB").getpixel((41, 90))  # type: ignore[misc]
        return red > 150 and max(green, blue) < 110

    feeds.until(boxed)
    assert run.ask("GET", "/cameras/0/picture.jpg?after=999999999999999")[0] == 204
    for after in ("-1", "x", "1.5", "", "9" * 400):
        assert run.ask("GET", f"/cameras/0/picture.jpg?after={after}")[0] == 400


def test_no_answer_but_the_news_goes_on_for_ever(run: Watched) -> None:
    # A browser has six connections to a server: with one held for each picture, there is none left to give a name.
    for camera in range(12):
        assert run.ask("GET", f"/cameras/{min(camera, 1)}/picture.jpg")[0] in (200, 404)
    assert run.ask("GET", "/cameras/0/live.mjpg")[0] == 404


def test_a_page_of_another_run_names_nobody(run: Watched) -> None:
    feeds.until(lambda: any(face["box"][0] > 0.5 for face in run.state()["cameras"][0]["faces"]))
    before = run.state()
    assert before["run"] == run.page.run
    for path, data in (("/names", {**unknown(run), "name": "Eve"}), ("/undo", {"number": 1})):
        status, _, body = run.ask("POST", path, data, {"x-iznet": "0123456789abcdef"})
        assert (status, json.loads(body)["run"]) == (409, run.page.run)
        assert "reload the page" in json.loads(body)["error"]
    assert "Eve" not in run.state()["people"]


def test_every_face_has_a_little_picture(run: Watched) -> None:
    face = unknown(run)
    status, headers, body = run.ask("GET", f"/cameras/0/faces/{face['epoch']}-{face['track']}.jpg")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    with Image.open(BytesIO(body)) as picture:
        assert picture.size == (112, 112)
        middle = picture.convert("RGB").getpixel((56, 56))
    assert middle == pytest.approx(feeds.STRANGER, abs=12)
    assert run.ask("GET", "/cameras/0/faces/1-99999.jpg")[0] == 404
    assert run.ask("GET", "/cameras/7/faces/1-0.jpg")[0] == 404
    assert run.ask("GET", "/cameras/7/picture.jpg")[0] == 404
    assert run.ask("GET", "/cameras/-1/picture.jpg")[0] == 404


def test_naming_and_taking_it_back(run: Watched) -> None:
    assert run.gallery is not None
    feeds.until(lambda: any(face["box"][0] > 0.5 for face in run.state()["cameras"][0]["faces"]))
    status, _, body = run.ask("POST", "/names", {**unknown(run), "name": "Dora"})
    assert status == 200
    given = json.loads(body)
    assert (given["name"], given["new"]) == ("Dora", True)
    frames = run.frames
    feeds.until(lambda: run.frames > frames + 1)
    assert {face["name"] for face in run.state()["cameras"][0]["faces"]} == {"ann", "Dora"}
    assert "Dora" in Gallery.load(run.gallery).people
    assert run.state()["undo"] == given
    assert run.ask("POST", "/undo", {"number": given["number"]})[0] == 200
    assert "Dora" not in Gallery.load(run.gallery).people
    assert run.ask("POST", "/undo", {"number": given["number"]})[0] == 400


def test_half_a_character_is_no_name(run: Watched) -> None:
    feeds.until(lambda: any(face["box"][0] > 0.5 for face in run.state()["cameras"][0]["faces"]))
    status, _, body = run.ask("POST", "/names", {**unknown(run), "name": "\ud800"})
    assert (status, json.loads(body)["error"]) == (400, "'\\ud800' is no name; it takes whole characters")


def test_changes_from_elsewhere_are_refused(run: Watched) -> None:
    asked = {**unknown(run), "name": "Eve"}
    assert run.ask("POST", "/names", asked, {"origin": "http://evil.example"})[0] == 403
    assert run.ask("POST", "/names", asked, {"x-iznet": "1", "content-type": "text/plain"})[0] == 415
    assert run.ask("GET", "/names")[0] in (404, 405)
    assert "Eve" not in run.state()["people"]


def test_bodies_are_bounded(run: Watched) -> None:
    assert run.ask("POST", "/names", b" " * (LARGEST_BODY + 1))[0] == 413
    assert run.ask("POST", "/names", b"{}", {"transfer-encoding": "chunked"})[0] == 413
    assert run.ask("POST", "/names", b"{}", {"content-length": "two"})[0] in (400, 413)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=st.one_of(
        st.binary(max_size=60),
        JSON.map(lambda data: json.dumps(data).encode()),
        st.fixed_dictionaries({"camera": JSON, "epoch": JSON, "track": JSON, "name": JSON}).map(
            lambda data: json.dumps(data).encode()
        ),
    ),
    path=st.sampled_from(["/names", "/undo", "/cameras/0/offer"]),
)
def test_whatever_is_sent_is_answered_and_breaks_nothing(body: bytes, path: str, run: Watched) -> None:
    status, _, answer = run.ask("POST", path, body)
    assert status in (400, 413)
    if status == 400:
        assert json.loads(answer)["error"]


def test_metrics_can_be_read_and_add_up(run: Watched) -> None:
    status, headers, body = run.ask("GET", "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    values = {}
    for line in body.decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    assert values['iznet_up{camera="stage"}'] == 1
    assert values['iznet_frames_named_total{camera="stage"}'] > 0
    assert values['iznet_latency_seconds_bucket{camera="stage",le="+Inf"}'] > 0
    assert values['iznet_stage_calls_total{stage="detect"}'] > 0
    assert values["process_resident_memory_bytes"] > 10_000_000


def test_health(run: Watched) -> None:
    assert run.ask("GET", "/healthz")[::2] == (200, b"ok\n")
    assert run.ask("GET", "/readyz")[::2] == (200, b"ok\n")


def test_a_token_opens_the_door_and_leaves_the_address_bar(detector: Detector, embedder: Embedder) -> None:
    with watched(detector, embedder, None, token="s3cret-token") as run:
        assert run.ask("GET", "/")[0] == 401
        assert run.ask("GET", "/events")[0] == 401
        assert run.ask("GET", "/?token=wrong")[0] == 401
        assert run.ask("GET", "/healthz")[0] == 200
        status, headers, _ = run.ask("GET", "/?token=s3cret-token")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        known = {"cookie": cookie.partition(";")[0]}
        assert run.ask("GET", "/", headers=known)[0] == 200
        assert run.ask("GET", "/metrics", headers={"authorization": "Bearer s3cret-token"})[0] == 200
        # Without a gallery there is nowhere to keep a name.
        asked = {"camera": 0, "epoch": 1, "track": 0, "name": "Dora"}
        status, _, body = run.ask("POST", "/names", asked, known)
        assert status == 400
        assert "-g" in json.loads(body)["error"]


def test_a_port_that_is_taken_is_told(detector: Detector, tmp_path: Path) -> None:
    from stream.live.guard import Guard, Place
    from stream.live.run import Live
    from stream.live.server import LivePage, Server
    from tests.stream.live.test_run import cameras

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        page = LivePage(Live(cameras("a"), detector), [], [], Guard(True))
        with pytest.raises(OutputError, match=f"{port}.*--serve"):
            Server(page, Place("127.0.0.1", port))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "127.0.0.1"])
def test_the_address_that_is_told_can_be_opened(host: str) -> None:
    from stream.live.guard import Place
    from stream.live.serving import bound, reachable

    told = reachable(host)
    assert told not in ("0.0.0.0", "::")
    try:
        listening = bound(Place(host, 0))
    except OutputError:
        pytest.skip("no IPv6 here")
    with listening, socket.create_connection((told, listening.getsockname()[1]), timeout=10):
        pass


PIECES = pieces("group.gallery", "cameras", "0", "faces", "1-1.jpg", "names")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pieces=st.lists(PIECES, max_size=6))
def test_whatever_path_is_asked_for_nothing_else_is_read(pieces: list[str], run: Watched) -> None:
    path = "/" + "/".join(pieces)
    if path.split("?")[0].split("#")[0] in ("/",):
        return
    status, headers, body = run.ask("GET", path)
    assert status in (400, 401, 404, 405)
    assert headers["x-content-type-options"] == "nosniff"
    assert len(body) < 200
