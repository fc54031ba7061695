"""Which blocks of keys each block of queries needs, from cube numbers alone.

Attention kernels that skip work do so in blocks of 128 queries by 128 keys. In cube order all
that a block of queries sees lies in a few runs of tokens: one for each row of cubes around it and
one for each row of proxy tokens. So the lists of blocks follow from arithmetic on cube numbers;
nothing here is of size tokens x tokens, cubes x cubes or blocks x blocks. No token is padded: a
block may hold the end of one cube and the start of the next, and `key_table` with `LIMITS`
says pair by pair who sees whom. NumPy, because these are thousands of small steps on the host:
torch would wake its threads for each, which takes twenty times as long on a busy machine.

Source: paper section 3.3 (mask M); DESIGN section 4, "No dense mask".

Shapes: S query tokens, L keys (the ring's tokens, then the proxy's), Q cubes, I blocks of
queries, J blocks of keys, R runs of a block of queries, M pairs of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .layout import CubeLayout, Slab
from .mask import Aligned, check_reach

BLOCK = 128  # tokens; the kernels' own default for both sides
FAR = 2**14  # cubes: farther than any two are apart, and still an int16 when added to one

# By reach: how far away a key may lie along t, h and w, and along all three together, in cubes.
LIMITS = {"own": (0, 0, 0, 0), "faces": (1, 1, 1, 1), "plane": (0, 1, 1, 2), "all": (1, 1, 1, 3)}


@dataclass(frozen=True)
class View:
    """A part of a slab and all it may see, counted from its ring's first token and cube.

    Parts that look alike from there, as those of interior slabs do, are equal.
    """

    ring: CubeLayout
    reach: str
    cubes: tuple[int, int]
    tok: tuple[int, int]
    aligned: Aligned | None

    @property
    def keys(self) -> int:
        return self.ring.grid.count + (0 if self.aligned is None else self.aligned.grid.count)


def view_of(layout: CubeLayout, reach: str, aligned: Aligned | None, slab: Slab) -> View:
    """`aligned` counts proxy tokens as the keys of this slab do (see `mask.aligned_with`)."""
    check_reach(reach)
    row = layout.grid.h * layout.grid.w
    first, end = (tok // row for tok in slab.ring_tok)
    ring = CubeLayout(layout.grid._replace(t=end - first), layout.cube)
    before = first // layout.cube.t  # layers of cubes
    skipped = before * ring.n_cubes.h * ring.n_cubes.w
    if aligned is not None:
        times = aligned.ranges[0][before : before + ring.n_cubes.t]
        aligned = Aligned(aligned.grid, (times, *aligned.ranges[1:]))
    return View(
        ring,
        reach,
        (slab.cubes[0] - skipped, slab.cubes[1] - skipped),
        (slab.tok[0] - slab.ring_tok[0], slab.tok[1] - slab.ring_tok[0]),
        aligned,
    )


@lru_cache(maxsize=2)
def key_table(ring: CubeLayout, aligned: Aligned | None) -> np.ndarray:
    """-> int16 [6, L]: first and last cube (t, h, w; t, h, w) that a key belongs to.

    A token belongs to its own cube, a proxy token to the cubes it is aligned with. So a query of
    cube c is max(first - c, c - last, 0) cubes away from a key, along each axis.
    """
    cubes = np.indices(ring.n_cubes, dtype=np.int16).reshape(3, -1)
    own = cubes.repeat(ring.sizes().numpy(), axis=1)
    detail = np.concatenate([own, own])
    if aligned is None:
        return detail
    axes = [_cubes_of_proxy(r, n) for r, n in zip(aligned.ranges, aligned.grid, strict=True)]
    sides = [np.stack(np.meshgrid(*side, indexing="ij")) for side in zip(*axes, strict=True)]
    return np.concatenate([detail, np.concatenate(sides).reshape(6, -1)], axis=1)


def _cubes_of_proxy(ranges: tuple[tuple[int, int], ...], size: int) -> tuple[np.ndarray, ...]:
    """-> int16 [size] twice: the first and the last cube of each proxy token along one axis."""
    first, end = np.array(ranges).T[:, :, None]
    holds = (first <= np.arange(size)) & (np.arange(size) < end)
    number = np.arange(len(ranges))[:, None]
    low, high = np.where(holds, number, FAR).min(0), np.where(holds, number, -FAR).max(0)
    return low.astype(np.int16), high.astype(np.int16)


Pairs = tuple[np.ndarray, np.ndarray]  # block of queries, block of keys [M], ascending


@dataclass(frozen=True, eq=False)
class BlockLists:
    """Which pairs of blocks to work on: those to mask, and those where all see all."""

    rows: int
    masked: Pairs
    full: Pairs


def block_lists(view: View) -> BlockLists:
    """The lists of a view, in time and memory linear in its tokens."""
    first, end = view.tok
    begins = np.arange(first, end, BLOCK)
    ends = np.minimum(begins + BLOCK, end)
    row, column = _pairs(*_runs(view, begins, ends))
    q_low, q_high = _extremes(key_table(view.ring, view.aligned)[:3, first:end])
    k_low, k_high = key_extremes(view.ring, view.aligned)
    q_low, q_high, k_low, k_high = (
        q_low[:, row],
        q_high[:, row],
        k_low[:, column],
        k_high[:, column],
    )
    near = np.maximum(np.maximum(k_low[:3] - q_high, q_low - k_high[3:]), 0)
    far = np.maximum(np.maximum(k_high[:3] - q_low, q_high - k_low[3:]), 0)
    needed, full = within(near, view.reach), within(far, view.reach)
    masked = needed & ~full
    return BlockLists(len(begins), (row[masked], column[masked]), (row[full], column[full]))


def within(distance: np.ndarray, reach: str) -> np.ndarray:
    """bool [...] of distances [3, ...] in cubes: whether one sees so far."""
    t, h, w, total = LIMITS[reach]
    dt, dh, dw = distance
    return (dt <= t) & (dh <= h) & (dw <= w) & (dt + dh + dw <= total)


@lru_cache(maxsize=2)
def key_extremes(ring: CubeLayout, aligned: Aligned | None) -> tuple[np.ndarray, np.ndarray]:
    """-> int16 [6, J] twice: least and greatest entries of `key_table` in each block of keys."""
    return _extremes(key_table(ring, aligned))


def _extremes(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[..., L] -> its least and greatest entries in each block, [..., J] each."""
    at = np.arange(0, table.shape[-1], BLOCK)
    return np.minimum.reduceat(table, at, axis=-1), np.maximum.reduceat(table, at, axis=-1)


