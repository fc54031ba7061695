"""Rows held against what a server says of its nodes: what is refused, what is let pass."""

import copy

import pytest

from atlasvid_batch.check import problems, trouble
from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.mapping import Target
from atlasvid_batch.table import Row

from .rough_server import RoughServer, as_json, workflow

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
    assert problems(jobs, infos) == [f"--set width: Plan.width: {words}"]
    workflow["1"]["inputs"]["width"] = 64.5
    assert problems(make_jobs(rows[:1], workflow), infos) == [f"Plan.width: {words}"]


def test_a_setting_is_held_against_the_limits_once_and_where_it_counts():
    infos = {"Plan": {"input": {"required": {"width": ["INT", {"max": 96}], "reach": [["own"]]}}}}
    infos["SaveVideo"] = {}
    workflow = copy.deepcopy(WORKFLOW)
    workflow["1"]["inputs"]["reach"] = "own"

    def found(*rows):
        numbered = [Row(i, i + 1, values) for i, values in enumerate(rows, 1)]
        return problems(make_jobs(numbered, workflow, settings={"Plan.width": "128"}), infos)

    words = "--set Plan.width: 128 is above 96"
    assert found({"reach": "own"}, {"reach": "own"}) == [words]
    assert found({"width": "64"}, {"reach": "own"}) == [words]  # an empty cell leaves it
    assert found({"width": "64"}, {"width": "32"}) == []
    assert found({"width": "97"}) == ["row 1 (line 2), column 'width': Plan.width: 97 is above 96"]


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


# The command


def having(*loras):
    """A server that has these files, and nothing against them."""
    need = {"text": ["STRING", {}], "lora": [list(loras), {}]}
    infos = {"Text": {"input": {"required": need}}, "Save": {}}

    def answer(method, path, query, asked):
        return (200, as_json(infos)) if path == "/object_info" else None

    return RoughServer(answer)


@pytest.fixture
def loras(batch):
    """-> run(loras, servers, ...): the command with a column for a file."""
    flow = workflow()
    flow["1"]["inputs"]["lora"] = "new"

    def run(rows, servers, *more, column="Prompt.lora") -> int:
        return batch(rows, servers, *more, column=column, flow=flow)

    return run


def test_what_was_done_needs_its_files_no_more(loras, capsys):
    with having("old", "new") as server:
        assert loras(["old"], [server]) == 0
    with having("new") as server:
        assert loras(["old", "new"], [server], "--check") == 0
        assert loras(["old", "new"], [server]) == 0 and len(server.posts) == 1
        assert loras(["old", "older"], [server]) == 2
    said = capsys.readouterr().err
    assert "'older' is none of new" in said and "'old' is none" not in said


def test_a_server_that_still_starts_may_have_what_another_lacks(loras, capsys):
    with having("new") as lacks, having("old") as has:
        usual, asked = has.answer, []

        def starting(method, path, *more):
            asked.append(path)
            return (503, b"") if len(asked) < 3 else usual(method, path, *more)

        has.answer = starting
        assert loras(["old"], [lacks, has]) == 0 and has.posts and not lacks.posts
        said = capsys.readouterr()
        assert "is left out: row 1" in said.out
        assert "'old' is none of new" in said.err and "the batch waits for it" in said.err
        has.answer = lambda *_: (503, b"")
        assert loras(["older"], [lacks, has], "--check") == 2
    said = capsys.readouterr().err
    assert "'older' is none of new" in said and f"{has.url} does not answer" in said


def test_the_check_finds_what_a_setting_breaks(loras, capsys):
    with having("new") as server:
        checked = [
            loras(["a"], [server], "--check", "--set", f"Prompt.lora={lora}", column="Prompt.text")
            for lora in ("new", "old")
        ]
    assert checked == [0, 2]
    assert "--set Prompt.lora: 'old' is none of new" in capsys.readouterr().err
