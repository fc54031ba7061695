"""Local attention as batches of plain attention over gathered windows; differentiable anywhere.

In cube order every key a cube sees lies in a few runs: one for each cube within reach, one for
each row of proxy tokens. Cubes with equally many queries and keys go through one call of PyTorch's
attention together, as many at a time as the batch's bytes allow: few on a CPU, where what was
gathered should still be in the cache when it is read, and then into the same memory each time.

Shapes: B batch, S detail tokens, G proxy tokens, N heads, H head size, Q cubes, R runs of a cube,
P slots of a cube, K keys of a cube, g grain: tokens that are moved as one row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from . import columns
from .dense import with_guide
from .layout import CubeLayout, Slab, whole
from .mask import Aligned, check_reach, neighbour_table
from .runs import Reader, Runs, in_one_piece, proxy_runs, spacing

BATCH_BYTES = 2**28  # gathered keys and values of one attention call, at most
CPU_BATCH_BYTES = 2**21  # the same where a cache is to hold them


@dataclass(frozen=True, eq=False)
class Group:
    """Cubes of a slab with equally many queries and keys. Tuples tell without asking the device."""

    cubes: Tensor  # their numbers in the slab
    slots: int  # queries of each
    keys: int  # keys of each
    q_at: tuple[int, ...]  # each cube's first query
    k_at: tuple[int, ...] | None  # each window's first key, where every window is in one piece


@dataclass(frozen=True, eq=False)
class Windows:
    """Everything `attend` needs that does not depend on the tokens' values."""

    queries: Runs
    keys: Runs
    groups: tuple[Group, ...]
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
    spare: Tensor | None = None,
) -> Tensor:
    """As `dense.attend`, whose docstring holds for all backends -> [B, S, N, H]."""
    batch, slab = q_BSNH.shape[0], slab or whole(layout)
    if guide_kv is not None:
        assert aligned is not None and guide_kv[0].shape[1] == aligned.grid.count
        k_BSNH, v_BSNH = with_guide(k_BSNH, v_BSNH, guide_kv)
    if spare is None and not torch.is_grad_enabled():
        spare = torch.empty_like(q_BSNH, memory_format=torch.contiguous_format)
    if spare is not None and columns.pay(q_BSNH, layout, reach):
        return columns.attend(q_BSNH, k_BSNH, v_BSNH, layout, reach, aligned, slab, spare)
    windows = windows_of(layout, reach, aligned, q_BSNH.device, slab)
    token_bytes = 2 * batch * k_BSNH[0, 0].numel() * k_BSNH.element_size()
    room = batch_bytes(q_BSNH.device)
    read_q = Reader(q_BSNH, windows.queries)
    read_k, read_v = (Reader(x, windows.keys) for x in (k_BSNH, v_BSNH))
    out = _Scatter(spare, windows)
    for group in windows.groups:
        some = max(1, room // (token_bytes * group.keys))
        for begin in range(0, len(group.q_at), some):
            part = slice(begin, begin + some)
            q = read_q(group.cubes, group.q_at, group.slots, part)
            k, v = (read(group.cubes, group.k_at, group.keys, part) for read in (read_k, read_v))
            # contiguous queries are a tenth faster than strided ones, on a CPU
            seen = F.scaled_dot_product_attention(q.contiguous(), k, v).transpose(1, 2)
            out.put(group, part, seen.reshape(batch, -1, *q_BSNH.shape[2:]))
    return out.all()


def batch_bytes(device: torch.device) -> int:
    """How much of keys and values one attention call gathers; a cube's window may be more."""
    return CPU_BATCH_BYTES if device.type == "cpu" else BATCH_BYTES


class _Scatter:
    """What windows give, each token back at its place: written there, or for autograd put together
    at the end."""

    def __init__(self, out_BSNH: Tensor | None, windows: Windows) -> None:
        self.queries, self.restore = windows.queries, windows.restore
        self.done: list[Tensor] = []
        self.out = None if torch.is_grad_enabled() else out_BSNH

    def put(self, group: Group, part: slice, seen_BSNH: Tensor) -> None:
        if self.out is None:
            self.done.append(seen_BSNH)
            return
        at, slots = group.q_at[part], group.slots
        if spacing(at, slots) == slots:
            self.out[:, at[0] : at[-1] + slots] = seen_BSNH
            return
        grain = self.queries.grain
        rows = self.out.unflatten(1, (-1, grain)).flatten(2)
        own = self.queries.indices(group.cubes[part], slots)
        rows.index_copy_(1, own, seen_BSNH.unflatten(1, (-1, grain)).flatten(2))

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
        proxy_start, proxy_length = proxy_runs(layout, reach, aligned, slab.cubes)
        start = torch.cat([start, proxy_start + slab.ring_size], dim=1)
        length = torch.cat([length, proxy_length], dim=1)
    sizes, starts = sizes[rows], starts[rows] - slab.tok[0]
    queries = Runs.of(starts[:, None], sizes[:, None], slab.tok[1] - slab.tok[0])
    proxies = 0 if aligned is None else aligned.grid.count
    keys = Runs.of(start, length, slab.ring_size + proxies)
    shapes, group_of = torch.stack([sizes, length.sum(1)], dim=1).unique(dim=0, return_inverse=True)
    pieces = in_one_piece(start, length)
    groups = []
    for number, (slots, seen) in enumerate(shapes.tolist()):
        cubes = torch.nonzero(group_of == number)[:, 0]
        q_at, k_at = tuple(starts[cubes].tolist()), tuple(pieces[cubes].tolist())
        groups.append(Group(cubes, slots, seen, q_at, None if -1 in k_at else k_at))
    every = Runs(starts[:, None], sizes[:, None], 1)
    places = torch.cat([every.indices(group.cubes, group.slots) for group in groups])
    return Windows(
        queries.to(device),
        keys.to(device),
        tuple(replace(group, cubes=group.cubes.to(device)) for group in groups),
        torch.argsort(places).to(device),
    )
