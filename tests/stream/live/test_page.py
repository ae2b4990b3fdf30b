"""The page in a real browser: it moves, names appear, a stranger is named by hand and stays named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.detector import Detector
from engine.embedder import Embedder
from engine.gallery import Gallery
from tests.stream.live import feeds
from tests.stream.live.page_run import Watched, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("starlette", reason="the page's packages are not installed: pip install 'iznet[live]'")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
expect = playwright.expect

PATIENCE = 30_000
"""Milliseconds."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def group(tmp_path: Path, embedder: Embedder) -> Path:
    path = tmp_path / "group.gallery"
    feeds.gallery_of(embedder, "ann", "ben").save(path)
    return path


@pytest.fixture
def run(detector: Detector, embedder: Embedder, group: Path) -> Iterator[Watched]:
    with watched(detector, embedder, group) as run:
        yield run


class Visit:
    """A page that is open, and all it complained about."""

    def __init__(self, browser: Browser, url: str, **settings: Any) -> None:
        self.page: Page = browser.new_page(**settings)
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


def test_the_picture_moves_and_names_appear(run: Watched, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    image = visit.page.locator(".picture img")
    feeds.until(lambda: visit.page.evaluate("document.querySelector('.picture img').naturalWidth") == 320)
    visit.sees(2)
    assert visit.names() == ["Unknown", "ann"]
    assert "ann" in (image.get_attribute("alt") or "")
    frames = run.frames
    # Ann goes away: what is shown follows.
    run.people.append([feeds.SOMEBODY])
    visit.sees(1)
    assert run.frames > frames
    assert visit.names() == ["Unknown"]
    assert {"ann", "Unknown"} <= set(visit.page.locator(".lately .who").all_inner_texts())
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


@pytest.mark.parametrize(("width", "height"), [(360, 740), (1280, 900)], ids=["phone", "desk"])
def test_it_fits_and_everybody_can_use_it(width: int, height: int, run: Watched, browser: Browser) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    visit = Visit(browser, run.url, viewport={"width": width, "height": height})
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
