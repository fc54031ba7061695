"""Forty jobs on two servers; a server and the client are killed on the way: forty results."""

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections import Counter

import pytest

from atlasvid_batch.cli import wanted_jobs
from atlasvid_batch.files import find_files
from atlasvid_batch.manifest import Manifest
from atlasvid_batch.server import BatchServer
from atlasvid_batch.whole import is_whole
from atlasvid_core.tiny.make_prompts import prompts
from devtools.server import Server, free_port, make_base

from .common import ROOT

COUNT = 40
WORKFLOW = {
    "dit": ("UNETLoader", {"unet_name": "atlasvid_tiny.safetensors", "weight_dtype": "default"}),
    "vae": ("VAELoader", {"vae_name": "atlasvid_tiny_vae.safetensors"}),
    "text": ("AtlasVidTinyPrompt", {"text": "", "view": "full"}),
    "empty": ("AtlasVidTinyPrompt", {"text": "", "view": "full"}),
    "plan": ("AtlasVidPlan", {
        "width": 64, "height": 64, "frames": 9, "fps": 16.0, "r_t": 2.0, "proxy_height": 32,
        "cube_t": 1, "cube_h": 2, "cube_w": 2, "reach": "faces", "alignment": "ratio",
    }),
    "proxy": ("AtlasVidSemanticProxyGenerator", {
        "model": ["dit", 0], "positive": ["text", 0], "negative": ["empty", 0],
        "plan": ["plan", 0], "seed": 0, "steps": 2, "cfg": 3.0, "sampler_name": "euler",
        "scheduler": "simple", "shift": 2.0,
    }),
    "frames": ("AtlasVidTiledVAEDecode", {"vae": ["vae", 0], "samples": ["proxy", 0], "tile": 0}),
    "video": ("CreateVideo", {"images": ["frames", 0], "fps": 8.0}),
    "save": ("SaveVideo", {
        "video": ["video", 0], "filename_prefix": "night/tiny", "format": "auto", "codec": "auto",
    }),
}  # fmt: skip
TITLES = {"text": "Prompt", "empty": "Negative"}


def workflow() -> dict:
    return {
        key: {"class_type": kind, "inputs": inputs, "_meta": {"title": TITLES.get(key, kind)}}
        for key, (kind, inputs) in WORKFLOW.items()
    }


@pytest.fixture(scope="module")
def two_servers(host_path, tmp_path_factory):
    folder, servers = tmp_path_factory.mktemp("servers"), []
    for name in "ab":
        make_base(folder / name, ROOT)
        log = folder / f"{name}.log"
        servers.append(Server(host_path, sys.executable, folder / name, log))
    starts = [threading.Thread(target=server.start) for server in servers]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def client(two_servers, tmp_path):
    """-> start(rows): `python -m atlasvid_batch` on both servers and one that never answers.

    Whatever still runs is ended.
    """
    (tmp_path / "workflow.json").write_text(json.dumps(workflow()))
    command = [sys.executable, "-m", "atlasvid_batch", "jobs.csv", "--workflow", "workflow.json"]
    command += ["--map", "prompt=Prompt.text", "--out", "out"]
    urls = [*(s.base_url for s in two_servers), f"http://127.0.0.1:{free_port()}"]
    command += [word for url in urls for word in ("--server", url)]
    started = []

    def start(rows: list[tuple]) -> subprocess.Popen:
        with (tmp_path / "jobs.csv").open("w", newline="") as file:
            csv.writer(file).writerows((("id", "prompt", "seed", "priority"), *rows))
        with (tmp_path / "client.log").open("a") as log:
            started.append(
                subprocess.Popen(
                    command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, stdout=log,
                    stderr=log, start_new_session=True,
                )
            )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def done_jobs(out) -> list[str]:
    """Keys in the order in which they were done."""
    return jobs_that_were("done", out)


