"""VideoPlan's panel in the real interface: its figures are the core's, to the last digit."""

import json
import re
from string import Formatter

import pytest

from atlasvid_core.attention.mask import align, aligned_proxy, neighbours
from atlasvid_core.calibration import Calibration
from atlasvid_core.estimate import Job, Machine
from atlasvid_core.plan_report import plan_of, report
from atlasvid_core.sayings import TEXTS
from atlasvid_core.wan.dit import WanConfig
from devtools.browser import open_settled, settle, show_graph

from .common import WORKFLOWS, listen
from .plan_page import SET, STILL, TO_PLAN, VALUES

SIZES = ["width", "height", "frames", "proxy_height"]
PARTS = [
    f".av-{part}" for part in ("presets", "head", "frame", "time", "caption", "bars", "stages")
]


@pytest.fixture
def change(page):
    """Set widgets of the node of a title; returns what the server answered to the panel."""

    def change(title="Plan", **values):
        with page.expect_response("**/atlasvid/plan") as answered:
            page.evaluate(SET, [title, values])
        answer = answered.value.json()
        page.wait_for_function(STILL)
        return answer

    return change


def raw(page, selector: str):
    return page.locator(f".av-panel {selector}").first.get_attribute("data-raw")


def of_core(answer: dict, values: dict) -> dict:
    """The core's report for the widgets on the canvas, on the machine that the server named."""
    rates = answer["machine"]["calibration"]
    machine = Machine(
        **{**answer["machine"], "calibration": Calibration(**rates) if rates else None}
    )
    job = Job(**{**answer["job"], "config": WanConfig(**answer["job"]["config"])})
    return json.loads(json.dumps(report(values, job, machine)))


def test_every_figure_is_the_cores(page, change):
    for values in (
        {"width": 256, "height": 128, "frames": 49, "proxy_height": 64, "reach": "all"},
        {"width": 3840, "height": 2160, "frames": 321, "cube_t": 4, "cube_h": 8, "cube_w": 8},
        {"reach": "faces", "proxy_height": 480, "r_t": 8, "alignment": "endpoints"},
    ):
        answer = change(**values)
        core = of_core(answer, page.evaluate(VALUES, "Plan"))
        assert {k: answer[k] for k in core} == core
        assert raw(page, "[data-fact=video] b") == str(core["tokens"]["target"])
        text = page.locator(".av-panel [data-fact=video] b").inner_text()
        assert text == f"{core['tokens']['target']:,} tokens"
        assert raw(page, "[data-fact=proxy] b") == str(core["tokens"]["proxy"])
        assert float(raw(page, "[data-fact=ratio] b")) == core["ratio"]["attention"]
        text = page.locator(".av-panel [data-fact=ratio] b").inner_text()
        assert text == f"{core['ratio']['attention']:,.1f}× less"
        for check in core["checks"]:
            shown = raw(page, f"[data-check={check['name']}] .av-share")
            assert shown == str(check["need_bytes"])
        for stage in core["stages"]:
            shown = raw(page, f"[data-stage={stage['name']}] .av-time-of")
            assert shown == ("null" if stage["seconds"] is None else repr(stage["seconds"]))
        assert page.locator(".av-total").inner_text().endswith(" on the CPU")
        state = page.locator(".av-panel").get_attribute("data-state")
        assert state == ("fits" if core["fits"] else "bad")


def test_steps_and_files_of_the_workflow_are_in_the_figures(page, change):
    answer = change("Stage 2: the detail", steps=11)
    assert answer["job"]["detail_steps"] == 11
    assert answer["model"] == {"label": "AtlasVid-Tiny", "source": "file"}
    assert "11 steps" in page.locator("[data-stage=detail]").inner_text()
    assert answer["job"]["enlarges"] is True
    assert change("The guide", store="disk")["job"]["guide_on_disk"] is True


def test_a_video_that_becomes_the_proxy_is_a_stage(canvas):
    show_graph(canvas.page, json.loads((WORKFLOWS / "upscale_to_4k.json").read_text()))
    canvas.page.evaluate(TO_PLAN)
    read = canvas.page.locator(".av-panel [data-stage=read]")
    read.wait_for(state="attached", timeout=60_000)
    canvas.page.wait_for_function(STILL)
    stages = canvas.page.locator(".av-panel [data-stage]")
    names = [stages.nth(n).get_attribute("data-stage") for n in range(stages.count())]
    assert names == ["read", "guide", "enlarge", "detail", "decode"]
    assert "Video to proxy" in read.inner_text()


