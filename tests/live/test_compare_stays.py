"""CompareVideos' player through undo, a move into a subgraph, other zooms of the canvas, and where
nodes are elements of the page."""

import pytest

from .compare_page import NODE, PLAYER, SHOWN, STAGE, clock, look, open_pair
from .plan_page import undo

ROOT = ".atlasvid-compare"
MOVE = f"""() => {{
  window.app.canvas.emitBeforeChange();
  const node = {NODE};
  node.pos = [node.pos[0] + 20, node.pos[1]];
  window.app.canvas.emitAfterChange();
}}"""
TO_SUBGRAPH = f"""() => {{
  window.app.canvas.emitBeforeChange();
  window.app.graph.convertToSubgraph(new Set([{NODE}]));
  window.app.canvas.emitAfterChange();
}}"""
INNER = "window.app.graph.nodes.find((n) => n.subgraph)?.subgraph.nodes[0].atlasvidPlayer"
STATE = "((p) => [p.mode, p.wipe, p.view.zoom, p.pair.speed, p.pair.frame, p.e.speed.value])"
SCALE = "window.app.canvas.ds.scale"


@pytest.fixture(scope="module")
def opened(chrome, server):
    page = open_pair(chrome, server)
    yield page
    page.close()


@pytest.fixture
def page(opened):
    """The pair in its first frame, whole."""
    look(opened)
    opened.locator(ROOT).focus()
    opened.keyboard.press("0")
    opened.keyboard.press("Home")
    yield opened
    assert opened.ours == []


@pytest.fixture
def in_elements(page):
    """Where nodes are elements of the page; the player has its size there."""
    switch = "(on) => window.app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)"
    page.evaluate(switch, True)
    page.wait_for_function(f"document.querySelector('.lg-node {STAGE}')?.clientHeight > 99")
    page.wait_for_timeout(500)
    yield page
    page.evaluate(switch, False)
    page.wait_for_timeout(500)


def undone(page) -> None:
    """A change and its undo, which makes all nodes anew."""
    page.evaluate(f"window.atlasvidBefore = {PLAYER}")
    page.evaluate(MOVE)
    page.wait_for_timeout(300)
    undo(page)
    page.wait_for_function(f"{PLAYER} && {PLAYER} !== window.atlasvidBefore && {SHOWN}")


def test_undo_leaves_what_the_player_shows_as_it_was(page):
    page.evaluate(f"{PLAYER}.setMode('difference'); {PLAYER}.setWipe(0.3)")
    page.locator(f"{ROOT} select.speed").select_option("0.5")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    before = page.evaluate(f"{STATE}({PLAYER})")
    assert before == ["difference", 0.3, 1.5, 0.5, 1, "0.5"]
    undone(page)
    assert page.evaluate(f"{STATE}({PLAYER})") == before
    assert clock(page) == "frame 2/17 · proxy 1/5"
    page.locator(f"{ROOT} select.speed").select_option("1")
    page.evaluate(f"{PLAYER}.setMode('wipe'); {PLAYER}.setWipe(0.5)")


def test_space_after_a_click_on_a_button_plays(page):
    page.locator(f"{ROOT} button.on").click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press(" ")
    assert page.evaluate(f"{PLAYER}.pair.playing") is True
    page.wait_for_function(f"{PLAYER}.pair.frame > 3")
    page.keyboard.press(" ")
    page.locator(f"{ROOT} button.back").focus()
    page.keyboard.press("Home")
    page.locator(f"{ROOT} button.on").focus()  # by Tab: there the button has the key
    page.keyboard.press(" ")
    assert (page.evaluate(f"{PLAYER}.pair.playing"), clock(page)[:7]) == (False, "frame 2")


