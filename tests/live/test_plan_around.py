"""What VideoPlan's panel takes from the workflow around it: links, subgraphs, files of loaders."""

import pytest

from atlasvid_core.estimate import Job

from .plan_page import SET, STILL, VALUES

HAS = "(type) => type in window.LiteGraph.registered_node_types"
# [type, values of its widgets, [[output, title, input] ...]]
LINK = """([type, values, links]) => {
  const graph = window.app.graph;
  window.app.canvas.emitBeforeChange();
  const source = window.LiteGraph.createNode(type);
  graph.add(source);
  for (const [name, value] of Object.entries(values)) {
    source.widgets.find((w) => w.name === name).value = value;
  }
  for (const [output, title, name] of links) {
    const target = graph.nodes.find((n) => n.title === title);
    source.connect(output, target, target.inputs.findIndex((i) => i.name === name));
  }
  window.app.canvas.emitAfterChange();
}"""
TO_SUBGRAPH = """(titles) => {
  const graph = window.app.graph;
  window.app.canvas.emitBeforeChange();
  graph.convertToSubgraph(new Set(graph.nodes.filter((n) => titles.includes(n.title))));
  window.app.canvas.emitAfterChange();
}"""
WITHIN = """([title, name, value]) => {
  window.app.canvas.emitBeforeChange();
  for (const whole of window.app.graph.nodes.filter((n) => n.subgraph)) {
    const node = whole.subgraph.nodes.find((n) => n.title === title);
    if (node) node.widgets.find((w) => w.name === name).value = value;
  }
  window.app.canvas.emitAfterChange();
}"""
OFF = """(titles) => {
  window.app.canvas.emitBeforeChange();
  for (const n of window.app.graph.nodes) if (titles.includes(n.title)) n.mode = 4;
  window.app.canvas.emitAfterChange();
}"""
STAGES = ["Stage 1: the proxy", "The guide", "Local, guided attention", "Stage 2: the detail"]


@pytest.fixture
def told(page):
    """`told(script, values)`: what the server answers to the panel after that."""

    def told(script, values):
        with page.expect_response("**/atlasvid/plan", timeout=10_000) as answered:
            page.evaluate(script, values)
        answer = answered.value.json()
        page.wait_for_function(STILL)
        return answer

    return told


def notes(page) -> str:
    return page.locator(".av-notes").inner_text()


@pytest.mark.parametrize(
    ("kind", "values", "links"),
    [
        ("WanCameraEmbedding", {"width": 640, "length": 33},
         [[2, "Plan", "height"], [3, "Plan", "frames"]]),
        ("ResolutionSelector", {"megapixels": 8, "multiple": 16},
         [[0, "Plan", "width"], [1, "Plan", "height"]]),
    ],
)  # fmt: skip
def test_sizes_that_a_node_computes_are_not_guessed(page, told, kind, values, links):
    """Whatever widgets it has: the panel keeps to the plan's own and says so."""
    if not page.evaluate(HAS, kind):
        pytest.skip(f"this ComfyUI has no {kind}")
    before = page.evaluate(VALUES, "Plan")
    plan = told(LINK, [kind, values, links])["plan"]
    given = (plan["width_px"], plan["height_px"], plan["frames_px"], plan["proxy_height_px"])
    assert given == (before["width"], before["height"], before["frames"], before["proxy_height"])
    for _, _, name in links:
        assert f"{name} comes through a link" in notes(page)
    assert page.locator(".av-note button").count() == 0  # nothing to set right
    page.locator(".av-presets button", has_text="4K").click()
    page.wait_for_function(STILL)
    linked = [name for _, _, name in links]
    after = page.evaluate(VALUES, "Plan")
    assert [after[name] for name in linked] == [before[name] for name in linked]


def test_a_primitive_gives_its_value_to_the_plan_and_to_the_samplers(page, told):
    primitive = ["PrimitiveInt", {"value": 256}, [[0, "Plan", "width"]]]
    assert told(LINK, primitive)["plan"]["width_px"] == 256
    steps = ["PrimitiveInt", {"value": 11}, [[0, "Stage 2: the detail", "steps"]]]
    assert told(LINK, steps)["job"]["detail_steps"] == 11
    assert "comes through a link" not in notes(page)


