"""The folder of kept steps: what lies there is whole, no server harms another's, the old go."""

import os
import time
from pathlib import Path

import pytest
import torch


def test_broken_files_are_passed_over_and_old_jobs_go(pack, tmp_path, caplog):
    from atlasvid_pack.nodes import kept_steps

    kept = kept_steps.KeptSteps(tmp_path, "new")
    kept.put(1, torch.ones(2))
    (kept.place / "step_0002.safetensors").write_bytes(b"half a file")
    (kept.place / "step_0003.part").write_bytes(b"never renamed")
    found = kept.latest()
    assert found.steps == 1 and torch.equal(found.latent, torch.ones(2))
    assert "step_0002" in caplog.text
    for name in ("old", "newer"):
        kept_steps.KeptSteps(tmp_path, name).put(1, torch.ones(2))
    os.utime(tmp_path / "old" / "step_0001.safetensors", (0, 0))
    kept_steps.prune(tmp_path, but="new")
    assert {p.name for p in tmp_path.iterdir()} == {"new", "newer"}


def test_what_is_not_finite_is_not_kept_and_not_taken_up(pack, tmp_path, caplog):
    from atlasvid_pack.nodes import kept_steps
    from safetensors.torch import save_file

    kept, good = kept_steps.KeptSteps(tmp_path, "a"), torch.ones(2)
    kept.put(1, good)
    for bad in (torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf, 1.0])):
        kept.put(2, bad)
        kept.finish(3, bad)
    assert [p.name for p in kept.place.iterdir()] == ["step_0001.safetensors"]
    (said,) = caplog.messages
    assert "step 2 was not kept" in said and "not finite" in said and "cancel the job" in said
    save_file({"latent": bad}, kept.place / "step_0004.safetensors", {"finished": "yes"})
    found = kept.latest()  # one that an earlier version kept
    assert found.steps == 1 and torch.equal(found.latent, good) and not found.finished
    assert "step_0004.safetensors is of no use (it holds values that are not" in caplog.messages[1]


def test_two_servers_that_keep_one_job_do_not_write_one_file(pack, tmp_path, monkeypatch, caplog):
    from atlasvid_pack.atlasvid_core import tensor_file
    from atlasvid_pack.nodes import kept_steps

    kept, save, parts = kept_steps.KeptSteps(tmp_path, "a"), tensor_file.save_file, []

    def other_then(tensors, part, notes):
        save(tensors, part, notes)
        parts.append(part)
        if len(parts) == 1:
            kept_steps.KeptSteps(tmp_path, "a").put(2, torch.ones(2))

    monkeypatch.setattr(tensor_file, "save_file", other_then)
    kept.put(1, torch.ones(2))
    kept.put(1, torch.ones(2))
    assert len(set(parts)) == 3 and not caplog.text
    dead = kept.place / "step_0003.safetensors.0123abcd.part"
    for age_s, stays in ((10, True), (7200, False)):
        dead.mkdir(exist_ok=True)
        os.utime(dead, (time.time() - age_s,) * 2)
        kept.put(4, torch.ones(2))
        assert dead.exists() == stays


def test_a_step_that_was_read_does_not_hold_its_file(pack, tmp_path):
    """Windows deletes no file that is mapped."""
    from atlasvid_pack.nodes import kept_steps

    if not os.path.exists("/proc/self/maps"):
        pytest.skip("the system does not tell")
    kept = kept_steps.KeptSteps(tmp_path, "mapped")
    kept.put(1, torch.ones(2))
    found = kept.latest()
    with open("/proc/self/maps") as file:
        assert str(kept.place) not in file.read()
    assert torch.equal(found.latent, torch.ones(2))


def test_an_old_step_that_can_not_be_deleted_is_no_failure(pack, tmp_path, caplog):
    from atlasvid_pack.nodes import kept_steps

    kept = kept_steps.KeptSteps(tmp_path, "a")
    (kept.place / "step_0001.safetensors").mkdir(parents=True)  # no file that goes by unlink
    kept.put(2, torch.ones(2))
    assert kept.latest().steps == 2 and not caplog.text


def test_a_job_in_work_is_not_old_for_a_file_that_just_went(pack, tmp_path, monkeypatch):
    from atlasvid_pack.nodes import kept_steps

    for name in ("gone", "unread"):
        kept_steps.KeptSteps(tmp_path, name).put(1, torch.ones(2))
    (tmp_path / "gone" / "step_0000.safetensors").symlink_to("nothing")  # listed, but not there
    iterdir, old = Path.iterdir, time.time() + 20 * 86400

    def refused(self):
        if self.name == "unread":
            raise PermissionError("another user's")
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refused)
    kept_steps.prune(tmp_path, but="")
    assert {p.name for p in tmp_path.glob("*")} == {"gone", "unread"}
    kept_steps.prune(tmp_path, but="", now=old)
    assert {p.name for p in tmp_path.glob("*")} == {"unread"}


def test_latents_whose_video_was_saved_go_first(pack, tmp_path, monkeypatch):
    from atlasvid_pack.nodes import kept_steps
    from atlasvid_pack.nodes.fingerprint import fingerprint

    day, now = 86400, 10**9
    for name, days in (("oldest", 13), ("saved", 3), ("just_saved", 1), ("newest", 0)):
        job = kept_steps.KeptSteps(tmp_path, name)
        latent = torch.full((256,), float(days))
        job.finish(1, latent)
        if "saved" in name:
            kept_steps.deliver(tmp_path, fingerprint(latent))
        for file in job.place.iterdir():
            os.utime(file, (now - days * day, now - days * day))

    def left():
        return {p.name for p in tmp_path.iterdir()}

    kept_steps.prune(tmp_path, but="", now=now)
    assert left() == {"oldest", "just_saved", "newest"}
    for bytes_kept, rest in ((2500, {"oldest", "newest"}), (1500, {"newest"})):
        monkeypatch.setattr(kept_steps, "KEEP_BYTES", bytes_kept)
        kept_steps.prune(tmp_path, but="", now=now)
        assert left() == rest