@pytest.mark.parametrize("reach", ["faces", "all"])
def test_the_cube_under_the_pointer_sees_what_the_core_says(page, change, reach):
    change(reach=reach, width=208, height=144, cube_t=2, cube_h=4, cube_w=4)
    plan, _ = plan_of(page.evaluate(VALUES, "Plan"))
    layout, caption = plan.layout, page.locator(".av-panel .av-caption")
    box = page.locator(".av-panel .av-frame").bounding_box()
    for x, y in ((0.5, 0.5), (0.99, 0.98), (0.2, 0.7)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        cube = [int(i) for i in caption.get_attribute("data-cube").split(",")]
        _, high, wide = layout.n_cubes
        number = (cube[0] * high + cube[1]) * wide + cube[2]
        sizes, near = layout.sizes().tolist(), neighbours(layout, number, reach)
        aligned = align(layout, plan.proxy_axes())
        assert int(caption.get_attribute("data-tokens")) == sizes[number]
        assert int(caption.get_attribute("data-near")) == sum(sizes[n] for n in near)
        proxies = aligned_proxy(layout, reach, aligned, number)
        assert int(caption.get_attribute("data-proxy")) == len(proxies)
    page.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + box["height"] / 2)
    assert caption.get_attribute("data-cube").split(",")[2] == str(layout.n_cubes.w - 1)
    page.mouse.move(0, 0)
    assert caption.get_attribute("data-cube").split(",")[2] != str(layout.n_cubes.w - 1)


def test_presets_set_the_widgets(page, change):
    press = lambda name: page.locator(".av-presets button", has_text=name).click()  # noqa: E731
    press("4K")
    press("20 s")
    values = page.evaluate(VALUES, "Plan")
    assert [values[name] for name in SIZES] == [3840, 2160, 321, 96]
    page.locator(".av-presets button[title=Portrait]").click()
    values = page.evaluate(VALUES, "Plan")
    assert [values[name] for name in SIZES] == [2160, 3840, 321, 176]
    pressed = page.locator(".av-presets [aria-pressed=true]").all_inner_texts()
    assert pressed[:2] == ["4K", "20 s"] and len(pressed) == 3
    page.wait_for_function(STILL)
    parts = [page.locator(f".av-panel {part}").bounding_box() for part in PARTS]
    for above, below in zip(parts, parts[1:]):  # nothing lies over anything else
        assert above["y"] + above["height"] <= below["y"] + 0.5


def test_sizes_snap_and_the_panel_says_so(page, change):
    change(height=1080, width=1920, frames=80)
    values = page.evaluate(VALUES, "Plan")
    assert [values[name] for name in SIZES[:3]] == [1920, 1088, 81]
    notes = page.locator(".av-notes").inner_text()
    assert "height 1080 → 1088" in notes and "frames 80 → 81" in notes


def test_a_value_that_the_node_would_refuse_is_red_and_one_press_sets_it_right(page, change):
    answer = change(width=256, height=128, proxy_height=480)
    assert answer["snapped"][0]["name"] == "proxy_height" and answer["fits"]
    assert page.locator(".av-panel").get_attribute("data-state") == "bad"
    with page.expect_response("**/atlasvid/plan"):
        page.locator(".av-note.av-bad button").first.click()
    page.wait_for_selector(".av-panel[data-state=fits]")
    assert page.evaluate(VALUES, "Plan")["proxy_height"] == 128


def test_red_comes_with_a_remedy_that_works(page, change):
    """Whatever this machine lacks: each remedy is taken as it comes, until nothing is red."""
    answer = change(width=7680, height=4320, frames=4097, cube_t=4, cube_h=8, cube_w=8)
    assert not answer["fits"]
    panel = page.locator(".av-panel")
    for _ in range(8):
        if panel.get_attribute("data-state") == "fits":
            break
        page.locator(".av-note.av-bad button").first.click()
        page.wait_for_function(STILL)
    assert panel.get_attribute("data-state") == "fits"
    assert page.locator(".av-note.av-bad").count() == 0


