"""The shipped workflows, and how a test makes them small enough for the tiny model."""

from __future__ import annotations

import copy
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = ROOT / "workflows"
TINY_FILES = ROOT / "atlasvid_core" / "tiny" / "files"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
# The public files' names, and the tiny files that stand behind them here.
REAL_NAMES = {
    "diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors": "atlasvid_tiny.safetensors",
    "vae/wan_2.1_vae.safetensors": "atlasvid_tiny_vae.safetensors",
}
FRAMES, SIDE_PX, PROXY_SIDE_PX = 9, 64, 32


def api_workflow(name: str) -> dict:
    return json.loads((WORKFLOWS / "api" / f"{name}.json").read_text())


def made_small(name: str) -> dict:
    """Sizes, steps and the text encoder's nodes replaced; everything else as shipped.

    A seed for each, so that the server's cache never answers for another workflow.
    """
    workflow = api_workflow(name)
    out = copy.deepcopy(workflow)
    for key, node in workflow.items():
        inputs = out[key]["inputs"]
        if node["class_type"] == "CLIPLoader":
            del out[key]
        elif node["class_type"] == "CLIPTextEncode":
            text = "a red ball crosses right under a day sky"
            out[key] = {"class_type": "AtlasVidTinyPrompt", "inputs": {"text": text}}
            out[key]["inputs"]["view"] = "full"
        elif node["class_type"] == "AtlasVidPlan":
            inputs.update(width=SIDE_PX, height=SIDE_PX, frames=FRAMES, proxy_height=PROXY_SIDE_PX)
        elif node["class_type"] == "ImageScale":
            inputs.update(width=PROXY_SIDE_PX, height=PROXY_SIDE_PX)
        elif node["class_type"] == "ImageFromBatch":
            inputs.update(length=FRAMES)
        if "steps" in node["inputs"]:
            inputs.update(steps=2, seed=NAMES.index(name))
    return out


def listen(page) -> list[str]:
    """Errors of a page that are ours, as they come."""
    problems: list[str] = []

    def hear(message):
        ours = "atlasvid" in f"{message.location} {message.text}".lower()
        if message.type == "error" and ours and "api.comfy.org" not in message.text:
            problems.append(f"{message.text} {message.location}")

    page.on("console", hear)
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems
