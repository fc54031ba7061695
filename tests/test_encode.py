"""Streaming, tiled encode equals the whole video's encode, on our VAE and on the host's module."""

import pytest
import torch

from atlasvid_core.encode import encode_frames
from atlasvid_core.tiles import TilePlan

from .vae_models import PeakBytes, host_vae, random_vae, tiny_vae


def video(frames, h_lat, w_lat, dtype=torch.float32):
    return torch.rand(frames, 8 * h_lat, 8 * w_lat, 3, dtype=dtype) * 2 - 1


def whole(vae, frames):
    return vae.encode(frames.movedim(-1, 0)[None])


@pytest.mark.parametrize("frames, side", [(1, (3, 2)), (5, (5, 7)), (13, (5, 3)), (9, (1, 4))])
def test_tiles_equal_the_whole_in_double_precision(frames, side):
    vae, pixels = random_vae().double(), video(frames, 5, 7, torch.float64)
    latent = encode_frames(vae, iter(pixels), TilePlan((5, 7), side, "frames", 0))
    assert latent.shape == (1, 16, (frames + 3) // 4, 5, 7) and latent.is_contiguous()
    assert (latent - whole(vae, pixels)).abs().max() < 1e-12


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
        encode_frames(vae, torch.zeros(5, 16, 16, 3), on_latent=stop)
