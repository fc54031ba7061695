"""The shipped workflows, and how a test makes them small enough for the tiny model."""

from __future__ import annotations

import copy
import json
import struct
import uuid
from pathlib import Path
from types import SimpleNamespace

from atlasvid_batch.websocket import TEXT

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = ROOT / "workflows"
TINY_FILES = ROOT / "atlasvid_core" / "tiny" / "files"
NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
# The public files' names, and the tiny files that stand behind them here.
REAL_NAMES = {
    "diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors": "atlasvid_tiny.safetensors",
    "vae/wan_2.1_vae.safetensors": "atlasvid_tiny_vae.safetensors",
}
PREVIEW, NODE_TEXT = 1, 3  # the host's kinds of binary messages
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
        elif node["class_type"] == "AtlasVidCachedTextEncode":
            text = "a red ball crosses right under a day sky"
            out[key] = {"class_type": "AtlasVidTinyPrompt", "inputs": {"text": text}}
            out[key]["inputs"]["view"] = "full"
        elif node["class_type"] == "AtlasVidPlan":
            inputs.update(width=SIDE_PX, height=SIDE_PX, frames=FRAMES, proxy_height=PROXY_SIDE_PX)
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


def watched(server, workflow: dict) -> SimpleNamespace:
    """Runs a job, and takes what a page is sent: pictures, (node, text), bars; and its outputs."""
    out, client_id = SimpleNamespace(previews=[], texts=[], progress=[]), uuid.uuid4().hex
    with server.client.socket(client_id, 120) as socket:
        name = server.client.submit(workflow, client_id)
        for kind, data in socket.messages():
            if kind != TEXT:
                (event,) = struct.unpack(">I", data[:4])
                if event == PREVIEW:
                    out.previews.append(data[8:])
                elif event == NODE_TEXT:
                    (size,) = struct.unpack(">I", data[4:8])
                    node, text = data[8 : 8 + size], data[8 + size :]
                    out.texts.append((node.decode(), text.decode()))
                continue
            message = json.loads(data)
            if message["data"].get("prompt_id") == name:
                if message["type"] == "progress":
                    out.progress.append(message["data"])
                if message["type"] in ("execution_success", "execution_error"):
                    assert message["type"] == "execution_success", message
                    break
    out.outputs = server.client._history(name)["outputs"]
    return out
