"""One Chromium for all browser tests, and pages that hear what our files have to complain of."""

import json
import time
from types import SimpleNamespace

import pytest

from devtools.browser import browser, chromium, open_page, settle, show_graph

from .common import WORKFLOWS, api_workflow, listen
from .plan_page import MEASURED, TO_PLAN

PLAN = next(
    node["inputs"]
    for node in api_workflow("tiny_demo").values()
    if node["class_type"] == "AtlasVidPlan"
)


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
    wait_until_measured(server)
    page = open_page(chrome, server.base_url)
    problems = listen(page)
    yield SimpleNamespace(page=page, problems=problems)
    page.close()


@pytest.fixture
def page(canvas):
    """The tiny demo, freshly opened, its plan in view and its machine measured."""
    canvas.problems.clear()
    show_graph(canvas.page, json.loads((WORKFLOWS / "tiny_demo.json").read_text()))
    canvas.page.evaluate(TO_PLAN)
    canvas.page.wait_for_function(MEASURED, timeout=120_000)
    yield canvas.page
    assert canvas.problems == []


def pytest_collection_modifyitems(items):
    """Browser tests come last: Playwright's event loop runs in this thread from then on."""
    items.sort(key=lambda item: "chrome" in getattr(item, "fixturenames", ()))


def wait_until_measured(server) -> None:
    """Until no answer of the route can change any more because the machine is being measured."""
    body = json.dumps({"inputs": PLAN}).encode()
    end = time.monotonic() + 60
    while json.loads(server.client.read("/atlasvid/plan", body))["measuring"]:
        assert time.monotonic() < end, "the machine is still being measured"
        time.sleep(0.1)