def test_an_input_of_a_sampler_that_can_not_be_known_is_listed(page, told):
    before = page.evaluate(VALUES, "Stage 2: the detail")["steps"]
    camera = ["WanCameraEmbedding", {"width": 640}, [[1, "Stage 2: the detail", "steps"]]]
    assert told(LINK, camera)["job"]["detail_steps"] == before
    assert "steps of DetailJointSampler comes through a link" in notes(page)


def test_samplers_in_a_subgraph_are_those_of_a_plan_outside(page, told):
    stages = page.locator(".av-panel [data-stage]")
    before = stages.all_inner_texts()
    page.evaluate(TO_SUBGRAPH, STAGES)
    page.wait_for_timeout(500)
    page.wait_for_function(STILL)
    assert stages.all_inner_texts() == before
    job = told(WITHIN, ["Stage 1: the proxy", "steps", 13])["job"]
    assert job["proxy_steps"] == 13
    assert told(WITHIN, ["Stage 2: the detail", "steps", 17])["job"]["detail_steps"] == 17
    assert told(SET, ["Video", {"codec": "ffv1"}])["job"]["codec"] == "ffv1"


def test_where_the_proxys_maker_is_not_seen_stage_1_still_counts(page, told):
    """As when the plan goes on through another pack's Set and Get nodes."""
    maker = [title for title in STAGES if title != "Local, guided attention"]
    assert told(OFF, maker)["job"]["proxy_steps"] == Job().proxy_steps
    assert page.locator(".av-panel [data-stage=proxy]").count() == 1


def test_a_proxy_from_a_file_takes_no_steps(page, told):
    told(OFF, ["Stage 1: the proxy"])
    job = told(LINK, ["EmptyHunyuanLatentVideo", {}, [[0, "The guide", "proxy"]]])["job"]
    assert job["proxy_steps"] == 0


def test_a_stretched_proxy_without_its_lora_is_told_of_and_one_press_mends_it(page, told):
    assert told(SET, ["Plan", {"frames": 81}])["advice"] == []  # the demo has its stage-1 LoRA
    assert told(OFF, ["Stage-1 LoRA"])["job"]["stage1_lora"] is False
    note = page.locator(".av-note.av-warn", has_text="r_t 1 gives it 81")
    assert "At r_t 4 the proxy has 21 frames" in note.inner_text()
    with page.expect_response("**/atlasvid/plan") as answered:
        note.locator("button").click()
    page.wait_for_function(STILL)
    assert page.evaluate(VALUES, "Plan")["r_t"] == 1
    assert answered.value.json()["advice"] == [] and note.count() == 0


def test_a_model_whose_loader_is_not_seen_may_have_its_lora(page, told):
    """As when it comes through another pack's Set and Get nodes."""
    told(SET, ["Plan", {"frames": 81}])
    unseen = told(LINK, ["DiffusersLoader", {}, [[0, "Stage 1: the proxy", "model"]]])
    assert unseen["job"]["stage1_lora"] is True and unseen["advice"] == []


@pytest.mark.parametrize(
    ("file", "source", "words"),
    [
        ("my_wan_finetune_Q8.safetensors", "unknown", "tells no size"),
        ("wan2.2_ti2v_5B_fp16.safetensors", "unknown", "tells no size"),
        ("wan2.1_t2v_14B_fp16.safetensors", "name", None),
    ],
)
def test_a_file_that_tells_no_size_is_said_to(page, told, file, source, words):
    answer = told(SET, ["Load the tiny model", {"unet_name": file}])
    assert answer["model"]["source"] == source
    assert ("tells no size" in notes(page)) == bool(words)
    title = page.locator(".av-model").get_attribute("title")
    assert "no model file" not in title and ("tells no size" in title) == bool(words)
    if words:
        page.locator(".av-model").select_option("14b")
        page.wait_for_function(STILL)
        assert "tells no size" not in notes(page)


def test_the_loaders_weight_dtype_counts(page, told):
    assert (
        told(SET, ["Load the tiny model", {"weight_dtype": "fp8_e4m3fn"}])["job"]["weight_bytes"]
        == 1
    )
