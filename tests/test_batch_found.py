"""What lies on a server from before: which of it proves that a job had ended."""

import struct

import pytest

from atlasvid_batch.client import Client
from atlasvid_batch.files import find_files
from atlasvid_batch.server import BatchServer

from .rough_server import RoughServer, jobs_of

MP4 = struct.pack(">I4sI4s", 8, b"ftyp", 8, b"moov") + struct.pack(">I4s", 8, b"mdat")
PNG = b"\x89PNG IEND\xae\x42\x60\x82"


@pytest.mark.parametrize(("files", "found"), [
    ({"_00001_.mp4": MP4}, "_00001_.mp4"),
    ({"_00001.mp4": MP4, "_00001.png": PNG}, "_00001.mp4"),  # with a picture for its metadata
    ({"_00001_.mp4": MP4[:-1]}, None),
    ({"_00001.mp4": MP4[:-1], "_00001.png": PNG}, None),  # killed while the video was written
    ({f"_{i:05}_.png": PNG for i in range(1, 41)}, None),  # are there forty, or eighty?
    ({"_00001_.mp4": MP4, "_00002_.mp4": MP4}, None),
    ({"_00001_.mp4": MP4[:-1], "_00002_.mp4": MP4}, None),
    ({"_00001_.mp4": MP4, "_00001_.webm": MP4}, None),
    ({}, None),
])  # fmt: skip
def test_only_a_whole_single_file_proves_that_a_job_ended(files, found):
    (job,) = jobs_of("t0")
    prefix = job.workflow["9"]["inputs"]["filename_prefix"]
    with RoughServer() as server:
        server.saved = {("", prefix + end): data for end, data in files.items()}
        there = find_files(Client(server.url), job)
    names = [file["filename"] for file in there or []]
    assert names == ([prefix + found] if found else [])


def test_a_saver_whose_name_is_not_known_proves_nothing():
    (job,) = jobs_of("t0")
    saver = job.workflow["9"]
    prefix = saver["inputs"]["filename_prefix"]
    with RoughServer() as server:
        client = Client(server.url)
        server.saved = {("", f"{prefix}_00001.mp4"): MP4}
        assert find_files(client, job)
        saver["inputs"]["audio"] = ["1", 0]  # that file is then the video without its sound
        assert find_files(client, job) is None
        del saver["inputs"]["audio"]
        job.workflow["10"] = {"class_type": "Save", "inputs": {"filename_prefix": ["2", 0]}}
        assert find_files(client, job) is None


def test_a_part_that_was_made_before_the_client_could_take_it_back_does_not_count():
    with RoughServer() as server:
        view = BatchServer(server.url, "b")
        (job,) = jobs_of("t0")
        name = view.submit(job)
        assert view.survey() == {job.key: (name, "done")}
        server.history[name]["prompt"][4] = ["1"]  # the saver is not among what it made
        assert view.survey() == {job.key: (name, "partial")}
