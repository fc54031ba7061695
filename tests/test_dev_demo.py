"""The demo's parts: wishes put into a workflow, progress in the terminal, contact sheet, client."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from atlasvid_batch.client import JobFailed, JobRefused, refusal
from devtools.contact_sheet import contact_sheet
from devtools.demo import adjust, keep_videos, settle, wishes
from devtools.progress import Progress


@pytest.fixture
def workflow() -> dict:
    return {
        "1": {"class_type": "AtlasVidTinyPrompt", "inputs": {"text": "a red disc"}},
        "2": {"class_type": "AtlasVidTinyPrompt", "inputs": {"text": ""}},
        "3": {"class_type": "AtlasVidPlan", "inputs": {"width": 8, "height": 8, "frames": 5}},
        "4": {"class_type": "S", "inputs": {"seed": 1}, "_meta": {"title": "Sampler"}},
    }


def test_wishes_go_where_the_workflow_keeps_them(workflow):
    before = json.dumps(workflow)
    adjust(workflow, None, None, None)
    assert json.dumps(workflow) == before
    adjust(workflow, "a blue square", 9, [192, 96, 33])
    asked = wishes(workflow)
    assert asked["prompt"] == "a blue square" and asked["seeds"] == [9]
    assert asked["plan"] == {"width": 192, "height": 96, "frames": 33}
    assert workflow["2"]["inputs"]["text"] == ""


def test_progress_names_nodes_parts_and_time(workflow):
    now, out = [0.0], io.StringIO()
    progress = Progress(workflow, out, lambda: now[0])
    progress("executing", {"node": "3"})
    now[0] = 2.0
    progress("executing", {"node": "4"})
    now[0] = 75.0
    progress("progress", {"node": "4", "value": 3, "max": 10})
    progress("execution_success", {})
    assert progress.seconds == {"AtlasVidPlan": 2.0, "Sampler": 73.0}
    assert "1:15  Sampler  30 %" in out.getvalue()


def test_the_sheet_has_a_caption_and_a_row_for_each_video():
    proxy = [np.full((48, 96, 3), 10 * i, np.uint8) for i in range(5)]
    video = [np.full((192, 384, 3), i, np.uint8) for i in range(33)]
    sheet = contact_sheet({"proxy": proxy, "video": video}, columns=3, cell_px=64)
    assert sheet.shape == (2 * (24 + 64), 3 * 128, 3)
    row = sheet[24 : 24 + 64]
    assert [row[32, 64 + 128 * i, 0] for i in range(3)] == [0, 20, 40]  # first, middle, last


def test_videos_are_told_apart_and_put_in_place_together(workflow, tmp_path):
    (tmp_path / "output").mkdir()
    for name in ("a_proxy.mp4", "a.mp4"):
        (tmp_path / "output" / name).write_text(name)
    saved = {"images": [{"filename": "a_proxy.mp4", "subfolder": ""}], "animated": [True]}
    entry = {"outputs": {"3": saved, "4": {"images": [{"filename": "a.mp4", "subfolder": ""}]}}}
    part, out = tmp_path / "x.part", tmp_path / "x"
    part.mkdir()
    keep_videos(entry, workflow, tmp_path / "output", part)
    settle(part, out)
    assert {f.name: f.read_text() for f in out.iterdir()} == {
        "video.mp4": "a.mp4",
        "proxy.mp4": "a_proxy.mp4",
    }
    assert not part.exists()


def test_a_refusal_names_node_and_input():
    error = {"message": "Value too small", "details": "width 0 < 1"}
    node = {"class_type": "EmptyImage", "errors": [error]}
    body = json.dumps({"error": {"message": "invalid"}, "node_errors": {"7": node}}).encode()
    assert refusal(body) == "invalid\nnode 7 (EmptyImage): Value too small: width 0 < 1"


# On a live server


def picture(width: int) -> dict:
    inputs = {"width": width, "height": 16, "batch_size": 1, "color": 255}
    return {
        "1": {"class_type": "EmptyImage", "inputs": inputs},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }


def test_the_server_has_the_pack_and_folders_of_its_own(server):
    assert "AtlasVidPlan" in server.client.get("/object_info")
    entry = server.queue(picture(32))
    (file,) = entry["outputs"]["2"]["images"]
    assert (Path(server.output) / file["filename"]).is_file()
    assert server.client.download(file).startswith(b"\x89PNG")


def test_a_refused_and_a_failed_job_say_so_and_the_next_one_runs(server):
    with pytest.raises(JobRefused, match=r"node 1 \(EmptyImage\).*width"):
        server.queue(picture(0))
    bad = {"1": {"class_type": "AtlasVidTinyPrompt", "inputs": {"text": "xyzzy", "view": "full"}}}
    bad["2"] = {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}}
    with pytest.raises(JobFailed, match="xyzzy"):
        server.queue(bad)
    seen = []
    server.queue(picture(48), lambda kind, data: seen.append(kind))
    assert seen[0] == "execution_start" and "executing" in seen
