"""Files that a row names: what the check lets pass is what a live server takes."""

import pytest
from PIL import Image

from atlasvid_batch.check import problems
from atlasvid_batch.client import JobRefused
from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.table import Row

WORKFLOW = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
}


@pytest.fixture(scope="module")
def infos(server):
    """Three pictures in the server's folders; what it then says of its nodes."""
    for name in ("input/a.png", "input/sub/b.png", "output/c.png"):
        (server.base / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(server.base / name)
    return server.client.get("/object_info")


def job_of(name: str):
    (job,) = make_jobs([Row(1, 2, {"image": name})], WORKFLOW)
    return job


@pytest.mark.parametrize("name", ["a.png", "sub/b.png", "c.png [output]"])
def test_what_the_server_takes_is_not_refused(server, infos, name):
    assert problems([job_of(name)], infos) == []
    assert server.queue(job_of(name).workflow)["status"]["completed"]


def test_what_it_has_not_is_found_beforehand(server, infos):
    (words,) = problems([job_of("c.png")], infos)
    assert words.startswith("row 1 (line 2), column 'image': LoadImage.image: 'c.png' is none of")
    with pytest.raises(JobRefused):
        server.queue(job_of("c.png").workflow)
