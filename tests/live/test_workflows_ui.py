"""Every save-format workflow opens in the real web interface, and means what its API twin means."""

import json
import shutil

import pytest

from .common import NAMES, WORKFLOWS, api_workflow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium on the PATH")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ONLY_IN_PAGE = {"MarkdownNote", "Note"}
LOAD = """async (graph) => {
  await window.app.loadGraphData(graph);
  await new Promise((done) => setTimeout(done, 500));
  const nodes = window.app.graph.nodes.map((n) => ({
    type: n.type, title: n.title,
    known: n.type in window.LiteGraph.registered_node_types, errors: !!n.has_errors,
  }));
  return { nodes, prompt: (await window.app.graphToPrompt()).output };
}"""


@pytest.fixture(scope="module")
def page(server):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(server.base_url, wait_until="domcontentloaded")
        page.wait_for_function("window.app?.graph && window.LiteGraph", timeout=120_000)
        page.wait_for_function(
            "'AtlasVidPlan' in window.LiteGraph.registered_node_types", timeout=120_000
        )
        yield page
        browser.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_opens_without_a_missing_node(page, name):
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(f"{m.text} {m.location}") if _is_ours(m) else None)
    graph = json.loads((WORKFLOWS / f"{name}.json").read_text())
    loaded = page.evaluate(LOAD, graph)
    assert len(loaded["nodes"]) == len(graph["nodes"])
    assert [n for n in loaded["nodes"] if not n["known"] and n["type"] not in ONLY_IN_PAGE] == []
    assert problems == []
    want = {key: (n["class_type"], n["inputs"]) for key, n in api_workflow(name).items()}
    got = {key: (n["class_type"], n["inputs"]) for key, n in loaded["prompt"].items()}
    for key, (kind, inputs) in want.items():
        assert got[key][0] == kind
        assert {k: got[key][1].get(k) for k in inputs} == inputs, f"node {key}, {kind}"
    assert set(got) == set(want)


def _is_ours(message) -> bool:
    return message.type == "error" and "atlasvid" in str(message.location).lower()
