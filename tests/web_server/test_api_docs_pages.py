"""The documentation pages in a real browser: they show the API, ask nobody else and complain of nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def visit(site, page):
    """Return the page's text, the errors of its console and the requests that left the site."""
    from playwright.sync_api import sync_playwright

    errors, foreign = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page()
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on(
            "request",
            lambda request: (
                foreign.append(request.url) if not request.url.startswith((site, "data:", "blob:")) else None
            ),
        )
        tab.goto(f"{site}/api/{page}/")
        tab.get_by_text("experiments").first.wait_for(timeout=30_000)
        tab.wait_for_load_state("networkidle")
        text = tab.inner_text("body")
        browser.close()
    return text, errors, foreign


@pytest.mark.parametrize("page", ["docs", "redoc"])
def test_it_shows_the_api_without_help_from_outside(live_server, page):
    # In a thread of its own: Playwright's event loop would forbid Django the database here.
    with ThreadPoolExecutor(1) as pool:
        text, errors, foreign = pool.submit(visit, live_server.url, page).result()
    assert "experiments" in text
    assert errors == []
    assert foreign == []
