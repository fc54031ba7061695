"""Attention of large cubes by columns of keys, three cubes of queries at a time; on a CPU.

PyTorch's CPU kernel reaches its full speed from 768 queries on, and a cube of Wan's has 256. Where
the reach is a box (`plane`, `all`) it can be cut the other way round: the cubes within reach along
t and h that share a place along w are a column of keys, and the same three cubes of queries, which
lie side by side, see all of it. Every piece gives a softmax over its own keys and the logarithm of
what that softmax was divided by; by those, the pieces of a query are put together exactly. Each
column is gathered once instead of three times, too.

The logarithms come from an operator that PyTorch keeps to itself: without it, windows serve.

Shapes: B batch, S tokens, N heads, H head size, R runs of a piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import torch
from torch import Tensor

from .layout import CubeLayout, Slab
from .mask import Aligned
from .runs import Reader, Runs, proxy_runs

FULL_SPEED_ROWS = 768  # queries from which the kernel works in its largest blocks
KERNEL = "_scaled_dot_product_flash_attention_for_cpu"
STEPS = {"plane": ((0,), (-1, 0, 1)), "all": ((-1, 0, 1), (-1, 0, 1))}  # along t and h


def pay(q_BSNH: Tensor, layout: CubeLayout, reach: str) -> bool:
    """Whether columns are possible here, and quicker than windows."""
    return (
        reach in STEPS
        and q_BSNH.device.type == "cpu"
        and q_BSNH.dtype in (torch.float32, torch.float64)  # half types would be rounded at merges
        and not torch.is_grad_enabled()
        and layout.n_cubes.w >= 3
        and 3 * layout.cube.count >= FULL_SPEED_ROWS
        and hasattr(torch.ops.aten, KERNEL)
    )


@dataclass(frozen=True)
class Piece:
    """Queries `first` to `end` of a row, and how many keys they see in this piece."""

    first: int
    end: int
    keys: int


@dataclass(frozen=True, eq=False)
class Pieces:
    """All of a slab's: rows of cubes along w, each with the pieces of its queries.

    `numbers` [pieces] counts them as `runs` does.
    """

    runs: Runs
    numbers: Tensor
    rows: tuple[tuple[slice, tuple[Piece, ...]], ...]


def attend(
    q_BSNH: Tensor,
    k_BSNH: Tensor,
    v_BSNH: Tensor,
    layout: CubeLayout,
    reach: str,
    aligned: Aligned | None,
    slab: Slab,
    out_BSNH: Tensor,
) -> Tensor:
    """As `windowed.attend`, the guide already behind the keys; written to `out_BSNH`, which may
    be `q_BSNH` itself."""
    kernel = getattr(torch.ops.aten, KERNEL)
    pieces = pieces_of(layout, reach, aligned, slab)
    read_k, read_v = (Reader(x, pieces.runs) for x in (k_BSNH, v_BSNH))
    number = 0
    for row, parts in pieces.rows:
        # a copy even where one head is contiguous as it lies: `out` may be the same memory
        queries = q_BSNH[:, row].transpose(1, 2).clone(memory_format=torch.contiguous_format)
        out = out_BSNH[:, row].zero_()
        logs = out.new_full(out.shape[:3], -torch.inf)
        for part in parts:
            this = pieces.numbers[number : number + 1]
            k, v = (read(this, None, part.keys, slice(1)) for read in (read_k, read_v))
            seen, log = kernel(queries[:, :, part.first : part.end], k, v)
            where = (slice(None), slice(part.first, part.end))
            merge(out[where], logs[where], seen.transpose(1, 2), log.transpose(1, 2))
            number += 1
    return out_BSNH


def merge(out: Tensor, logs: Tensor, more: Tensor, more_logs: Tensor) -> None:
    """Two softmaxes over different keys into one, in place: `out` [..., H] with `logs` [...]."""
    out.lerp_(more, torch.sigmoid(more_logs - logs)[..., None])
    torch.logaddexp(logs, more_logs, out=logs)


@lru_cache(maxsize=2048)
def pieces_of(layout: CubeLayout, reach: str, aligned: Aligned | None, slab: Slab) -> Pieces:
    """Rows and columns of a slab's cubes, built once for each slab, reach and alignment."""
    starts, sizes = layout.starts().tolist(), layout.sizes().tolist()
    begin = slab.tok[0]
    proxies = None if aligned is None else proxy_runs(layout, reach, aligned, slab.cubes)
    runs: list[list[tuple[int, int]]] = []
    rows = []
    for _, group in groupby(range(*slab.cubes), lambda cube: cube // layout.n_cubes.w):
        cubes = list(group)
        row = slice(starts[cubes[0]] - begin, starts[cubes[-1]] + sizes[cubes[-1]] - begin)
        origin = begin + row.start
        parts = []
        for seers, column in _columns(layout, reach, cubes):
            keys = [(starts[c] - slab.ring_tok[0], sizes[c]) for c in column]
            first, end = starts[seers[0]] - origin, starts[seers[-1]] + sizes[seers[-1]] - origin
            parts.append(Piece(first, end, sum(size for _, size in keys)))
            runs.append(keys)
        if proxies is not None:
            for cube in cubes:
                start, length = (x[cube - slab.cubes[0]] for x in proxies)
                keys = [(a + slab.ring_size, n) for a, n in zip(start.tolist(), length.tolist())]
                first = starts[cube] - origin
                parts.append(Piece(first, first + sizes[cube], sum(size for _, size in keys)))
                runs.append(keys)
        rows.append((row, tuple(parts)))
    tokens = slab.ring_size + (0 if aligned is None else aligned.grid.count)
    return Pieces(_table(runs, tokens), torch.arange(len(runs)), tuple(rows))


def _columns(layout: CubeLayout, reach: str, cubes: list[int]) -> list[tuple[list[int], list[int]]]:
    """Of a row of cubes along w: for every column of keys the cubes that see it, and its cubes."""
    n_t, n_h, n_w = layout.n_cubes
    along_t, along_h = STEPS[reach]
    t, h = cubes[0] // (n_h * n_w), cubes[0] // n_w % n_h
    first, last = cubes[0] % n_w, cubes[-1] % n_w
    out = []
    for w in range(max(0, first - 1), min(n_w, last + 2)):
        column = [
            ((t + dt) * n_h + h + dh) * n_w + w
            for dt in along_t
            for dh in along_h
            if 0 <= t + dt < n_t and 0 <= h + dh < n_h
        ]
        seers = [cube for cube in cubes if abs(cube % n_w - w) <= 1]
        out.append((seers, column))
    return out


def _table(runs: list[list[tuple[int, int]]], tokens: int) -> Runs:
    most = max(map(len, runs))
    padded = torch.tensor([row + [(0, 0)] * (most - len(row)) for row in runs])
    return Runs.of(padded[..., 0], padded[..., 1], tokens)
