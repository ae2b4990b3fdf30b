"""The page of a live run when connections are few, lost, or another run's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from stream.live.screen import Screen
from tests.stream.chromium import PATIENCE, expect
from tests.stream.live import feeds
from tests.stream.live.page_run import Watched, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

from stream.live import server

MANY = 12
"""Cameras: more than a browser has connections to one server."""
DRAWN = (
    """() => [...document.querySelectorAll('.camera canvas')].map((canvas) => !canvas.hidden && canvas.width === 320)"""
)


@pytest.fixture
def run(detector: Detector, embedder: Embedder, group: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Without WebRTC."""
    monkeypatch.setattr(server, "Peers", None)
    with watched(detector, embedder, group) as run:
        yield run


def multiplied(run: Watched, cameras: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the run have that many cameras that show the same."""
    told = run.page.state

    class Same(list[Screen]):
        """As many as there are cameras to who asks for one, and the one that there is to who asks for all."""

        def __len__(self) -> int:
            return cameras

        def __getitem__(self, index: Any) -> Any:
            return run.screen

    def many() -> dict[str, Any]:
        state = told()
        return state | {"cameras": [state["cameras"][0] | {"name": f"camera {n}"} for n in range(cameras)]}

    monkeypatch.setattr(run.page, "state", many)
    monkeypatch.setattr(run.page, "_screens", Same([run.screen]))


def visited(browser: Browser, url: str, **settings: Any) -> Page:
    page = browser.new_page(**settings)
    page.goto(url)
    page.wait_for_selector(".camera .now .name", timeout=PATIENCE)
    return page


def named(page: Page, name: str) -> None:
    page.locator(".now button", has_text="Name").first.click()
    page.locator("#name").fill(name)
    page.locator("#submit").click()
    expect(page.locator("#naming")).to_be_hidden(timeout=PATIENCE)


def test_many_cameras_leave_a_connection_to_give_names(
    run: Watched, browser: Browser, group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplied(run, MANY, monkeypatch)
    with browser.new_context(viewport={"width": 1280, "height": 9000}) as context:
        pages = []
        for _ in range(3):  # a browser's pages share its connections
            page = context.new_page()
            page.goto(run.url)
            pages.append(page)
        feeds.until(lambda: all(page.evaluate(DRAWN) == [True] * MANY for page in pages), 60)
        named(pages[-1], "Dora")
        assert "Dora" in Gallery.load(group).people


def test_only_pictures_that_can_be_seen_are_asked_for(
    run: Watched, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    multiplied(run, 4, monkeypatch)
    page = browser.new_page(viewport={"width": 390, "height": 700})
    asked: Counter[str] = Counter()
    page.on("request", lambda request: asked.update([urlsplit(request.url).path]))
    page.goto(run.url)
    feeds.until(lambda: page.evaluate(DRAWN)[:1] == [True] and asked["/cameras/0/picture.jpg"] > 5, 60)
    assert asked["/cameras/3/picture.jpg"] == 0
    page.locator(".camera").last.scroll_into_view_if_needed()
    page.locator(".camera canvas").last.scroll_into_view_if_needed()
    feeds.until(lambda: page.evaluate(DRAWN)[3], 60)
    page.close()


def test_a_camera_that_is_lost_is_shown_as_lost(
    run: Watched, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visited(browser, run.url)
    feeds.until(lambda: page.evaluate(DRAWN) == [True], 60)
    faint = "Number(getComputedStyle(document.querySelector('.camera canvas')).opacity)"
    assert page.evaluate(faint) == 1
    state = run.page.state

    def lost() -> dict[str, Any]:
        told = state()
        return told | {"cameras": [told["cameras"][0] | {"state": "waiting", "problem": "no data"}]}

    monkeypatch.setattr(run.page, "state", lost)
    expect(page.locator(".state")).to_have_text("no signal, trying again", timeout=PATIENCE)
    assert page.evaluate(faint) < 0.5
    assert "no signal" in page.evaluate("document.querySelector('.camera canvas').ariaLabel")
    page.close()


def test_when_iznet_itself_is_gone_nobody_is_shown_as_live(
    detector: Detector, embedder: Embedder, group: Path, browser: Browser
) -> None:
    with watched(detector, embedder, group) as run:
        page = visited(browser, run.url)
        port = urlsplit(run.url).port
        assert port is not None
    expect(page.locator("#link")).to_contain_text("is lost", timeout=PATIENCE)
    expect(page.locator(".state")).to_have_text("no connection to IZ*Net")
    assert page.locator(".state.live").count() == 0
    expect(page.locator(".now")).to_have_text("Not known now")
    assert page.locator(".boxes button").count() == 0
    with watched(detector, embedder, group, port=port):
        expect(page.locator(".state")).to_have_text("live", timeout=PATIENCE)
        page.wait_for_selector(".camera .now .name", timeout=PATIENCE)
        expect(page.locator("#link")).to_have_text("")
        assert page.locator(".camera.stale").count() == 0
    page.close()


def test_who_is_being_named_when_another_run_begins_is_nobody_of_that_run(
    detector: Detector, embedder: Embedder, group: Path, browser: Browser
) -> None:
    with watched(detector, embedder, group, name="one") as run:
        page = visited(browser, run.url)
        port = urlsplit(run.url).port
        assert port is not None
        page.locator(".now button", has_text="Name").first.click()
        page.locator("#name").fill("Dora")
    with watched(detector, embedder, group, name="other", port=port):
        expect(page.locator("#naming")).to_be_hidden(timeout=PATIENCE)
        expect(page.locator("#said")).to_contain_text("started anew")
        expect(page.locator(".camera h2")).to_have_text("other")
        page.wait_for_selector(".camera .now .name", timeout=PATIENCE)
        named(page, "Dora")  # the page belongs to this run now
        assert "Dora" in Gallery.load(group).people
    page.close()


def test_what_was_named_before_is_no_news_to_a_page_that_is_opened_later(run: Watched, browser: Browser) -> None:
    one = visited(browser, run.url)
    named(one, "Dora")
    expect(one.locator("#said")).to_contain_text("Dora is known now")
    other = visited(browser, run.url)
    expect(other.locator(".now .name").get_by_text("Dora", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(other.locator("#said")).to_be_hidden()
    # What is named from now on is.
    one.locator("#undo").click()
    expect(one.locator(".now .name").get_by_text("Unknown", exact=True)).to_be_visible(timeout=PATIENCE)
    named(one, "Mia")
    expect(other.locator("#said")).to_contain_text("Mia is known now", timeout=PATIENCE)
    one.close()
    other.close()
