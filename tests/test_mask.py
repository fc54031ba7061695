"""Who sees whom: the closed form against the rules read token by token."""

from itertools import product

import pytest
import torch

from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import (
    REACHES,
    align,
    aligned_proxy,
    detail_mask,
    guide_mask,
    neighbours,
    pair_count,
    reached,
)
from atlasvid_core.rope import ALIGNMENTS, proxy_axes
from atlasvid_core.units import Grid

GRID, PROXY = Grid(5, 9, 10), Grid(2, 3, 4)
LAYOUTS = [CubeLayout(GRID, Grid(4, 8, 8)), CubeLayout(GRID, Grid(2, 3, 3))]


def places(grid):
    return list(product(*(range(n) for n in grid)))


@pytest.mark.parametrize(("reach", "most"), [("own", 1), ("faces", 7), ("plane", 9), ("all", 27)])
def test_an_inner_cube_has_as_many_neighbours_as_its_reach_says(reach, most):
    layout = CubeLayout(Grid(12, 24, 24), Grid(4, 8, 8))
    assert len(neighbours(layout, 13, reach)) == most
    assert 13 in neighbours(layout, 13, reach)
    corner = {"own": 1, "faces": 4, "plane": 4, "all": 8}[reach]
    assert len(neighbours(layout, 0, reach)) == corner


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_detail_mask_and_neighbours_say_the_same(layout, reach):
    sizes = layout.sizes()
    cube_of = torch.arange(len(sizes)).repeat_interleave(sizes)
    mask = detail_mask(layout, reach)
    for cube in range(len(sizes)):
        seen = cube_of[mask[layout.starts()[cube]]].unique().tolist()
        assert seen == neighbours(layout, cube, reach)


def footprints_say(layout, reach, axes, cube):
    """The rule itself: overlap of boxes in coordinates, for each reached cube."""
    at = places(layout.n_cubes)
    coordinates = [axes.t.tolist(), axes.h.tolist(), axes.w.tolist()]
    seen = set()
    for other in at:
        if not reached(reach, tuple(a - b for a, b in zip(other, at[cube], strict=True))):
            continue
        sides = []
        for axis, centres in enumerate(coordinates):
            half = (centres[1] - centres[0]) / 2
            first, end = layout.spans(axis)[other[axis]]
            over = [
                i for i, c in enumerate(centres) if c - half < end - 0.5 and c + half > first - 0.5
            ]
            if not over:
                over = [0 if centres[0] > first else len(centres) - 1]
            sides.append(over)
        seen.update(product(*sides))
    _, h, w = axes.grid
    return sorted((a * h + b) * w + c for a, b, c in seen)


@pytest.mark.parametrize("time_scale", [None, 1.0, 4.0])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_aligned_tokens_are_those_whose_footprint_overlaps(layout, reach, alignment, time_scale):
    axes = proxy_axes(PROXY, GRID, alignment, time_scale)
    aligned = align(layout, axes)
    for cube in range(layout.n_cubes.count):
        want = footprints_say(layout, reach, axes, cube)
        assert aligned_proxy(layout, reach, aligned, cube) == want
    mask = guide_mask(layout, reach, aligned)
    assert mask.any(dim=1).all()
    assert pair_count(layout, reach) == detail_mask(layout, reach).sum()
    assert pair_count(layout, reach, aligned) == detail_mask(layout, reach).sum() + mask.sum()


def test_own_tokens_align_with_themselves_at_equal_size():
    layout = LAYOUTS[1]
    aligned = align(layout, proxy_axes(GRID, GRID, "ratio"))
    assert aligned.ranges == tuple(layout.spans(axis) for axis in range(3))


def test_a_single_proxy_token_guides_every_cube():
    for alignment in ALIGNMENTS:
        aligned = align(LAYOUTS[1], proxy_axes(Grid(1, 1, 1), GRID, alignment))
        assert guide_mask(LAYOUTS[1], "own", aligned).all()


def test_an_unknown_reach_is_refused():
    with pytest.raises(ValueError, match="'near'.*own, faces, plane, all"):
        neighbours(LAYOUTS[0], 0, "near")
