"""The page of a review when something is slow, late, gone, or not what it was."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from stream.review.review import Review
from tests.stream.chromium import PATIENCE, expect
from tests.stream.live import feeds
from tests.stream.review import stage
from tests.stream.review.served import Served, served
from tests.stream.review.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Served]:
    with served(stage.both(tmp_path), people=("Minju",)) as run:
        yield run


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.ariaLabel || document.activeElement.tagName"))


@pytest.mark.parametrize("same", [False, True], ids=["another record", "the same record"])
def test_a_page_of_a_review_that_has_ended_changes_no_other(same: bool, tmp_path: Path, browser: Browser) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    path = stage.both(one)
    with served(path, people=("Minju",)) as run:
        port = urlsplit(run.url).port
        assert port is not None
        visit = Visit(browser, run.url)
        visit.press("n", "Enter")
        visit.page.locator("#name").fill("Minju")
        visit.submit()
        expect(visit.page.locator("#unsaved")).to_have_text("1 track corrected, not saved")
    expect(visit.page.locator("#link")).to_contain_text("connection to IZ*Net is lost", timeout=PATIENCE)
    with served(path if same else stage.both(other), port=port) as run:
        expect(visit.page.locator("#other")).to_contain_text("Another review is running here now", timeout=PATIENCE)
        words = "What was not saved here (1 corrected track) is kept for the next review of mv.tracks.jsonl."
        expect(visit.page.locator("#other")).to_contain_text(words)
        visit.press("n", "Enter", "s")
        expect(visit.page.locator("#naming")).to_be_hidden()
        assert run.review.version == 0
        visit.page.locator("#reload").click()
        visit.page.wait_for_selector("#cast .person", timeout=PATIENCE)
        expect(visit.page.locator("#other")).to_be_hidden()
        taken = visit.page.locator("#taken")
        expect(taken).to_be_visible() if same else expect(taken).to_be_hidden()
        visit.press(*([] if same else ["n"]), "Enter")  # at another record nobody is selected
        visit.page.locator("#name").fill("Chaewon")
        visit.submit()
        assert run.review.version == 1
        visit.page.close()


def test_what_an_earlier_review_did_not_save_is_told_kept_or_discarded(tmp_path: Path, browser: Browser) -> None:
    path = stage.both(tmp_path)
    with Review(path) as review:
        review.name(3, "Minju", everywhere=True, new=True)
        review.name(4, "Yuri")
    with served(path) as run:
        visit = Visit(browser, run.url)
        taken = visit.page.locator("#taken")
        expect(taken.get_by_role("status")).to_have_text(
            "4 corrected tracks, which an earlier review did not save, are taken up."
        )
        expect(visit.page.locator("#unsaved")).to_have_text("4 tracks corrected, not saved")
        visit.press("u")
        expect(visit.page.locator("#unsaved")).to_have_text("3 tracks corrected, not saved")
        taken.get_by_role("button", name="Keep").click()
        expect(taken).to_be_hidden()
        visit.page.close()
        visit = Visit(browser, run.url)
        visit.page.locator("#discard").click()
        expect(visit.page.locator("#sure")).to_contain_text("3 tracks corrected, not saved")
        expect(visit.page.get_by_role("button", name="Cancel")).to_be_focused()
        visit.press("Escape")
        expect(visit.page.locator("#sure")).to_be_hidden()
        assert "Minju" in visit.people()
        visit.page.locator("#discard").click()
        visit.page.locator("#sure").get_by_role("button", name="Discard").click()
        expect(visit.page.locator("#said")).to_contain_text("mv.tracks.jsonl is as it was saved.")
        expect(visit.page.locator("#unsaved")).to_have_text("")
        expect(visit.page.locator("#back")).to_be_disabled()
        expect(visit.page.locator("#taken")).to_be_hidden()
        assert visit.people() == ["Chaewon", "Yuri", "Unknown 1", "Unknown 2"]
        visit.done()
    assert not path.with_name("mv.tracks.jsonl.unsaved").exists()


def test_what_cannot_be_kept_is_told(run: Served, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    visit = Visit(browser, run.url)
    notes = visit.page.get_by_role("alert").filter(has_text="lost if the review is cut short")
    expect(notes).to_have_count(0)
    with monkeypatch.context() as patched:
        patched.setattr("stream.review.unsaved_file.begin_output", full)
        run.review.name(4, "Yuri")
        expect(notes).to_contain_text("mv.tracks.jsonl.unsaved: the disk is full; free some space")
    run.review.name(0, "Chaewon")
    expect(notes).to_have_count(0)
    visit.done()


def held(visit: Visit) -> list[Route]:
    """Names that are sent from now on, and not answered yet."""
    routes: list[Route] = []
    visit.page.route("**/names", lambda route: routes.append(route))
    return routes


def test_while_an_answer_is_awaited_the_dialog_says_so(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    routes = held(visit)
    visit.press("n", "Enter")
    visit.page.locator("#name").fill("Minjo")
    visit.press("Enter")
    expect(visit.page.locator("#naming")).to_have_attribute("aria-busy", "true")
    expect(visit.page.locator("#submit")).to_be_disabled()
    expect(visit.page.locator("#submit")).to_have_text("Naming …")
    expect(visit.page.locator("#nobody")).to_be_disabled()
    feeds.until(lambda: visit.page.evaluate("1") == 1 and bool(routes))
    routes[0].continue_()
    expect(visit.page.locator("#refused")).to_contain_text("did you mean Minju?")
    expect(visit.page.locator("#submit")).to_be_enabled()
    visit.page.close()


def test_what_is_sent_is_not_called_back_and_its_answer_leaves_other_dialogs_alone(
    run: Served, browser: Browser
) -> None:
    visit = Visit(browser, run.url)
    routes = held(visit)
    visit.press("n", "Enter")
    visit.page.locator("#name").fill("Minju")
    visit.press("Enter")
    feeds.until(lambda: visit.page.evaluate("1") == 1 and len(routes) == 1)
    visit.press("Escape")
    expect(visit.page.locator("#said")).to_contain_text("on its way already")
    visit.press("n", "Enter")
    expect(visit.page.locator("#naming")).to_be_visible()
    visit.page.locator("#name").fill("Zoe")
    routes[0].continue_()
    expect(visit.page.locator("#said")).to_contain_text("Track 0: Minju")
    expect(visit.page.locator("#naming")).to_be_visible()
    expect(visit.page.locator("#name")).to_have_value("Zoe")
    # Neither does a refusal that comes late.
    visit.page.locator("#here").check()
    visit.press("Enter")
    feeds.until(lambda: visit.page.evaluate("1") == 1 and len(routes) == 2)
    visit.page.locator("#cancel").click()
    visit.press("n", "Enter")
    routes[1].continue_()
    expect(visit.page.locator("#said")).to_contain_text("Not named: nobody is called Zoe so far")
    expect(visit.page.locator("#refused")).to_have_text("")
    expect(visit.page.locator("#submit")).to_have_text("Name")
    visit.page.close()


def test_whom_another_page_names_while_the_dialog_is_open_is_not_named_everywhere_unasked(
    run: Served, browser: Browser
) -> None:
    one, other = Visit(browser, run.url), Visit(browser, run.url)
    for visit in (one, other):
        visit.press("N", "Enter")  # track 1, a stranger with two more
        expect(visit.page.locator("#everywhere")).to_be_checked()
    one.page.locator("#name").fill("Zoe")
    other.page.locator("#name").fill("Minju")
    other.submit()
    expect(one.page.locator("#refused")).to_contain_text("Meanwhile this is Minju", timeout=PATIENCE)
    expect(one.page.locator("#here")).to_be_checked()
    expect(one.page.locator("#scope")).to_contain_text("Minju everywhere (3 tracks)")
    expect(one.page.locator("#name")).to_have_value("Zoe")
    one.press("Enter")
    expect(one.page.locator("#submit")).to_have_text("Name, as somebody new")
    one.submit()
    names = {group["name"]: group["tracks"] for group in run.state()["groups"]}
    assert (names["Zoe"], names["Minju"]) == ([1], [3, 5])
    one.page.close()
    other.done()


def test_an_answer_that_never_comes_is_given_up_in_words(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    routes = held(visit)
    visit.page.clock.install()
    visit.press("n", "Enter")
    visit.page.locator("#name").fill("Minju")
    visit.press("Enter")
    feeds.until(lambda: visit.page.evaluate("1") == 1 and bool(routes))
    visit.page.clock.fast_forward(31_000)
    expect(visit.page.locator("#refused")).to_contain_text("has not answered for 30 seconds")
    expect(visit.page.locator("#submit")).to_be_enabled()
    visit.page.close()


LATE_STATE = """() => {
  const { fetch } = window;
  const gates = [];
  window.fetch = async (...asked) => {
    const answer = await fetch(...asked);
    if (asked[0] !== 'state') return answer;
    const text = await answer.text();
    await new Promise((go) => gates.push(go));
    return new Response(text);
  };
  window.letGo = () => { const count = gates.length; gates.splice(0).forEach((go) => go()); return count; };
}"""
"""Holds what the page asks the state for, until `letGo`."""


def test_a_state_that_comes_late_does_not_take_the_place_of_a_newer_one(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.page.evaluate(LATE_STATE)
    run.review.name(4, "Zoe", new=True)  # by somebody else: the page is told, and asks
    feeds.until(
        lambda: visit.page.evaluate("performance.getEntriesByName(new URL('state', location).href).length") == 2
    )
    visit.press("n", "Enter")
    visit.page.locator("#name").fill("Minju")
    visit.submit()
    assert {"Zoe", "Minju"} <= set(visit.people())
    run.review.name(0, "Mia", new=True)  # while the page still asks
    feeds.until(lambda: visit.page.evaluate("window.letGo()") > 0)
    assert "Minju" in visit.people() or "Mia" in visit.people()
    feeds.until(lambda: visit.page.evaluate("window.letGo()") > 0)  # it asks again for what it was told meanwhile
    expect(visit.page.locator("#cast")).to_contain_text("Mia")
    assert "Zoe" in visit.people()
    visit.done()


def test_what_the_server_refuses_for_a_while_is_asked_for_again(run: Served, browser: Browser) -> None:
    refused = {"scenes": 1, "events": 2}
    page = browser.new_page()

    def answer(route: Route) -> None:
        what = urlsplit(route.request.url).path.strip("/")
        refused[what] -= 1
        if refused[what] >= 0:
            route.fulfill(status=503, body="busy")
        else:
            route.continue_()

    page.route("**/scenes", answer)
    page.route("**/events", answer)
    page.goto(run.url)
    expect(page.locator("#link")).to_contain_text("trying again", timeout=PATIENCE)
    page.wait_for_selector("#cast .person", timeout=PATIENCE)
    expect(page.locator("#link")).to_have_text("")
    assert max(refused.values()) < 0
    page.close()


def test_silence_counts_as_a_lost_connection(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    page = browser.new_page()
    page.clock.install()
    asked: list[Route] = []
    page.route("**/events", lambda route: asked.append(route))
    page.goto(run.url)
    feeds.until(lambda: page.evaluate("1") == 1 and len(asked) == 1)
    page.clock.run_for(11_000)
    expect(page.locator("#link")).to_contain_text("trying again")
    page.clock.run_for(4_000)
    feeds.until(lambda: page.evaluate("1") == 1 and len(asked) == 2)
    # A server that has no news says so.
    visit.page.wait_for_timeout(12_000)
    expect(visit.page.locator("#link")).to_have_text("")
    page.close()
    visit.done()


def test_a_token_that_is_not_known_any_more_is_said(tmp_path: Path, browser: Browser) -> None:
    with served(stage.both(tmp_path), token="right") as run:
        page = browser.new_page()
        page.goto(f"{run.url}?token=right")
        page.wait_for_selector("#cast .person", timeout=PATIENCE)
        page.context.clear_cookies()
        port = urlsplit(run.url).port
        assert port is not None
    with served(tmp_path / "mv.tracks.jsonl", token="other", port=port):
        expect(page.locator("#link")).to_contain_text("wants its token", timeout=PATIENCE)
        page.close()


IN_SIGHT = """(() => {
  const { top, bottom } = document.querySelector('#stage .picture').getBoundingClientRect();
  return top >= -1 && bottom <= innerHeight + 1;
})()"""


def test_on_a_phone_what_is_asked_for_comes_into_sight(run: Served, browser: Browser) -> None:
    for motion, behavior in (("no-preference", "smooth"), ("reduce", "auto")):
        visit = Visit(browser, run.url, viewport={"width": 390, "height": 500}, reduced_motion=motion)
        visit.page.evaluate(
            """() => {
              window.how = [];
              const { scrollIntoView } = Element.prototype;
              Element.prototype.scrollIntoView = function (asked) {
                window.how.push(asked.behavior);
                scrollIntoView.call(this, { ...asked, behavior: 'instant' });
              };
            }"""
        )
        person = visit.page.locator("#cast .person", has_text="Unknown 1")
        person.locator("summary").click()
        person.get_by_role("button", name="Show track 5").scroll_into_view_if_needed()
        assert not visit.page.evaluate(IN_SIGHT)
        person.get_by_role("button", name="Show track 5").click()
        visit.at(30)
        assert visit.page.evaluate(IN_SIGHT)
        visit.page.locator("#lanes svg").last.scroll_into_view_if_needed()
        assert not visit.page.evaluate(IN_SIGHT)
        visit.page.locator("#lanes svg").last.click()
        assert visit.page.evaluate(IN_SIGHT)
        assert set(visit.page.evaluate("window.how")) == {behavior}
        visit.done()


@pytest.mark.parametrize("width", [320, 390, 600, 900, 1280])
def test_the_times_below_the_timeline_stand_apart(width: int, run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url, viewport={"width": width, "height": 800})
    visit.page.wait_for_selector("#axis span")
    sides = visit.page.evaluate(
        """[...document.querySelectorAll('#axis span')]
          .map((mark) => mark.getBoundingClientRect())
          .filter((place) => place.width)
          .map((place) => [place.left, place.right])"""
    )
    assert len(sides) > 1
    assert all(before[1] <= after[0] for before, after in pairwise(sides))
    visit.done()


def test_after_a_click_space_plays_and_enter_names(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.page.locator("#cast .whole button").first.click()
    expect(visit.page.locator("#naming")).to_be_visible()
    visit.press("Escape")
    visit.page.locator("#later").click()
    visit.press("Space")
    expect(visit.page.locator("#naming")).to_be_hidden()
    expect(visit.page.locator("#play")).to_have_text("Pause")
    visit.press("Space")
    visit.press("Enter")
    expect(visit.page.locator("#naming")).to_be_visible()
    visit.done()


def test_the_keyboard_goes_on_from_the_person_when_what_it_was_on_is_gone(run: Served, browser: Browser) -> None:
    visit = Visit(browser, run.url)
    visit.page.locator("#cast .person", has_text="Unknown 1").locator(".whole button").focus()
    visit.press("Enter")
    visit.page.locator("#name").fill("Minju")
    visit.submit()
    feeds.until(lambda: focused(visit.page) == "Correct Minju everywhere")
    visit.done()


def test_a_video_that_is_gone_is_not_the_browsers_fault(run: Served, browser: Browser) -> None:
    run.review.video.unlink()
    page = browser.new_page()
    page.goto(run.url)
    expect(page.locator("#way")).to_contain_text("mv.mp4 is not where it was any more", timeout=PATIENCE)
    expect(page.locator("#way")).not_to_contain_text("browser")
    page.close()


def test_a_video_that_does_not_come_for_a_while_is_asked_for_again(run: Served, browser: Browser) -> None:
    page = browser.new_page()
    refused = [3]

    def answer(route: Route) -> None:
        refused[0] -= 1
        if refused[0] >= 0:
            route.fulfill(status=503, body="busy")
        else:
            route.continue_()

    page.route("**/video", answer)
    page.goto(run.url)
    feeds.until(lambda: page.evaluate("document.querySelector('#video').readyState > 1"), 30)
    expect(page.locator("#way")).to_be_hidden()
    page.close()