def test_it_outlives_copies_undo_and_collapse_and_is_not_saved(page, change):
    change(width=320)
    saved = json.loads(page.evaluate("() => JSON.stringify(window.app.graph.serialize())"))
    plan = next(n for n in saved["nodes"] if n["type"] == "AtlasVidPlan")
    assert plan["widgets_values"] == list(page.evaluate(VALUES, "Plan").values())
    assert "atlasvid_panel" not in json.dumps(page.evaluate("() => window.app.graphToPrompt()"))
    page.evaluate("""() => {
      const node = window.app.graph.nodes.find((n) => n.title === "Plan");
      const copy = node.clone();
      copy.title = "Copy";
      copy.pos = [node.pos[0], node.pos[1] + 900];
      window.app.graph.add(copy);
    }""")
    page.wait_for_function("document.querySelectorAll('.av-panel').length === 2")
    first, second = page.locator(".av-panel").all()
    change("Copy", width=640)
    assert "640 × " in second.inner_text() and "320 × " in first.inner_text()
    page.evaluate("async (graph) => window.app.loadGraphData(graph, false, false)", saved)
    page.wait_for_function("document.querySelectorAll('.av-panel').length === 1")
    page.wait_for_function(STILL)
    assert "320 × " in page.locator(".av-panel").inner_text()
    page.evaluate("() => window.app.graph.nodes.find((n) => n.title === 'Plan').collapse()")
    page.wait_for_selector(".av-panel", state="hidden")
    page.evaluate("() => window.app.graph.nodes.find((n) => n.title === 'Plan').collapse()")
    page.wait_for_selector(".av-panel", state="visible")


def test_undo_takes_a_preset_back_in_one_step(page):
    before = page.evaluate(VALUES, "Plan")
    page.locator(".av-presets button", has_text="8K").click()
    page.wait_for_function("document.querySelector('.av-facts').innerText.includes('7680')")
    page.evaluate("() => document.activeElement?.blur()")  # the canvas has the keyboard again
    page.keyboard.press("Control+z")
    page.wait_for_function("document.querySelector('.av-facts')?.innerText.includes('192 × 192')")
    assert page.evaluate(VALUES, "Plan") == before


def test_the_panel_works_in_nodes_that_are_elements_of_the_page(chrome, server, canvas):
    try:
        vue = {"Comfy.VueNodes.Enabled": True}
        page = open_settled(chrome, server.base, server.base_url, **vue)
        problems = listen(page)
        show_graph(page, json.loads((WORKFLOWS / "tiny_demo.json").read_text()))
        page.evaluate(TO_PLAN)
        panel = page.locator(".lg-node .av-panel")
        panel.wait_for(state="visible")
        page.locator(".av-presets button", has_text="2K").click()
        page.wait_for_function("document.querySelector('.av-facts').innerText.includes('2560')")
        assert page.evaluate(VALUES, "Plan")["width"] == 2560
        assert panel.bounding_box()["height"] > 400
        assert problems == []
        page.close()
    finally:
        settle(server.base)


def test_its_words_are_there_in_both_languages(page):
    """Each key of one language stands in the other, and is a text or a function as there."""
    kinds = """async () => {
      const place = [...document.querySelectorAll("link[rel=stylesheet]")]
        .map((link) => link.href).find((href) => href.endsWith("/plan/panel.css"));
      const { LABELS } = await import(new URL("./labels.js", place).href);
      const kinds = (words) => Object.entries(words).flatMap(([key, value]) => {
        const inner = typeof value === "object" ? kinds(value) : [typeof value];
        return inner.map((kind) => `${key} ${kind}`);
      });
      return [kinds(LABELS.en), kinds(LABELS.zh)];
    }"""
    english, chinese = page.evaluate(kinds)
    assert len(english) > 40 and sorted(english) == sorted(chinese)


def test_what_the_server_says_is_there_in_chinese(page):
    """Every text of the core, by its key; the names in it as they stand."""
    told = """async (items) => {
      const { LABELS } = await import("/extensions/atlasvid/plan/labels.js");
      return items.map((item) => LABELS.zh.told(item));
    }"""
    known = {"stage": "detail", "folder": "output"}
    items = []
    for key, text in TEXTS.items():
        names = [name for _, name, _, _ in Formatter().parse(text) if name]
        items.append({"key": key, "text": text, "values": [[n, known.get(n, n)] for n in names]})
    for item, chinese in zip(items, page.evaluate(told, items)):
        assert re.search("[\u4e00-\u9fff]", chinese), item["key"]
        assert "undefined" not in chinese
        for name, _ in item["values"]:
            assert name in known or name in chinese


def test_without_its_route_it_says_so_and_the_node_works_on(page, change, canvas):
    page.route("**/atlasvid/plan", lambda route: route.fulfill(status=404, body="gone"))
    try:
        page.evaluate(SET, ["Plan", {"width": 384}])
        page.wait_for_selector(".av-panel[data-state=failed]")
        assert "404" in page.locator(".av-notes").inner_text()
        assert page.evaluate(VALUES, "Plan")["width"] == 384
    finally:
        page.unroute("**/atlasvid/plan")
        canvas.problems[:] = [p for p in canvas.problems if "Failed to load resource" not in p]
    change(width=400)
    assert page.locator(".av-panel").get_attribute("data-state") == "fits"
