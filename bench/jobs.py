"""Twenty jobs in a row in one ComfyUI server: what its process holds after each.

Each job is the demo's workflow, smaller, with a seed of its own, so that nothing is taken from the
server's cache. Memory that a job should have given back would add up from one to the next.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from devtools.server import Server, make_base

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "api" / "tiny_demo.json"
JOBS, QUICK_JOBS = 20, 2
SETTLED = 3  # jobs until everything that is loaded or compiled once is there
SIZES = {"width": 128, "height": 128, "frames": 33, "proxy_height": 64}
STEPS = 6
GIB = 2**30


def rows(quick: bool = False) -> list[dict]:
    host = Path(os.environ["COMFYUI_PATH"])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        base = Path(folder)
        make_base(base, ROOT)
        with Server(host, Path(sys.executable), base, base / "server.log") as server:
            process = psutil.Process(server.pid)
            version = server.client.get("/system_stats")["system"]["comfyui_version"]
            out = [{"job": 0, "host": version, "seconds": 0.0, "rss_bytes": _resident(process)}]
            for number in range(1, (QUICK_JOBS if quick else JOBS) + 1):
                began = time.perf_counter()
                server.queue(_workflow(number))
                took = time.perf_counter() - began
                out.append(
                    {
                        "job": number,
                        "host": version,
                        "seconds": took,
                        "rss_bytes": _resident(process),
                    }
                )
                print(
                    f"job {number}: {took:.1f} s, {out[-1]['rss_bytes'] / GIB:.3f} GiB", flush=True
                )
    return out


def _resident(process: psutil.Process) -> int:
    time.sleep(0.5)  # the last message comes before the worker has put things away
    return process.memory_info().rss


def _workflow(seed: int) -> dict:
    workflow = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    for node in workflow.values():
        inputs = node["inputs"]
        if node["class_type"] == "AtlasVidPlan":
            inputs.update(SIZES)
        if "seed" in inputs:
            inputs.update(seed=seed, steps=STEPS)
    return workflow


def figures(rows: list[dict]) -> dict[str, float]:
    """`rss_drift`: how far what is held after the last job is from what was after the third."""
    jobs = rows[1:]
    out = {"jobs": float(len(jobs))}
    if len(jobs) > SETTLED:
        out["rss_drift"] = abs(jobs[-1]["rss_bytes"] / jobs[SETTLED - 1]["rss_bytes"] - 1)
    return out


def plot(rows: list[dict], path: Path) -> None:
    from .drawing import axes, named_line, save

    title = "Memory of a ComfyUI server after each of 20 jobs"
    figure, ax = axes(title, "job", "GiB resident")
    name = f"ComfyUI {rows[0]['host']}"
    named_line(ax, [r["job"] for r in rows], [r["rss_bytes"] / GIB for r in rows], name)
    ax.set_xticks(range(0, len(rows), 5))
    ax.set_ylim(0, 1.2 * max(r["rss_bytes"] for r in rows) / GIB)
    save(figure, path)
