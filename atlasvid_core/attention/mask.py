"""Who sees whom, in closed form: cubes within reach, and proxy tokens aligned with them.

Source: paper section 3.3 (mask M); DESIGN section 4. Detail tokens see the cubes within reach of
their own and the proxy tokens whose footprint overlaps any of those. Nothing here is of size
tokens x tokens but `detail_mask` and `guide_mask`, which restate the rules token by token for
the oracle and the tests.

Shapes: S detail tokens, G proxy tokens, Q cubes, R cubes within reach.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod

import torch
from torch import Tensor

from ..rope import Axes
from ..units import Grid
from .layout import CubeLayout, Slab

REACHES = ("own", "faces", "plane", "all")


def check_reach(reach: str) -> None:
    if reach not in REACHES:
        raise ValueError(f"reach {reach!r} is unknown: choose one of {', '.join(REACHES)}.")


def reached(reach: str, step: tuple[int, int, int]) -> bool:
    """Whether a cube sees the one that lies `step` cubes away along (t, h, w)."""
    t, h, w = (abs(n) for n in step)
    if reach == "own":
        return t == h == w == 0
    if reach == "faces":
        return t + h + w <= 1
    if reach == "plane":
        return t == 0 and max(h, w) <= 1
    return max(t, h, w) <= 1


def steps_of(reach: str) -> list[tuple[int, int, int]]:
    """Every step to a cube within reach, in row-major order."""
    check_reach(reach)
    near = (-1, 0, 1)
    return [s for s in product(near, near, near) if reached(reach, s)]


@lru_cache(maxsize=16)
def neighbour_table(layout: CubeLayout, reach: str) -> Tensor:
    """-> int64 [Q, R]: cubes within reach of each cube, ascending; -1 beyond the border."""
    cubes = torch.arange(layout.n_cubes.count).view(tuple(layout.n_cubes))
    framed = torch.full([n + 2 for n in layout.n_cubes], -1)
    framed[1:-1, 1:-1, 1:-1] = cubes
    windows = [
        framed[tuple(slice(1 + s, 1 + s + n) for s, n in zip(step, layout.n_cubes, strict=True))]
        for step in steps_of(reach)
    ]
    return torch.stack([w.flatten() for w in windows], dim=1)


def neighbours(layout: CubeLayout, cube: int, reach: str) -> list[int]:
    """Cubes within reach of cube number `cube`, itself included."""
    return [n for n in neighbour_table(layout, reach)[cube].tolist() if n >= 0]


@dataclass(frozen=True)
class Aligned:
    """The proxy tokens of each cube, as one half-open range along each axis.

    `ranges[axis][i]` belongs to the cubes that are number i along that axis.
    """

    grid: Grid
    ranges: tuple[tuple[tuple[int, int], ...], ...]

    def wide(self, axis: int) -> tuple[tuple[int, int], ...]:
        """The ranges of each cube together with its neighbours along `axis`."""
        own = self.ranges[axis]
        last = len(own) - 1
        return tuple((own[max(0, i - 1)][0], own[min(last, i + 1)][1]) for i in range(len(own)))


def align(layout: CubeLayout, axes: Axes) -> Aligned:
    """Which proxy tokens belong to which cube.

    A proxy token reaches half its spacing to either side of its scaled coordinate, a detail token
    half a token. Where no proxy token overlaps a cube on some axis, the nearest one stands in.
    """
    coordinates = (axes.t.tolist(), axes.h.tolist(), axes.w.tolist())
    ranges = (_axis_ranges(layout.spans(axis), coordinates[axis]) for axis in range(3))
    return Aligned(axes.grid, tuple(ranges))


def aligned_with(
    aligned: Aligned, layout: CubeLayout, reach: str, slab: Slab
) -> tuple[Aligned, tuple[int, int]]:
    """The part of the proxy that a slab sees: whole time slices of it, contiguous.

    -> the alignment counted from that part's first token, and the part as a range of tokens. It
    is right for the slab's cubes alone.
    """
    low, high = seen_slices(aligned, layout, reach, slab)
    times = tuple((min(max(a, low), high), min(max(b, low), high)) for a, b in aligned.ranges[0])
    times = tuple((a - low, b - low) for a, b in times)
    slice_tok = aligned.grid.h * aligned.grid.w
    part = Aligned(aligned.grid._replace(t=high - low), (times, *aligned.ranges[1:]))
    return part, (low * slice_tok, high * slice_tok)


def seen_slices(aligned: Aligned, layout: CubeLayout, reach: str, slab: Slab) -> tuple[int, int]:
    """Which time slices of the proxy a slab sees, as a half-open range."""
    check_reach(reach)
    row = layout.n_cubes.h * layout.n_cubes.w
    beyond = 1 if reached(reach, (1, 0, 0)) else 0
    first = slab.cubes[0] // row - beyond
    last = -(-slab.cubes[1] // row) - 1 + beyond
    own = aligned.ranges[0]
    return own[max(0, first)][0], own[min(len(own) - 1, last)][1]


def _axis_ranges(spans, centres: list[float]) -> tuple[tuple[int, int], ...]:
    half = (centres[1] - centres[0]) / 2 if len(centres) > 1 else 0.5
    ranges = []
    for first, end in spans:
        low, high = first - 0.5, end - 0.5
        start = bisect_right(centres, low, key=lambda c: c + half)
        stop = bisect_left(centres, high, key=lambda c: c - half)
        if start >= stop:
            middle = (low + high) / 2
            start = min(range(len(centres)), key=lambda i: abs(centres[i] - middle))
            stop = start + 1
        ranges.append((start, stop))
    return tuple(ranges)


def aligned_proxy(layout: CubeLayout, reach: str, aligned: Aligned, cube: int) -> list[int]:
    """Row-major numbers of the proxy tokens that cube number `cube` sees, ascending."""
    _, proxy_h, proxy_w = aligned.grid
    tokens: set[int] = set()
    _, cubes_h, cubes_w = layout.n_cubes
    for near in neighbours(layout, cube, reach):
        place = (near // (cubes_h * cubes_w), near // cubes_w % cubes_h, near % cubes_w)
        box = (range(*aligned.ranges[axis][i]) for axis, i in enumerate(place))
        tokens.update((t * proxy_h + h) * proxy_w + w for t, h, w in product(*box))
    return sorted(tokens)


def pair_count(layout: CubeLayout, reach: str, aligned: Aligned | None = None) -> int:
    """Query-key pairs of one head and layer: detail to detail, and with `aligned` to proxy.

    Sums over cubes separate into sums along axes, so this costs nothing at any size.
    """
    sizes = [[b - a for a, b in layout.spans(axis)] for axis in range(3)]
    pairs = _pairs(sizes, sizes, [_with_neighbours(s) for s in sizes], reach)
    if aligned is not None:
        own = [[b - a for a, b in ranges] for ranges in aligned.ranges]
        wide = [[b - a for a, b in aligned.wide(axis)] for axis in range(3)]
        pairs += _pairs(sizes, own, wide, reach)
    return pairs


def _with_neighbours(sizes: list[int]) -> list[int]:
    return [sum(sizes[max(0, i - 1) : i + 2]) for i in range(len(sizes))]


def _pairs(queries, own_keys, wide_keys, reach: str) -> int:
    dot = [sum(q * k for q, k in zip(*axis, strict=True)) for axis in zip(queries, own_keys)]
    wide = [sum(q * k for q, k in zip(*axis, strict=True)) for axis in zip(queries, wide_keys)]
    check_reach(reach)
    if reach == "own":
        return prod(dot)
    if reach == "plane":
        return dot[0] * wide[1] * wide[2]
    if reach == "all":
        return prod(wide)
    bars = wide[0] * dot[1] * dot[2] + dot[0] * wide[1] * dot[2] + dot[0] * dot[1] * wide[2]
    return bars - 2 * prod(dot)  # three bars cross in the own cube


def _cube_of_token(layout: CubeLayout) -> Tensor:
    """-> int64 [S, 3]: the cube of each token by axis, tokens in cube order."""
    at = [torch.arange(n) // c for n, c in zip(layout.grid, layout.cube, strict=True)]
    return torch.cartesian_prod(*at).view(-1, 3)[layout.order()]


def detail_mask(layout: CubeLayout, reach: str) -> Tensor:
    """-> bool [S, S] in cube order: True where row sees column. For small grids."""
    check_reach(reach)
    cube = _cube_of_token(layout)
    step = (cube[:, None] - cube[None]).abs()
    return {
        "own": step.sum(-1) == 0,
        "faces": step.sum(-1) <= 1,
        "plane": (step[..., 0] == 0) & (step.amax(-1) <= 1),
        "all": step.amax(-1) <= 1,
    }[reach]


def guide_mask(layout: CubeLayout, reach: str, aligned: Aligned) -> Tensor:
    """-> bool [S, G]: the proxy tokens each detail token (in cube order) sees. Small grids."""
    rows = [aligned_proxy(layout, reach, aligned, i) for i in range(layout.n_cubes.count)]
    mask = torch.zeros(layout.n_cubes.count, aligned.grid.count, dtype=torch.bool)
    for cube, tokens in enumerate(rows):
        mask[cube, tokens] = True
    return mask.repeat_interleave(layout.sizes(), dim=0)
