"""A server killed in a decode: the next one goes on to the same video. A cancel ends it soon."""

import random
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import av
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from atlasvid_batch.client import JobFailed
from devtools.server import Server, ServerFailed, make_base

from .common import ROOT

KILLS = 3
SIZE_LAT = (33, 24, 24)  # a decode of some ten seconds


def job(keep_decoded: bool = True, latent: str = "long") -> dict:
    nodes = {
        "latent": ("LoadLatent", {"latent": f"{latent}.latent"}),
        "vae": ("VAELoader", {"vae_name": "atlasvid_tiny_vae.safetensors"}),
        "video": (
            "AtlasVidTiledVAEDecodeToVideo",
            {
                "vae": ["vae", 0], "samples": ["latent", 0], "fps": 16.0, "codec": "h264",
                "bits": "8", "crf": 18, "tile": 0, "keep_decoded": keep_decoded,
            },
        ),
        "save": (
            "SaveVideo",
            {"video": ["video", 0], "filename_prefix": "v", "format": "auto", "codec": "auto"},
        ),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


@pytest.fixture
def new_server(host_path, tmp_path):
    make_base(tmp_path, ROOT)
    generator = torch.Generator().manual_seed(0)
    for name, size in (("long", SIZE_LAT), ("demo", (9, 24, 24))):
        latent = torch.randn(1, 16, *size, generator=generator)
        tensors = {"latent_tensor": latent, "latent_format_version_0": torch.tensor([])}
        save_file(tensors, tmp_path / "input" / f"{name}.latent")
    return lambda: Server(host_path, Path(sys.executable), tmp_path, tmp_path / "server.log")


def asked(server, workflow):
    """-> a thread that queues it, and what came of it."""
    result = []

    def ask():
        with suppress(ServerFailed, OSError):
            try:
                result.append(server.queue(workflow))
            except JobFailed as error:
                result.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    return thread, result


def wait_for(seen, timeout_s=120):
    end = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.01)


def kept_beyond(scratch, frame):
    """Whether a state says that so many latent frames, or all, are decoded."""
    for file in scratch.glob("*/state.safetensors"):
        with safe_open(file, framework="pt") as state:
            notes = state.metadata()
        return int(notes["group"]) > 0 or int(notes["frame"]) >= frame
    return False


def finished_files(server):
    return sorted(server.output.glob("*.mp4"))


def coded(server, before=()):
    """The coded frames of the one new file; its metadata holds the workflow."""
    (file,) = set(finished_files(server)) - set(before)
    with av.open(str(file)) as opened:
        return [bytes(packet) for packet in opened.demux(video=0) if packet.size]


def test_kills_and_a_cancel(new_server, tmp_path):
    scratch = tmp_path / "output" / "atlasvid" / "decode"
    for frame in sorted(random.Random(4).sample(range(1, SIZE_LAT[0]), KILLS)):
        with new_server() as server:
            thread, _ = asked(server, job())
            wait_for(partial(kept_beyond, scratch, frame))
            server._process.kill()
            thread.join(30)
            assert not finished_files(server)
    with new_server() as server:
        server.queue(job())
        resumed, log = coded(server), server.log.read_text(errors="replace")
        assert "parts of the decode were kept" in log
        assert not list(scratch.glob("*"))
        before = finished_files(server)
        server.queue(job(keep_decoded=False))
        assert coded(server, before) == resumed

        thread, result = asked(server, job(latent="demo"))
        wait_for(lambda: list(scratch.glob("*/pixels.raw")))
        begun = time.monotonic()
        server.client.interrupt()
        thread.join(60)
        assert time.monotonic() - begun < 3
        assert isinstance(result[0], JobFailed) and result[0].kind == "interrupted"
        before = finished_files(server)
        server.queue(job(latent="demo"))
        assert coded(server, before)
