"""Tokens in cube order: the grid cut into boxes, each box's tokens contiguous.

Source: paper section 3.2 (locality-preserving attention). Border cubes are smaller where the
grid is no multiple of the cube, which is the normal case. Everything here is ints.

Shapes: B batch, S tokens, Q cubes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from ..units import Grid


@dataclass(frozen=True)
class CubeLayout:
    """A token grid cut into cubes. Cubes are numbered row-major, as are tokens inside one."""

    grid: Grid
    cube: Grid

    def __post_init__(self) -> None:
        if min(self.cube) < 1:
            raise ValueError(
                f"cube {self.cube} (t, h, w tokens) is empty: every side must be at least 1."
            )
        if min(self.grid) < 1:
            raise ValueError(f"token grid {self.grid} is empty: every side must be at least 1.")

    @property
    def n_cubes(self) -> Grid:
        return Grid(*(-(-n // c) for n, c in zip(self.grid, self.cube, strict=True)))

    def spans(self, axis: int) -> tuple[tuple[int, int], ...]:
        """First token and the one past the last, of every cube along one axis."""
        size, step = self.grid[axis], self.cube[axis]
        return tuple((a, min(a + step, size)) for a in range(0, size, step))

    def sizes(self) -> Tensor:
        """-> int64 [Q], tokens of each cube."""
        return _sizes(self)

    def starts(self) -> Tensor:
        """-> int64 [Q], where each cube begins in cube order."""
        return _sizes(self).cumsum(0) - _sizes(self)

    def order(self) -> Tensor:
        """-> int64 [S]: the row-major token at each place of the cube order."""
        return _order(self)

    def inverse(self) -> Tensor:
        """-> int64 [S]: the place in cube order of each row-major token."""
        return _inverse(self)


@dataclass(frozen=True)
class Slab:
    """Whole layers of cubes along t, contiguous in cube order, with the slabs before and after.

    Every cube within reach of a slab's cubes lies in its ring: the slab and its two neighbours.
    Pairs are first and one past the last; `ring_tok` counts like `tok`, from the video's start.
    """

    cubes: tuple[int, int]
    tok: tuple[int, int]
    ring_tok: tuple[int, int]
    t_tok: tuple[int, int]

    @property
    def ring_size(self) -> int:
        return self.ring_tok[1] - self.ring_tok[0]


@lru_cache(maxsize=16)
def slabs_of(layout: CubeLayout, depth: int) -> tuple[Slab, ...]:
    """The layout in slabs of `depth` layers of cubes, the last one possibly shallower."""
    n_t, n_h, n_w = layout.n_cubes
    spans, row = layout.spans(0), layout.grid.h * layout.grid.w
    layers = [(a, min(a + depth, n_t)) for a in range(0, n_t, depth)]
    times = [(spans[a][0], spans[b - 1][1]) for a, b in layers]
    out = []
    for i, ((a, b), (t0, t1)) in enumerate(zip(layers, times, strict=True)):
        first, last = times[max(0, i - 1)][0], times[min(len(times) - 1, i + 1)][1]
        out.append(
            Slab(
                (a * n_h * n_w, b * n_h * n_w),
                (t0 * row, t1 * row),
                (first * row, last * row),
                (t0, t1),
            )
        )
    return tuple(out)


@lru_cache(maxsize=256)
def parts_of(layout: CubeLayout, slab: Slab, chunk_tok: int) -> tuple[Slab, ...]:
    """A slab cut into runs of whole cubes of at most `chunk_tok` tokens, or of one cube."""
    first, end = slab.cubes
    sizes, parts, at, start = layout.sizes()[first:end].tolist(), [], slab.tok[0], first
    begin = at
    for cube, size in enumerate(sizes, first):
        if at > begin and at + size - begin > chunk_tok:
            parts.append(replace(slab, cubes=(start, cube), tok=(begin, at)))
            start, begin = cube, at
        at += size
    return (*parts, replace(slab, cubes=(start, end), tok=(begin, at)))


def whole(layout: CubeLayout) -> Slab:
    """All of it as one slab."""
    return slabs_of(layout, layout.n_cubes.t)[0]


@lru_cache(maxsize=8)
def _sizes(layout: CubeLayout) -> Tensor:
    t, h, w = (torch.tensor([b - a for a, b in layout.spans(axis)]) for axis in range(3))
    return (t[:, None, None] * h[:, None] * w).flatten()


@lru_cache(maxsize=4)
def _order(layout: CubeLayout) -> Tensor:
    t, h, w = (
        torch.arange(n) // c for n, c in zip(layout.grid, layout.cube, strict=True)
    )  # the cube of each token, by axis
    _, cubes_h, cubes_w = layout.n_cubes
    cube = ((t[:, None, None] * cubes_h + h[:, None]) * cubes_w + w).flatten()
    return torch.argsort(cube, stable=True)


@lru_cache(maxsize=4)
def _inverse(layout: CubeLayout) -> Tensor:
    return torch.argsort(_order(layout))


def to_cubes(x: Tensor, layout: CubeLayout) -> Tensor:
    """[B, S, ...] in row-major (t, h, w) order -> the same in cube order."""
    assert x.shape[1] == layout.grid.count, f"{x.shape[1]} tokens, the layout has {layout.grid}"
    return x.index_select(1, layout.order().to(x.device))


def from_cubes(x: Tensor, layout: CubeLayout) -> Tensor:
    """The exact inverse of `to_cubes`."""
    assert x.shape[1] == layout.grid.count, f"{x.shape[1]} tokens, the layout has {layout.grid}"
    return x.index_select(1, layout.inverse().to(x.device))