def jobs_that_were(state: str, out) -> list[str]:
    """Keys in the order in which they came into a state."""
    text = (out / "manifest.jsonl").read_text() if (out / "manifest.jsonl").exists() else ""
    events = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [e["job"] for e in events if e.get("state") == state]


def wait_for(count: int, out, process) -> None:
    end = time.monotonic() + 120
    while len(done_jobs(out)) < count:
        assert process.poll() is None, "the client ended early"
        assert time.monotonic() < end, f"{len(done_jobs(out))} of {count} jobs in two minutes"
        time.sleep(0.05)


def test_forty_jobs_outlive_a_server_and_the_client(two_servers, client, tmp_path):
    rows = [(f"p{i:02}", prompt, i, "") for i, prompt in enumerate(prompts(COUNT))]
    rows[-1] = (*rows[-1][:3], "1")  # comes first
    out, first, (dies, stays) = tmp_path / "out", client(rows), two_servers
    wait_for(6, out, first)
    dies._process.kill()
    wait_for(12, out, first)
    first.send_signal(signal.SIGKILL)
    first.wait()
    again = threading.Thread(target=dies.start)
    again.start()
    second = client(rows)
    again.join()
    assert second.wait(240) == 0, (tmp_path / "client.log").read_text()

    done = done_jobs(out)
    assert len(done) == COUNT and set(Counter(done).values()) == {1}
    # Which server is the quicker one is chance; which job is given out first is not.
    assert jobs_that_were("queueing", out)[0].startswith(f"p{COUNT - 1:02}-")
    saved = [file for server in two_servers for file in server.output.rglob("*.mp4")]
    whole = Counter(file.name.split("_")[1] for file in saved if is_whole(file))
    assert len(whole) == COUNT and set(whole.values()) == {1}
    fetched = {file.name for file in (out / "files" / "night").iterdir()}
    assert fetched == {file.name for file in saved if is_whole(file)}
    assert all(is_whole(file) for file in (out / "files" / "night").iterdir())
    assert (out / "contact_sheet_01.jpg").stat().st_size > 20_000
    assert client(rows).wait(60) == 0 and done_jobs(out) == done  # nothing is left to do

    # What the killed server had finished is found in its output folder, if it is whole.
    args = Namespace(
        table=tmp_path / "jobs.csv", workflow=tmp_path / "workflow.json",
        map=["prompt=Prompt.text"], fixed=[], ignore=[],
    )  # fmt: skip
    with Manifest(out / "manifest.jsonl") as manifest:
        jobs = {job.key: job for job in wanted_jobs(args, manifest.batch)}
        before = next(k for k in done if manifest.records[k].server == dies.base_url)
        server = BatchServer(dies.base_url, manifest.batch)
        assert before not in server.survey()  # a new process: it remembers nothing
        (file,) = find_files(server.client, jobs[before])
        path = dies.output / file["subfolder"] / file["filename"]
        path.write_bytes(path.read_bytes()[:-9])
        assert find_files(server.client, jobs[before]) is None
    assert stays.client.get("/queue") == {"queue_running": [], "queue_pending": []}


def test_what_failed_is_told_and_the_others_are_made(client, tmp_path):
    rows = [("a", "a red ball", 1, ""), ("b", "a red cat", 1, "2"), ("c", "a red box", 1, "")]
    assert client(rows).wait(120) == 1
    log = (tmp_path / "client.log").read_text()
    assert "failed: row 2 (line 3) b: AtlasVidTinyPrompt: The tiny world does not know 'cat'" in log
    assert "1 of 3 jobs failed; the same command tries again" in log
    assert sorted(key[0] for key in done_jobs(tmp_path / "out")) == ["a", "c"]
    rows[1] = ("b", "a red diamond", 1, "2")  # put right: only this one is made
    assert client(rows).wait(120) == 0
    assert sorted(key[0] for key in done_jobs(tmp_path / "out")) == ["a", "b", "c"]
    assert "3 jobs into out, 2 done before" in (tmp_path / "client.log").read_text()
