"""The demo: a real ComfyUI server makes a two-stage video of the tiny world.

`dev.py demo` runs this in the environment. It leaves video.mp4, proxy.mp4, contact_sheet.png and
report.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from .client import JobFailed, JobRefused
from .environment import version_of
from .progress import Progress
from .server import Server, ServerFailed, make_base
from .steps import say

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "api" / "tiny_demo.json"


class NoVideo(RuntimeError):
    """The job ended, but there is nothing to look at."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", type=Path, required=True)
    parser.add_argument("--prompt")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--size")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    out = (args.out or ROOT / "demo" / time.strftime("%Y-%m-%d_%H-%M-%S")).resolve()
    workflow = json.loads(WORKFLOW.read_text())
    size = [int(n) for n in args.size.split("x")] if args.size else None
    adjust(workflow, args.prompt, args.seed, size)
    out.mkdir(parents=True, exist_ok=True)
    try:
        make(args.host, workflow, out)
    except (JobFailed, JobRefused, ServerFailed, NoVideo) as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    say("demo", f"look at {out / 'contact_sheet.png'} and {out / 'video.mp4'}")
    return 0


def adjust(workflow: dict, prompt: str | None, seed: int | None, size: list[int] | None) -> None:
    """Put the command line's wishes where the workflow keeps them."""
    for node in workflow.values():
        inputs = node["inputs"]
        if prompt is not None and node["class_type"] == "AtlasVidTinyPrompt" and inputs["text"]:
            inputs["text"] = prompt
        if seed is not None and "seed" in inputs:
            inputs["seed"] = seed
        if size is not None and node["class_type"] == "AtlasVidPlan":
            inputs.update(width=size[0], height=size[1], frames=size[2])


def make(host: Path, workflow: dict, out: Path) -> None:
    base = ROOT / ".host" / "base"
    make_base(base, ROOT)
    progress = Progress(workflow)
    say("demo", "starting ComfyUI")
    began = time.monotonic()
    with Server(host, Path(sys.executable), base, base / "server.log") as server:
        started_s = time.monotonic() - began
        say("demo", f"ComfyUI answers at {server.base_url}")
        entry = server.queue(workflow, progress)
        videos = saved_videos(entry, workflow, server.output)
    for title, file in videos.items():
        name = "proxy.mp4" if "proxy" in title.lower() else "video.mp4"
        shutil.copyfile(file, out / name)
    frames, fps = read_video(out / "video.mp4")
    sheets = [frames]
    if (out / "proxy.mp4").exists():
        sheets.insert(0, read_video(out / "proxy.mp4")[0])
    cv2.imwrite(str(out / "contact_sheet.png"), contact_sheet(sheets))
    report = {
        "host": "ComfyUI " + ".".join(map(str, version_of(host))),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "video": {
            "frames": len(frames), "height_px": frames[0].shape[0],
            "width_px": frames[0].shape[1], "fps": fps,
        },
        "seconds": {"server start": round(started_s, 2), **progress.seconds},
        "seconds_total": round(time.monotonic() - began, 2),
        "workflow": workflow,
    }  # fmt: skip
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


def saved_videos(entry: dict, workflow: dict, folder: Path) -> dict[str, Path]:
    """Title of each saving node -> the file that it wrote."""
    found = {}
    for key, outputs in entry["outputs"].items():
        for item in (item for items in outputs.values() for item in items):
            if isinstance(item, dict) and str(item.get("filename", "")).endswith(".mp4"):
                title = workflow[key].get("_meta", {}).get("title", key)
                found[title] = folder / item["subfolder"] / item["filename"]
    if not found:
        raise NoVideo("the job ended without a video")
    return found


def read_video(file: Path) -> tuple[list[np.ndarray], float]:
    reader = cv2.VideoCapture(str(file))
    frames, fps = [], reader.get(cv2.CAP_PROP_FPS)
    while True:
        good, frame = reader.read()
        if not good:
            break
        frames.append(frame)
    reader.release()
    if not frames:
        raise NoVideo(f"{file.name} holds no frame that can be read")
    return frames, fps


def contact_sheet(
    videos: list[list[np.ndarray]], columns: int = 5, cell_px: int = 240
) -> np.ndarray:
    """One row a video: `columns` frames spread evenly from the first to the last."""
    rows = []
    for frames in videos:
        picks = np.linspace(0, len(frames) - 1, columns).round().astype(int)
        height, width = frames[0].shape[:2]
        size = (round(cell_px * width / height), cell_px)
        cells = [cv2.resize(frames[i], size, interpolation=cv2.INTER_AREA) for i in picks]
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows, axis=0)


if __name__ == "__main__":
    sys.exit(main())
