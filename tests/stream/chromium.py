"""A real browser for the tests of pages. Imported where it, or what serves the pages, is missing, the module skips."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.needs import need

if TYPE_CHECKING:
    from playwright.sync_api import Browser

need(
    "browser", importlib.util.find_spec("starlette"), "the page's packages are not installed: pip install 'iznet[live]'"
)
PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
need("browser", PROGRAM, "Chromium is not installed: apt install chromium")
need("browser", importlib.util.find_spec("playwright"), "Playwright is not installed: pip install playwright")
playwright = importlib.import_module("playwright.sync_api")
expect = playwright.expect

PATIENCE = 30_000
"""Milliseconds."""


@contextlib.contextmanager
def opened() -> Iterator[Browser]:
    """The browser, without a window."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()
