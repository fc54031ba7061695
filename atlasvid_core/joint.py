"""The detail branch: Wan2.1's forward in cube order, with local attention and a guide.

Tokens live in cube order, in slabs of whole time slices. A layer streams over the slabs: keys and
values of three (the one in work and its neighbours) are all that attention needs, and they are
computed from the layer's input before it is replaced. Source: paper sections 3.2 and 3.3; DESIGN
section 4.

Shapes: B batch, S tokens of a slab, G proxy tokens, N heads, H head size, C width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from . import attention
from .attention.layout import CubeLayout, Slab, from_cubes, slabs_of, to_cubes
from .attention.mask import align
from .guide import Guide, Progress
from .rope import Axes, detail_axes, rotations
from .units import Grid, tok_from_lat
from .wan import calls
from .wan.calls import Cast, Time, plain_cast
from .wan.dit import unpatchify

FFN_CHUNK_TOK = 8192  # tokens of one FFN call: its inner activations are several widths wide
SLAB_TOK = 8192  # slabs of small videos are several cubes deep, to be worth a call


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
    slab_cubes: int | None = None,
) -> Tensor:
    """Velocity [B, 16, t, h, w] of noisy latents [B, C_in, t, h, w] at timesteps [B] in 0..1000.

    `context`: text [B, L, 4096]; `clip_fea`: image features [B, 257, 1280] of i2v models.
    `slab_cubes`: depth of a slab in cubes along t; by default 1, or more where slabs would be
    tiny; it changes results by float rounding only. `progress(done, total)` is called once a slab
    of each layer and may raise to cancel. Raises ValueError when the guide belongs to another
    grid or number of layers.
    """
    lat = Grid(*latent.shape[2:])
    grid = tok_from_lat(lat)
    _check_guide(guide, grid, len(model.blocks))
    layout = CubeLayout(grid, Grid(*cube_tok))
    slabs = slabs_of(layout, slab_cubes or slab_depth(layout))
    padded = calls.pad_to_patch(latent)
    hidden = [
        to_cubes(calls.embed_patches(model, padded[:, :, slice(*s.t_tok)]), _inside(layout, s))
        for s in slabs
    ]
    like = hidden[0]
    time = calls.embed_time(model, timestep, like.dtype)
    read = calls.embed_context(model, context, clip_fea)
    attend = _attention_of(layout, reach, guide, backend, like.device)
    for number, block in enumerate(model.blocks):
        context_kv = calls.context_keys_values(block.cross_attn, read)
        layer = _Layer(block, calls.modulation(block, time, like, cast), context_kv)
        guide_kv = None if guide is None else guide.layer(number, like)

        def on_slab(i: int, done: int = number * len(slabs)) -> None:
            if progress is not None:
                progress(done + i + 1, len(model.blocks) * len(slabs))

        _stream(layer, hidden, layout, slabs, attend, guide_kv, on_slab)
    parts = [_output(model, x, time, cast, _inside(layout, s)) for x, s in zip(hidden, slabs)]
    return calls.crop(torch.cat(parts, dim=2), lat)


def slab_depth(layout: CubeLayout) -> int:
    """Layers of cubes in a slab: as many as fit into SLAB_TOK tokens, at least one."""
    return max(1, SLAB_TOK // (layout.cube.t * layout.grid.h * layout.grid.w))


@dataclass(frozen=True, eq=False)
class _Layer:
    """One block with what is the same for all its tokens."""

    block: nn.Module
    modulation: tuple[Tensor, ...]
    read: list[tuple[Tensor, Tensor]]  # keys and values of text and image

    def normed(self, x: Tensor) -> Tensor:
        return calls.modulated(self.block.norm1(x), *self.modulation[:2])

    def after_attention(self, x: Tensor, seen: Tensor) -> Tensor:
        """Residual of self-attention, cross-attention, FFN in chunks."""
        _, _, gate1, shift2, scale2, gate2 = self.modulation
        block = self.block
        x = torch.addcmul(x, block.self_attn.o(seen.flatten(2)), gate1)
        x = x + calls.cross_attention(block.cross_attn, block.norm3(x), self.read)
        parts = [
            torch.addcmul(
                part, block.ffn(calls.modulated(block.norm2(part), shift2, scale2)), gate2
            )
            for part in x.split(FFN_CHUNK_TOK, dim=1)
        ]
        return torch.cat(parts, dim=1)


Attend = Callable[[Tensor, Tensor, Tensor, tuple[Tensor, Tensor] | None, Slab], Tensor]


def _attention_of(
    layout: CubeLayout, reach: str, guide: Guide | None, backend: str, device
) -> Attend:
    attend, _ = attention.pick(backend, device)
    aligned = None if guide is None else align(layout, guide.axes)

    def on_slab(q, k, v, guide_kv, slab) -> Tensor:
        return attend(q, k, v, layout, reach, guide_kv, aligned, slab)

    return on_slab


def _stream(
    layer: _Layer, hidden: list[Tensor], layout: CubeLayout, slabs: tuple[Slab, ...],
    attend: Attend, guide_kv: tuple[Tensor, Tensor] | None, on_slab: Callable[[int], None],
) -> None:  # fmt: skip
    """Put each slab of `hidden` through the layer, in place in the list, behind a ring of K, V."""
    attn, ring = layer.block.self_attn, {}  # slab number -> rotation, keys, values
    for i, slab in enumerate(slabs):
        for j in range(max(0, i - 1), min(len(slabs), i + 2)):
            if j not in ring:  # hidden[j] is still this layer's input
                turn = _rotation(layout, slabs[j]).to(hidden[j].device)
                ring[j] = (turn, *calls.keys_values(attn, layer.normed(hidden[j]), turn))
        ring.pop(i - 2, None)
        k, v = (torch.cat([ring[j][part] for j in sorted(ring)], dim=1) for part in (1, 2))
        q = calls.queries(attn, layer.normed(hidden[i]), ring[i][0])
        hidden[i] = layer.after_attention(hidden[i], attend(q, k, v, guide_kv, slab))
        on_slab(i)


def _inside(layout: CubeLayout, slab: Slab) -> CubeLayout:
    """A slab as a layout of its own: the same cubes in the same order."""
    first, end = slab.t_tok
    return CubeLayout(layout.grid._replace(t=end - first), layout.cube)


def _rotation(layout: CubeLayout, slab: Slab) -> Tensor:
    axes = detail_axes(layout.grid)
    axes = Axes(axes.t[slice(*slab.t_tok)], axes.h, axes.w)
    return rotations(axes)[_inside(layout, slab).order()]


def _output(model: nn.Module, x: Tensor, time: Time, cast: Cast, inside: CubeLayout) -> Tensor:
    return unpatchify(from_cubes(calls.head(model, x, time, cast), inside), inside.grid)


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
