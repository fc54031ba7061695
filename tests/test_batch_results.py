"""Files of a batch: whole ones told from those cut short, and what the contact sheet shows."""

import struct
import time

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from atlasvid_batch.board import Board
from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.manifest import Manifest
from atlasvid_batch.sheet import write_sheets
from atlasvid_batch.table import Row
from atlasvid_batch.whole import is_whole

WORKFLOW = {"1": {"class_type": "Plan", "inputs": {"width": 64}}}
SERVER = "http://a"


def write_video(path, frames=20, shade=0):
    with av.open(str(path), "w") as file:
        stream = file.add_stream("vp9" if path.suffix == ".webm" else "h264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(frames):
            picture = np.full((48, 64, 3), (shade, 10 * i, 0), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())


@pytest.mark.parametrize(
    "kind", ["mp4", "mov", "mkv", "webm", "png", "jpg", "gif", "webp", "safetensors"]
)
def test_a_file_cut_short_is_told_from_a_whole_one(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind in ("mp4", "mov", "mkv", "webm"):
        write_video(path)
    elif kind == "safetensors":
        save_file({"x": torch.ones(9)}, path)
    else:
        Image.new("RGB", (64, 48), (200, 30, 60)).save(path)
    data = path.read_bytes()
    assert is_whole(path)
    for part in (0, 1, 7, 30, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:part])
        assert not is_whole(path), part


def test_what_a_killed_writer_leaves_is_not_whole(tmp_path):
    (tmp_path / "a.mp4").write_bytes(struct.pack(">I4s4xI4s", 12, b"ftyp", 0, b"mdat") + b"x" * 99)
    (tmp_path / "a.xyz").write_bytes(b"whole, but of a kind that can't be told")
    assert not is_whole(tmp_path / "a.mp4") and not is_whole(tmp_path / "a.xyz")


# The contact sheet


@pytest.fixture
def board_of(tmp_path):
    """-> make(count): a board of so many jobs."""
    with Manifest(tmp_path / "out" / "manifest.jsonl") as manifest:

        def make(count: int) -> Board:
            rows = [Row(i, i + 1, {"width": str(16 * i)}) for i in range(1, count + 1)]
            return Board(make_jobs(rows, WORKFLOW), manifest, 2, print)

        yield make


def test_the_sheet_shows_every_job_and_what_failed(board_of, tmp_path):
    board = board_of(3)
    keys = [board.claim(SERVER).key for _ in range(3)]
    (tmp_path / "files").mkdir()
    write_video(tmp_path / "files" / "a.mp4", shade=250)
    Image.new("RGB", (90, 90), (0, 0, 250)).save(tmp_path / "files" / "b.png")
    board.done(keys[0], ["files/a.mp4"])
    board.done(keys[1], ["files/b.png"])
    board.missed(keys[2], "ValueError", "no such size")
    (sheet,) = write_sheets(board.snapshot(), tmp_path, print)
    pixels = np.asarray(Image.open(sheet)).astype(int)
    reds = [pixels[12 + 80, 12 + x] for x in (100, 240, 400)]  # first, middle, last frame
    assert all(red[0] > 200 for red in reds)
    assert reds[0][1] < 40 < reds[1][1] < 150 < reds[2][1]
    assert pixels[12 + 80, 12 + 492 + 240][2] > 200


def test_a_long_prompt_costs_the_sheet_no_time(board_of, tmp_path):
    """Measured letter by letter from its end, this one took a minute."""
    board = board_of(1)
    board.missed(board.claim(SERVER).key, "ValueError", "no such size, " * 300)
    began = time.monotonic()
    (sheet,) = write_sheets(board.snapshot(), tmp_path, print)
    assert time.monotonic() - began < 5
    words = np.asarray(Image.open(sheet))[12 + 160 + 23 : 12 + 160 + 42, 12 : 12 + 480]
    assert (words.max(2) > 90).any(0).nonzero()[0].max() > 440  # the line is full


def test_sound_alone_leaves_its_cell_empty(board_of, tmp_path):
    board = board_of(1)
    (tmp_path / "files").mkdir()
    with av.open(str(tmp_path / "files" / "a.mp4"), "w") as file:
        stream = file.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    board.done(board.claim(SERVER).key, ["files/a.mp4"])
    assert len(write_sheets(board.snapshot(), tmp_path, print)) == 1
