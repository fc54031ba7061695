"""VideoPlan's panel through undo, a narrow node, a server that was away, a job that ended, a closed
workflow, and where nodes are elements of the page."""

import pytest

from .plan_page import SET, STILL, TO_PLAN, undo

NARROW_PX = 330
NARROW = """(px) => {
  window.app.canvas.emitBeforeChange();
  const node = window.app.graph.nodes.find((n) => n.title === "Plan");
  node.setSize([px, node.size[1]]);
  window.app.canvas.emitAfterChange();
}"""
STATE = """() => {
  const at = (title) => window.app.graph.nodes.find((n) => n.title === title);
  const seed = at("Stage 1: the proxy").widgets.find((w) => w.name === "seed");
  return [at("Plan").size[0], seed.value];
}"""
SEED_IS = """(value) => window.app.graph.nodes.find((n) => n.title === "Stage 1: the proxy")
  ?.widgets.find((w) => w.name === "seed").value === value"""
MOVE = """() => {
  window.app.canvas.emitBeforeChange();
  window.app.graph.nodes[0].pos = [5, 5];
  window.app.canvas.emitAfterChange();
}"""
SCALE = "() => window.app.canvas.ds.scale"
LOST = "document.querySelector('.av-panel[data-state=failed]')"


TO_SUBGRAPH = """() => {
  const graph = window.app.graph;
  graph.convertToSubgraph(new Set(graph.nodes.filter((n) => n.title === "Plan")));
}"""
LIVES = """() => {
  const node = window.app.graph.nodes.find((n) => n.title === "Plan");
  const { element } = node.widgets.find((w) => w.name === "atlasvid_panel");
  return element.isConnected && element.innerText.includes("192 × 192")
    && document.querySelectorAll(".av-panel").length === 1;
}"""


@pytest.fixture
def in_elements(page):
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    page.evaluate(switch, True)
    page.locator(".lg-node .av-panel").wait_for()
    page.wait_for_timeout(500)
    yield page
    page.evaluate(switch, False)
    page.wait_for_timeout(500)


@pytest.fixture
def away(page, canvas):
    """The panel asked and was not answered; the server is back since."""
    page.route("**/atlasvid/plan", lambda route: route.abort())
    page.evaluate(SET, ["Plan", {"width": 384}])
    page.wait_for_function(LOST)
    page.unroute("**/atlasvid/plan")
    canvas.problems[:] = [p for p in canvas.problems if "Failed to load resource" not in p]
    return page


def test_a_node_made_narrow_can_be_undone_and_redone(page):
    """Undo loads an earlier state: whatever that load changes would be a new edit, and end redo."""

    def seeds(*values):
        for value in values:
            page.evaluate(SET, ["Stage 1: the proxy", {"seed": value}])
            page.wait_for_timeout(200)

    def undone(seed):
        undo(page)
        page.wait_for_function(SEED_IS, arg=seed)
        page.wait_for_timeout(200)
        page.mouse.click(1500, 900)  # the page looks for changes at every click
        page.wait_for_timeout(200)

    seeds(4, 5)
    undone(4)  # the first one may renumber nodes, with which the panel has nothing to do
    page.evaluate(NARROW, NARROW_PX)
    seeds(6, 7, 8)
    undone(7)
    undone(6)
    page.keyboard.press("Control+y")
    page.wait_for_function(SEED_IS, arg=7)
    assert page.evaluate(STATE) == [NARROW_PX, 7]


def test_the_wheel_scrolls_a_panel_that_is_too_narrow_for_its_rows(page):
    page.evaluate(TO_PLAN)
    panel = page.locator(".av-panel")
    box = panel.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    scale = page.evaluate(SCALE)
    page.mouse.wheel(0, 120)
    page.wait_for_function(
        "(s) => window.app.canvas.ds.scale !== s", arg=scale
    )  # nothing to scroll
    page.evaluate(NARROW, NARROW_PX)
    page.evaluate(TO_PLAN)
    page.wait_for_function("(e) => e.scrollHeight > e.clientHeight", arg=panel.element_handle())
    box = panel.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.wheel(0, 2000)
    page.wait_for_function("(e) => e.scrollTop > 0", arg=panel.element_handle())
    assert page.evaluate(SCALE) == 1


def test_after_a_lost_answer_the_next_change_of_anything_asks_again(away):
    away.evaluate(MOVE)
    away.wait_for_selector(".av-panel[data-state=fits]")


def test_a_page_that_is_connected_again_asks_again(away):
    away.evaluate("() => window.app.api.socket.close()")
    away.wait_for_selector(".av-panel[data-state=fits]")


def test_the_end_of_the_last_job_is_a_reason_to_ask_again(page):
    """It took disk; and while it ran, the machine was not measured."""
    page.evaluate(SET, ["Plan", {"width": 64, "height": 64, "frames": 9, "proxy_height": 32}])
    for title in ("Stage 1: the proxy", "Stage 2: the detail"):
        page.evaluate(SET, [title, {"steps": 1}])
    page.wait_for_timeout(500)
    page.wait_for_function(STILL)
    with page.expect_response("**/atlasvid/plan", timeout=60_000) as answered:
        page.evaluate("() => window.app.queuePrompt(0, 1)")
    assert answered.value.json()["fits"]


def test_plans_in_subgraphs_go_with_their_workflow(page):
    """The page tells nothing of their end: only the plan that is there asks."""
    saved = page.evaluate("() => JSON.parse(JSON.stringify(window.app.graph.serialize()))")
    for _ in range(2):
        page.evaluate(TO_SUBGRAPH)
        page.wait_for_timeout(300)
        page.evaluate("async (graph) => window.app.loadGraphData(graph)", saved)
        page.wait_for_timeout(500)
    page.wait_for_function(STILL)
    asked = []
    page.on("request", lambda request: asked.append(request) if "plan" in request.url else None)
    with page.expect_response("**/atlasvid/plan"):
        page.evaluate("() => window.app.api.dispatchEvent(new CustomEvent('reconnected'))")
    page.wait_for_timeout(1000)
    assert len([r for r in asked if r.url.endswith("/atlasvid/plan")]) == 1


def test_undo_shows_the_living_panel_in_elements_of_the_page(in_elements):
    page = in_elements
    page.locator(".av-presets button", has_text="720p").click()
    page.wait_for_function("document.querySelector('.av-facts').innerText.includes('1280')")
    undo(page)
    page.wait_for_function(LIVES)
    page.locator(".av-presets button", has_text="2K").click()
    page.wait_for_function("document.querySelector('.av-facts').innerText.includes('2560')")


def test_the_wheel_scrolls_a_panel_in_elements_of_the_page_once_it_is_clicked(in_elements):
    page = in_elements
    page.evaluate(SET, ["Plan", {"width": 1280}])  # notes: more than the panel has room for
    panel = page.locator(".av-panel")
    page.evaluate("(e) => { e.style.maxHeight = '200px'; e.style.minHeight = '0'; }",
                  panel.element_handle())  # fmt: skip
    page.wait_for_function("(e) => e.scrollHeight > e.clientHeight", arg=panel.element_handle())
    scale, box = page.evaluate(SCALE), panel.bounding_box()
    page.mouse.click(box["x"] + 20, box["y"] + 60)
    page.mouse.wheel(0, 120)
    page.wait_for_function("(e) => e.scrollTop > 0", arg=panel.element_handle())
    assert page.evaluate(SCALE) == scale
