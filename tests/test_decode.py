"""Streaming decode equals the whole video's decode, on our VAE and on the host's module."""

import pytest
import torch

from atlasvid_core.decode import decode_chunks, decode_frames
from atlasvid_core.wan.vae import WanVAE


def random_vae() -> WanVAE:
    torch.manual_seed(0)
    return WanVAE(dim=8).eval().requires_grad_(False)


@pytest.mark.parametrize("t_lat", [1, 2, 5])
def test_streaming_equals_the_whole(t_lat):
    vae, latent = random_vae(), torch.randn(2, 16, t_lat, 5, 6)
    whole = vae.decode(latent)
    frames = decode_frames(vae, latent)
    assert frames.shape == (2, 4 * (t_lat - 1) + 1, 40, 48, 3)
    assert torch.allclose(frames.permute(0, 4, 1, 2, 3), whole, atol=1e-5)


def test_the_hosts_module_decodes_as_the_host_does(host):
    from comfy.ldm.wan.vae import WanVAE as HostVAE

    theirs = HostVAE(
        dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
        temperal_downsample=[False, True, True], dropout=0.0,
    ).eval()  # fmt: skip
    theirs.load_state_dict(random_vae().state_dict())
    latent = torch.randn(1, 16, 4, 6, 5)
    with torch.no_grad():
        frames = decode_frames(theirs, latent).permute(0, 4, 1, 2, 3)
        assert torch.allclose(frames, theirs.decode(latent), atol=1e-5)


def test_one_frame_comes_first_then_four_at_a_time_and_a_caller_may_stop():
    vae, latent = random_vae(), torch.randn(1, 16, 3, 4, 4)
    assert [c.shape[2] for c in decode_chunks(vae, latent)] == [1, 4, 4]
    seen = []

    def stop(done, total):
        seen.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_frames(vae, latent, stop)
    assert seen == [(1, 3)]
