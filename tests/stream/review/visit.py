"""The page of a review as somebody who looks at it sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.stream.chromium import PATIENCE, expect
from tests.stream.live import feeds
from tests.stream.review import stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SQUARE = """() => {
  const shown = [document.querySelector('#video'), document.querySelector('#still')].find((each) => !each.hidden);
  const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 180 });
  const pen = canvas.getContext('2d');
  pen.drawImage(shown, 0, 0, 320, 180);
  const row = pen.getImageData(0, 70, 320, 1).data;
  const bright = (x) => Math.min(row[4 * x], row[4 * x + 1], row[4 * x + 2]) > 205;
  return Math.round([...Array(320).keys()].findIndex(bright) / 3);
}"""
"""Which frame the picture is of: see `stage.square`."""
INK = """([x, y]) => {
  const canvas = document.querySelector('#overlay');
  const around = canvas.getContext('2d').getImageData(x * canvas.width - 3, y * canvas.height - 3, 6, 6).data;
  let [red, grey] = [0, 0];
  for (let at = 0; at < around.length; at += 4) {
    if (around[at + 3] < 128) continue;
    if (around[at] > 150 && around[at + 1] < 90) red += 1;
    else if (around[at + 1] > 150) grey += 1;
  }
  return red ? 'red' : grey ? 'grey' : '';
}"""
"""What the overlay has drawn at a point, given in parts of its width and height."""
LEFT_EDGE = [stage.LEFT[0] / stage.WIDTH, 0.5 * (stage.LEFT[1] + stage.LEFT[3]) / stage.HEIGHT]


class Visit:
    """A page that is open, and all it complained about."""

    def __init__(self, browser: Browser, url: str, stills: bool = False, square: bool = True, **settings: Any) -> None:
        self.page: Page = browser.new_page(**settings)
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("#cast .person", timeout=PATIENCE)
        expect(self.page.locator("#way" if stills else "#video")).to_be_visible(timeout=PATIENCE)
        feeds.until(lambda: not square or self.square() == 0)

    def square(self) -> int:
        """Which frame the picture shows."""
        return int(self.page.evaluate(SQUARE))

    @property
    def frame(self) -> int:
        """Which frame the page says it shows."""
        return int(self.page.locator("#time").inner_text().split()[-1])

    def ink(self, at: list[float]) -> str:
        return str(self.page.evaluate(INK, at))

    def at(self, index: int) -> None:
        """Wait until a frame is on screen, and in step with what is drawn over it."""
        feeds.until(lambda: self.frame == index == self.square())

    def people(self) -> list[str]:
        return self.page.locator("#cast .name").all_inner_texts()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def submit(self) -> None:
        """Answer the dialog with Enter; keys are the dialog's until it is closed."""
        self.press("Enter")
        expect(self.page.locator("#naming")).to_be_hidden()

    def done(self) -> None:
        assert self.complaints == []
        self.page.close()
