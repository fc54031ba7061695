"""The detail branch: Wan2.1's forward in cube order, with local attention and a guide.

Tokens live in cube order, in slabs of whole time slices, cut into parts of whole cubes. A layer
streams over them: keys and values of three slabs (the one in work and its neighbours) are all that
attention needs, and they are computed from the layer's input before it is replaced; all else
happens a part at a time. Source: paper sections 3.2 and 3.3; DESIGN section 4.

Shapes: B batch, S tokens of a slab, G proxy tokens, N heads, H head size, C width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from . import attention
from .attention.layout import CubeLayout, Slab, from_cubes, parts_of, slabs_of, to_cubes
from .attention.mask import Aligned, align, aligned_with
from .budget import ChunkPlan, default_chunks
from .guide import Guide, Progress, RunLayer
from .rope import axis_rotations, detail_axes, rotations_at
from .stream import CatRing, Hidden, Ring
from .units import Grid, tok_from_lat
from .wan import calls
from .wan.calls import Cast, Resident, Time, not_resident, plain_cast
from .wan.dit import unpatchify


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
    resident: Resident = not_resident,
    progress: Progress | None = None,
    chunks: ChunkPlan | None = None,
    pin: bool = True,
    run_layer: RunLayer | None = None,
) -> Tensor:
    """Velocity [B, 16, t, h, w] of noisy latents [B, C_in, t, h, w] at timesteps [B] in 0..1000.

    `context`: text [B, L, 4096]; `clip_fea`: image features [B, 257, 1280] of i2v models.
    `chunks`: how the work is cut to bound memory (budget.py); it changes results by float
    rounding only. `progress(done, total)` is called once a chunk of each layer and may raise to
    cancel. `resident(block, device)` is entered once a layer: there a host keeps its weights on
    the device. `pin`: host memory for the hidden state is pinned where it can be. `run_layer` wraps
    each layer's work as a function of the hidden state, which is then not replaced in place. Raises
    ValueError when the guide belongs to another grid or number of layers.
    """
    lat = Grid(*latent.shape[2:])
    grid = tok_from_lat(lat)
    _check_guide(guide, grid, len(model.blocks))
    layout = CubeLayout(grid, Grid(*cube_tok))
    chunks = chunks or default_chunks(layout)
    work = _Work.of(layout, reach, guide, chunks, latent.device)
    replaced = torch.is_grad_enabled() or run_layer is not None
    tokens = None if replaced else grid.count
    hidden = Hidden(latent.device, chunks.hidden_on_host, tokens, pin=pin)
    padded = calls.pad_to_patch(latent)
    for slab, parts in work.slabs:
        x = calls.embed_patches(model, padded[:, :, slice(*slab.t_tok)])
        x = to_cubes(x, _inside(layout, slab))
        hidden.append(x.split([p.tok[1] - p.tok[0] for p in parts], dim=1))
    like = x.new_empty(0)  # the device and dtype of activations
    time = calls.embed_time(model, timestep, like.dtype)
    read = calls.embed_context(model, context, clip_fea)
    attend, _ = attention.pick(backend, like.device)
    ring = work.ring()
    done, total = 0, len(model.blocks) * sum(len(parts) for _, parts in work.slabs)
    for number, block in enumerate(model.blocks):

        def through(hidden: Hidden, number: int = number, block: nn.Module = block) -> None:
            nonlocal done
            with resident(block, like.device):
                context_kv = calls.context_keys_values(block.cross_attn, read)
                layer = _Layer(block, calls.modulation(block, time, like, cast), context_kv)
                for _ in _stream(layer, hidden, ring, work, attend, number):
                    done += 1
                    if progress is not None:
                        progress(done, total)

        if run_layer is None:
            through(hidden)
        else:
            hidden.slabs = run_layer(number, partial(hidden.after, through), hidden.slabs)
    ring.close()  # room for the velocity
    return calls.crop(_output(model, hidden, work, time, cast), lat)


@dataclass(frozen=True, eq=False)
class _Work:
    """Slabs, their parts and their pieces of the guide: what no layer changes."""

    layout: CubeLayout
    reach: str
    slabs: tuple[tuple[Slab, tuple[Slab, ...]], ...]
    guide: Guide | None
    aligned: tuple[tuple[Aligned, tuple[int, int]] | None, ...]  # by slab
    order: Tensor  # [tokens] row-major number of each token in cube order
    turns: tuple[Tensor, Tensor, Tensor]  # rotations along each axis

    @staticmethod
    def of(layout, reach, guide: Guide | None, chunks: ChunkPlan, device: torch.device) -> _Work:
        slabs = slabs_of(layout, chunks.slab_cubes)
        aligned: tuple = (None,) * len(slabs)
        if guide is not None:
            proxy = align(layout, guide.axes)
            aligned = tuple(aligned_with(proxy, layout, reach, slab) for slab in slabs)
        turns = axis_rotations(detail_axes(layout.grid))
        return _Work(
            layout, reach, tuple((s, parts_of(layout, s, chunks.chunk_tok)) for s in slabs), guide,
            aligned, layout.order().to(device), tuple(turn.to(device) for turn in turns),
        )  # fmt: skip

    def rotation(self, part: Slab) -> Tensor:
        return rotations_at(self.turns, self.order[slice(*part.tok)])

    def guide_kv(self, slab: int, layer: int, like: Tensor) -> tuple[Tensor, Tensor] | None:
        seen = self.aligned[slab]
        if self.guide is None or seen is None:
            return None
        return self.guide.layer(layer, like, seen[1])

    def ring(self) -> Ring:
        """Room for the longest ring and piece of the guide; one that autograd takes if it may."""
        proxies = max((tok[1] - tok[0] for _, tok in filter(None, self.aligned)), default=0)
        capacity = max(slab.ring_size for slab, _ in self.slabs) + proxies
        return (CatRing if torch.is_grad_enabled() else Ring)(capacity)


@dataclass(frozen=True, eq=False)
class _Layer:
    """One block with what is the same for all its tokens."""

    block: nn.Module
    modulation: tuple[Tensor, ...]
    read: list[tuple[Tensor, Tensor]]  # keys and values of text and image

    def normed(self, x: Tensor) -> Tensor:
        return calls.modulated(self.block.norm1(x), *self.modulation[:2])

    def after_attention(self, x: Tensor, seen: Tensor) -> Tensor:
        """Residual of self-attention, cross-attention, FFN."""
        _, _, gate1, shift2, scale2, gate2 = self.modulation
        block = self.block
        x = torch.addcmul(x, block.self_attn.o(seen.flatten(2)), gate1)
        x = x + calls.cross_attention(block.cross_attn, block.norm3(x), self.read)
        y = block.ffn(calls.modulated(block.norm2(x), shift2, scale2))
        return torch.addcmul(x, y, gate2)


def _stream(
    layer: _Layer, hidden: Hidden, ring: Ring, work: _Work, attend: Callable, number: int
) -> Iterator[None]:
    """Put every part of `hidden` through layer `number`, in place, behind a ring of K and V.

    Yields after each part.
    """
    attn = layer.block.self_attn
    ring.drop_before(len(work.slabs))  # the layer before is done

    def keys_values(j: int) -> Iterator[tuple[Tensor, Tensor]]:
        for p, part in enumerate(work.slabs[j][1]):
            yield calls.keys_values(attn, layer.normed(hidden.read(j, p)), work.rotation(part))

    for i, (_, parts) in enumerate(work.slabs):
        ring.drop_before(i - 1)
        for j in range(i, min(len(work.slabs), i + 2)):
            if j not in ring:  # hidden[j] is still this layer's input
                ring.append(j, keys_values(j))
        seen_proxy = work.aligned[i]
        aligned = None if seen_proxy is None else seen_proxy[0]
        k, v = ring.with_guide(work.guide_kv(i, number, layer.modulation[0]))
        for p, part in enumerate(parts):
            x = hidden.read(i, p)
            q = calls.queries(attn, layer.normed(x), work.rotation(part))
            seen = attend(q, k, v, work.layout, work.reach, None, aligned, part, spare=q)
            hidden.write(i, p, layer.after_attention(x, seen))
            yield


def _inside(layout: CubeLayout, slab: Slab) -> CubeLayout:
    """A slab as a layout of its own: the same cubes in the same order."""
    first, end = slab.t_tok
    return CubeLayout(layout.grid._replace(t=end - first), layout.cube)


def _output(model: nn.Module, hidden: Hidden, work: _Work, time: Time, cast: Cast) -> Tensor:
    """-> velocity [B, 16, t, h, w], padded to whole patches, put together in one buffer."""
    out: Tensor | None = None
    for i, (slab, parts) in enumerate(work.slabs):
        patches = [calls.head(model, hidden.read(i, p), time, cast) for p in range(len(parts))]
        inside = _inside(work.layout, slab)
        part = unpatchify(from_cubes(torch.cat(patches, dim=1), inside), inside.grid)
        if out is None:
            out = part.new_empty(*part.shape[:2], work.layout.grid.t, *part.shape[3:])
        out[:, :, slice(*slab.t_tok)] = part
    assert out is not None
    return out


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
