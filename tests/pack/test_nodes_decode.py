"""TiledVAEDecode against the stock VAEDecode, on a tiny random VAE."""

from types import SimpleNamespace

import pytest
import torch

from atlasvid_core.wan.vae import WanVAE


@pytest.fixture(scope="session")
def vae(host):
    import comfy.sd

    torch.manual_seed(0)
    return comfy.sd.VAE(sd=WanVAE(dim=8).state_dict())


@pytest.mark.parametrize("size", [(1, 4, 6), (4, 6, 4)])
def test_equals_the_stock_decode(nodes, host, vae, size):
    import nodes as host_nodes

    samples = {"samples": torch.randn(1, 16, *size)}
    want = host_nodes.VAEDecode().decode(vae, samples)[0]
    got = nodes.TiledVAEDecode(vae, samples, tile=0, overlap=96)
    assert got.shape == want.shape == (4 * size[0] - 3, 8 * size[1], 8 * size[2], 3)
    assert got.dtype == want.dtype
    assert got.min() >= 0 and got.max() <= 1
    assert (got - want).abs().max() < 1e-4


def test_refused(nodes, vae):
    samples = {"samples": torch.zeros(1, 16, 1, 4, 4)}
    other = SimpleNamespace(first_stage_model=torch.nn.Identity())
    with pytest.raises(ValueError, match=r"kind Identity.*Wan2.1 VAE only.*Load"):
        nodes.TiledVAEDecode(other, samples, tile=0, overlap=96)
    with pytest.raises(ValueError, match="tile is 256; only 0.*Set it to 0"):
        nodes.TiledVAEDecode(vae, samples, tile=256, overlap=96)
    samples["samples"][0, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="latent to decode holds 1 values"):
        nodes.TiledVAEDecode(vae, samples, tile=0, overlap=96)
