"""What the host says 200 to and does in part, or makes and does not give out: the batch knows."""

import json
import time

import pytest

from atlasvid_batch.cli import main
from atlasvid_batch.client import JobRefused
from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.server import MARK, BatchServer
from atlasvid_batch.table import Row

from .common import api_workflow


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


PICTURE = {
    "1": node("EmptyImage", width=16, height=16, batch_size=1, color=0),
    "2": node("SaveImage", images=["1", 0], filename_prefix="batch/picture"),
}
BROKEN = {
    "901": node("LoadImage", image="there is none.png"),
    "902": node("SaveImage", images=["901", 0], filename_prefix="batch/broken"),
}


@pytest.fixture
def batch(server, tmp_path, monkeypatch):
    """-> run(table, workflow, ...): the command on the live server -> its exit status."""
    monkeypatch.chdir(tmp_path)

    def run(table: str, workflow: dict, *more) -> int:
        (tmp_path / "t.csv").write_text(table, "utf-8")
        (tmp_path / "w.json").write_text(json.dumps(workflow))
        command = ["t.csv", "--workflow", "w.json", "--out", "out", "--no-sheet"]
        return main([*command, "--server", server.base_url, *more])

    return run


def results(tmp_path) -> list[str]:
    folder = tmp_path / "out" / "files"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_job_with_an_output_that_can_not_be_made_is_no_job(batch, tmp_path, capsys):
    assert batch("width\n16\n32\n", PICTURE | BROKEN) == 1
    said = capsys.readouterr()
    assert "is left out: only a part of the workflow would run" in said.out
    assert "there is none.png" in said.out and "no server can run these jobs" in said.err
    assert results(tmp_path) == []
    assert batch("width\n16\n32\n", PICTURE) == 0 and len(results(tmp_path)) == 2


def test_files_named_by_an_id_of_another_script_are_given_out(batch, tmp_path):
    assert batch("id,width\n湖上黎明,16\nZoë,32\n", PICTURE) == 0
    names = [name.split("_")[1] for name in results(tmp_path)]
    assert names == ["Zoë", "湖上黎明"]


def test_what_would_run_in_part_is_ended_whether_it_waits_or_runs(server):
    slow = api_workflow("tiny_demo") | BROKEN
    for nodes in slow.values():
        if "steps" in nodes["inputs"]:
            nodes["inputs"].update(steps=2000, seed=5)
    view, names = BatchServer(server.base_url, "b"), []
    (job,) = make_jobs([Row(1, 2, {"901.image": "none.png"})], slow, batch="b")
    with pytest.raises(JobRefused, match="only a part"):  # it ran at once
        view.submit(job)
    end = time.monotonic() + 60
    while view.queue():
        assert time.monotonic() < end, "it still runs"
        time.sleep(0.2)
    asked = {"prompt": job.workflow, "extra_data": {MARK: ["b", job.key]}}
    for _ in range(2):  # without looking at the answer: one runs, one waits
        answer = server.client.read("/prompt", json.dumps(asked).encode())
        names.append(json.loads(answer)["prompt_id"])
    try:
        assert view.survey()[job.key][1] == "partial"
        server.client.withdraw(names[1])
        assert list(view.queue()) == [names[0]]  # and none but it was ended
    finally:
        for name in reversed(names):
            server.client.withdraw(name)
    while view.queue():
        assert time.monotonic() < end, "it still runs"
        time.sleep(0.2)


def test_a_name_with_dots_is_given_out(batch, tmp_path):
    assert batch("SaveImage.filename_prefix\nwait... what\n", PICTURE, "--patience", "5") == 0
    (name,) = results(tmp_path)
    assert name.startswith("wait. what_") and name.endswith("_00001_.png")


def test_the_manifest_has_the_servers_seconds(batch, tmp_path):
    assert batch("width\n48\n", PICTURE) == 0
    lines = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    (seconds,) = [e["seconds"] for e in map(json.loads, lines) if e.get("state") == "done"]
    assert 0 <= seconds < 20
