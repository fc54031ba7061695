"""Our Wan VAE against the host's, on random weights: names, shapes and arithmetic."""

import pytest
import torch

from atlasvid_core.wan.vae import WanVAE


def test_encode_and_decode_equal_the_host(host):
    from comfy.ldm.wan.vae import WanVAE as HostVAE

    torch.manual_seed(0)
    ours = WanVAE(dim=8).eval()
    theirs = HostVAE(
        dim=8,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        dropout=0.0,
    ).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    video = torch.rand(1, 3, 13, 40, 56) * 2 - 1
    with torch.no_grad():
        latent = ours.encode(video)
        assert latent.shape == (1, 16, 4, 5, 7)
        assert torch.allclose(latent, theirs.encode(video), atol=1e-5)
        seen = ours.decode(latent)
        assert seen.shape == video.shape
        assert torch.allclose(seen, theirs.decode(latent), atol=1e-5)


def test_the_future_never_changes_the_past():
    torch.manual_seed(1)
    vae = WanVAE(dim=8).eval()
    video = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    with torch.no_grad():
        whole = vae.encode(video)
        assert torch.allclose(whole[:, :, :2], vae.encode(video[:, :, :5]), atol=1e-5)
        seen = vae.decode(whole)
        assert torch.allclose(seen[:, :, :5], vae.decode(whole[:, :, :2]), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 16, 16), (9, 20, 16), (9, 16, 12)])
def test_a_video_that_does_not_fit_the_strides_is_refused(shape):
    with pytest.raises(ValueError, match="4k \\+ 1"):
        WanVAE(dim=8).encode(torch.zeros(1, 3, *shape))
