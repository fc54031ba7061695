"""A file of tensors is whole or as it was, may be read by others, and leaves nothing beside it."""

import os
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from atlasvid_core.conditioning_file import load_conditioning, save_conditioning
from atlasvid_core.halves import DEAD_S, sweep
from atlasvid_core.tensor_file import save_whole

from .conftest import ROOT

KILLED = """
import os, sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
from atlasvid_core import tensor_file
save = tensor_file.save_file
def die(tensors, file, notes):
    save(tensors, file, notes)
    Path(file).rename(file.with_name(".tmp123456"))  # as it is called while it is written
    os._exit(9)
tensor_file.save_file = die
tensor_file.save_whole({"a": torch.ones(3)}, Path(sys.argv[2]))
"""
ONES = {"a": torch.ones(3)}


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no such modes")
def test_others_may_read_it_as_the_umask_allows(tmp_path, umask):
    save_whole(ONES, tmp_path / "a.safetensors", {"told": "yes"})
    (tmp_path / "plain").touch()
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.safetensors", "plain")]
    assert modes == [0o640, 0o640]
    assert torch.equal(load_file(tmp_path / "a.safetensors")["a"], ONES["a"])


def test_what_fails_is_a_disk_error_and_leaves_the_file_as_it_was(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "a.safetensors"
    save_whole(ONES, path)
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))  # as on a full disk
    try:
        with pytest.raises(OSError, match="a.safetensors could not be written"):
            save_whole({"a": torch.ones(1000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_what_a_kill_leaves_goes_in_time(tmp_path):
    path = tmp_path / "a.safetensors"
    done = subprocess.run([sys.executable, "-c", KILLED, str(ROOT), str(path)], timeout=120)
    (half,) = tmp_path.iterdir()
    assert done.returncode == 9 and half.is_dir()
    (inside,) = half.iterdir()
    old = time.time() - DEAD_S - 60
    for touched in ((), (half,)):  # one that is long being written is touched inside
        for file in touched:
            os.utime(file, (old, old))
        sweep(tmp_path)
        assert inside.exists()
    os.utime(inside, (old, old))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="the system does not tell")
def test_conditioning_that_was_read_does_not_hold_its_file(tmp_path):
    """Windows deletes and replaces no file that is mapped."""
    path = tmp_path / "a.safetensors"
    save_conditioning([[torch.ones(1, 2, 3), {"pooled_output": torch.ones(4)}]], path, "a text")
    found = load_conditioning(path)
    assert found[1] == "a text" and path.name not in maps()


def maps():
    with open("/proc/self/maps") as file:
        return file.read()
