"""A real Chromium before a whole Cellyard; every test fails on a console error or a request off the machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

from tests.stack.cellyard import ADMIN_PASSWORD, Cellyard

# Debian's; `make test` installs it where it is missing.
CHROMIUM = "/usr/bin/chromium"
# A browser that talks to nobody by itself.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 20_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here as one that drives a browser."""
    for item in items:
        if "browser" in Path(str(item.path)).parts:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.stack)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a Chromium without a window."""
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cellyard]:
    """Return a running Cellyard with two composed stations."""
    with Cellyard(tmp_path_factory.mktemp("lab")) as running:
        running.station("S1", 0)
        running.station("S2", 1)
        yield running


class Watched:
    """What a page did that it must not do."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.outside: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _asked(self, request: Request) -> None:
        host = urlsplit(request.url).hostname
        if request.url.startswith(("http", "ws")) and host != "127.0.0.1":
            self.outside.append(request.url)


@pytest.fixture
def page(browser: Browser, lab: Cellyard) -> Iterator[Page]:
    """Return a page where the administrator has logged in."""
    context = browser.new_context(
        base_url=lab.address, viewport={"width": 1440, "height": 900}, accept_downloads=True
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    watched = Watched(page)
    log_in(page)
    yield page
    context.close()
    assert watched.errors == []
    assert watched.outside == []


def log_in(page: Page) -> None:
    """Log in as the administrator."""
    page.goto("/login/")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(ADMIN_PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
