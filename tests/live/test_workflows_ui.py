"""Every save-format workflow opens in the real web interface, and means what its API twin means."""

import json
from itertools import combinations

import pytest
import torch

from atlasvid_core.video_file import VideoFormat, write_video
from devtools.browser import show_graph

from .common import NAMES, WORKFLOWS, api_workflow

ONLY_IN_PAGE = {"MarkdownNote", "Note"}
TITLE_PX = 30
LEGIBLE = 0.6  # below it the page draws boxes without words
READ = """async () => {
  const { nodes: saved } = window.app.graph.serialize();
  const order = Object.fromEntries(saved.map((n) => [n.id, n.order]));
  const nodes = window.app.graph.nodes.map((n) => ({
    type: n.type, title: n.title, box: [...n.pos, ...n.size],
    known: n.type in window.LiteGraph.registered_node_types, errors: !!n.has_errors,
  }));
  const { scale } = window.app.canvas.ds;
  return { nodes, order, scale, prompt: (await window.app.graphToPrompt()).output };
}"""


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_opens_without_a_missing_node(canvas, name):
    canvas.problems.clear()
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text())
    show_graph(canvas.page, graph)
    loaded = canvas.page.evaluate(READ)
    assert len(loaded["nodes"]) == len(graph["nodes"])
    assert [n for n in loaded["nodes"] if not n["known"] and n["type"] not in ONLY_IN_PAGE] == []
    assert canvas.problems == []
    assert loaded["scale"] >= LEGIBLE
    # as saved, or opening would be the first change that a user undoes
    assert loaded["order"] == {str(n["id"]): n["order"] for n in graph["nodes"]}
    pairs = combinations(loaded["nodes"], 2)
    assert [(a["title"], b["title"]) for a, b in pairs if overlap(a["box"], b["box"])] == []
    want = {key: (n["class_type"], n["inputs"]) for key, n in api_workflow(name).items()}
    got = {key: (n["class_type"], n["inputs"]) for key, n in loaded["prompt"].items()}
    for key, (kind, inputs) in want.items():
        assert got[key][0] == kind
        assert {k: got[key][1].get(k) for k in inputs} == inputs, f"node {key}, {kind}"
    assert set(got) == set(want)


def test_a_video_in_portrait_hides_no_other_node(canvas, server):
    """Its picture makes the node that loads it taller than the file says."""
    frames = torch.full((9, 128, 64, 3), 90, dtype=torch.uint8)
    write_video(server.base / "input" / "portrait.mp4", [frames], VideoFormat())
    graph = json.loads((WORKFLOWS / "upscale_to_4k.json").read_text())
    (file,) = (node for node in graph["nodes"] if node["type"] == "LoadVideo")
    file["widgets_values"][0] = "portrait.mp4"
    show_graph(canvas.page, graph)
    grown = "(number) => window.app.graph.getNodeById(number).size[1] > 500"
    canvas.page.wait_for_function(grown, arg=file["id"], timeout=60_000)
    pairs = combinations(canvas.page.evaluate(READ)["nodes"], 2)
    assert [(a["title"], b["title"]) for a, b in pairs if overlap(a["box"], b["box"])] == []


def overlap(a, b) -> bool:
    """Of two nodes' boxes (x, y, width, height), the bars with their titles above them included."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    across = ax < bx + bw and bx < ax + aw
    return across and ay - TITLE_PX < by + bh and by - TITLE_PX < ay + ah
