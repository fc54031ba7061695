"""A server killed in stage 2: the same job on the next one gives the same video."""

import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from atlasvid_batch.client import JobFailed
from devtools.server import Server, ServerFailed, make_base

from .common import ROOT, api_workflow

STEPS = 8


def job() -> dict:
    """The demo, smaller, its second stage from noise in STEPS steps."""
    workflow = api_workflow("tiny_demo")
    for node in workflow.values():
        inputs = node["inputs"]
        if node["class_type"] == "AtlasVidPlan":
            inputs.update(width=128, height=128, frames=17)
        elif node["class_type"] == "AtlasVidSemanticProxyGenerator":
            inputs.update(steps=2)
        elif node["class_type"] == "AtlasVidDetailJointSampler":
            inputs.update(steps=STEPS, start="noise")
    return workflow


def largest_video(server, entry) -> np.ndarray:
    items = [i for out in entry["outputs"].values() for items in out.values() for i in items]
    files = [i for i in items if isinstance(i, dict) and i.get("filename", "").endswith(".mp4")]
    videos = []
    for file in files:
        with av.open(str(server.output / file["subfolder"] / file["filename"])) as opened:
            videos.append(np.stack([f.to_ndarray(format="rgb24") for f in opened.decode(video=0)]))
    return max(videos, key=lambda video: video.size)


@pytest.fixture
def new_server(host_path, tmp_path):
    make_base(tmp_path, ROOT)
    return lambda: Server(host_path, Path(sys.executable), tmp_path, tmp_path / "server.log")


def test_a_killed_job_goes_on_to_the_same_video(new_server):
    with new_server() as server:
        steps = server.output / "atlasvid" / "steps"

        def ask():
            with suppress(ServerFailed, JobFailed, OSError):
                server.queue(job())

        asked = threading.Thread(target=ask, daemon=True)
        asked.start()
        end = time.monotonic() + 120
        while not list(steps.glob("*/step_000[2-6].safetensors")) and time.monotonic() < end:
            time.sleep(0.01)
        server._process.kill()
        asked.join(30)
    (kept,) = steps.glob("*/step_*.safetensors")
    done = int(kept.stem.removeprefix("step_"))
    assert 2 <= done < STEPS
    with new_server() as server:
        resumed = largest_video(server, server.queue(job()))
        assert f"{done} of {STEPS} steps were kept" in server.log.read_text(errors="replace")
    for file in steps.glob("*/*"):
        file.unlink()
    with new_server() as server:
        whole = largest_video(server, server.queue(job()))
        assert "steps were kept" not in server.log.read_text(errors="replace")
    assert resumed.shape == (17, 128, 128, 3)
    assert np.array_equal(resumed, whole)
