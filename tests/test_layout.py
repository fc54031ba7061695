"""Cube order: an exact pair, cubes contiguous, borders ragged."""

import pytest
import torch

from atlasvid_core.attention.layout import CubeLayout, from_cubes, to_cubes
from atlasvid_core.units import Grid

CASES = [
    (Grid(5, 9, 10), Grid(4, 8, 8)),
    (Grid(5, 9, 10), Grid(2, 3, 3)),
    (Grid(3, 1, 7), Grid(4, 8, 2)),
    (Grid(4, 8, 8), Grid(4, 8, 8)),
]


@pytest.mark.parametrize(("grid", "cube"), CASES)
def test_there_and_back_is_exact(grid, cube):
    layout = CubeLayout(grid, cube)
    x = torch.randn(2, grid.count, 3)
    assert torch.equal(from_cubes(to_cubes(x, layout), layout), x)
    assert torch.equal(to_cubes(from_cubes(x, layout), layout), x)


@pytest.mark.parametrize(("grid", "cube"), CASES)
def test_each_cube_is_one_run_of_its_tokens_row_major(grid, cube):
    layout = CubeLayout(grid, cube)
    numbered = torch.arange(grid.count).view(tuple(grid))
    sizes, starts, order = layout.sizes(), layout.starts(), layout.order()
    number = 0
    for t0, t1 in layout.spans(0):
        for h0, h1 in layout.spans(1):
            for w0, w1 in layout.spans(2):
                want = numbered[t0:t1, h0:h1, w0:w1].flatten()
                got = order[starts[number] : starts[number] + sizes[number]]
                assert torch.equal(got, want)
                number += 1
    assert number == layout.n_cubes.count == len(sizes)


def test_borders_are_smaller_not_padded():
    layout = CubeLayout(Grid(5, 9, 10), Grid(4, 8, 8))
    assert layout.n_cubes == (2, 2, 2)
    assert layout.spans(2) == ((0, 8), (8, 10))
    assert layout.sizes().tolist() == [256, 64, 32, 8, 64, 16, 8, 2]


def test_an_empty_cube_is_refused():
    with pytest.raises(ValueError, match="cube 0 x 8 x 8.*at least 1"):
        CubeLayout(Grid(4, 8, 8), Grid(0, 8, 8))
