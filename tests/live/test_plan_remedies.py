"""Remedies in VideoPlan's panel: what is told, pressed in one press, and undone in one."""

import json
from dataclasses import replace

import pytest

from atlasvid_core.cost_table import MODELS
from atlasvid_core.estimate import Job, Machine, estimate
from atlasvid_core.plan_report import plan_of, report
from atlasvid_core.verdict import checks
from atlasvid_core.wan.dit import WanConfig
from devtools.browser import open_settled, settle, show_graph
from devtools.screenshots import EXAMPLE

from .common import ROOT, WORKFLOWS
from .plan_page import SET, VALUES, undo

REMOVE = """(title) => {
  const node = window.app.graph.nodes.find((n) => n.title === title);
  window.app.graph.remove(node);
}"""
BIG = {
    "width": 3840, "height": 2160, "frames": 321, "fps": 16, "r_t": 4, "proxy_height": 480,
    "cube_t": 4, "cube_h": 8, "cube_w": 8, "reach": "faces", "alignment": "ratio",
}  # fmt: skip


def of_a_machine(job: Job, machine: Machine):
    """A route that answers a panel as a server on this machine would, for Wan2.1's model."""

    def answer(route):
        asked = json.loads(route.request.post_data)
        its = replace(
            job,
            guide_on_disk=asked["job"].get("guide_store") == "disk",
            keep_steps=asked["job"].get("keep_steps", True),
        )
        model = {"model": {"label": "Wan2.1", "source": "chosen"}, "measuring": False}
        route.fulfill(json={**report(asked["inputs"], its, machine), **model})

    return answer


def need(values: dict, job: Job, name: str) -> int:
    """Bytes that this job takes of one limit of a machine."""
    found = estimate(plan_of(values)[0], job, EXAMPLE)
    return next(c.need_bytes for c in checks(found) if c.name == name)


@pytest.mark.parametrize(
    ("title", "name", "value", "limit"),
    [
        ("The guide", "store", "disk", "host"),
        ("Stage 2: the detail", "keep_steps", False, "output"),
    ],
)
def test_a_remedy_of_another_node_is_one_press_and_one_undo(page, title, name, value, limit):
    """Of a machine that has a little less than the job takes, and enough once that is set."""
    job = Job(config=WanConfig())
    most, least = (
        need(BIG, j, limit) for j in (job, replace(job, guide_on_disk=True, keep_steps=False))
    )
    have = {"host": "host_bytes", "output": "output_free_bytes"}[limit]
    machine = replace(EXAMPLE, **{have: (most + least) // 2})
    page.route("**/atlasvid/plan", of_a_machine(job, machine))
    try:
        page.evaluate(SET, ["Plan", BIG])
        note = page.locator(".av-note.av-bad", has_text=f"Set {name} of")
        note.wait_for()
        assert "Or with" not in note.inner_text()
        before = page.evaluate(VALUES, title)
        note.locator("button").click()
        page.wait_for_selector(".av-panel[data-state=fits]")
        assert page.evaluate(VALUES, title) == {**before, name: value}
        undo(page)
        note.wait_for()
        assert page.evaluate(VALUES, title) == before
        page.evaluate(REMOVE, title)  # without the node the plan's own way is told, and pressed
        page.wait_for_function(
            "document.querySelector('.av-note.av-bad')?.innerText.includes('Or with')"
        )
        note.locator("button").click()
        page.wait_for_selector(".av-panel[data-state=fits]")
    finally:
        page.unroute("**/atlasvid/plan")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_remedies_are_one_press_and_one_undo(page, chrome, server, language):
    """Where neither the guide on disk nor less of the video suffices, one button does both."""
    job = Job(config=MODELS["14b"])
    kept = {**BIG, "frames": 161}
    machine = replace(EXAMPLE, host_bytes=need(kept, replace(job, guide_on_disk=True), "host"))
    other = None
    if language == "zh":
        other = page = open_settled(chrome, server.base, server.base_url, **{"Comfy.Locale": "zh"})
        show_graph(page, json.loads((WORKFLOWS / "tiny_demo.json").read_text()))
    page.route("**/atlasvid/plan", of_a_machine(job, machine))
    try:
        page.evaluate(SET, ["Plan", BIG])
        note = page.locator(".av-note.av-bad", has_text="ScaledRoPEAligner")
        note.wait_for()
        assert {"en": " as well it would fit", "zh": "并改为"}[language] in note.inner_text()
        titles = ["Plan", "The guide"]
        before = [page.evaluate(VALUES, title) for title in titles]
        note.locator("button").click()
        page.wait_for_selector(".av-panel[data-state=fits]")
        plan, guide = (page.evaluate(VALUES, title) for title in titles)
        assert guide == {**before[1], "store": "disk"}
        assert plan["frames"] < before[0]["frames"] or plan["width"] < before[0]["width"]
        undo(page)
        note.wait_for()
        assert [page.evaluate(VALUES, title) for title in titles] == before
    finally:
        page.unroute("**/atlasvid/plan")
        if other:
            other.close()
            settle(server.base)


def test_inputs_are_named_in_chinese_as_on_the_node(page):
    """In what the panel says of sizes, by the names that the node's widgets have."""
    told = """async (text) => {
      const { LABELS } = await import("/extensions/atlasvid/plan/labels.js");
      return LABELS.zh.told({ key: "smaller", values: [["inputs", text]] });
    }"""
    locale = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    names = {key: its["name"] for key, its in locale["AtlasVidPlan"]["inputs"].items()}
    text = page.evaluate(told, "width 640, height 480, frames 81 and proxy_height 96")
    for key, value in (("width", 640), ("height", 480), ("frames", 81), ("proxy_height", 96)):
        assert f"{names[key]} {value}" in text
