"""The joint form of stage 2, as the paper writes it: [detail; proxy] in one masked softmax.

Both streams go through the layers side by side, each with its own model's weights; nothing is
kept, nothing is permuted. Slow and readable: what the guide and the cube order are held to.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atlasvid_core.attention.dense import masked_softmax
from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import align, detail_mask, guide_mask
from atlasvid_core.rope import Axes, detail_axes, rotate, rotations
from atlasvid_core.units import Grid, tok_from_lat
from atlasvid_core.wan.dit import WanDiT, time_features, unpatchify


def joint_forward(
    detail: WanDiT, proxy: WanDiT, latent: Tensor, proxy_latent: Tensor, timestep: Tensor,
    text: Tensor, axes: Axes, cube_tok: Grid, reach: str,
) -> Tensor:  # fmt: skip
    grid = tok_from_lat(Grid(*latent.shape[2:]))
    tokens = grid.count
    mask = joint_mask(grid, axes, cube_tok, reach)
    rotation = torch.cat([rotations(detail_axes(grid)), rotations(axes)])
    xd = detail.patch_embedding(latent).flatten(2).transpose(1, 2)
    xg = proxy.patch_embedding(proxy_latent).flatten(2).transpose(1, 2)
    times = [_time(detail, timestep), _time(proxy, torch.zeros_like(timestep))]
    text = detail.text_embedding(text)
    for block_d, block_g in zip(detail.blocks, proxy.blocks, strict=True):
        mods = [
            (block.modulation + time[1]).split(1, dim=1)
            for block, time in zip((block_d, block_g), times, strict=True)
        ]
        parts = [
            _qkv(block, x, mod)
            for block, x, mod in zip((block_d, block_g), (xd, xg), mods, strict=True)
        ]
        q, k, v = (torch.cat(pair, dim=1) for pair in zip(*parts, strict=True))
        seen = masked_softmax(rotate(q, rotation), rotate(k, rotation), v, mask).flatten(2)
        xd = xd + mods[0][2] * block_d.self_attn.o(seen[:, :tokens])
        xg = xg + mods[1][2] * block_g.self_attn.o(seen[:, tokens:])
        xd = xd + block_d.cross_attn(block_d.norm3(xd), text)
        xd = xd + mods[0][5] * block_d.ffn(block_d.norm2(xd) * (1 + mods[0][4]) + mods[0][3])
        xg = xg + mods[1][5] * block_g.ffn(block_g.norm2(xg) * (1 + mods[1][4]) + mods[1][3])
    return unpatchify(detail.head(xd, times[0][0]), grid)


def joint_mask(grid: Grid, axes: Axes, cube_tok: Grid, reach: str) -> Tensor:
    """bool [S + G, S + G], detail tokens row-major: the paper's M."""
    layout = CubeLayout(grid, cube_tok)
    tokens, proxies = grid.count, axes.grid.count
    back = layout.inverse()
    mask = torch.zeros(tokens + proxies, tokens + proxies, dtype=torch.bool)
    mask[:tokens, :tokens] = detail_mask(layout, reach)[back][:, back]
    mask[:tokens, tokens:] = guide_mask(layout, reach, align(layout, axes))[back]
    mask[tokens:, tokens:] = True
    return mask


def _time(model: WanDiT, timestep: Tensor) -> tuple[Tensor, Tensor]:
    features = model.time_embedding(time_features(timestep))[:, None]
    return features, model.time_projection(features[:, 0]).unflatten(1, (6, -1))


def _qkv(block, x: Tensor, mod) -> tuple[Tensor, Tensor, Tensor]:
    attention, seen = block.self_attn, block.norm1(x) * (1 + mod[1]) + mod[0]
    q, k = attention.norm_q(attention.q(seen)), attention.norm_k(attention.k(seen))
    return attention.split(q), attention.split(k), attention.split(attention.v(seen))
