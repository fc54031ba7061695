"""Our Wan DiT against the host's, on random weights: names, shapes and arithmetic."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file

from atlasvid_core.wan.dit import WanConfig, WanDiT
from atlasvid_core.wan.io import dit_config, load_dit

from .memory_common import Largest

TINY = WanConfig(width=256, ffn_width=512, layers=2)
CONFIGS = {"t2v": TINY, "i2v": dataclasses.replace(TINY, in_channels=36, image=True)}


def random_dit(config: WanConfig, seed: int = 0) -> WanDiT:
    torch.manual_seed(seed)
    return WanDiT(config).eval().requires_grad_(False)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("batch", [1, 2])
def test_forward_equals_the_host(host, kind, batch):
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    config = CONFIGS[kind]
    ours = random_dit(config)
    theirs = WanModel(
        model_type=kind,
        in_dim=config.in_channels,
        dim=config.width,
        ffn_dim=config.ffn_width,
        num_heads=config.heads,
        num_layers=config.layers,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
    ).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    latent = torch.randn(batch, config.in_channels, 3, 6, 10)
    timestep, text = torch.tensor([700.0, 20.0])[:batch], torch.randn(batch, 5, 4096)
    image = torch.randn(batch, 257, 1280) if config.image else None
    with torch.no_grad():
        want = theirs(latent, timestep, text, image)
        got = ours(latent, timestep, text, image)
    assert got.shape == (batch, 16, 3, 6, 10)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


@pytest.mark.parametrize("kind", CONFIGS)
def test_sizes_are_read_off_the_file(tmp_path, kind):
    model = random_dit(CONFIGS[kind])
    save_file(model.state_dict(), tmp_path / "dit.safetensors")
    loaded = load_dit(tmp_path / "dit.safetensors")
    assert loaded.config == CONFIGS[kind]
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in model.state_dict().items())


def test_a_model_in_bfloat16_is_never_held_in_float32(tmp_path):
    model = random_dit(CONFIGS["t2v"])
    save_file(model.bfloat16().state_dict(), tmp_path / "dit.safetensors")
    with Largest() as largest:
        loaded = load_dit(tmp_path / "dit.safetensors", torch.bfloat16)
    embedding = loaded.patch_embedding.weight
    assert largest.bytes[torch.float32] <= embedding.numel() * 4
    assert {n: p.dtype for n, p in loaded.named_parameters() if p.dtype != torch.bfloat16} == {
        f"patch_embedding.{name}": torch.float32 for name in ("weight", "bias")
    }
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name].bfloat16(), value), name


def test_another_file_is_refused_in_words():
    with pytest.raises(ValueError, match="no Wan2.1 diffusion model"):
        dit_config({"some.weight": torch.zeros(1)})
