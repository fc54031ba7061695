"""Jobs from the page: the demo to a visible video, cancel, and progress after a reload."""

import json
import time

import pytest

from devtools.browser import show_graph

from .common import WORKFLOWS

SMALL = {
    "Plan": {"width": 64, "height": 64, "frames": 9, "proxy_height": 32},
    "Stage 1: the proxy": {"steps": 2},
    "Stage 2: the detail": {"steps": 2, "keep_steps": False},
}
SET = """(changes) => {
  for (const [title, values] of Object.entries(changes)) {
    const node = window.app.graph.nodes.find((n) => n.title === title);
    for (const [name, value] of Object.entries(values)) {
      const w = node.widgets.find((w) => w.name === name);
      w.value = value;
      w.callback?.(value);
    }
  }
}"""
RUNNING = """async () => {
  const found = await (await fetch("/api/queue")).json();
  return found.queue_running.length;
}"""
PROGRESS = """() => window.app.graph.nodes
  .filter((n) => n.progress > 0).map((n) => [n.title, n.progress])"""

TIMED = """window.app.graph.nodes.find((n) => n.title === "Stage 1: the proxy")
  .atlasvidTime?.seconds >= 0"""
FOOTER = """() => {
  const node = window.app.graph.nodes.find((n) => n.title === "Stage 1: the proxy");
  node.atlasvidTime ??= { seconds: 3 };
  const drawn = [];
  const context = { save() {}, restore() {}, measureText: () => ({ width: 0 }),
    fillText: (text) => drawn.push(text) };
  node.onDrawForeground(context);
  return drawn.join();
}"""


@pytest.fixture
def page(canvas):
    canvas.problems.clear()
    yield canvas.page
    assert canvas.problems == []


@pytest.fixture
def demo(page):
    """Open the tiny demo, made small; `changes` besides, by titles and names."""

    def demo(seed: int, **changes):
        show_graph(page, json.loads((WORKFLOWS / "tiny_demo.json").read_text()))
        page.evaluate(SET, SMALL)
        page.evaluate(SET, {"Stage 1: the proxy": {"seed": seed}, **changes})

    return demo


def run(page) -> None:
    """Press the page's own button: below that name in older pages, of that name in newer ones."""
    name = "[data-testid=queue-button]"
    page.locator(f"{name} button, button{name}").first.click()


def wait_for(page, what: str, wanted, patience_s: float = 60):
    """Until what a script gives is wanted; -> what it gave."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = page.evaluate(what)
        if wanted(found):
            return found
        page.wait_for_timeout(50)
    raise AssertionError(f"still {found!r} after {patience_s} s")


def test_the_demo_runs_from_the_page_to_a_visible_video(page, demo):
    demo(seed=71)
    run(page)
    wait_for(page, RUNNING, bool)
    wait_for(page, RUNNING, lambda n: not n)
    page.wait_for_function("document.querySelectorAll('video').length > 0", timeout=20_000)
    page.wait_for_function(
        """() => [...document.querySelectorAll("video")]
          .some((v) => v.videoWidth === 64 && v.videoHeight === 64 && v.duration > 0.4)""",
        timeout=20_000,
    )


def test_cancel_ends_the_job_soon_and_the_next_one_runs(page, demo):
    demo(seed=72, **{"Stage 2: the detail": {"steps": 2000, "start": "noise"}})
    run(page)
    wait_for(page, PROGRESS, lambda found: any(t == "Stage 2: the detail" for t, _ in found))
    began = time.monotonic()
    page.get_by_role("button", name="Cancel current run").first.click()
    wait_for(page, RUNNING, lambda n: not n, 10)
    assert time.monotonic() - began < 5
    demo(seed=73)
    run(page)
    wait_for(page, RUNNING, bool)
    wait_for(page, RUNNING, lambda n: not n)
    status = page.evaluate("""async () => {
      const all = Object.values(await (await fetch("/api/history")).json());
      return all.at(-1).status.status_str;
    }""")
    assert status == "success"


def test_a_reloaded_page_finds_the_progress_of_its_job(page, demo):
    demo(seed=74, **{"Stage 2: the detail": {"steps": 400, "start": "noise"}})
    run(page)
    before = wait_for(page, PROGRESS, lambda found: any(t.startswith("Stage 2") for t, _ in found))
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function("window.app?.graph?.nodes?.length > 10", timeout=60_000)
    after = wait_for(page, PROGRESS, lambda found: any(t.startswith("Stage 2") for t, _ in found))
    assert dict(after)["Stage 2: the detail"] >= dict(before)["Stage 2: the detail"]
    page.evaluate("fetch('/api/interrupt', { method: 'POST' })")  # newer pages grey the button
    wait_for(page, RUNNING, lambda n: not n, 10)


def test_a_time_that_was_kept_is_that_of_one_workflow(page, demo):
    """Nodes of another one have the same numbers, and did not run in that job."""
    demo(seed=75)
    run(page)
    page.wait_for_function(TIMED, timeout=60_000)
    assert "(kept)" not in wait_for(page, FOOTER, bool)
    wait_for(page, RUNNING, lambda n: not n)
    run(page)  # the same again: nothing of it runs
    wait_for(page, FOOTER, lambda text: "(kept)" in text)
    wait_for(page, RUNNING, lambda n: not n)
    demo(seed=76)
    assert page.evaluate(FOOTER) and "(kept)" not in page.evaluate(FOOTER)
