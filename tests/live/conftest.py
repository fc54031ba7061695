"""One Chromium for all browser tests, and pages that hear what our files have to complain of."""

from types import SimpleNamespace

import pytest

from devtools.browser import browser, chromium, open_page, settle

from .common import listen


@pytest.fixture(scope="session")
def chrome():
    if not chromium():
        pytest.skip("needs a Chromium on the PATH")
    with browser() as running:
        yield running


@pytest.fixture(scope="session")
def canvas(chrome, server):
    """`.page`: the interface; `.problems`: errors in it that are ours."""
    settle(server.base)
    page = open_page(chrome, server.base_url)
    problems = listen(page)
    yield SimpleNamespace(page=page, problems=problems)
    page.close()


def pytest_collection_modifyitems(items):
    """Browser tests come last: Playwright's event loop runs in this thread from then on."""
    items.sort(key=lambda item: "chrome" in getattr(item, "fixturenames", ()))
