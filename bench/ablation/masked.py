"""Stage 2 under any mask, tokens as they come off the grid: one masked attention over everything.

Slow, and free of cubes: for windows that cubes cannot express, at sizes where a mask of all
pairs can be held.

Shapes: S detail tokens, G proxy tokens, N heads, H head size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlasvid_core.attention.mask import align, guide_mask
from atlasvid_core.guide import Guide
from atlasvid_core.plan import VideoPlan
from atlasvid_core.rope import detail_axes, rotations
from atlasvid_core.units import Grid, tok_from_lat
from atlasvid_core.wan import calls
from atlasvid_core.wan.dit import unpatchify


def masked_forward(
    model: nn.Module, latent: Tensor, timestep: Tensor, text: Tensor, guide: Guide, mask_SL: Tensor
) -> Tensor:
    """Velocity of latents [1, 16, t, h, w]; `mask_SL` [S, S + G] is True where row sees column."""
    grid = tok_from_lat(Grid(*latent.shape[2:]))
    rotation = rotations(detail_axes(grid))
    x = calls.embed_patches(model, latent)
    time = calls.embed_time(model, timestep, x.dtype)
    read = calls.embed_context(model, text, None)
    for number, block in enumerate(model.blocks):
        shift1, scale1, gate1, shift2, scale2, gate2 = calls.modulation(
            block, time, x, calls.plain_cast
        )
        seen = calls.modulated(block.norm1(x), shift1, scale1)
        q = calls.queries(block.self_attn, seen, rotation)
        own = calls.keys_values(block.self_attn, seen, rotation)
        proxys = guide.layer(number, x, (0, guide.proxy_tok.count))
        k, v = (torch.cat(pair, dim=1) for pair in zip(own, proxys, strict=True))
        x = torch.addcmul(x, block.self_attn.o(_attend(q, k, v, mask_SL)), gate1)
        pairs = calls.context_keys_values(block.cross_attn, read)
        x = x + calls.cross_attention(block.cross_attn, block.norm3(x), pairs)
        y = block.ffn(calls.modulated(block.norm2(x), shift2, scale2))
        x = torch.addcmul(x, y, gate2)
    return unpatchify(calls.head(model, x, time, calls.plain_cast), grid)


def _attend(q_BSNH: Tensor, k_BLNH: Tensor, v_BLNH: Tensor, mask_SL: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q_BSNH, k_BLNH, v_BLNH))
    return F.scaled_dot_product_attention(q, k, v, mask_SL).transpose(1, 2).flatten(2)


def flat_mask(plan: VideoPlan, keys: int) -> Tensor:
    """-> [S, S + G]: windows of the flattened sequence, each with the two beside it.

    A token sees about `keys` detail tokens (three windows), as many as reach `faces` shows it when
    that is what is asked for. What it sees of the proxy is what its cube sees in `plan`.
    """
    tokens, window = plan.target_tok.count, max(1, round(keys / 3))
    number = torch.arange(tokens) // window
    detail = (number[:, None] - number[None]).abs() <= 1
    return torch.cat([detail, proxy_mask(plan)], dim=1)


def proxy_mask(plan: VideoPlan) -> Tensor:
    """-> [S, G], detail tokens row-major: the proxy tokens that each one's cube sees."""
    layout = plan.layout
    return guide_mask(layout, plan.reach, align(layout, plan.proxy_axes()))[layout.inverse()]
