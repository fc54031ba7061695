"""A decode parked on disk goes on from any place to the same bits, and tells useless work apart."""

import errno
import logging
import os
import shutil
import time
from dataclasses import replace

import pytest
import torch

from atlasvid_core import parked, tensor_file
from atlasvid_core.decode import decode_pixels
from atlasvid_core.decode_files import Features, Pixels
from atlasvid_core.halves import DEAD_S
from atlasvid_core.parked import (
    FEATURES,
    PIXELS,
    STATE,
    Place,
    parked_frames,
    state_bytes,
    work_bytes,
)
from atlasvid_core.scratch import Scratch, bytes_on_disk
from atlasvid_core.tile_plan import plan_tiles
from atlasvid_core.tiles import TilePlan
from atlasvid_core.walk import parts

from .vae_models import random_vae

SIZE, T_LAT, BITS = (3, 2), 2, 10
PLANS = {order: TilePlan(SIZE, (2, 2), order, 0) for order in ("frames", "tiles")}


@pytest.fixture
def vae():
    return random_vae()


def latent_of(t_lat):
    return torch.randn(16, t_lat, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def latent():
    return latent_of(T_LAT)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(parked, "SHARE", 0)
    return Place(tmp_path / "job", "a name", every_s=0)


def whole(vae, latent, plan, folder):
    return torch.cat(list(decode_pixels(vae, latent, plan, folder, BITS)))


def die_after(number, *args):
    """Stop where on_part is told of so many parts; what the process held is gone."""

    class Killed(BaseException):
        pass

    def on_part(done, total):
        if done == number:
            raise Killed

    with pytest.raises(Killed):
        list(parked_frames(*args, on_part))


@pytest.mark.parametrize("order", PLANS)
def test_it_goes_on_from_any_place_to_the_same_bits(vae, order, place, tmp_path, caplog):
    plan, latent = PLANS[order], latent_of(3)
    total, seen = parts(plan, 3), []

    def leave_a_copy(done, total):  # what a process that is killed here would leave
        shutil.copytree(place.folder, tmp_path / str(done))

    want = torch.cat(list(parked_frames(vae, latent, plan, place, BITS, leave_a_copy)))
    assert torch.equal(want, whole(vae, latent, plan, tmp_path))
    for number in range(1, total + 1):
        caplog.clear()
        left, seen = Place(tmp_path / str(number), place.job), []
        with caplog.at_level(logging.INFO):
            frames = parked_frames(
                vae, latent, plan, left, BITS, lambda *part, seen=seen: seen.append(part)
            )
            assert torch.equal(torch.cat(list(frames)), want), number
        kept = (number - 1) // plan.count * plan.count if order == "frames" else number - 1
        assert seen[0][0] == (kept or 1) and seen[-1] == (total, total)
        assert (f"{kept} of {total} parts" in caplog.text) == (kept > 0)


def test_states_are_written_in_their_time_only(vae, latent, place, monkeypatch):
    written, save = [], tensor_file.save_file
    monkeypatch.setattr(tensor_file, "save_file", lambda *a: written.append(a[2]) or save(*a))
    slow = Place(place.folder, place.job, every_s=1000)
    list(parked_frames(vae, latent, PLANS["tiles"], slow, BITS))
    places = [(int(n["group"]), int(n["frame"])) for n in written]
    assert places == [(-1, 0), (0, 0), (1, 0), (2, 0)]  # the beginning, then each finished group


def test_two_that_decode_one_job_do_not_write_one_state(vae, latent, place, monkeypatch, caplog):
    parts, save = [], tensor_file.save_file
    other = parked._Work(vae, latent, PLANS["tiles"], place, BITS)

    def other_then(tensors, part, notes):
        save(tensors, part, notes)
        parts.append(part)
        if len(parts) == 2:
            other._save(parked.BEGIN)

    monkeypatch.setattr(tensor_file, "save_file", other_then)
    list(parked_frames(vae, latent, PLANS["tiles"], place, BITS))
    assert len(set(parts)) == len(parts) > 2 and "resumed" not in caplog.text
    assert sorted(p.name for p in place.folder.iterdir()) == sorted([FEATURES, PIXELS, STATE])


def damaged(folder):
    with (folder / PIXELS).open("r+b") as file:
        file.seek(100)
        file.write(b"\0\0\0\0" if file.read(4) != b"\0\0\0\0" else b"\1\1\1\1")


def cut_short(folder):
    with (folder / FEATURES).open("r+b") as file:
        file.truncate(100)


def garbage(folder):
    (folder / STATE).write_bytes(b"no safetensors")


def deleted(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    "harm, reason",
    [
        (damaged, "not those that were written"),
        (cut_short, "not those that were written"),
        (garbage, "of no use"),
        (deleted(PIXELS), "pixels.raw is missing"),
        (deleted(FEATURES), "features.raw is missing"),
        (deleted(STATE), "of no use"),
    ],
)
def test_what_is_not_whole_is_made_anew(vae, latent, place, harm, reason, caplog, tmp_path):
    plan = PLANS["tiles"]
    die_after(parts(plan, T_LAT) - 1, vae, latent, plan, place, BITS)
    harm(place.folder)
    frames = torch.cat(list(parked_frames(vae, latent, plan, place, BITS)))
    assert torch.equal(frames, whole(vae, latent, plan, tmp_path))
    assert reason in caplog.text and "made anew" in caplog.text


def test_what_is_anothers_is_made_anew(vae, latent, place, caplog, tmp_path):
    plan = PLANS["tiles"]
    die_after(parts(plan, T_LAT) - 1, vae, latent, plan, place, BITS)
    for other, cut in ((Place(place.folder, "other"), plan), (place, PLANS["frames"])):
        caplog.clear()
        frames = torch.cat(list(parked_frames(vae, 0.5 * latent, cut, other, BITS)))
        assert torch.equal(frames, whole(vae, 0.5 * latent, cut, tmp_path))
        assert "another job's" in caplog.text


def test_the_plan_lies_beside_the_work(vae, latent, place):
    assert place.plan() is None
    die_after(2, vae, latent, PLANS["tiles"], place, BITS)
    assert place.plan() == PLANS["tiles"]
    place.remove()
    assert place.plan() is None


@pytest.mark.parametrize("order", PLANS)
def test_the_bytes_on_disk_are_those_foretold(vae, latent, place, order):
    list(parked_frames(vae, latent, PLANS[order], place, BITS))
    lie = sum(p.stat().st_size for p in place.folder.iterdir() if p.name != STATE)
    assert lie == work_bytes(PLANS[order], latent, vae.decoder.conv1.out_channels, BITS)


@pytest.mark.parametrize("budget_bytes", [2**30, 10**6])  # frames outermost, tiles outermost
def test_all_that_lies_there_at_once_is_foretold(vae, place, budget_bytes, monkeypatch):
    latent, most, save = torch.randn(16, 3, 24, 24), [], tensor_file.save_file
    plan = plan_tiles(vae, (24, 24), budget_bytes)

    def watched(tensors, part, notes):
        save(tensors, part, notes)
        most.append(sum(p.stat().st_size for p in place.folder.rglob("*") if p.is_file()))

    monkeypatch.setattr(tensor_file, "save_file", watched)
    list(parked_frames(vae, latent, plan, place, BITS))
    channels = vae.decoder.conv1.out_channels
    work = work_bytes(plan, latent, channels, BITS)
    needed = work + 2 * state_bytes(plan)
    assert work < max(most) - 10**5 and max(most) <= needed + 10**5  # names and checksums


@pytest.mark.parametrize("order", PLANS)
def test_a_memory_that_is_too_large_to_keep_costs_a_group_at_most(
    vae, order, place, tmp_path, caplog
):
    place = replace(place, most_state_bytes=1000)
    plan, latent = PLANS[order], latent_of(3)
    number = 8 if order == "tiles" else 4  # in the second tile; in the only group
    die_after(number, vae, latent, plan, place, BITS)
    assert (place.folder / STATE).stat().st_size < 5000
    with caplog.at_level(logging.INFO):
        frames = torch.cat(list(parked_frames(vae, latent, plan, place, BITS)))
    assert torch.equal(frames, whole(vae, latent, plan, tmp_path))
    assert ("6 of 9 parts" in caplog.text) == (order == "tiles")


class Full:
    """A file on a disk that takes no more once it holds so many bytes."""

    def __init__(self, file, most):
        self._file, self._most = file, most

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, data):
        if self._file.tell() + data.nbytes > self._most:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._file.write(data)


