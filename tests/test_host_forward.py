"""Reach over the whole grid and no guide: our forward is the host's own, on its own module."""

import pytest
import torch

from atlasvid_core.joint import detail_forward
from atlasvid_core.units import Grid

WHOLE = {"one cube": (Grid(99, 99, 99), "own"), "neighbours": (Grid(2, 3, 3), "all")}


@pytest.mark.parametrize("kind", ["t2v", "i2v", "i2v without CLIP"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size_lat", [(3, 6, 10), (2, 5, 7)])
@pytest.mark.parametrize("cubes", WHOLE)
def test_full_reach_equals_the_host(host, kind, batch, size_lat, cubes):
    import comfy.model_management
    import comfy.ops
    from comfy.ldm.wan.model import WanModel

    torch.manual_seed(0)
    network = WanModel(
        model_type=kind[:3], in_dim=16 if kind == "t2v" else 36, dim=256, ffn_dim=512, num_heads=2,
        num_layers=2, operations=comfy.ops.disable_weight_init, dtype=torch.float32,
    ).eval()  # fmt: skip
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * (0.05 if parameter.ndim > 1 else 1.0)
    x = torch.randn(batch, network.in_dim, *size_lat)
    timestep, text = torch.tensor([700.0, 20.0])[:batch], torch.randn(batch, 5, 4096)
    image = torch.randn(batch, 257, 1280) if kind == "i2v" else None
    cube_tok, reach = WHOLE[cubes]
    if cubes == "neighbours" and size_lat[2] == 10:
        cube_tok = Grid(2, 3, 5)  # two cubes along each axis, so that `all` is everything

    def cast(parameter, like):
        return comfy.model_management.cast_to(parameter, like.dtype, like.device)

    with torch.no_grad():
        want = network(x, timestep, text, image)
        got = detail_forward(
            network, x, timestep, text, image, cube_tok=cube_tok, reach=reach, cast=cast
        )
    assert got.shape == want.shape
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
