"""Every shipped API workflow runs on a live server, from its loaders to its saved videos."""

import json
import shutil

import av
import numpy as np
import pytest

from atlasvid_batch.client import Client, JobFailed, JobRefused
from devtools import environment, hosts
from devtools.make_workflows import rendered

from .common import (
    FRAMES,
    NAMES,
    PROXY_SIDE_PX,
    REAL_NAMES,
    ROOT,
    SIDE_PX,
    TINY_FILES,
    WORKFLOWS,
    made_small,
)


@pytest.fixture(scope="module")
def stocked(server):
    """The server with the tiny files under the public names, and a video to enlarge."""
    for name, tiny in REAL_NAMES.items():
        target = server.base / "models" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TINY_FILES / name.split("/")[0] / tiny, target)
    with av.open(str(server.base / "input" / "video.mp4"), "w") as file:
        stream = file.add_stream("h264", rate=16)
        stream.width = stream.height = 96
        sound = file.add_stream("aac", rate=44100, layout="mono")
        for shade in np.linspace(0, 255, FRAMES + 2).astype(np.uint8):
            picture = av.VideoFrame.from_ndarray(np.full((96, 96, 3), shade), "rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
        second = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
        second.sample_rate = 44100
        file.mux(sound.encode(second))
        file.mux(sound.encode())
    return server


def test_a_job_that_says_nothing_for_long_is_waited_for(server):
    workflow = made_small("tiny_demo")
    for node in workflow.values():
        if "seed" in node["inputs"]:
            node["inputs"]["seed"] = 9000  # nobody else's: nothing comes from the cache
    client, sockets = Client(server.base_url), []
    open_socket = client.socket

    def impatient(client_id, timeout_s):
        sockets.append(open_socket(client_id, timeout_s))
        sockets[-1]._socket.settimeout(0.01)
        return sockets[-1]

    client.socket = impatient
    assert client.queue(workflow)["status"]["status_str"] == "success"
    assert len(sockets) > 1
    words = [n["inputs"] for n in workflow.values() if n["class_type"] == "AtlasVidTinyPrompt"]
    words[0]["text"] = "a cat"
    with pytest.raises(JobFailed, match="'cat'"):
        client.queue(workflow)


def saved_videos(server, entry) -> list:
    items = [i for out in entry["outputs"].values() for items in out.values() for i in items]
    files = [i for i in items if isinstance(i, dict) and i.get("filename", "").endswith(".mp4")]
    return [server.output / i["subfolder"] / i["filename"] for i in files]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_workflow_runs_to_its_videos(stocked, name):
    workflow, begun = made_small(name), []

    def note(kind, data):
        if kind == "executing" and data["node"] is not None:
            begun.append(workflow[data["node"]]["class_type"])

    entry = stocked.queue(workflow, note)
    assert entry["status"]["status_str"] == "success"
    sizes = []
    for path in saved_videos(stocked, entry):
        with av.open(str(path)) as file:
            frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
            sizes.append((len(frames), *frames[0].shape[:2]))
            assert len(file.streams.audio) == (name == "upscale_to_4k")  # that of its source
    assert (FRAMES, SIDE_PX, SIDE_PX) in sizes
    assert len(sizes) == 2  # the proxy is saved too
    # and can be looked at before the hours of stage 2 begin
    assert begun.index("SaveVideo") < begun.index("AtlasVidDetailJointSampler")


@pytest.mark.parametrize("name, fps", [("tiny_demo", 12), ("upscale_to_4k", 16)])
def test_both_videos_keep_the_same_time_whatever_becomes_of_the_plan(stocked, name, fps):
    """The one has the plan's frame rate, the other that of the video; and what is compared with
    the large video is the proxy, the same part of it in the same shape."""
    workflow = made_small(name)
    for node in workflow.values():
        if node["class_type"] == "AtlasVidPlan":
            node["inputs"].update(fps=12.0, r_t=2.0, width=2 * SIDE_PX)
        if node["class_type"] == "AtlasVidVideoToProxy":
            node["inputs"]["start"] = 0.1
    entry = stocked.queue(workflow)
    (shown,) = (
        o["atlasvid_compare"][0] for o in entry["outputs"].values() if "atlasvid_compare" in o
    )
    facts = {
        which: [shown[which][key] for key in ("frames", "fps", "width", "height")]
        for which in ("proxy", "detail")
    }
    assert facts == {
        "proxy": [5, fps / 2, 2 * PROXY_SIDE_PX, PROXY_SIDE_PX],
        "detail": [FRAMES, fps, 2 * SIDE_PX, SIDE_PX],
    }
    assert shown["match"] == "time"


def test_the_files_are_what_the_script_writes(server, host_path):
    made_with = hosts.TAG.removeprefix("v")
    if ".".join(map(str, environment.version_of(host_path))) != made_with:
        pytest.skip(f"they are made from the nodes of ComfyUI {made_with}, the oldest host")
    files = rendered(server.client.get("/object_info"))
    shipped = [*WORKFLOWS.rglob("*.json"), *(ROOT / "subgraphs").rglob("*.json")]
    assert {path.relative_to(ROOT).as_posix() for path in shipped} == set(files)
    for name, text in files.items():
        assert (ROOT / name).read_text() == text, f"{name}: python -m devtools.make_workflows"


def test_bad_jobs_end_in_our_words_and_the_next_job_runs(stocked):
    good = made_small("tiny_demo")

    def with_inputs(kind: str, **inputs) -> dict:
        bad = json.loads(json.dumps(good))
        for node in bad.values():
            if node["class_type"] == kind:
                node["inputs"].update(inputs)
        return bad

    for inputs, words in (
        ({"frames": 10}, "4k \\+ 1"),
        ({"cube_w": 0}, "cube"),
        ({"proxy_height": 128}, "larger than the target"),
    ):
        with pytest.raises((JobFailed, JobRefused), match=words):
            stocked.queue(with_inputs("AtlasVidPlan", **inputs))
    with pytest.raises(JobFailed, match="does not know 'cat'"):
        stocked.queue(with_inputs("AtlasVidTinyPrompt", text="a cat"))
    assert stocked.queue(good)["status"]["status_str"] == "success"