def _pairs(start: np.ndarray, end: np.ndarray) -> Pairs:
    """Runs of keys [I, R], ascending in start, empty where end <= start -> their blocks, once."""
    low = start // BLOCK
    high = np.where(end > start, (end - 1) // BLOCK, -1)
    taken = np.maximum.accumulate(high, axis=1)
    low[:, 1:] = np.maximum(low[:, 1:], taken[:, :-1] + 1)
    length = np.maximum(high - low + 1, 0)
    shift = low.ravel() - (length.cumsum() - length.ravel())
    column = shift.repeat(length.ravel())
    return np.arange(len(low)).repeat(length.sum(1)), column + np.arange(len(column))


def _runs(view: View, begins: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> start, end [I, R] of every run that the blocks of queries may see at the widest reach."""
    starts = view.ring.starts().numpy()
    first = np.searchsorted(starts, begins, side="right") - 1  # cubes at a block's two ends
    last = np.searchsorted(starts, ends - 1, side="right") - 1
    start, end = _detail_runs(view.ring, starts, first, last)
    if view.aligned is None:
        return start, end
    proxy_start, proxy_end = _proxy_runs(view.ring, view.aligned, first, last)
    tokens = view.ring.grid.count
    return np.hstack([start, proxy_start + tokens]), np.hstack([end, proxy_end + tokens])


def _place(ring: CubeLayout, number: np.ndarray) -> list[np.ndarray]:
    return list(np.unravel_index(number, tuple(ring.n_cubes)))


def _detail_runs(
    ring: CubeLayout, starts: np.ndarray, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cubes `first` to `last` moved by -1, 0, 1 along t and h and widened by one along w."""
    _, n_h, n_w = ring.n_cubes
    dt, dh = np.indices((3, 3)).reshape(2, -1) - 1

    def moved(number: np.ndarray, dw: int) -> np.ndarray:
        """[I, 9] cube numbers; what leaves a layer of cubes goes to that layer's border."""
        t, h, w = (x[:, None] for x in _place(ring, number))
        inner = (h + dh) * n_w + np.clip(w + dw, 0, n_w - 1) + (dw > 0)
        return (t + dt) * n_h * n_w + np.where(h + dh < 0, 0, np.minimum(inner, n_h * n_w))

    bounds = np.append(starts, ring.grid.count)
    low, high = moved(first, -1), moved(last, 1)
    return tuple(bounds[np.clip(x, 0, ring.n_cubes.count)] for x in (low, high))


def _proxy_runs(
    ring: CubeLayout, aligned: Aligned, first: np.ndarray, last: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One run for each row of proxy tokens of the cubes `first` to `last` and their neighbours."""
    _, n_h, n_w = ring.n_cubes
    low, high = _place(ring, first), _place(ring, last)
    for axis, line in ((1, n_h * n_w), (2, n_w)):  # who goes on in the next line sees all of it
        inside = first // line == last // line
        low[axis] = np.where(inside, low[axis], 0)
        high[axis] = np.where(inside, high[axis], ring.n_cubes[axis] - 1)
    wide = [np.array(aligned.wide(axis)) for axis in range(3)]
    box = [(wide[a][low[a], 0, None], wide[a][high[a], 1, None]) for a in range(3)]
    t, h = (begin + np.arange((end - begin).max()) for begin, end in box[:2])
    valid = (t < box[0][1])[:, :, None] & (h < box[1][1])[:, None, :]
    row = (t[:, :, None] * aligned.grid.h + h[:, None, :]) * aligned.grid.w
    start, end = (row + side[:, :, None] for side in box[2])
    return start.reshape(len(t), -1), np.where(valid, end, start).reshape(len(t), -1)
