"""The real web interface of a running ComfyUI, in a headless Chromium of this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .environment import BROWSERS

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
READY = "window.app?.graph && 'AtlasVidPlan' in (window.LiteGraph?.registered_node_types ?? {})"
HAS = """(wanted) => Object.entries(wanted)
  .every(([name, value]) => window.app.ui.settings.getSettingValue(name) === value)"""
# No first-run tour and no question about models that are not here: nobody would answer.
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.Minimap.Visible": False,
}


def chromium() -> str | None:
    return next((path for path in map(shutil.which, BROWSERS) if path), None)


def settle(base: Path, **more: Any) -> None:
    """Write the interface's settings for the data folder of a server; `more` by their names."""
    file = base / "user" / "default" / "comfy.settings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**SETTINGS, **more}))


@contextmanager
def browser() -> Iterator:
    """A Chromium that ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield running
        finally:
            running.close()


def open_page(browser, url: str, width_px: int = 1600, height_px: int = 1000, **options):
    """A page of the interface, with the pack's nodes registered."""
    page = browser.new_page(viewport={"width": width_px, "height": height_px}, **options)
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_function(READY, timeout=120_000)
    return page


def open_settled(browser, base: Path, url: str, **settings: Any):
    """A page that has these settings. Another one that is open may write its own over the file
    just then: it is tried again. RuntimeError if that goes on."""
    for _ in range(5):
        settle(base, **settings)
        page = open_page(browser, url)
        if page.evaluate(HAS, settings):
            return page
        page.close()
    raise RuntimeError(f"The page did not take the settings {settings}.")


def show_graph(page, graph: dict) -> None:
    """Load a workflow in save format, and wait for the panels of its plans."""
    page.evaluate("async (graph) => { await window.app.loadGraphData(graph) }", graph)
    if any(node["type"] == "AtlasVidPlan" for node in graph["nodes"]):
        page.wait_for_selector(".av-panel", state="attached", timeout=60_000)
        page.wait_for_function("!document.querySelector('.av-panel[data-state=waiting]')")
