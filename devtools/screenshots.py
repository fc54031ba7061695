"""Pictures of the interface for README and docs: `python -m devtools.screenshots --host DIR`.

The tiny demo is run and shown as it stands on the canvas, in dark and light. The figures of the
two plans are the core's, for a machine that is named in them (EXAMPLE) rather than this one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from atlasvid_core.calibration import Calibration
from atlasvid_core.cost_table import MODELS
from atlasvid_core.estimate import Job, Machine
from atlasvid_core.plan_report import report

from .browser import browser, open_page, settle, show_graph
from .server import Server, make_base

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30
EXAMPLE = Machine(
    "a card of 24 GB, 64 GB of memory, 100 TFLOP/s", shared=False, device_bytes=24 * GIB,
    host_bytes=64 * GIB, output_free_bytes=900 * GIB, temp_free_bytes=900 * GIB,
    detail_budget_bytes=int(14.4 * GIB), decode_budget_bytes=int(19.2 * GIB),
    calibration=Calibration(flops_per_second=1e14, bytes_per_second=2e10),
)  # fmt: skip
LABELS = {"1.3b": "Wan2.1 1.3B", "14b": "Wan2.1 14B"}
PLANS = (
    {"title": "Plan: 4K, 10 s", "model": "1.3b"},
    {"title": "Plan: 8K portrait, 10 s, 14B", "model": "14b", "width": 4320, "height": 7680,
     "proxy_height": 768},
)  # fmt: skip
TWO_PLANS = """(plans) => {
  window.app.graph.clear();
  plans.forEach(({ title, model, ...values }, i) => {
    const node = window.LiteGraph.createNode("AtlasVidPlan");
    Object.assign(node, { title, pos: [460 * i, 0] });
    node.properties.atlasvid_model = model;
    window.app.graph.add(node);
    for (const [name, value] of Object.entries(values)) {
      node.widgets.find((w) => w.name === name).value = value;
    }
    node.setSize([440, node.size[1]]);
    node.onConfigure({});
  });
}"""
SETTINGS = {"LiteGraph.Canvas.LowQualityRenderingZoomThreshold": 0, "Comfy.Graph.CanvasInfo": False}
CHOOSE = "([name, value]) => window.app.extensionManager.setting.set(name, value)"
PATIENCE_S = 900
ANSWERED = "[data-state=fits], [data-state=bad]"
LOOK = """([scale, x, y]) => {
  Object.assign(window.app.canvas.ds, { scale, offset: [x, y] });
  window.app.canvas.deselectAll?.();
  window.app.canvas.setDirty(true, true);
}"""
SHOWN = "document.querySelector('.atlasvid-compare .clock')?.textContent.includes('frame 1')"
LOWEST = """() => {
  const all = [...window.app.graph.nodes, ...window.app.graph.groups];
  return Math.max(...all.map((box) => box.pos[1] + box.size[1]));
}"""
IDLE = """async () => {
  const queue = await (await fetch("/api/queue")).json();
  return queue.queue_running.length + queue.queue_pending.length === 0;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", type=Path, required=True, help="a ComfyUI folder")
    host = parser.parse_args().host.resolve()
    with tempfile.TemporaryDirectory() as folder, browser() as chrome:
        base = Path(folder)
        make_base(base, ROOT)
        with Server(host, Path(sys.executable), base, base / "server.log") as server:
            settle(base, **SETTINGS)
            for take in (plans, canvas):
                take(chrome, server.base_url)


def both_themes(page, name: str, **clip: int) -> None:
    for theme in ("dark", "light"):
        page.evaluate(CHOOSE, ["Comfy.ColorPalette", theme])
        page.wait_for_timeout(2000)  # fonts, and colours that fade
        file = ROOT / "docs" / f"{name}_{theme}.png"
        page.screenshot(path=file, clip=clip)
        print(file.relative_to(ROOT))


def plans(chrome, url: str) -> None:
    """Two plans side by side: one that fits the example's machine, one that does not."""
    page = open_page(chrome, url, 1130, 1010, device_scale_factor=1.5)
    page.route("**/atlasvid/plan", answer)
    page.evaluate(TWO_PLANS, list(PLANS))
    page.evaluate(LOOK, [1, 130, 160])
    page.wait_for_function(f"document.querySelectorAll('{ANSWERED}').length > 1")
    both_themes(page, "plan", x=120, y=122, width=920, height=850)
    page.close()


def answer(route) -> None:
    """The core's report for the example's machine, in place of the server's."""
    asked = json.loads(route.request.post_data)
    model = asked["job"]["model"]
    job = Job(config=MODELS[model], enlarges=True)
    found = report(asked["inputs"], job, EXAMPLE)
    more = {"model": {"label": LABELS[model], "source": "chosen"}, "measuring": False}
    route.fulfill(json={**found, **more})


def canvas(chrome, url: str) -> None:
    """The tiny demo after its run."""
    page = open_page(chrome, url, 1780, 1120, device_scale_factor=1.25)
    show_graph(page, json.loads((ROOT / "workflows" / "tiny_demo.json").read_text()))
    page.evaluate(LOOK, [0.56, 145, 330])
    page.evaluate("async () => { await window.app.queuePrompt(0, 1) }")
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(IDLE):
        assert time.monotonic() < end, "the demo takes too long"
        page.wait_for_timeout(500)
    page.wait_for_function(SHOWN, timeout=60_000)
    below = int((page.evaluate(LOWEST) + 330) * 0.56) + 8
    both_themes(page, "canvas", x=64, y=172, width=1660, height=below - 172)
    page.close()


if __name__ == "__main__":
    main()
