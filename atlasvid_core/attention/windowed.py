"""Local attention as batches of plain attention over gathered windows; differentiable anywhere.

In cube order every key a cube sees lies in a few runs: one for each cube within reach, one for
each row of proxy tokens. Cubes with equally many queries and keys go through one call of PyTorch's
attention together, as many at a time as the batch's bytes allow: few on a CPU, where what was
gathered should still be in the cache when it is read, and then into the same memory each time.

Shapes: B batch, S detail tokens, G proxy tokens, N heads, H head size, Q cubes, R runs of a cube,
P slots of a cube, K keys of a cube, g grain: tokens that are moved as one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from .dense import with_guide
from .layout import CubeLayout, Slab, whole
from .mask import Aligned, check_reach, neighbour_table

BATCH_BYTES = 2**28  # gathered keys and values of one attention call, at most
CPU_BATCH_BYTES = 2**21  # the same where a cache is to hold them


@dataclass(frozen=True, eq=False)
class Runs:
    """Tokens of each cube: runs `start`, `length` [Q, R], counted in grains."""

    start: Tensor
    length: Tensor
    grain: int

    @staticmethod
    def of(start: Tensor, length: Tensor, tokens: int) -> Runs:
        """Runs counted in tokens -> runs in the largest grains that all of them and `tokens` are
        whole numbers of."""
        grain = math.gcd(tokens, *start.unique().tolist(), *length.unique().tolist())
        return Runs(start // grain, length // grain, grain)

    def to(self, device: torch.device) -> Runs:
        return Runs(self.start.to(device), self.length.to(device), self.grain)

    def indices(self, cubes: Tensor, tokens: int) -> Tensor:
        """-> int64 [len(cubes) * tokens / g]: the grains of these cubes, `tokens` of each cube."""
        start, length = self.start[cubes].flatten(), self.length[cubes].flatten()
        total = len(cubes) * (tokens // self.grain)
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
    """As `dense.attend`, whose docstring holds for all backends -> [B, S, N, H]."""
    batch = q_BSNH.shape[0]
    if guide_kv is not None:
        assert aligned is not None and guide_kv[0].shape[1] == aligned.grid.count
        k_BSNH, v_BSNH = with_guide(k_BSNH, v_BSNH, guide_kv)
    windows = windows_of(layout, reach, aligned, q_BSNH.device, slab or whole(layout))
    token_bytes = 2 * batch * k_BSNH[0, 0].numel() * k_BSNH.element_size()
    room = batch_bytes(q_BSNH.device)
    gather_q = _Gather(q_BSNH, windows.queries.grain)
    gather_k, gather_v = (_Gather(x, windows.keys.grain) for x in (k_BSNH, v_BSNH))
    out = _Scatter(q_BSNH, windows)
    for cubes, slots, keys in windows.groups:
        for part in cubes.split(max(1, room // (token_bytes * keys))):
            at = windows.keys.indices(part, keys)
            own = windows.queries.indices(part, slots)
            q = gather_q(own, len(part))
            k, v = gather_k(at, len(part)), gather_v(at, len(part))
            # contiguous queries are a tenth faster than strided ones, on a CPU
            seen = F.scaled_dot_product_attention(q.contiguous(), k, v).transpose(1, 2)
            out.put(own, seen.reshape(batch, -1, *q_BSNH.shape[2:]))
    return out.all()


def batch_bytes(device: torch.device) -> int:
    """How much of keys and values one attention call gathers; a cube's window may be more."""
    return CPU_BATCH_BYTES if device.type == "cpu" else BATCH_BYTES


class _Gather:
    """Grains of `x`, window by window, in memory that the next call overwrites (but not where
    autograd may want it)."""

    def __init__(self, x_BSNH: Tensor, grain: int) -> None:
        self.shape = x_BSNH.shape
        self.rows = x_BSNH.unflatten(1, (-1, grain)).flatten(2)  # [B, S / g, g * N * H]
        self.buffer = x_BSNH.new_empty(0)

    def __call__(self, at: Tensor, windows: int) -> Tensor:
        """Grains `at`, of each window in turn -> [B * windows, N, tokens of a window, H]."""
        b, _, n, h = self.shape
        if torch.is_grad_enabled():
            picked = self.rows.index_select(1, at)
        else:
            size = b * len(at) * self.rows.shape[2]
            if self.buffer.numel() < size:
                self.buffer = self.rows.new_empty(size)
            picked = self.buffer[:size].view(b, len(at), -1)
            torch.index_select(self.rows, 1, at, out=picked)
        return picked.reshape(b * windows, -1, n, h).transpose(1, 2)


class _Scatter:
    """What windows give, each token back at its place: written there, or for autograd put together
    at the end."""

    def __init__(self, like_BSNH: Tensor, windows: Windows) -> None:
        self.grain = windows.queries.grain
        self.restore = windows.restore
        self.done: list[Tensor] = []
        self.out = (
            None
            if torch.is_grad_enabled()
            else torch.empty_like(like_BSNH, memory_format=torch.contiguous_format)
        )

    def put(self, at: Tensor, seen_BSNH: Tensor) -> None:
        if self.out is None:
            self.done.append(seen_BSNH)
        else:
            rows = self.out.unflatten(1, (-1, self.grain)).flatten(2)
            rows.index_copy_(1, at, seen_BSNH.unflatten(1, (-1, self.grain)).flatten(2))

    def all(self) -> Tensor:
        if self.out is None:
            return torch.cat(self.done, dim=1).index_select(1, self.restore)
        return self.out


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
    queries = Runs.of(starts[:, None], sizes[:, None], slab.tok[1] - slab.tok[0])
    proxies = 0 if aligned is None else aligned.grid.count
    keys = Runs.of(start, length, slab.ring_size + proxies)
    shapes, group_of = torch.stack([sizes, length.sum(1)], dim=1).unique(dim=0, return_inverse=True)
    groups = [(torch.nonzero(group_of == i)[:, 0], *s) for i, s in enumerate(shapes.tolist())]
    every = Runs(starts[:, None], sizes[:, None], 1)
    places = torch.cat([every.indices(cubes, slots) for cubes, slots, _ in groups])
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
