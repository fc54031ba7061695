"""Coordinates and rotations: Wan's split, exactness far out, both alignments."""

import pytest
import torch

from atlasvid_core.rope import detail_axes, proxy_axes, rotate, rotations, split_of
from atlasvid_core.units import Grid


def test_a_head_is_split_as_wan_does():
    assert split_of(128) == (44, 42, 42)
    assert rotations(detail_axes(Grid(2, 3, 4))).shape == (24, 64, 2)


def test_rotations_follow_the_grid_row_major():
    grid = Grid(3, 4, 5)
    angles = rotations(detail_axes(grid), theta=100.0).view(*grid, 64, 2)
    for place in [(0, 0, 0), (2, 1, 4), (1, 3, 2)]:
        want = []
        for n, channels in zip(place, split_of(128), strict=True):
            powers = torch.arange(0, channels, 2, dtype=torch.float64) / channels
            want.append(n / 100.0**powers)
        want = torch.cat(want)
        assert torch.allclose(angles[place][:, 0].double(), want.cos(), atol=1e-7)
        assert torch.allclose(angles[place][:, 1].double(), want.sin(), atol=1e-7)


def test_neighbours_differ_far_out():
    turns = rotations(detail_axes(Grid(1, 1, 480)))
    angle = torch.atan2(turns[:, 43, 1].double(), turns[:, 43, 0].double())  # first pair of w
    step = (angle.diff() + torch.pi) % (2 * torch.pi) - torch.pi
    assert torch.allclose(step, torch.ones_like(step), atol=1e-5)


def test_scores_depend_on_distance_only():
    torch.manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 128)
    turns = rotations(detail_axes(Grid(1, 1, 40)))

    def score(a, b):
        return (rotate(q, turns[a : a + 1]) * rotate(k, turns[b : b + 1])).sum()

    assert torch.allclose(score(3, 9), score(30, 36), atol=1e-4)
    assert not torch.allclose(score(3, 9), score(30, 37), atol=1e-2)


def test_rotate_keeps_dtype_and_works_in_float32():
    x = torch.randn(1, 6, 2, 128)
    turns = rotations(detail_axes(Grid(1, 2, 3)))
    assert rotate(x.bfloat16(), turns).dtype == torch.bfloat16
    exact = rotate(x.bfloat16().float(), turns).bfloat16()
    assert torch.equal(rotate(x.bfloat16(), turns), exact)


def test_ratio_is_the_paper_s_scale():
    axes = proxy_axes(Grid(6, 30, 52), Grid(21, 270, 480), "ratio")
    assert axes.t.tolist() == pytest.approx([i * 21 / 6 for i in range(6)])
    assert axes.h[3].item() == 27 and axes.w[1].item() == pytest.approx(480 / 52)
    assert axes.grid == (6, 30, 52)


def test_endpoints_meet_at_both_ends_of_time_and_at_centres_in_space():
    axes = proxy_axes(Grid(6, 30, 52), Grid(21, 270, 480), "endpoints")
    assert axes.t[0] == 0 and axes.t[-1] == 20
    assert axes.h.mean() == pytest.approx(269 / 2) and axes.w.mean() == pytest.approx(479 / 2)
    assert axes.h[0].item() == 4 and axes.h.diff()[0] == 9


@pytest.mark.parametrize("alignment", ["ratio", "endpoints"])
def test_a_stage_one_proxy_keeps_its_own_time_scale(alignment):
    axes = proxy_axes(Grid(6, 30, 52), Grid(21, 270, 480), alignment, time_scale=4.0)
    assert axes.t.tolist() == [0, 4, 8, 12, 16, 20]
    assert proxy_axes(Grid(1, 1, 1), Grid(1, 1, 1), alignment).t.tolist() == [0]


def test_an_unknown_alignment_is_refused():
    with pytest.raises(ValueError, match="'centre'.*ratio, endpoints"):
        proxy_axes(Grid(1, 1, 1), Grid(1, 1, 1), "centre")
