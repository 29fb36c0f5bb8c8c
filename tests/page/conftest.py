"""A browser, and the page opened in it."""

from pathlib import Path

import pytest

from tests.page.chromium import CHROMIUM, FOLDER


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as play:
        made = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def opened(browser):
    """Opens the page; at the end it must have asked for nothing but itself, and complained of nothing."""
    contexts, complaints, requests = [], [], []

    def made(width=1300, scheme="light", address=""):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((Path(FOLDER).resolve() / "report.html").as_uri() + address)
        page.wait_for_selector(".drawn .main-svg")
        return page

    yield made
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "blob:")) and "report.html" not in url] == []
