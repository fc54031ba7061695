"""A server killed in stage 2, in the final write and in a save, each at a random moment of it: the
same job, queued again, ends in the same bytes. On the last server, previews and texts arrive.
"""

import random
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from atlasvid_batch.client import JobFailed
from devtools.server import Server, ServerFailed, make_base

from .common import ROOT, api_workflow, forget, watched

STEPS = 8
DRAW = random.Random(20261124)


def job() -> dict:
    """The demo, smaller, its second stage from noise; saves code anew, so that they last."""
    workflow = api_workflow("tiny_demo")
    for node in workflow.values():
        inputs = node["inputs"]
        if node["class_type"] == "AtlasVidPlan":
            inputs.update(width=128, height=128, frames=33)
        elif node["class_type"] == "AtlasVidSemanticProxyGenerator":
            inputs.update(steps=2)
        elif node["class_type"] == "AtlasVidDetailJointSampler":
            inputs.update(steps=STEPS, start="noise")
        elif node["class_type"] == "AtlasVidTiledVAEDecodeToVideo":
            inputs.update(codec="ffv1")
        elif node["class_type"] == "SaveVideo":
            inputs.update(format="mp4", codec="h264")
    return workflow


def killed_at(server: Server, moment) -> None:
    """Queue the job, and kill the server when `moment(server)` comes true."""

    def ask():
        with suppress(ServerFailed, JobFailed, OSError):
            server.queue(job())

    asked = threading.Thread(target=ask, daemon=True)
    asked.start()
    end = time.monotonic() + 120
    while not moment(server):
        assert asked.is_alive() and time.monotonic() < end, "the moment never came"
        time.sleep(0.0005)
    time.sleep(DRAW.uniform(0, 0.02))
    server.kill()
    asked.join(30)


def steps_done(server: Server) -> int:
    kept = (server.output / "atlasvid" / "steps").glob("*/step_*.safetensors")
    return max((int(path.stem.removeprefix("step_")) for path in kept), default=0)


def videos(server: Server) -> list[Path]:
    """What has a final name, but for the proxies'."""
    files = (server.output / "video").glob("[!.]*")
    return sorted(path for path in files if "proxy" not in path.name)


@pytest.fixture(scope="module")
def story(host_path, tmp_path_factory):
    """Killed twice in stage 2, in the final write and in the save; then resumed; then, all of it
    forgotten, once more without a break."""
    base = tmp_path_factory.mktemp("killed")
    make_base(base, ROOT)
    first, second = sorted(DRAW.sample(range(1, STEPS), 2))
    moments = [
        lambda server: steps_done(server) >= first,
        lambda server: steps_done(server) >= second,
        lambda server: (
            steps_done(server) == STEPS and list((base / "temp").glob("atlasvid_*.part"))
        ),  # not the proxy's
        lambda server: list((server.output / "video").glob(".part_atlasvid_tiny_0*")),
    ]

    def start():
        options = ("--preview-method", "latent2rgb")
        return Server(host_path, Path(sys.executable), base, base / "server.log", options)

    told = SimpleNamespace(done=[], saved=[], goes_on=[])
    for moment in moments:
        with start() as server:
            killed_at(server, moment)
            told.done.append(steps_done(server))
            told.saved += [path.read_bytes() for path in videos(server)]
            log = server.log.read_text(errors="replace")
            told.goes_on.append("steps were kept" in log)
    with start() as server:
        server.queue(job())
        told.resumed = videos(server)[-1].read_bytes()
        told.left = [p.name for p in (server.output / "video").glob(".*")]
        forget(server)
        for file in [*videos(server), *(server.output / "atlasvid" / "steps").glob("*/*")]:
            file.unlink()
        told.page = watched(server, job())
        (path,) = videos(server)
        told.whole = path.read_bytes()
        told.log = server.log.read_text(errors="replace")
    told.moments = [first, second]
    return told


def test_a_killed_job_goes_on_to_the_same_bytes(story):
    assert story.done[0] in range(story.moments[0], STEPS)
    assert story.done[1] in range(story.moments[1], STEPS) and story.done[1] > story.done[0]
    assert story.done[2:] == [STEPS, STEPS]
    assert story.goes_on == [False, True, True, True]
    assert f"{STEPS} of {STEPS} steps were kept" in story.log
    assert story.log.count("steps were kept") == 1  # the last job began anew
    assert len(story.whole) > 1000 and story.resumed == story.whole


def test_no_half_file_has_a_final_name(story):
    assert story.left == [] and len(story.saved) <= 1
    assert all(video == story.whole for video in story.saved)  # the kill came too late for it


def test_previews_of_both_stages_arrive_and_are_small(story):
    import cv2
    import numpy as np

    pictures = [
        cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_COLOR) for p in story.page.previews
    ]
    assert len(pictures) == 2 + STEPS  # one for each step of either stage
    assert all(max(p.shape[:2]) == 512 and p.std() > 1 for p in pictures)
    assert max(map(len, story.page.previews)) < 200_000


def test_the_bar_moves_inside_a_step(story):
    sampler = next(k for k, n in job().items() if n["class_type"] == "AtlasVidDetailJointSampler")
    bar = [p["value"] for p in story.page.progress if p["node"] == sampler]
    assert bar == sorted(bar) and bar[-1] == 100 * STEPS
    assert any(value % 100 for value in bar)
