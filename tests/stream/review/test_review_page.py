"""The page of a review in a real browser: what is drawn lies on the frame it belongs to, and names are corrected."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stream.tracks import read
from tests.stream import media
from tests.stream.chromium import PATIENCE, expect
from tests.stream.live import feeds
from tests.stream.review import stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Route


from engine.embedder import Embedder
from engine.gallery import Gallery
from stream.review.review import Review
from stream.review.teaching import Teacher
from tests.stream.review.served import Served, served
from tests.stream.review.visit import LEFT_EDGE, Visit


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Served]:
    with served(stage.both(tmp_path), people=("Minju",)) as run:
        yield run


@pytest.fixture
def group(tmp_path: Path, embedder: Embedder) -> Path:
    """A gallery that can learn."""
    file = tmp_path / "group.gallery"
    feeds.gallery_of(embedder, "ann").save(file)
    return file


@pytest.fixture
def learning(tmp_path: Path, group: Path, embedder: Embedder) -> Iterator[Served]:
    teacher = partial(Teacher, group, lambda: embedder)
    with served(stage.both(tmp_path), people=("Minju",), teacher=teacher) as run:
        yield run


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pts": [6400 + 512 * i for i in range(stage.FRAMES)]},
        {"pts": media.vfr(stage.FRAMES, 512)},
        {"options": {"preset": "medium", "crf": "18", "bf": "3", "g": "15"}},
    ],
    ids=["even", "late", "uneven", "reordered"],
)
def test_what_is_drawn_lies_on_the_frame_it_belongs_to(
    settings: dict[str, Any], tmp_path: Path, browser: Browser
) -> None:
    with served(stage.both(tmp_path, **settings)) as run:
        visit = Visit(browser, run.url)
        for index in range(1, 5):
            visit.press("ArrowRight")
            visit.at(index)
        visit.press("ArrowLeft")
        visit.at(3)
        visit.page.locator("#where").focus()
        for index in (14, 15, 44, 29, 30, 0):
            visit.page.locator("#where").fill(str(index))
            visit.at(index)
            # Yuri and Chaewon are named in the first two shots; on the left of the third stands somebody unknown.
            assert visit.ink(LEFT_EDGE) == ("red" if index < 30 else "grey")
        visit.done()


@pytest.mark.parametrize(
    ("settings", "shape"),
    [({"rotation": 90}, stage.HEIGHT / stage.WIDTH), ({"sample_aspect": Fraction(4, 3)}, 64 / 27)],
    ids=["turned", "wide"],
)
def test_a_picture_that_is_turned_or_stretched_is_shown_as_a_player_shows_it(
    settings: dict[str, Any], shape: float, tmp_path: Path, browser: Browser
) -> None:
    path = stage.both(tmp_path, **settings)
    header = read(path).header
    with served(path) as run:
        visit = Visit(browser, run.url, square=False)
        feeds.until(lambda: visit.page.evaluate("document.querySelector('#video').videoWidth") > 0)
        width, height = visit.page.evaluate(
            "['Width', 'Height'].map((side) => document.querySelector('#overlay')[`client${side}`])"
        )
        assert width / height == pytest.approx(shape, rel=0.01)
        middle = 0.5 * (stage.LEFT[1] + stage.LEFT[3]) / header.height
        feeds.until(lambda: visit.ink([stage.LEFT[0] / header.width, middle]) == "red")
        visit.done()


def test_while_it_plays_what_is_drawn_keeps_in_step(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.page.evaluate(
        """() => {
          window.seen = [];
          const video = document.querySelector('#video');
          video.playbackRate = 0.2; // so that a slow machine shows some of them too
          const look = (now, frame) => {
            // After the page's own look at the same frame.
            window.seen.push([Number(document.querySelector('#where').value), frame.mediaTime]);
            video.requestVideoFrameCallback(look);
          };
          video.requestVideoFrameCallback(look);
        }"""
    )
    visit.press("k")
    expect(visit.page.locator("#play")).to_have_text("Pause")
    feeds.until(lambda: visit.page.evaluate("document.querySelector('#video').ended"), 60)
    expect(visit.page.locator("#play")).to_have_text("Play")
    seen = visit.page.evaluate("window.seen")
    assert len({said for said, _ in seen}) > 3
    assert [said for said, _ in seen] == [round(25 * time) for _, time in seen]
    visit.at(stage.FRAMES - 1)
    visit.done()


def test_a_stranger_is_named_everywhere_by_a_click_in_the_picture(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    assert visit.people() == ["Chaewon", "Yuri", "Unknown 1", "Unknown 2"]
    place = visit.page.locator("#overlay").bounding_box()
    assert place is not None
    x, y = (stage.RIGHT[0] + 20) / stage.WIDTH, (stage.RIGHT[1] + 20) / stage.HEIGHT
    visit.page.mouse.click(place["x"] + x * place["width"], place["y"] + y * place["height"])
    expect(visit.page.locator("#naming")).to_be_visible()
    expect(visit.page.locator("#everywhere")).to_be_checked()
    expect(visit.page.locator("#scope")).to_contain_text("Unknown 1 everywhere (3 tracks)")
    visit.page.locator("#name").fill("minju")
    visit.submit()
    assert visit.people() == ["Minju", "Chaewon", "Yuri", "Unknown 2"]
    expect(visit.page.locator("#unsaved")).to_have_text("3 tracks corrected, not saved")
    expect(visit.page.locator("#now")).to_contain_text("Minju")
    assert visit.ink([stage.RIGHT[0] / stage.WIDTH, 0.4]) == "red"
    visit.page.locator("#save").click()
    expect(visit.page.locator("#said")).to_contain_text("Saved in mv.tracks.jsonl")
    expect(visit.page.locator("#save")).to_be_disabled()
    assert {verdict.track for verdict in read(run.path).tracks if verdict.name == "Minju"} == {1, 3, 5}
    visit.done()


def test_one_track_is_corrected_from_the_list_and_taken_back(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    person = visit.page.locator("#cast .person", has_text="Unknown 1")
    person.locator("summary").click()
    person.get_by_role("button", name="Name unknown 1, track 3").click()
    visit.page.locator("#here").check()
    visit.page.locator("#name").fill("Yuri")
    visit.page.locator("#submit").click()
    expect(visit.page.locator("#said")).to_contain_text("Track 3: Yuri")
    expect(visit.page.locator("#cast .person", has_text="Yuri")).to_contain_text("2 tracks")
    visit.page.locator("#undo").click()
    expect(visit.page.locator("#cast .person", has_text="Yuri")).to_contain_text("1 track")
    expect(visit.page.locator("#back")).to_be_disabled()
    visit.done()


def test_what_is_doubtful_is_asked_twice(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.press("n", "n", "Enter")  # Yuri, then the stranger beside her
    visit.page.locator("#here").check()
    visit.page.locator("#name").fill("Yury")
    visit.press("Enter")
    expect(visit.page.locator("#refused")).to_contain_text("did you mean Yuri?")
    expect(visit.page.locator("#submit")).to_have_text("Name, as somebody new")
    visit.page.locator("#name").fill("Yuri")
    expect(visit.page.locator("#submit")).to_have_text("Name")
    visit.press("Enter")
    expect(visit.page.locator("#refused")).to_contain_text("Yuri would be twice on the picture")
    visit.page.locator("#submit").click()
    expect(visit.page.locator("#naming")).to_be_hidden()
    expect(visit.page.locator("#now li").first).to_contain_text("Unknown")
    expect(visit.page.locator("#now li").last).to_contain_text("Yuri")
    # A face can be said to be nobody's that is known.
    visit.press("Enter")
    visit.page.locator("#nobody").click()
    expect(visit.page.locator("#naming")).to_be_hidden()
    expect(visit.page.locator("#now li").last).to_contain_text("Unknown")
    # Refusals are answers with a status, which the browser itself writes down.
    assert all("the server responded with a status of 409" in said for said in visit.complaints)
    visit.page.close()


def test_all_of_it_can_be_done_with_the_keyboard(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.press("n")
    expect(visit.page.locator("#selected")).to_contain_text("Yuri, track 0")
    visit.press("n")
    expect(visit.page.locator("#selected")).to_contain_text("Unknown 1, track 1")
    visit.press("n")
    expect(visit.page.locator("#selected")).to_contain_text("Chaewon, track 2")
    visit.at(15)
    visit.press("Shift+N", "Shift+N")
    expect(visit.page.locator("#selected")).to_contain_text("Unknown 2, track 4")
    visit.at(30)
    visit.press("p", "p")
    expect(visit.page.locator("#selected")).to_contain_text("Chaewon, track 2")
    visit.press("Shift+N", "Enter")
    expect(visit.page.locator("#name")).to_be_focused()
    visit.page.keyboard.type("Minju")
    visit.submit()
    expect(visit.page.locator("#cast")).to_contain_text("Minju")
    visit.press("u")
    expect(visit.page.locator("#said")).to_contain_text("Taken back")
    assert "Minju" not in visit.people()
    visit.press("Enter")
    visit.page.keyboard.type("Minju")
    visit.submit()
    expect(visit.page.locator("#cast")).to_contain_text("Minju")
    visit.press("Control+s")
    expect(visit.page.locator("#said")).to_contain_text("Saved")
    assert "Minju" in {verdict.name for verdict in read(run.path).tracks}
    # Letters are letters where something is typed, and everything can be reached by walking on.
    reached = set()
    for _ in range(60):
        visit.press("Tab")
        reached.add(visit.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"where", "previous", "earlier", "play", "later", "next", "sound", "back", "render", "Keyboard"} <= reached
    visit.done()


def test_several_steps_are_undone_and_done_again(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.press("n", "n")
    for name in ("Minju", "Yuri B", "Zoe"):
        visit.press("Enter")
        visit.page.locator("#here").check()
        visit.page.locator("#name").fill(name)
        if name != "Minju":
            visit.press("Enter")
            expect(visit.page.locator("#submit")).to_have_text("Name, as somebody new")
        visit.submit()
        expect(visit.page.locator("#selected")).to_contain_text(name)
    expect(visit.page.locator("#again")).to_be_disabled()
    for key, name in (("u", "Yuri B"), ("Control+z", "Minju"), ("u", "Unknown 1")):
        visit.press(key)
        expect(visit.page.locator("#selected")).to_contain_text(name)
    expect(visit.page.locator("#back")).to_be_disabled()
    visit.press("Shift+U")
    expect(visit.page.locator("#selected")).to_contain_text("Minju")
    visit.press("Control+Shift+Z")
    expect(visit.page.locator("#selected")).to_contain_text("Yuri B")
    visit.page.locator("#again").click()
    expect(visit.page.locator("#selected")).to_contain_text("Zoe")
    expect(visit.page.locator("#said")).to_contain_text("Track 1: Zoe")
    expect(visit.page.locator("#again")).to_be_disabled()
    assert all("the server responded with a status of 409" in said for said in visit.complaints)
    visit.page.close()


def test_a_name_is_sent_once_however_often_the_key_is_pressed(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    asked: list[Route] = []
    visit.page.route("**/names", lambda route: asked.append(route))
    visit.press("n", "n", "Enter")
    visit.page.locator("#name").fill("Minju")
    visit.press("Enter", "Enter", "Enter")
    feeds.until(lambda: visit.page.evaluate("1") == 1 and bool(asked))
    assert visit.page.evaluate("document.querySelector('#naming').open")
    assert len(asked) == 1
    asked[0].continue_()
    expect(visit.page.locator("#naming")).to_be_hidden()
    expect(visit.page.locator("#cast")).to_contain_text("Minju")
    visit.done()


def test_a_face_is_learned_by_the_gallery_if_that_is_asked_for(learning: Served, group: Path, browser: Browser) -> None:
    visit = Visit(browser, learning.url)
    visit.press("n", "n", "Enter")
    asked = visit.page.get_by_role("checkbox", name="Learn this face")
    expect(asked).not_to_be_checked()
    expect(visit.page.locator("#teaching")).to_contain_text("go into group.gallery when you save")
    visit.page.locator("#name").fill("Yuri")
    visit.page.locator("#here").check()
    asked.focus()
    visit.press("Space", "Enter")
    expect(visit.page.locator("#refused")).to_contain_text("Yuri would be twice")
    visit.page.locator("#submit").click()
    expect(visit.page.locator("#naming")).to_be_hidden()
    expect(visit.page.locator("#unsaved")).to_have_text("2 tracks corrected, 8 looks for group.gallery, not saved")
    visit.press("s")
    expect(visit.page.locator("#said")).to_contain_text("Saved in mv.tracks.jsonl and group.gallery.")
    assert set(Gallery.load(group).people) == {"ann", "Yuri"}
    visit.press("u")
    expect(visit.page.locator("#unsaved")).to_contain_text("8 looks for group.gallery")
    visit.press("s")
    expect(visit.page.locator("#save")).to_be_disabled()
    assert set(Gallery.load(group).people) == {"ann"}
    visit.press("Enter")
    expect(asked).not_to_be_checked()
    visit.page.close()


def test_a_video_that_the_browser_cannot_play_is_shown_frame_by_frame_and_that_is_said(
    tmp_path: Path, browser: Browser
) -> None:
    path = stage.both(tmp_path, "mkv", codec="ffv1", pixel_format="yuv420p", options={})
    with served(path) as run:
        visit = Visit(browser, run.url, stills=True)
        expect(visit.page.locator("#way")).to_contain_text("cannot play the video")
        expect(visit.page.locator("#way")).to_contain_text("JPEG")
        for index in range(1, 4):
            visit.press("ArrowRight")
            visit.at(index)
        visit.page.locator("#where").fill("31")
        visit.at(31)
        assert visit.ink(LEFT_EDGE) == "grey"
        visit.page.locator("#where").fill("20")
        visit.at(20)
        visit.page.locator("#play").click()
        feeds.until(lambda: visit.frame == stage.FRAMES - 1, 60)
        visit.at(stage.FRAMES - 1)
        expect(visit.page.locator("#play")).to_have_text("Play")
        visit.done()


def test_it_is_drawn_again_and_how_far_it_is_is_shown(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.press("n", "Enter")
    visit.page.locator("#name").fill("Minju")
    visit.submit()
    expect(visit.page.locator("#save")).to_be_enabled()
    visit.page.locator("#render").click()  # saves first
    expect(visit.page.locator("#drawing")).to_contain_text("mv.labelled.mp4 is drawn anew, 45 frames", timeout=PATIENCE)
    assert len(media.read(run.path.with_name("mv.labelled.mp4")).pictures) == stage.FRAMES
    assert "Minju" in {verdict.name for verdict in read(run.path).tracks}
    visit.page.locator("#render").click()
    expect(visit.page.locator("#sure")).to_contain_text("mv.labelled.mp4 exists; it would be replaced.")
    before = run.path.with_name("mv.labelled.mp4").stat().st_mtime_ns
    visit.press("Escape")
    expect(visit.page.locator("#sure")).to_be_hidden()
    visit.page.locator("#render").click()
    visit.page.locator("#sure button[value=yes]").click()
    feeds.until(lambda: run.path.with_name("mv.labelled.mp4").stat().st_mtime_ns > before, 60)
    assert all("the server responded with a status of 409" in said for said in visit.complaints)
    visit.page.close()


def test_two_pages_show_the_same(run: Served, browser: Browser) -> None:
    one, other = Visit(browser, run.url), Visit(browser, run.url)
    one.press("n", "Enter")
    one.page.locator("#name").fill("Minju")
    one.submit()
    expect(other.page.locator("#cast")).to_contain_text("Minju", timeout=PATIENCE)
    other.page.locator("#back").click()
    expect(one.page.locator("#cast")).not_to_contain_text("Minju", timeout=PATIENCE)
    one.done()
    other.done()


def test_a_name_cannot_bring_code_along(run: Served, browser: Browser) -> None:
    evil = "<img src=x onerror=document.title='owned'>"
    run.ask("POST", "/names", {"track": 4, "name": evil, "new": True})
    visit = Visit(browser, run.url)
    expect(visit.page.locator("#cast")).to_contain_text(evil)
    assert "owned" not in visit.page.title()
    assert visit.page.locator("img[src=x]").count() == 0
    visit.done()


def test_a_wrong_token_is_refused(tmp_path: Path, browser: Browser) -> None:
    with served(stage.both(tmp_path), token="right") as run:
        page = browser.new_page()
        assert page.goto(f"{run.url}?token=wrong").status == 401  # type: ignore[union-attr]
        assert page.goto(run.url).status == 401  # type: ignore[union-attr]
        page.goto(f"{run.url}?token=right")
        assert page.url == run.url
        page.wait_for_selector("#cast .person")
        page.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (320, 568), (1280, 900)], ids=["phone", "small", "desk"])
def test_it_fits_and_everybody_can_use_it(
    width: int, height: int, scheme: str, learning: Served, browser: Browser
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    visit = Visit(browser, learning.url, viewport={"width": width, "height": height}, color_scheme=scheme)
    visit.press("n", "n", "Enter")
    visit.page.locator("#name").fill("Minju")
    visit.submit()
    expect(visit.page.locator("#cast")).to_contain_text("Minju")
    for summary in visit.page.locator("#cast summary").all():
        summary.click()
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = axe.Axe().run(visit.page)
    assert found.violations_count == 0, found.generate_report()
    visit.page.locator("#cast .whole button").first.click()
    visit.page.wait_for_selector("#naming[open]")
    expect(visit.page.locator("#teaching")).to_be_visible()
    found = axe.Axe().run(visit.page)
    assert found.violations_count == 0, found.generate_report()
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    visit.done()


def test_a_page_that_is_loaded_again_is_where_it_was(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.press("n", "n", "n", "ArrowRight", "ArrowRight")
    visit.at(17)
    visit.page.reload()
    expect(visit.page.locator("#selected")).to_contain_text("Chaewon, track 2", timeout=PATIENCE)
    visit.at(17)
    expect(visit.page.locator("#now .selected")).to_contain_text("Chaewon")
    visit.press("n")  # on from there
    expect(visit.page.locator("#selected")).to_contain_text("track 3")
    visit.done()
    visit = Visit(browser, run.url)  # another tab has its own
    expect(visit.page.locator("#selected")).to_have_text("")
    visit.done()


def test_pictures_that_are_loaded_again_are_where_they_were(tmp_path: Path, browser: Browser) -> None:
    path = stage.both(tmp_path, "mkv", codec="ffv1", pixel_format="yuv420p", options={})
    with served(path) as run:
        visit = Visit(browser, run.url, stills=True)
        visit.page.locator("#where").fill("31")
        visit.at(31)
        visit.page.reload()
        visit.page.wait_for_selector("#cast .person", timeout=PATIENCE)
        visit.at(31)
        visit.done()


@pytest.mark.parametrize(
    "place",
    [
        '{"index": 44, "selected": 99}',
        '{"index": 4000, "selected": "2"}',
        '{"index": -1}',
        '{"index": "x", "selected": null}',
        "null",
        "hello",
    ],
)
def test_a_place_that_is_not_there_any_more_does_no_harm(place: str, run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.page.evaluate(
        """(place) => addEventListener('pagehide', () => {
          for (const key of Object.keys(sessionStorage)) sessionStorage.setItem(key, place);
        })""",
        place,
    )
    visit.page.reload()
    expect(visit.page.locator("#cast .person")).to_have_count(4, timeout=PATIENCE)
    assert visit.page.evaluate("Object.values(sessionStorage)") == [place]
    visit.at(stage.FRAMES - 1 if "4" in place else 0)
    expect(visit.page.locator("#selected")).to_have_text("")
    visit.press("n")
    expect(visit.page.locator("#selected")).to_contain_text("track")
    visit.done()


CROWD = ["Zoë", "Łucja", "김채원", None, "Minju", "Yuri A", "Yuri B", "YENA", None, "Nako"]


def seen(visit: Visit) -> list[str]:
    return visit.page.locator("#cast .person:visible .name").all_inner_texts()


def test_people_are_found_by_a_part_of_their_name(tmp_path: Path, browser: Browser) -> None:
    with served(stage.crowd(tmp_path, CROWD)) as run:
        visit = Visit(browser, run.url)
        everybody = seen(visit)
        assert len(everybody) == len(CROWD)
        box = visit.page.get_by_role("searchbox", name="Find a person")
        visit.press("/")
        expect(box).to_be_focused()
        for typed, found in {
            "zoe": ["Zoë"],
            " ZOË ": ["Zoë"],
            "lucja": ["Łucja"],
            "yuri": ["Yuri A", "Yuri B"],
            "yen": ["YENA"],
            "채원": ["김채원"],
            "unknown": ["Unknown 4", "Unknown 9"],
            ".*": [],
            "": everybody,
        }.items():
            box.fill(typed)
            assert seen(visit) == found
            words = f"{len(found)} of 10 people" if found else "Nobody here is called so."
            expect(visit.page.locator("#found")).to_have_text(words if typed else "")
        # What is typed is typed: no key of the page's acts, nor does the video move.
        visit.press("n", "u", "k", "s", "Space", "ArrowLeft", "Home")
        expect(box).to_have_value("nuks ")
        assert (visit.frame, visit.page.locator("#selected").inner_text()) == (0, "")
        visit.press("Escape")
        expect(box).to_have_value("")
        assert seen(visit) == everybody
        visit.page.keyboard.type("b")
        assert seen(visit) == ["Yuri B"]
        visit.press("Enter")
        expect(visit.page.get_by_role("button", name="Correct Yuri B everywhere")).to_be_focused()
        visit.press("Enter")
        visit.page.locator("#name").fill("Nako")
        visit.submit()
        # Whom it was is not called so any more: the keyboard goes on from the box.
        expect(box).to_be_focused()
        expect(visit.page.locator("#found")).to_have_text("Nobody here is called so.")
        visit.press("Control+s")
        expect(visit.page.locator("#said")).to_contain_text("Saved")
        visit.press("Escape", "Escape", "n")
        expect(visit.page.locator("#selected")).to_contain_text("track 7")
        visit.done()


def test_a_few_people_are_not_searched(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    expect(visit.page.locator("#search")).to_be_hidden()
    visit.press("/")
    assert visit.page.evaluate("document.activeElement === document.body")
    visit.done()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height"), [(320, 568), (1280, 900)], ids=["small", "desk"])
def test_many_people_and_what_is_taken_up_fit_and_can_be_used_by_everybody(
    width: int, height: int, scheme: str, tmp_path: Path, browser: Browser
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    path = stage.crowd(tmp_path, CROWD)
    with Review(path) as review:
        review.name(3, "Yuri C", new=True)
    with served(path) as run:
        run.review._draft._aside = "something is kept as /a/long/path/mv.tracks.jsonl.unsaved.01234567"
        visit = Visit(browser, run.url, viewport={"width": width, "height": height}, color_scheme=scheme)
        for typed in ("yuri", "nobody", ""):
            visit.page.locator("#filter").fill(typed)
            for part in ("#taken", "#notes", "#search"):
                expect(visit.page.locator(part)).to_be_visible()
            found = axe.Axe().run(visit.page)
            assert found.violations_count == 0, found.generate_report()
            assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        visit.page.locator("#discard").click()
        found = axe.Axe().run(visit.page)
        assert found.violations_count == 0, found.generate_report()
        visit.done()


def test_leaving_with_something_unsaved_is_asked_about(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    visit.page.on("dialog", answer)
    visit.page.locator("#play").click()  # browsers ask only where somebody has done something
    visit.page.reload()
    assert asked == []
    visit.page.wait_for_selector("#cast .person", timeout=PATIENCE)
    visit.press("n", "Enter")
    visit.page.locator("#name").fill("Minju")
    visit.submit()
    expect(visit.page.locator("#unsaved")).to_have_text(re.compile("not saved"))
    visit.page.reload()
    assert asked == ["beforeunload"]
    expect(visit.page.locator("#cast")).to_contain_text("Minju", timeout=PATIENCE)  # the server keeps it
    visit.page.close()
