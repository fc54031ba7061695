"""Rows held against what a server says of its nodes: what is refused, what is let pass."""

import pytest

from atlasvid_batch.check import problems, trouble
from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.mapping import Target
from atlasvid_batch.table import Row

WORKFLOW = {
    "1": {"class_type": "Plan", "inputs": {"width": 64, "reach": "faces"}},
    "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "x"}},
}


def test_rows_are_held_against_the_nodes_limits():
    infos = {"Plan": {"input": {"required": {
        "width": ["INT", {"min": 16, "max": 96}], "reach": [["own", "faces"]],
    }}}}  # fmt: skip
    rows = [Row(1, 2, {"width": "8", "reach": "far"}), Row(2, 3, {"width": "64", "reach": "own"})]
    found = problems(make_jobs(rows, WORKFLOW), infos)
    assert found == [
        "the server has no node of the kind 'SaveVideo': install its pack",
        "row 1 (line 2), column 'width': Plan.width: 8 is below 16",
        "row 1 (line 2), column 'reach': Plan.reach: 'far' is none of own, faces",
    ]


def test_a_fraction_goes_where_the_node_takes_one():
    """The page writes 6.0 as 6; a server would cut a fraction of an INT off in silence."""
    infos = {
        "Plan": {"input": {"required": {"width": ["INT", {}]}}},
        "Sampler": {"input": {"required": {"cfg": ["FLOAT", {"min": 0.0, "max": 10.0}]}}},
    }
    workflow = {
        "1": {"class_type": "Plan", "inputs": {"width": 64}},
        "2": {"class_type": "Sampler", "inputs": {"cfg": 6}},
    }
    rows = [Row(1, 2, {"cfg": "7.5"}), Row(2, 3, {"cfg": 7.5, "width": "64.5"})]
    jobs = make_jobs(rows, workflow)
    assert [job.workflow["2"]["inputs"]["cfg"] for job in jobs] == [7.5, 7.5]
    words = "64.5 is no whole number"
    assert problems(jobs, infos) == [f"row 2 (line 3), column 'width': Plan.width: {words}"]
    jobs = make_jobs(rows[:1], workflow, settings={"width": "64.5"})
    assert problems(jobs, infos) == [f"Plan.width: {words}"]


@pytest.mark.parametrize("upload", ["image_upload", "video_upload", "audio_upload", "image_folder"])
def test_files_that_a_server_takes_but_does_not_list(upload):
    info = {"input": {"required": {"image": [["a.png", "b.jpg"], {upload: True}]}}}
    target = Target("1", "image")
    for name in ("a.png", "sub/c.png", "c.png [output]", "A.png", "c.tiff"):
        assert trouble(info, target, name) is None, name
    assert trouble(info, target, "c.png") == "'c.png' is none of a.png, b.jpg"
    info["input"]["required"]["image"][1] = {}
    assert trouble(info, target, "sub/c.png") is not None  # a plain choice


def test_a_size_between_the_steps_of_a_plan_is_found_beforehand():
    info = {"input": {"required": {"frames": ["INT", {"min": 1, "max": 4097, "step": 4}]}}}
    for kind, error in (
        ("AtlasVidPlan", "80 is none of its steps: take 77 or 81"),
        ("Other", None),
    ):
        assert trouble({**info, "name": kind}, Target("1", "frames"), 80) == error
        assert trouble({**info, "name": kind}, Target("1", "frames"), 81) is None
