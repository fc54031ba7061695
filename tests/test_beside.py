"""Half files: each process has its own, none takes another's name, and a dead one's go."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from atlasvid_core import halves, tensor_file
from atlasvid_core.beside import beside, claimed
from atlasvid_core.conditioning_file import load_conditioning, save_conditioning
from atlasvid_core.halves import DEAD_S, QUIET_S
from atlasvid_core.video_file import VideoFormat, copy_video, write_video

from .conftest import ROOT

HOLD = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from atlasvid_core.beside import claimed
with claimed(Path(sys.argv[2])) as part:
    part.write_bytes(b"half")
    print("written", flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process, which is writing `name` and does not end by itself."""
    running = []

    def start(name):
        args = [sys.executable, "-c", HOLD, str(ROOT), str(tmp_path / name)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        running.append(subprocess.Popen(args, text=True, **pipes))
        assert running[-1].stdout.readline() == "written\n"
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_one_name_is_given_once(tmp_path):
    path = tmp_path / "a.mp4"
    words = "a.mp4 meanwhile: it is left as it is.*Queue"
    with pytest.raises(FileExistsError, match=words), claimed(path) as one, claimed(path) as other:
        one.write_text("one")
        other.write_text("other")
        assert one.name.startswith("a.mp4.") and one != other
    assert path.read_text() == "other"
    assert list(tmp_path.iterdir()) == [path]


def no_links(*_):
    raise OSError("not on this disk")


@pytest.mark.parametrize("links", [True, False])
def test_a_name_comes_with_the_whole_file(tmp_path, monkeypatch, links):
    """On a disk without hard links, too."""
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "a.mp4"
    with claimed(path) as part:
        part.write_text("whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileExistsError), claimed(tmp_path / "b.mp4") as part:
        part.write_text("late")
        (tmp_path / "b.mp4").write_text("early")
    assert (tmp_path / "b.mp4").read_text() == "early"


def test_what_was_there_before_is_replaced(tmp_path):
    path = tmp_path / "a.mp4"
    path.touch()  # as a temporary file that somebody made for the video
    with claimed(path, end=".mp4") as part:
        part.write_text("new")
        assert part.suffix == ".mp4"
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("last_first", [False, True])
def test_the_half_file_of_a_dead_process_goes_and_that_of_a_live_one_stays(
    tmp_path, holder, monkeypatch, last_first
):
    """In whatever order a disk lists them: the lock before its half file, or after it."""
    glob = Path.glob
    listed = lambda self, pattern: sorted(glob(self, pattern), reverse=last_first)  # noqa: E731
    monkeypatch.setattr(Path, "glob", listed)
    dead, _ = holder("dead.mp4"), holder("live.mp4")
    dead.kill()
    dead.wait()
    (tmp_path / "anothers.part").touch()
    for path in tmp_path.glob("live.mp4.*"):  # of a machine that slept, such as a laptop
        age(path, 2 * DEAD_S)
    with claimed(tmp_path / "b.mp4"):
        assert begins(tmp_path) == ["anothers", "b", "live"]


def age(path, age_s):
    os.utime(path, (time.time() - age_s,) * 2)


def begins(folder):
    return sorted({path.name.split(".")[0] for path in folder.iterdir()})


def test_where_no_lock_tells_age_does(tmp_path, monkeypatch):
    monkeypatch.setattr(halves, "fcntl", None)  # as on Windows
    for name, age_s in (("dead.mp4", DEAD_S + 60), ("live.mp4", 60)):
        half = beside(tmp_path / name)
        half.write_bytes(b"half")
        age(half, age_s)
    with claimed(tmp_path / "b.mp4") as part:
        part.write_text("whole")
    assert begins(tmp_path) == ["b", "live"] and not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize("quiet_s, stays", [(60, True), (QUIET_S + 60, False)])
def test_the_lock_of_another_machine_seems_free_while_its_process_writes(
    tmp_path, holder, monkeypatch, quiet_s, stays
):
    """On a network disk whose locks hold on their own machine alone."""
    pytest.importorskip("fcntl")
    holder("live.mp4")
    (lock,) = tmp_path.glob("*.lock")
    here = tmp_path / "boot_id"
    here.write_text("this machine, which is another")
    monkeypatch.setattr(halves, "BOOT", here)
    told = lock.read_bytes()
    lock.unlink()
    lock.write_bytes(told)  # another file, which nobody here has locked
    age(lock.with_suffix(""), quiet_s)
    with claimed(tmp_path / "b.mp4"):
        assert begins(tmp_path) == ["b", "boot_id"] + stays * ["live"]


@pytest.mark.parametrize("age_s, stays", [(60, True), (DEAD_S + 60, False)])
def test_a_lock_without_a_half_file_goes_in_time(tmp_path, age_s, stays):
    """Of a process that was killed between the two, and of a live one that is between them."""
    lock = Path(f"{beside(tmp_path / 'a.mp4')}.lock")
    lock.touch()
    age(lock, age_s)
    with claimed(tmp_path / "b.mp4"):
        assert lock.exists() == stays


@pytest.mark.parametrize("links", [True, False])
def test_a_lost_half_file_leaves_no_empty_one_under_the_name(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(FileNotFoundError), claimed(tmp_path / "a.mp4") as part:
        part.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_half_file_may_be_locked_by_others(tmp_path):
    """A lock on it would keep FFmpeg from writing to it, on some network disks."""
    fcntl = pytest.importorskip("fcntl")
    with claimed(tmp_path / "b.mp4") as part, part.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_two_copies_to_one_name_lose_no_video(tmp_path):
    frames = {
        name: torch.full((n, 16, 16, 3), 9, dtype=torch.uint8) for name, n in (("a", 3), ("b", 5))
    }
    for name, given in frames.items():
        write_video(tmp_path / f"{name}.mp4", [given], VideoFormat("ffv1"))
    out = tmp_path / "out"
    out.mkdir()
    target, told = out / "v_00001_.mp4", []

    def other(*_):
        if not told:
            told.append(1)
            copy_video(tmp_path / "b.mp4", target, "mp4", {"whose": "other"})

    with pytest.raises(FileExistsError):
        copy_video(tmp_path / "a.mp4", target, "mp4", {"whose": "first"}, other)
    alone = out / "alone.mp4"
    copy_video(tmp_path / "b.mp4", alone, "mp4", {"whose": "other"})
    assert target.read_bytes() == alone.read_bytes()
    assert sorted(out.iterdir()) == [alone, target]


def test_one_prompt_kept_by_two_at_once_is_whole(tmp_path, monkeypatch):
    path, save, calls = tmp_path / "c.safetensors", tensor_file.save_file, []

    def other_then(tensors, part, notes):
        save(tensors, part, notes)
        calls.append(part)
        if len(calls) == 1:
            save_conditioning([[torch.ones(1, 2, 3), {}]], path, "a text")

    monkeypatch.setattr(tensor_file, "save_file", other_then)
    save_conditioning([[torch.ones(1, 2, 3), {}]], path, "a text")
    assert len(calls) == 2 and load_conditioning(path)[1] == "a text"
    assert list(tmp_path.iterdir()) == [path]
    assert beside(path) != beside(path)
