"""The page in a real browser: it moves, names appear, a stranger is named by hand and stays named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from tests.stream.chromium import PATIENCE, expect
from tests.stream.live import feeds
from tests.stream.live.page_run import Watched, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


from stream.live import server

NO_WEBRTC = "WebRTC is not installed: pip install 'iznet[webrtc]'"


@pytest.fixture
def run(detector: Detector, embedder: Embedder, group: Path) -> Iterator[Watched]:
    with watched(detector, embedder, group) as run:
        yield run


class Visit:
    """A page that is open, and all it complained about."""

    def __init__(self, browser: Browser, url: str, script: str = "", **settings: Any) -> None:
        self.page: Page = browser.new_page(**settings)
        self.page.add_init_script(script)
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector(".camera .now .name", timeout=PATIENCE)

    def names(self) -> list[str]:
        return sorted(self.page.locator(".now .name").all_inner_texts())

    def sees(self, count: int) -> None:
        """Wait until so many people are on screen."""
        expect(self.page.locator(".now .name")).to_have_count(count, timeout=PATIENCE)

    def sees_name(self, name: str) -> None:
        """Wait until somebody of that name is on screen."""
        expect(self.page.locator(".now .name").get_by_text(name, exact=True)).to_be_visible(timeout=PATIENCE)

    def name(self, name: str) -> None:
        """Name the unknown one, as somebody does who has only a keyboard."""
        self.page.locator(".now button", has_text="Name").first.focus()
        self.page.keyboard.press("Enter")
        self.page.wait_for_selector("dialog[open]")
        self.page.keyboard.type(name)
        self.page.keyboard.press("Enter")
        expect(self.page.locator("#naming")).to_be_hidden()


WAYS = ["jpeg", pytest.param("webrtc", marks=pytest.mark.skipif(server.Peers is None, reason=NO_WEBRTC))]
REDDEST = """async () => {
  const place = document.querySelector('.picture');
  const shown = [place.querySelector('video'), place.querySelector('canvas')].find((each) => !each.hidden);
  if (!shown) return 0;
  const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 240 });
  const pen = canvas.getContext('2d');
  pen.drawImage(shown, 0, 0, 320, 240);
  const [red, green] = pen.getImageData(64, 90, 1, 1).data;
  return red - green;
}"""
"""How red the picture is in the middle of where Ann stands."""


@pytest.mark.parametrize("way", WAYS)
def test_the_picture_moves_and_names_appear(
    way: str,
    detector: Detector,
    embedder: Embedder,
    group: Path,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == "jpeg":
        monkeypatch.setattr(server, "Peers", None)
    with watched(detector, embedder, group) as run:
        visit = Visit(browser, run.url)
        feeds.until(lambda: visit.page.evaluate(REDDEST) > 120)
        shown = visit.page.locator(".picture video" if way == "webrtc" else ".picture canvas")
        assert shown.is_visible()
        said = visit.page.locator(".way")
        if way == "webrtc":
            assert not said.is_visible()
            assert visit.page.evaluate("document.querySelector('.picture video').videoWidth") == 320
        else:
            expect(said).to_contain_text("JPEGs: WebRTC is not installed")
        visit.sees(2)
        assert visit.names() == ["Unknown", "ann"]
        expect(shown).to_have_attribute("aria-label", re.compile("ann"))
        frames = run.frames
        # Ann goes away: what is shown follows.
        run.people.append([feeds.SOMEBODY])
        visit.sees(1)
        assert run.frames > frames
        assert visit.names() == ["Unknown"]
        feeds.until(lambda: visit.page.evaluate(REDDEST) < 40)
        assert {"ann", "Unknown"} <= set(visit.page.locator(".lately .who").all_inner_texts())
        expect(visit.page.locator(".window")).to_have_text("The last 10 minutes")
        expect(visit.page.locator(".scale span").first).to_have_text(re.compile(r"^(now|−\d+ (s|min))$"))
        assert run.screen.draws
        visit.page.goto("about:blank")
        feeds.until(lambda: not run.screen.draws)
        assert visit.complaints == []
        visit.page.close()


def test_how_outputs_are_doing_and_how_long_ago_things_were(run: Watched, browser: Browser) -> None:
    state = run.state()
    (camera,) = state["cameras"]
    camera["outputs"] = [
        {"name": "new.mkv", "state": "not begun", "problem": None},
        {"name": "here.mkv", "state": "on", "problem": None, "skipped": 3},
        {"name": "full.mkv", "state": "failed", "problem": "the disk is full"},
    ]
    camera["timeline"] = {"now": 1000.0, "window": 600.0, "rows": [{"name": "ann", "stays": [[700.0, 800.0]]}]}
    with browser.new_context() as context:
        told = f"data: {json.dumps(state)}\n\n"
        context.route("**/events*", lambda route: route.fulfill(content_type="text/event-stream", body=told))
        page = context.new_page()
        page.goto(run.url)
        expect(page.locator(".outputs li")).to_have_text(
            ["new.mkv: nothing yet", "here.mkv: on, 3 pictures left out", "full.mkv: given up (the disk is full)"],
            timeout=PATIENCE,
        )
        assert page.locator(".scale span").all_inner_texts() == ["−2 min", "−4 min", "−6 min", "−8 min", "−10 min"]
        tick, bar = page.locator(".scale span", has_text="−4 min"), page.locator(".lately rect")
        at, stay = tick.bounding_box(), bar.bounding_box()
        assert at
        assert stay
        assert at["x"] - stay["x"] == pytest.approx(stay["width"] * 0.6, abs=1.5), "760 lies between 700 and 800"


def test_without_a_gallery_frames_are_looked_at_and_not_named(
    detector: Detector, embedder: Embedder, group: Path, browser: Browser
) -> None:
    for path, words in ((None, "Looked at"), (group, "Named")):
        with watched(detector, embedder, path) as run, browser.new_context() as context:
            page = context.new_page()
            page.goto(run.url)
            figures = page.locator(".figures dt")
            expect(figures.filter(has_text=re.compile(f"^{words}$"))).to_have_count(1, timeout=PATIENCE)
            assert any(each.startswith("Named") for each in figures.all_text_contents()) == (path is not None)


@pytest.mark.skipif(server.Peers is None, reason=NO_WEBRTC)
@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("delete window.RTCPeerConnection", "this browser has no WebRTC"),
        ("RTCPeerConnection.prototype.setRemoteDescription = () => Promise.reject(new Error('no'))", "(no)"),
    ],
)
def test_where_webrtc_does_not_work_it_is_said_and_the_picture_comes_all_the_same(
    broken: str, words: str, run: Watched, browser: Browser
) -> None:
    visit = Visit(browser, run.url, script=broken)
    expect(visit.page.locator(".way")).to_contain_text(words, timeout=PATIENCE)
    expect(visit.page.locator(".way")).to_contain_text("JPEGs")
    feeds.until(lambda: visit.page.evaluate(REDDEST) > 120)
    assert visit.page.locator(".picture canvas").is_visible()
    assert visit.complaints == []
    visit.page.close()


def test_a_stranger_is_named_by_keyboard_and_known_after_a_restart(
    run: Watched, browser: Browser, detector: Detector, embedder: Embedder, group: Path
) -> None:
    visit = Visit(browser, run.url)
    visit.sees(2)
    visit.name("Dora")
    visit.sees_name("Dora")
    assert visit.names() == ["Dora", "ann"]
    assert "Dora" in Gallery.load(group).people
    assert visit.page.locator("#said").is_visible()
    assert visit.complaints == []
    visit.page.close()
    with watched(detector, embedder, group) as again:
        visit = Visit(browser, again.url)
        visit.sees(2)
        assert visit.names() == ["Dora", "ann"]
        visit.page.close()


def test_a_correction_moves_the_looks_and_undoing_gives_them_back(run: Watched, browser: Browser, group: Path) -> None:
    visit = Visit(browser, run.url)
    visit.sees(2)
    visit.name("Dora")
    visit.sees_name("Dora")
    looks = len(Gallery.load(group).photos(0))
    visit.page.get_by_role("button", name="Correct the name Dora").last.click()
    visit.page.locator("#name").fill("BEN")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#naming")).to_be_hidden()
    visit.sees_name("ben")
    gallery = Gallery.load(group)
    assert gallery.people == ("ann", "ben")
    assert len(gallery.photos(1)) > 1
    visit.page.locator("#undo").click()
    visit.sees_name("Dora")
    gallery = Gallery.load(group)
    assert gallery.people == ("Dora", "ann", "ben")
    assert len(gallery.photos(0)) == looks
    assert len(gallery.photos(2)) == 1
    expect(visit.page.locator("#said")).to_contain_text("ben: taken back")  # not hidden by what holds again
    assert visit.complaints == []
    visit.page.close()


def test_all_of_it_can_be_done_with_the_keyboard(run: Watched, browser: Browser, group: Path) -> None:
    visit = Visit(browser, run.url)
    visit.sees(2)
    keyboard = visit.page.keyboard

    def reach(words: str) -> None:
        """Walk on until something that is called so has the focus."""
        for _ in range(30):
            keyboard.press("Tab")
            said = visit.page.evaluate(
                "((at) => at === document.body ? '' : at.ariaLabel || at.textContent || at.id)(document.activeElement)"
            )
            if words in said:
                shown = visit.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                assert shown != "none", f"{said} has the focus, and nobody sees it"
                return
        raise AssertionError(f"{words} was not reached")

    reach("Name this unknown person")
    keyboard.press("Enter")
    expect(visit.page.locator("#name")).to_be_focused()
    keyboard.press("Escape")
    expect(visit.page.locator("dialog")).to_be_hidden()
    assert "Name" in visit.page.evaluate("document.activeElement.ariaLabel")  # back where it was
    keyboard.press("Enter")
    keyboard.type("Dora")
    reach("Cancel")
    keyboard.press("Enter")
    assert Gallery.load(group).people == ("ann", "ben")
    keyboard.press("Enter")
    keyboard.press("Control+A")
    keyboard.type("Dora")
    keyboard.press("Enter")
    expect(visit.page.locator("dialog")).to_be_hidden()
    visit.sees_name("Dora")
    reach("Undo")
    keyboard.press("Enter")
    visit.sees_name("Unknown")
    assert Gallery.load(group).people == ("ann", "ben")
    assert visit.complaints == []
    visit.page.close()


def test_a_naming_is_undone(run: Watched, browser: Browser, group: Path) -> None:
    visit = Visit(browser, run.url)
    visit.sees(2)
    # By a click on the face in the picture.
    visit.page.locator(".boxes button.unknown").click()
    visit.page.locator("#name").fill("Dora")
    visit.page.locator("dialog button[type=submit]").click()
    visit.sees_name("Dora")
    visit.page.locator("#undo").click()
    visit.sees_name("Unknown")
    assert Gallery.load(group).people == ("ann", "ben")
    assert visit.complaints == []
    visit.page.close()


def test_a_name_that_is_none_is_refused_in_words(run: Watched, browser: Browser, group: Path) -> None:
    visit = Visit(browser, run.url)
    visit.page.locator(".now button", has_text="Name").first.click()
    visit.page.locator("#name").fill("   ")
    visit.page.locator("dialog button[type=submit]").click()
    expect(visit.page.locator("#refused")).to_contain_text("is no name")
    visit.page.keyboard.press("Escape")
    assert not visit.page.locator("dialog").is_visible()
    assert Gallery.load(group).people == ("ann", "ben")
    visit.page.close()


def test_a_name_cannot_bring_code_along(detector: Detector, embedder: Embedder, group: Path, browser: Browser) -> None:
    evil = "<img src=x onerror=document.title='owned'>"
    with watched(detector, embedder, group, name="stage") as run:
        visit = Visit(browser, run.url)
        visit.sees(2)
        visit.name(evil)
        visit.sees_name(evil)
        assert visit.page.title() == "IZ*Net live"
        assert visit.page.locator("main img[src=x]").count() == 0
        visit.page.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 568), (1280, 900)], ids=["phone", "small", "desk"])
def test_it_fits_and_everybody_can_use_it(width: int, height: int, scheme: str, run: Watched, browser: Browser) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    visit = Visit(browser, run.url, viewport={"width": width, "height": height}, color_scheme=scheme)
    visit.sees(2)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = axe.Axe().run(visit.page)
    assert found.violations_count == 0, found.generate_report()
    visit.page.locator(".now button", has_text="Name").first.click()
    visit.page.wait_for_selector("dialog[open]")
    found = axe.Axe().run(visit.page)
    assert found.violations_count == 0, found.generate_report()
    visit.page.close()


def test_a_wrong_token_is_refused(detector: Detector, embedder: Embedder, group: Path, browser: Browser) -> None:
    with watched(detector, embedder, group, token="right") as run:
        page = browser.new_page()
        assert page.goto(f"{run.url}?token=wrong").status == 401  # type: ignore[union-attr]
        assert page.goto(run.url).status == 401  # type: ignore[union-attr]
        page.goto(f"{run.url}?token=right")
        assert page.url == run.url
        page.wait_for_selector(".camera .now .name")
        page.close()