@pytest.mark.parametrize("scale", [0.3, 0.25])
def test_actual_pixels_are_the_screens_at_any_zoom_of_the_canvas(page, scale):
    page.evaluate(f"Object.assign({SCALE.rsplit('.', 1)[0]}, {{ scale: {scale} }})")
    page.evaluate("window.app.canvas.setDirty(true, true)")
    page.wait_for_function(
        f"Math.abs(document.querySelector('{STAGE}').getBoundingClientRect().width"
        f" - {scale} * document.querySelector('{STAGE}').clientWidth) < 1"
    )
    page.locator(ROOT).focus()
    page.keyboard.press("1")
    assert page.locator(f"{STAGE} .pictures").bounding_box()["width"] == pytest.approx(256, abs=1)


def test_a_player_that_leaves_the_page_while_it_plays_says_that_it_stands(page):
    page.keyboard.press(" ")
    page.wait_for_function(f"{PLAYER}.pair.frame > 1")
    page.evaluate(f"""async () => {{
      const root = document.querySelector("{ROOT}");
      const place = root.parentElement;
      root.remove();
      await new Promise((later) => setTimeout(later, 300));
      place.append(root);
    }}""")
    page.wait_for_timeout(200)
    assert page.evaluate(f"[{PLAYER}.pair.playing, {PLAYER}.e.detail.paused]") == [False, True]
    assert page.locator(f"{ROOT} button.play").get_attribute("data-sign") == "play"


def test_what_the_browser_pauses_in_a_hidden_page_goes_on(page):
    hide = "(on) => Object.defineProperty(document, 'hidden', { configurable: true, value: on })"
    page.evaluate(hide, True)
    page.keyboard.press(" ")
    page.evaluate(f"{PLAYER}.e.detail.pause()")
    page.wait_for_timeout(200)
    assert page.evaluate(f"{PLAYER}.pair.playing") is True
    page.evaluate("() => { delete document.hidden; }")
    page.evaluate(f"{PLAYER}.e.detail.play()")
    page.keyboard.press(" ")
    assert page.evaluate(f"[{PLAYER}.pair.playing, {PLAYER}.e.detail.paused]") == [False, True]


def test_undo_shows_the_living_player_in_elements_of_the_page(in_elements):
    page = in_elements
    undone(page)
    page.wait_for_function(f"{PLAYER}.e.root.isConnected")
    assert page.locator(ROOT).count() == 1


def test_the_wheel_zooms_the_picture_in_elements_of_the_page(in_elements):
    page = in_elements
    scale = page.evaluate(SCALE)
    box = page.locator(STAGE).bounding_box()
    page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.wheel(0, -400)
    page.wait_for_function(f"{PLAYER}.view.zoom > 1.5")
    page.wait_for_timeout(300)
    assert page.evaluate(SCALE) == scale


def test_another_workflow_does_not_show_the_pair_in_a_node_of_the_same_number(page):
    one = page.evaluate("() => JSON.parse(JSON.stringify(window.app.graph.serialize()))")
    load = "async (graph) => window.app.loadGraphData(graph)"
    page.evaluate(f"window.atlasvidBefore = {PLAYER}")
    page.evaluate(load, one | {"id": "11111111-2222-4333-8444-555555555555"})
    page.wait_for_function(f"{PLAYER} && {PLAYER} !== window.atlasvidBefore")
    page.wait_for_timeout(300)
    assert page.evaluate(f"{PLAYER}.facts") is None
    page.evaluate(load, one)
    page.wait_for_function(SHOWN)


def test_a_subgraph_takes_the_pair_along_and_lets_go_of_it_with_the_workflow(page):
    page.keyboard.press("ArrowRight")
    page.evaluate(TO_SUBGRAPH)
    page.wait_for_function(f"{INNER}?.facts && {INNER}.e.message.hidden")
    assert page.evaluate(f"{INNER}.pair.frame") == 1
    page.evaluate(f"window.atlasvidBefore = {INNER}")
    page.evaluate("window.app.loadGraphData({ nodes: [], links: [], version: 0.4 })")
    page.wait_for_function("!window.atlasvidBefore.e.detail.getAttribute('src')")
