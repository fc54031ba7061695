"""A cancel in every phase of the demo, at the demo's size: answered at once, and the next job is
right, though it goes on from what the cancelled ones left.
"""

import re
import time

import pytest

from atlasvid_batch.client import JobFailed

from .common import api_workflow, watched

MOST_S = 3.0
SEED = 77


def node_of(kind: str, title: str = "") -> str:
    """The demo's one node of a kind, or of those the one whose title begins so."""
    nodes = api_workflow("tiny_demo").items()
    (key,) = [
        key
        for key, node in nodes
        if node["class_type"] == kind and node["_meta"]["title"].startswith(title)
    ]
    return key


PROXY = node_of("AtlasVidSemanticProxyGenerator")
PROXY_VIDEO = node_of("AtlasVidTiledVAEDecodeToVideo", "Proxy")
GUIDE = node_of("AtlasVidScaledRoPEAligner")
DETAIL = node_of("AtlasVidDetailJointSampler")
VIDEO = node_of("AtlasVidTiledVAEDecodeToVideo", "Video")


def job() -> dict:
    workflow = api_workflow("tiny_demo")
    workflow[PROXY]["inputs"]["seed"] = SEED
    return workflow


def at(node: str, part: float = 0.0, bar: int = 0):
    """The moment when a node's bar is `part` of the way: its first one, or one after that."""
    bars: list[int] = []  # by how many parts each has

    def moment(kind: str, data: dict) -> bool:
        if data.get("node") != node:
            return False
        if kind == "progress":
            if bars[-1:] != [data["max"]]:
                bars.append(data["max"])
            return len(bars) == bar + 1 and data["value"] >= part * data["max"]
        return kind == "executing" and part == 0.0

    return moment


MOMENTS = {  # in the order of the job: what one leaves finished is not done again
    "stage 1": at(PROXY, 0.3),
    "the proxy's video": at(PROXY_VIDEO),
    "guide": at(GUIDE),
    "enlarging: decode": at(DETAIL, 0.2),
    "enlarging: encode": at(DETAIL, 0.3, bar=1),
    "stage 2": at(DETAIL, 0.31, bar=2),
    "decode": at(VIDEO, 0.1),
    "encode": at(VIDEO, 0.6),
}
OVER_IN_A_BLINK = ("guide", "encode")  # the cancel may meet the node after it


def cancelled(server, moment) -> tuple[str, float]:
    """-> the node that was cancelled, and seconds from the cancel to the answer."""
    sent = []

    def note(kind: str, data: dict) -> None:
        if not sent and moment(kind, data):
            sent.append(time.monotonic())
            server.client.interrupt()

    with pytest.raises(JobFailed) as failed:
        server.queue(job(), note)
    assert failed.value.kind == "interrupted"
    return failed.value.node_id, time.monotonic() - sent[0]


def result(server, outputs: dict) -> bytes:
    files = [f for out in outputs.values() for group in out.values() for f in group]
    names = [f for f in files if isinstance(f, dict) and "filename" in f]
    (file,) = [f for f in names if f["filename"].startswith("atlasvid_tiny_0")]
    return (server.output / file["subfolder"] / file["filename"]).read_bytes()


def test_a_cancel_in_every_phase_is_answered_and_the_next_job_is_right(server):
    hit = {name: cancelled(server, moment) for name, moment in MOMENTS.items()}
    assert {name: seconds for name, (_, seconds) in hit.items() if seconds > MOST_S} == {}
    nodes = {name: node for name, (node, _) in hit.items() if name not in OVER_IN_A_BLINK}
    assert nodes == {
        "stage 1": PROXY, "the proxy's video": PROXY_VIDEO, "enlarging: decode": DETAIL,
        "enlarging: encode": DETAIL, "stage 2": DETAIL, "decode": VIDEO,
    }  # fmt: skip
    after = result(server, server.queue(job())["outputs"])
    server.forget()
    for file in (server.output / "atlasvid" / "steps").glob("*/*"):
        file.unlink()
    page = watched(server, job())
    assert result(server, page.outputs) == after
    for node in (DETAIL, VIDEO):  # what lasts says how long still
        (time_taken,) = page.outputs[node]["atlasvid_time"]
        if max(time_taken["parts"].values(), default=time_taken["seconds"]) > 3:
            told = [text for key, text in page.texts if key == node]
            assert any(re.search(r": .*\d+ %, \d+ (s|min) left$", text) for text in told), told
