"""One Chromium for all browser tests, and pages that hear what our files have to complain of."""

from types import SimpleNamespace

import pytest

from devtools.browser import browser, chromium, open_page, settle


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


def listen(page) -> list[str]:
    problems: list[str] = []

    def hear(message):
        ours = "atlasvid" in f"{message.location} {message.text}".lower()
        if message.type == "error" and ours and "api.comfy.org" not in message.text:
            problems.append(f"{message.text} {message.location}")

    page.on("console", hear)
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems
