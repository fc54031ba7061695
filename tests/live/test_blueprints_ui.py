"""The subgraph blueprints: the host lists them, they open, and run as the nodes inside them."""

import json

import pytest

from devtools.browser import show_graph

from .common import ROOT

NAMES = sorted(path.stem for path in (ROOT / "subgraphs").glob("*.json"))
CONNECT = """async () => {
  const whole = window.app.graph.nodes[0];
  const files = { UNETLoader: ["unet_name", "atlasvid_tiny.safetensors"],
                  VAELoader: ["vae_name", "atlasvid_tiny_vae.safetensors"] };
  const sources = { MODEL: "UNETLoader", VAE: "VAELoader", CONDITIONING: "AtlasVidTinyPrompt",
                    VIDEO: "LoadVideo" };
  const made = {};
  whole.inputs.forEach((input, slot) => {
    const type = sources[input.type];
    if (!type) return;
    if (!made[type]) {
      made[type] = window.LiteGraph.createNode(type);
      window.app.graph.add(made[type]);
      const [name, file] = files[type] ?? [];
      if (name) made[type].widgets.find((w) => w.name === name).value = file;
    }
    made[type].connect(0, whole, slot);
  });
  const sizes = Object.entries({ width: 96, height: 64, frames: 9 });
  for (const [name, value] of sizes) whole.widgets.find((w) => w.name === name).value = value;
  const save = window.LiteGraph.createNode("SaveVideo");
  window.app.graph.add(save);
  whole.connect(whole.outputs.findIndex((o) => o.name === "video"), save, 0);
  return (await window.app.graphToPrompt()).output;
}"""
ENTER = "() => window.app.canvas.setGraph(window.app.graph.nodes[0].subgraph)"
OUTSIDE = """(names) => names.map(
  (name) => window.app.graph.nodes[0].widgets.find((w) => w.name === name).value)"""
SMALL = """() => {
  for (const node of window.app.graph.nodes[0].subgraph.nodes) {
    for (const [name, value] of Object.entries({ steps: 1, proxy_height: 32 })) {
      const found = node.widgets?.find((w) => w.name === name);
      if (found) found.value = value;
    }
  }
}"""
TIMED = """window.app?.graph?.nodes?.[0]?.subgraph?.nodes
  .find((n) => n.type === "AtlasVidDetailJointSampler")?.atlasvidTime?.seconds > 0"""
STORED = """() => Object.values({ ...localStorage, ...sessionStorage })
  .some((text) => text.includes(window.app.graph.id) && text.includes("SaveVideo"))"""
IN_HISTORY = """async () => {
  const jobs = Object.values(await (await fetch("/api/history")).json());
  return jobs.some((job) => job.prompt[3]?.extra_pnginfo?.workflow?.id === window.app.graph.id);
}"""
LEAVE = "() => window.app.canvas.setGraph(window.app.graph)"


def test_the_host_lists_them(server):
    listed = server.client.get("/global_subgraphs").values()
    # Newer hosts list blueprints of their own beside those of packs.
    ours = [entry["name"] for entry in listed if entry["name"].startswith("AtlasVid")]
    assert sorted(ours) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_blueprint_opens_and_is_the_chain_inside_it(canvas, name):
    canvas.problems.clear()
    page = canvas.page
    show_graph(page, json.loads((ROOT / "subgraphs" / f"{name}.json").read_text()))
    prompt = page.evaluate(CONNECT)
    nodes = {node["class_type"]: node["inputs"] for node in prompt.values()}
    assert {"AtlasVidPlan", "AtlasVidScaledRoPEAligner", "AtlasVidDetailJointSampler"} <= set(nodes)
    plan = nodes["AtlasVidPlan"]
    assert [plan[key] for key in ("width", "height", "frames")] == [96, 64, 9]
    for inputs in nodes.values():  # every connection leads to a node of the prompt
        links = [v for v in inputs.values() if isinstance(v, list)]
        assert all(source in prompt for source, _ in links)
    models = [nodes[kind]["model"][0] for kind in nodes if kind.endswith("Aligner")]
    assert [prompt[source]["class_type"] for source in models] == ["UNETLoader"]
    try:  # inside, the plan's panel knows what stands outside
        page.evaluate(ENTER)
        panel = page.locator(".av-panel").first
        model = panel.locator(".av-model[title*='AtlasVid-Tiny, read off the file']")
        model.wait_for(state="attached", timeout=10_000)
        assert "96 × 64, 9 f" in panel.locator("[data-fact=video]").inner_text()
        panel.locator(".av-presets button", has_text="720p").dispatch_event("click")
        assert page.evaluate(OUTSIDE, ["width", "height"]) == [1280, 720]  # set there
    finally:
        page.evaluate(LEAVE)
    assert canvas.problems == []


def test_times_of_nodes_inside_come_back_with_a_reload(canvas):
    """A job of the whole blueprint; its nodes' times come from the history."""
    canvas.problems.clear()
    page = canvas.page
    show_graph(page, json.loads((ROOT / "subgraphs" / "AtlasVid two stages.json").read_text()))
    page.evaluate(CONNECT)
    page.evaluate(SMALL)
    page.evaluate("window.app.queuePrompt(0, 1)")
    page.wait_for_function(TIMED, timeout=120_000)
    page.wait_for_function(STORED)
    page.wait_for_function(IN_HISTORY)
    page.reload(wait_until="domcontentloaded")
    page.wait_for_function(TIMED, timeout=60_000)
    assert canvas.problems == []
