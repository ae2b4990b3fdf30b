"""The server of a review, asked as a program would, and as somebody would who means no good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'iznet[live]'")
pytest.importorskip("uvicorn", reason="the page's packages are not installed: pip install 'iznet[live]'")

from tests.stream.asking import pieces
from tests.stream.live import feeds
from tests.stream.review import stage
from tests.stream.review.served import Served, served


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(stage.both(tmp_path_factory.mktemp("review")), people=("Minju",)) as run:
        yield run


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    """For tests that change the record."""
    with served(stage.both(tmp_path)) as run:
        yield run


def test_the_page_and_what_it_shares_come_with_strict_headers(run: Served) -> None:
    for path, kind in {
        "/": "text/html",
        "/review.js": "text/javascript",
        "/overlay.js": "text/javascript",
        "/player.js": "text/javascript",
        "/shared.js": "text/javascript",
        "/style.css": "text/css",
        "/review.css": "text/css",
        "/icon.svg": "image/svg+xml",
    }.items():
        status, headers, body = run.ask("GET", path)
        assert (status, headers["content-type"]) == (200, f"{kind}; charset=utf-8")
        assert body
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
    page = run.ask("GET", "/")[2].decode()
    for forbidden in ("<script>", "style=", "onclick", "http://", "https://"):
        assert forbidden not in page


@pytest.mark.parametrize(
    "path",
    [
        "/../review.py",
        "/%2e%2e/review.py",
        "/..%2freview.py",
        "/page/index.html",
        "//etc/passwd",
        "/index.html",
        "/app.js",
        "/mv.mp4",
        "/mv.tracks.jsonl",
        "/video/../mv.mp4",
        "/frames/-1.jpg",
        "/frames/1.png",
        "/frames/..%2f1.jpg",
        "/tracks/x.jpg",
    ],
)
def test_nothing_else_is_served_from_the_disk(path: str, run: Served) -> None:
    assert run.ask("GET", path)[0] == 404


def test_the_video_comes_whole_or_in_parts(run: Served) -> None:
    whole = (run.path.parent / "mv.mp4").read_bytes()
    status, headers, body = run.ask("GET", "/video")
    assert (status, headers["content-type"], headers["accept-ranges"]) == (200, "video/mp4", "bytes")
    assert body == whole
    size = len(whole)
    for spelt, first, last in (
        ("bytes=0-99", 0, 99),
        ("bytes=100-", 100, size - 1),
        ("bytes=-50", size - 50, size - 1),
        (f"bytes=0-{10 * size}", 0, size - 1),
    ):
        status, headers, body = run.ask("GET", "/video", headers={"range": spelt})
        assert (status, headers["content-range"]) == (206, f"bytes {first}-{last}/{size}")
        assert body == whole[first : last + 1]
    assert run.ask("HEAD", "/video")[1]["content-length"] == str(size)
    assert run.ask("GET", "/video", headers={"range": f"bytes={size}-"})[0] == 416


RANGES = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map("bytes={}".format),
    st.lists(
        st.tuples(st.integers(-5, 10**12) | st.none(), st.integers(-5, 10**12) | st.none()).map(
            lambda pair: "-".join("" if part is None else str(part) for part in pair)
        ),
        max_size=40,
    ).map(lambda parts: "bytes=" + ",".join(parts)),
    st.just("bytes=" + ",".join(["0-"] * 2000)),
)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(asked=RANGES)
def test_whatever_range_is_asked_for_no_more_than_the_video_comes(asked: str, run: Served) -> None:
    whole = (run.path.parent / "mv.mp4").read_bytes()
    status, headers, body = run.ask("GET", "/video", headers={"range": asked})
    assert status in (200, 206, 400, 416)
    assert len(body) <= 2 * len(whole) + 20_000
    if status == 200:
        assert body == whole
    if status == 206 and "content-range" in headers:
        first, last = headers["content-range"].removeprefix("bytes ").partition("/")[0].split("-")
        assert body == whole[int(first) : int(last) + 1]
    assert run.ask("GET", "/healthz")[0] == 200


def test_frames_and_faces_come_as_pictures(run: Served) -> None:
    status, headers, body = run.ask("GET", "/frames/17.jpg?abc")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    with Image.open(BytesIO(body)) as picture:
        assert picture.size == (stage.WIDTH, stage.HEIGHT)
    assert run.ask("GET", "/tracks/3.jpg")[0] == 200
    for path in ("/frames/45.jpg", "/frames/999999999999999999999.jpg", "/tracks/6.jpg"):
        status, _, body = run.ask("GET", path)
        assert status == 400
        assert json.loads(body)["error"]


def test_naming_undoing_and_saving(own: Served) -> None:
    asked = {"track": 3, "name": "Minju", "everywhere": True}
    status, _, body = own.ask("POST", "/names", asked)
    assert status == 409
    assert json.loads(body)["consent"] == "new"
    status, _, body = own.ask("POST", "/names", asked | {"new": True})
    assert status == 200
    state = json.loads(body)
    assert state["unsaved"] == 3
    assert state == own.state()
    assert own.ask("POST", "/names", {"track": 0, "name": None})[0] == 200
    number = own.state()["undo"]["number"]
    assert own.ask("POST", "/undo", {"number": number})[0] == 200
    assert own.ask("POST", "/undo", {"number": number})[0] == 400
    again = own.state()["redo"]["number"]
    assert again == number
    assert own.ask("POST", "/redo", {"number": again + 1})[0] == 400
    assert own.ask("POST", "/redo", {"number": again})[0] == 200
    assert own.ask("POST", "/redo", {"number": again})[0] == 400
    assert own.ask("POST", "/undo", {"number": number})[0] == 200
    assert json.loads(own.ask("POST", "/save", {})[2])["unsaved"] == 0
    assert own.path.with_name("mv.tracks.jsonl.bak").exists()


def test_a_page_of_another_review_changes_nothing(own: Served) -> None:
    assert own.state()["run"] == own.review.run == json.loads(own.ask("GET", "/scenes")[2])["run"]
    asked = {"track": 4, "name": "Yuri"}
    for path in ("/names", "/undo", "/redo", "/save", "/discard", "/render", "/stop"):
        status, _, body = own.ask("POST", path, asked, {"x-iznet": "0123456789abcdef"})
        assert (status, json.loads(body)["run"]) == (409, own.review.run)
        assert "reload the page" in json.loads(body)["error"]
    assert own.state()["version"] == 0


def test_servers_on_two_ports_keep_their_tokens_apart(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with (
        served(stage.both(tmp_path / "one"), token="one-token") as one,
        served(stage.both(tmp_path / "other"), token="other-token") as other,
    ):
        # A browser sends what either has set to both.
        kept = "; ".join(
            each.ask("GET", f"/?token={token}")[1]["set-cookie"].partition(";")[0]
            for each, token in ((one, "one-token"), (other, "other-token"))
        )
        for each in (one, other):
            assert each.ask("GET", "/state", headers={"cookie": kept})[0] == 200


def test_what_is_not_saved_is_discarded(own: Served) -> None:
    own.ask("POST", "/names", {"track": 0, "name": "Chaewon"})
    own.ask("POST", "/save", {})
    own.ask("POST", "/names", {"track": 4, "name": "Yuri"})
    state = json.loads(own.ask("POST", "/discard", {})[2])
    assert (state["unsaved"], state["undo"], state["redo"], state["version"]) == (0, None, None, 4)
    assert {group["label"]: group["tracks"] for group in state["groups"]}["Chaewon"] == [0, 2]


def test_somebody_twice_on_a_picture_is_asked_about(own: Served) -> None:
    status, _, body = own.ask("POST", "/names", {"track": 1, "name": "Yuri"})
    assert (status, json.loads(body)["consent"]) == (409, "displace")
    assert own.ask("POST", "/names", {"track": 1, "name": "Yuri", "displace": True})[0] == 200
    assert {group["label"]: group["tracks"] for group in own.state()["groups"]}["Yuri"] == [1]


def test_drawing_again_is_followed(own: Served) -> None:
    own.ask("POST", "/names", {"track": 1, "name": "Chaewon"})
    status, _, body = own.ask("POST", "/render", {})
    assert status == 400
    assert "save them first" in json.loads(body)["error"]
    own.ask("POST", "/save", {})
    status, _, body = own.ask("POST", "/render", {})
    assert status == 200
    assert json.loads(body)["rendering"]["state"] in ("running", "done")
    feeds.until(lambda: own.state()["rendering"]["state"] != "running", 60)
    rendering = own.state()["rendering"]
    assert (rendering["state"], rendering["done"], rendering["total"]) == ("done", stage.FRAMES, stage.FRAMES)
    status, _, body = own.ask("POST", "/render", {})
    assert (status, json.loads(body)["consent"]) == (409, "replace")
    assert own.ask("POST", "/stop", {})[0] == 200


def test_half_a_character_is_no_name(own: Served) -> None:
    status, _, body = own.ask("POST", "/names", {"track": 3, "name": "\ud800", "new": True})
    assert (status, json.loads(body)["error"]) == (400, "'\\ud800' is no name; it takes whole characters")


def test_a_video_that_is_gone_is_told(own: Served) -> None:
    (own.path.parent / "mv.mp4").unlink()
    assert own.ask("GET", "/video")[0] == 404
    assert own.ask("GET", "/frames/3.jpg")[0] == 400
    assert own.ask("GET", "/state")[0] == 200


def test_changes_from_elsewhere_are_refused(own: Served) -> None:
    asked = {"track": 4, "name": "Yuri"}
    assert own.ask("POST", "/names", asked, {"origin": "http://evil.example"})[0] == 403
    assert own.ask("POST", "/names", asked, {"sec-fetch-site": "cross-site"})[0] == 403
    assert own.ask("POST", "/names", asked, {"content-type": "text/plain"})[0] == 415
    assert own.ask("POST", "/save", asked, {"host": "evil.example"})[0] == 421
    assert own.ask("GET", "/video", headers={"host": "evil.example"})[0] == 421
    for path in ("/names", "/undo", "/redo", "/save", "/discard", "/render", "/stop"):
        assert own.ask("GET", path)[0] in (404, 405)
    assert own.state()["version"] == 0


def test_a_token_guards_everything(tmp_path: Path) -> None:
    with served(stage.both(tmp_path), token="s3cret-token") as run:
        for path in ("/", "/scenes", "/state", "/events", "/video", "/frames/0.jpg", "/tracks/0.jpg", "/review.js"):
            assert run.ask("GET", path)[0] == 401
        assert run.ask("POST", "/save", {})[0] == 401
        assert run.ask("GET", "/?token=wrong")[0] == 401
        _, headers, _ = run.ask("GET", "/?token=s3cret-token")
        known = {"cookie": headers["set-cookie"].partition(";")[0]}
        for path in ("/", "/scenes", "/video"):
            assert run.ask("GET", path, headers=known)[0] == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = ("track", "name", "everywhere", "new", "displace", "number", "replace")
BODIES = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda data: json.dumps(data).encode()),
    st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON)).map(lambda data: json.dumps(data).encode()),
    st.builds(
        lambda track, name: json.dumps({"track": track, "name": name, "new": True, "displace": True}).encode(),
        st.integers(-1, 7),
        st.text(max_size=90) | st.none(),
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=BODIES, path=st.sampled_from(["/names", "/undo", "/redo"]))
def test_whatever_is_sent_is_answered_and_the_file_stays(body: bytes, path: str, run: Served) -> None:
    before = run.path.read_bytes()
    status, _, answer = run.ask("POST", path, body)
    assert status in (200, 400, 409, 413)
    if status in (400, 409):
        assert json.loads(answer)["error"]
    assert run.ask("GET", "/state")[0] == 200
    assert run.path.read_bytes() == before


OWN = {"/", "/video", "/frames/1.jpg", "/tracks/1.jpg"}
PIECES = pieces("mv.mp4", "mv.tracks.jsonl", "video", "frames", "tracks", "1.jpg")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pieces=st.lists(PIECES, max_size=6))
def test_whatever_path_is_asked_for_nothing_else_is_read(pieces: list[str], run: Served) -> None:
    path = "/" + "/".join(pieces)
    if path.split("?")[0].split("#")[0] in OWN:
        return
    status, headers, body = run.ask("GET", path)
    assert status in (400, 401, 404, 405)
    assert headers["x-content-type-options"] == "nosniff"
    assert len(body) < 200