@pytest.mark.parametrize("full, most, kept", [(Pixels, 9000, 5), (Features, 1000, 1)])
def test_a_full_disk_loses_nothing_that_was_decoded(
    vae, latent, place, full, most, kept, monkeypatch, tmp_path, caplog
):
    plan, begin = PLANS["tiles"], full.__init__

    def begun(self, *args):
        begin(self, *args)
        self._file = Full(self._file, most)

    monkeypatch.setattr(full, "__init__", begun)
    with pytest.raises(OSError, match="No space left"):
        list(parked_frames(vae, latent, plan, place, BITS))
    monkeypatch.undo()
    with caplog.at_level(logging.INFO):
        frames = torch.cat(list(parked_frames(vae, latent, plan, place, BITS)))
    assert torch.equal(frames, whole(vae, latent, plan, tmp_path))
    assert f"{kept} of 6 parts of the decode were kept" in caplog.text


def test_a_beginning_that_cannot_be_kept_costs_no_video(
    vae, latent, place, monkeypatch, caplog, tmp_path
):
    save, calls = tensor_file.save_file, []

    def full_at_first(*args):
        calls.append(1)
        if len(calls) == 1:
            raise parked.SafetensorError("I/O error: No space left on device")
        save(*args)

    monkeypatch.setattr(tensor_file, "save_file", full_at_first)
    die_after(parts(PLANS["tiles"], T_LAT) - 1, vae, latent, PLANS["tiles"], place, BITS)
    assert caplog.text.count("can't be resumed from here") == 1
    assert place.plan() == PLANS["tiles"]  # by a later state


