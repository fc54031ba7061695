"""The page in Chinese: names, labels and words on hover of every node of ours, and the panel's."""

import json

import pytest

from devtools.browser import open_settled, settle, show_graph

from .common import ROOT, WORKFLOWS, listen

ZH = json.loads((ROOT / "locales" / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
MADE = """(ids) => Object.fromEntries(ids.map((id) => {
  const node = window.LiteGraph.createNode(id);
  const labels = (node.widgets ?? []).map((w) => [w.name, w.label]);
  return [id, { title: node.title, labels: Object.fromEntries(labels) }];
}))"""


@pytest.fixture(scope="module")
def chinese(chrome, server):
    page = open_settled(chrome, server.base, server.base_url, **{"Comfy.Locale": "zh"})
    page.ours = listen(page)
    yield page
    page.close()
    settle(server.base)


def test_every_node_has_its_chinese_name_and_labels(chinese):
    made = chinese.evaluate(MADE, list(ZH))
    for id, said in ZH.items():
        assert made[id]["title"] == said["display_name"]
        for name, label in made[id]["labels"].items():
            if name in said["inputs"]:  # the panel and the seed's second widget are none
                assert label == said["inputs"][name]["name"], f"{id}.{name}"
    assert chinese.ours == []


def test_a_template_opens_in_chinese_and_is_saved_by_its_plain_names(chinese):
    show_graph(chinese, json.loads((WORKFLOWS / "tiny_demo.json").read_text()))
    panel = chinese.locator(".av-panel").first
    assert "代理" in panel.text_content()
    prompt = chinese.evaluate("async () => (await window.app.graphToPrompt()).output")
    plan = next(n["inputs"] for n in prompt.values() if n["class_type"] == "AtlasVidPlan")
    assert (plan["width"], plan["frames"], plan["reach"]) == (192, 33, "faces")
    assert chinese.ours == []
