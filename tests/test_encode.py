"""Streaming, tiled encode equals the whole video's encode, on our VAE and on the host's module."""

import pytest
import torch

from atlasvid_core.encode import encode_frames, encode_parked, parts
from atlasvid_core.tile_plan import plan_tiles
from atlasvid_core.tiles import TilePlan
from atlasvid_core.wan.vae import WanVAE

from .vae_models import PeakBytes, host_vae, random_vae, tiny_vae


def video(frames, h_lat, w_lat, dtype=torch.float32):
    return torch.rand(frames, 8 * h_lat, 8 * w_lat, 3, dtype=dtype) * 2 - 1


def whole(vae, frames):
    return vae.encode(frames.movedim(-1, 0)[None])


@pytest.mark.parametrize("frames, side", [(1, (3, 2)), (5, (5, 7)), (13, (5, 3)), (9, (1, 4))])
def test_tiles_equal_the_whole_in_double_precision(frames, side, tmp_path):
    vae, pixels, t = random_vae().double(), video(frames, 5, 7, torch.float64), (frames + 3) // 4
    by_frames = encode_frames(vae, iter(pixels), TilePlan((5, 7), side, "frames", 0))
    plan = TilePlan((5, 7), side, "tiles", 0)
    by_tiles = encode_parked(vae, iter(pixels), t, plan, tmp_path, pixels)
    for latent in (by_frames, by_tiles):
        assert latent.shape == (1, 16, t, 5, 7) and latent.is_contiguous()
        assert (latent - whole(vae, pixels)).abs().max() < 1e-12
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("make", [random_vae, tiny_vae])
def test_streaming_equals_the_whole(make):
    vae, pixels = make(), video(9, 6, 5)
    expected = whole(vae, pixels)
    for plan in (None, TilePlan((6, 5), (4, 5), "frames", 0)):
        error = (encode_frames(vae, pixels, plan) - expected).abs().max()
        assert error < 1e-5 * max(1, expected.abs().max())


def test_the_hosts_module_encodes_as_the_host_does(host):
    theirs, pixels = host_vae(random_vae()), video(9, 4, 6)
    with torch.no_grad():
        assert (encode_frames(theirs, pixels) - whole(theirs, pixels)).abs().max() < 1e-5


def test_bytes_are_the_floats_that_they_stand_for(tmp_path):
    vae, bytes_ = random_vae(), (255 * torch.rand(5, 24, 16, 3)).byte()
    want, like = encode_frames(vae, bytes_.float() / 127.5 - 1), torch.empty(0)
    assert torch.equal(encode_frames(vae, bytes_), want)
    plan = TilePlan((3, 2), (3, 2), "tiles", 0)
    assert (encode_parked(vae, bytes_, 2, plan, tmp_path, like) - want).abs().max() < 1e-5


@pytest.mark.parametrize("dim, side, budget", [(8, 0, 2**30), (8, 12, 2**30), (16, 7, 0)])
def test_the_estimate_of_bytes_is_held_to_a_measurement(dim, side, budget, tmp_path):
    vae, like = WanVAE(dim=dim).eval().requires_grad_(False), torch.empty(0)
    plan = plan_tiles(vae, (24, 26), budget, side_lat=side, encodes=True)
    assert plan.order == ("frames" if budget else "tiles")
    frames = (torch.zeros(192, 208, 3, dtype=torch.uint8) for _ in range(9))
    with PeakBytes() as held:
        if plan.order == "frames":
            encode_frames(vae, frames, plan, like=like)
        else:
            encode_parked(vae, frames, 3, plan, tmp_path, like)
    assert 0.8 * plan.peak_bytes < held.peak < 1.1 * plan.peak_bytes


def test_memory_does_not_grow_with_the_video():
    vae = random_vae()

    def peak(frames):
        with PeakBytes() as held:
            encode_frames(vae, (torch.zeros(64, 64, 3) for _ in range(frames)))
        return held.peak

    assert peak(33) - peak(9) <= 6 * 16 * 64 * 4 * 2  # its latents, joined at the end


def test_refused_and_cancelled():
    vae = random_vae()
    with pytest.raises(ValueError, match=r"7 frames.*4k \+ 1.*Drop the last 2"):
        encode_frames(vae, torch.zeros(7, 16, 16, 3))
    with pytest.raises(ValueError, match="0 frames"):
        encode_frames(vae, iter(()))
    with pytest.raises(ValueError, match="16 x 20 pixels.*multiples of 8"):
        encode_frames(vae, torch.zeros(1, 20, 16, 3))
    with pytest.raises(ValueError, match="plan is for frames of"):
        encode_frames(vae, torch.zeros(1, 16, 16, 3), TilePlan((3, 2), (1, 1), "frames", 0))

    def stop(done):
        assert done == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_frames(vae, torch.zeros(5, 16, 16, 3), on_part=stop)


def test_tile_by_tile_every_part_is_told_and_the_frames_are_counted(tmp_path):
    vae, like, plan = random_vae(), torch.empty(0), TilePlan((2, 4), (2, 2), "tiles", 0)
    seen: list[int] = []
    encode_parked(vae, torch.zeros(5, 16, 32, 3), 2, plan, tmp_path, like, seen.append)
    assert seen == list(range(1, parts(plan, 2) + 1)) and len(seen) == 8
    by_frames = TilePlan((2, 4), (2, 2), "frames", 0)
    seen.clear()
    encode_frames(vae, torch.zeros(5, 16, 32, 3), by_frames, seen.append)
    assert seen == list(range(1, parts(by_frames, 2) + 1)) and len(seen) == 4
    for t_lat, words in ((3, "9 frames were to be encoded, 5 came"), (1, "1 frames of")):
        with pytest.raises(ValueError, match=words):
            encode_parked(vae, torch.zeros(5, 16, 32, 3), t_lat, plan, tmp_path, like)