def test_states_that_another_server_is_writing_are_left_and_dead_ones_go(vae, latent, place):
    plan = PLANS["tiles"]
    die_after(2, vae, latent, plan, place, BITS)
    halves = [place.folder / f"{STATE}.{name}.part" for name in ("0000000a", "0000000b")]
    for half in halves:
        half.mkdir()
    os.utime(halves[0], (time.time() - DEAD_S - 60,) * 2)
    die_after(2, vae, latent, plan, place, BITS)
    assert [half.exists() for half in halves] == [False, True]


def test_a_file_with_holes_counts_as_what_it_takes(tmp_path):
    """Tiles come in an order of their own: what is not yet decoded is a hole."""
    path = tmp_path / PIXELS
    with path.open("wb") as file:
        file.truncate(10**9)
    if not hasattr(path.stat(), "st_blocks"):
        pytest.skip("the system does not tell")
    assert bytes_on_disk(path) < 10**6
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(ValueError, match="are free"):
        Scratch(tmp_path, free + 10**9 // 2, PIXELS)


def test_a_state_that_cannot_be_written_costs_no_video(vae, latent, place, caplog, tmp_path):
    """Its folder is deleted under the decode: the open files serve on."""

    def delete(done, total):
        if done == 2:
            place.remove()

    frames = torch.cat(list(parked_frames(vae, latent, PLANS["tiles"], place, BITS, delete)))
    assert torch.equal(frames, whole(vae, latent, PLANS["tiles"], tmp_path))
    assert caplog.text.count("can't be resumed from here") == 1
