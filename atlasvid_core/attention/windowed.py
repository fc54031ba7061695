"""Local attention as batches of plain attention over gathered windows; differentiable anywhere.

In cube order every key a cube sees lies in a few runs: one for each cube within reach, one for
each row of proxy tokens. Cubes with equally many queries and keys go through one call of PyTorch's
attention together, as many at a time as the batch's bytes allow.

Shapes: B batch, S detail tokens, G proxy tokens, N heads, H head size, Q cubes, R runs of a cube,
P slots of a cube, K keys of a cube.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .dense import with_guide
from .layout import CubeLayout, Slab, whole
from .mask import Aligned, check_reach, neighbour_table

BATCH_BYTES = 2**28  # gathered keys and values of one attention call


@dataclass(frozen=True, eq=False)
class Runs:
    """Keys of each cube: runs `start`, `length` [Q, R] in [detail in cube order; proxy]."""

    start: Tensor
    length: Tensor

    def to(self, device: torch.device) -> Runs:
        return Runs(self.start.to(device), self.length.to(device))

    def indices(self, cubes: Tensor, keys: int) -> Tensor:
        """-> int64 [len(cubes) * keys]: the keys of these cubes, `keys` of each, in a row."""
        start, length = self.start[cubes].flatten(), self.length[cubes].flatten()
        total = len(cubes) * keys
        shift = start - (length.cumsum(0) - length)
        flat = torch.repeat_interleave(shift, length, output_size=total)
        return flat + torch.arange(total, device=flat.device)


@dataclass(frozen=True, eq=False)
class Windows:
    """Everything `attend` needs that does not depend on the tokens' values."""

    queries: Runs
    keys: Runs
    groups: tuple[tuple[Tensor, int, int], ...]  # cubes, slots of each, keys of each
    restore: Tensor  # [tokens of the slab]: place in cube order -> place in the order of the groups


def attend(
    q_BSNH: Tensor,
    k_BSNH: Tensor,
    v_BSNH: Tensor,
    layout: CubeLayout,
    reach: str,
    guide_kv: tuple[Tensor, Tensor] | None = None,
    aligned: Aligned | None = None,
    slab: Slab | None = None,
) -> Tensor:
    """Local attention with a guide, tokens in cube order and already rotated -> [B, S, N, H].

    `guide_kv`: keys and values of the proxy [B or 1, G, N, H]; `aligned` says who sees which.
    With `aligned` alone, `k_BSNH` and `v_BSNH` already end with the proxy's.
    With `slab`, queries are its tokens only, keys and values those of its ring.
    """
    batch = q_BSNH.shape[0]
    if guide_kv is not None:
        assert aligned is not None and guide_kv[0].shape[1] == aligned.grid.count
        k_BSNH, v_BSNH = with_guide(k_BSNH, v_BSNH, guide_kv)
    windows = windows_of(layout, reach, aligned, q_BSNH.device, slab or whole(layout))
    bytes_per_key = 2 * batch * k_BSNH[0, 0].numel() * k_BSNH.element_size()
    done = []
    for cubes, slots, keys in windows.groups:
        for part in cubes.split(max(1, BATCH_BYTES // (bytes_per_key * keys))):
            q = _gather(q_BSNH, windows.queries.indices(part, slots), len(part))
            at = windows.keys.indices(part, keys)
            k, v = _gather(k_BSNH, at, len(part)), _gather(v_BSNH, at, len(part))
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            done.append(seen.reshape(batch, -1, *q_BSNH.shape[2:]))
    return torch.cat(done, dim=1).index_select(1, windows.restore)


def _gather(x_BSNH: Tensor, index: Tensor, windows: int) -> Tensor:
    """-> [B * windows, N, tokens of a window, H]."""
    picked = x_BSNH.index_select(1, index)
    return picked.reshape(len(picked) * windows, -1, *x_BSNH.shape[2:]).transpose(1, 2)


@lru_cache(maxsize=2048)
def windows_of(
    layout: CubeLayout, reach: str, aligned: Aligned | None, device: torch.device, slab: Slab
) -> Windows:
    """Runs of keys and groups of a slab's cubes, built once for each slab, reach and alignment."""
    check_reach(reach)
    rows = slice(*slab.cubes)
    sizes, starts = layout.sizes(), layout.starts()
    near = neighbour_table(layout, reach)[rows]
    start, length = starts[near] - slab.ring_tok[0], sizes[near].where(near >= 0, 0)
    start = start.where(near >= 0, 0)
    if aligned is not None:
        proxy_start, proxy_length = _proxy_runs(layout, reach, aligned, slab.cubes)
        start = torch.cat([start, proxy_start + slab.ring_size], dim=1)
        length = torch.cat([length, proxy_length], dim=1)
    sizes, starts = sizes[rows], starts[rows] - slab.tok[0]
    queries, keys = Runs(starts[:, None], sizes[:, None]), Runs(start, length)
    shapes, group_of = torch.stack([sizes, length.sum(1)], dim=1).unique(dim=0, return_inverse=True)
    groups = [(torch.nonzero(group_of == i)[:, 0], *s) for i, s in enumerate(shapes.tolist())]
    places = torch.cat([queries.indices(cubes, slots) for cubes, slots, _ in groups])
    return Windows(
        queries.to(device),
        keys.to(device),
        tuple((cubes.to(device), slots, keys) for cubes, slots, keys in groups),
        torch.argsort(places).to(device),
    )


def _proxy_runs(
    layout: CubeLayout, reach: str, aligned: Aligned, which: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """-> start, length [Q, R] of the proxy tokens the cubes `which` see, a run a row (t, h).

    Length 0 fills up cubes that see fewer rows than others.
    """
    _, n_h, n_w = layout.n_cubes
    number = torch.arange(*which)
    cubes = torch.stack([number // (n_h * n_w), number // n_w % n_h, number % n_w], dim=1)
    spread = {"own": (), "faces": (0, 1, 2), "plane": (1, 2), "all": (0, 1, 2)}[reach]
    own, wide = [], []  # by axis: [Q, 2] first and one past the last
    for axis in range(3):
        at = cubes[:, axis]
        own.append(torch.tensor(aligned.ranges[axis])[at])
        wide.append(torch.tensor(aligned.wide(axis))[at] if axis in spread else own[axis])
    rows, inside = [], []  # along t and h: coordinate [Q, R'], whether the own cube's
    for axis in (0, 1):
        first, end = wide[axis].unbind(1)
        row = first[:, None] + torch.arange(int((end - first).max()))
        rows.append(row.where(row < end[:, None], -1))
        inside.append((row >= own[axis][:, :1]) & (row < own[axis][:, 1:]))
    t, h = rows[0][:, :, None], rows[1][:, None, :]
    valid = (t >= 0) & (h >= 0)
    at_w = wide[2][:, None, None]
    if reach == "faces":  # own rows see the neighbours along w; a row off on both axes sees none
        in_t, in_h = inside[0][:, :, None], inside[1][:, None, :]
        valid = valid & (in_t | in_h)
        at_w = at_w.where((in_t & in_h)[..., None], own[2][:, None, None])
    start = (t * aligned.grid.h + h) * aligned.grid.w + at_w[..., 0]
    length = (at_w[..., 1] - at_w[..., 0]).where(valid, 0)
    return start.where(valid, 0).flatten(1), length.flatten(1)
