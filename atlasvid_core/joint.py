"""The detail branch: Wan2.1's forward in cube order, with local attention and a guide.

Tokens are permuted once after the patch embedding and back once before unpatchify; everything
pointwise does not care. Source: paper sections 3.2 and 3.3; DESIGN section 4.

Shapes: B batch, S detail tokens, G proxy tokens, N heads, H head size, C width, L text tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import attention
from .attention.layout import CubeLayout, from_cubes, to_cubes
from .attention.mask import align
from .guide import Guide, Progress
from .rope import detail_axes, rotations
from .units import Grid, tok_from_lat
from .wan import calls
from .wan.calls import Cast, plain_cast
from .wan.dit import unpatchify

FFN_CHUNK_TOK = 8192  # tokens of one FFN call: its inner activations are several widths wide


def detail_forward(
    model: nn.Module,
    latent: Tensor,
    timestep: Tensor,
    context: Tensor,
    clip_fea: Tensor | None = None,
    *,
    cube_tok: Grid,
    reach: str,
    guide: Guide | None = None,
    backend: str = "auto",
    cast: Cast = plain_cast,
    progress: Progress | None = None,
) -> Tensor:
    """Velocity [B, 16, t, h, w] of noisy latents [B, C_in, t, h, w] at timesteps [B] in 0..1000.

    `context`: text [B, L, 4096]; `clip_fea`: image features [B, 257, 1280] of i2v models.
    `progress(done, total)` is called once a layer and may raise to cancel. Raises ValueError when
    the guide belongs to another grid or number of layers.
    """
    lat = Grid(*latent.shape[2:])
    grid = tok_from_lat(lat)
    _check_guide(guide, grid, len(model.blocks))
    layout = CubeLayout(grid, Grid(*cube_tok))
    attend, _ = attention.pick(backend, latent.device)
    x = to_cubes(calls.embed_patches(model, calls.pad_to_patch(latent)), layout)
    time = calls.embed_time(model, timestep, x.dtype)
    read = calls.embed_context(model, context, clip_fea)
    rotation = rotations(detail_axes(grid))[layout.order()].to(x.device)
    aligned = None if guide is None else align(layout, guide.axes)
    for number, block in enumerate(model.blocks):
        shift1, scale1, gate1, shift2, scale2, gate2 = calls.modulation(block, time, x, cast)
        normed = calls.modulated(block.norm1(x), shift1, scale1)
        q = calls.queries(block.self_attn, normed, rotation)
        k, v = calls.keys_values(block.self_attn, normed, rotation)
        guide_kv = None if guide is None else guide.layer(number, k)
        seen = attend(q, k, v, layout, reach, guide_kv, aligned)
        x = torch.addcmul(x, block.self_attn.o(seen.flatten(2)), gate1)
        x = x + calls.cross_attention(block.cross_attn, block.norm3(x), read)
        parts = [
            torch.addcmul(
                part, block.ffn(calls.modulated(block.norm2(part), shift2, scale2)), gate2
            )
            for part in x.split(FFN_CHUNK_TOK, dim=1)
        ]
        x = torch.cat(parts, dim=1)
        if progress is not None:
            progress(number + 1, len(model.blocks))
    x = from_cubes(calls.head(model, x, time, cast), layout)
    return calls.crop(unpatchify(x, grid), lat)


def _check_guide(guide: Guide | None, grid: Grid, layers: int) -> None:
    if guide is None:
        return
    if guide.target_tok != grid:
        raise ValueError(
            f"The guide was aligned for a target of {guide.target_tok} tokens (t x h x w), this "
            f"latent has {grid}. Make the guide for this size."
        )
    if len(guide.keys) != layers:
        raise ValueError(
            f"The guide comes from a model of {len(guide.keys)} layers, this model has {layers}. "
            "Use the same base model for both branches."
        )
