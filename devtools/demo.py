"""The demo: a real ComfyUI server makes a two-stage video of the tiny world.

`dev.py demo` runs this in the environment. It leaves video.mp4, contact_sheet.png and report.json
(and proxy.mp4 where the workflow saves the proxy).
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import cv2

from atlasvid_batch.client import JobFailed, JobRefused

from .contact_sheet import contact_sheet, read_video
from .progress import Progress
from .server import Server, ServerFailed, make_base
from .steps import StepFailed, say

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "api" / "tiny_demo.json"
FASTER = ("--use-pytorch-cross-attention",)  # on a CPU the host by default takes a slower one
LOG = ROOT / ".host" / "logs" / "demo.log"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", type=Path, required=True)
    parser.add_argument("--prompt")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--size", type=int, nargs=3, metavar=("W", "H", "F"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    out = (args.out or ROOT / "demo" / time.strftime("%Y-%m-%d_%H-%M-%S")).resolve()
    try:
        workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
        adjust(workflow, args.prompt, args.seed, args.size)
        make(args.host, workflow, out)
    except (JobFailed, JobRefused, ServerFailed, StepFailed, OSError, ValueError) as error:
        print(f"dev.py: demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    say("demo", f"{out / 'video.mp4'}, contact_sheet.png and report.json beside it")
    return 0


def adjust(workflow: dict, prompt: str | None, seed: int | None, size: list[int] | None) -> None:
    """Puts the command line's wishes where the workflow keeps them; an empty prompt stays empty."""
    for node in workflow.values():
        kind, inputs = node["class_type"], node["inputs"]
        if prompt is not None and kind == "AtlasVidTinyPrompt" and inputs.get("text"):
            inputs["text"] = prompt
        if seed is not None and "seed" in inputs:
            inputs["seed"] = seed
        if size is not None and kind == "AtlasVidPlan":
            inputs.update(zip(("width", "height", "frames"), size))


def wishes(workflow: dict) -> dict:
    """What the workflow asks for, as the report tells it."""
    by_kind = {node["class_type"]: node["inputs"] for node in reversed(workflow.values())}
    texts = [n["inputs"].get("text") for n in workflow.values() if "text" in n["inputs"]]
    seeds = {n["inputs"]["seed"] for n in workflow.values() if "seed" in n["inputs"]}
    prompt = next((text for text in texts if text), "")
    return {"prompt": prompt, "seeds": sorted(seeds), "plan": by_kind.get("AtlasVidPlan", {})}


def make(host: Path, workflow: dict, out: Path) -> None:
    """Runs the workflow on a server of its own; `out` appears when all of its files are there."""
    say("demo", f"starting ComfyUI (its log: {LOG})")
    began = time.monotonic()
    progress = Progress(workflow)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        make_base(base, ROOT)
        with Server(host, Path(sys.executable), base, LOG, FASTER) as server:
            start_s = time.monotonic() - began
            say("demo", f"ComfyUI answers at {server.base_url} after {start_s:.0f} s")
            system = server.client.get("/system_stats")["system"]
            entry = server.queue(workflow, progress)
            part = out.with_name(out.name + ".part")
            part.mkdir(parents=True, exist_ok=True)
            keep_videos(entry, workflow, server.output, part)
    report = {
        **wishes(workflow),
        "host": {"ComfyUI": system["comfyui_version"], "torch": system["pytorch_version"]},
        "python": system["python_version"].split()[0],
        "system": system["os"],
        "videos": sheet(part),
        "seconds": {"server start": round(start_s, 2), **progress.seconds},
        "seconds_total": round(time.monotonic() - began, 2),
    }
    (part / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    settle(part, out)


def keep_videos(entry: dict, workflow: dict, output: Path, out: Path) -> None:
    """Copies the saved videos: proxy.mp4 where title or name says proxy, else video.mp4."""
    for key, outputs in entry["outputs"].items():
        title = workflow[key].get("_meta", {}).get("title", "")
        files = (f for group in outputs.values() for f in group if isinstance(f, dict))
        for file in files:
            name = str(file.get("filename", ""))
            if not name.endswith(".mp4"):
                continue
            kind = "proxy" if "proxy" in f"{title} {name}".lower() else "video"
            shutil.copyfile(output / file.get("subfolder", "") / name, out / f"{kind}.mp4")
    if not (out / "video.mp4").exists():
        raise ValueError("the job ended without a saved .mp4: add a SaveVideo node")


def sheet(folder: Path) -> dict:
    """Writes contact_sheet.png; -> size, frames and rate of each video."""
    videos, facts = {}, {}
    for name in ("proxy", "video"):
        if (folder / f"{name}.mp4").exists():
            frames, fps = read_video(folder / f"{name}.mp4")
            height, width = frames[0].shape[:2]
            videos[name] = frames
            facts[name] = {
                "width_px": width, "height_px": height, "frames": len(frames), "fps": fps
            }  # fmt: skip
    if not cv2.imwrite(str(folder / "contact_sheet.png"), contact_sheet(videos)):
        raise OSError(f"contact_sheet.png could not be written to {folder}")
    return facts


def settle(part: Path, out: Path) -> None:
    """Moves finished files into place; a folder that is already there keeps its other files."""
    out.mkdir(parents=True, exist_ok=True)
    for file in part.iterdir():
        file.replace(out / file.name)
    part.rmdir()


if __name__ == "__main__":
    sys.exit(main())
