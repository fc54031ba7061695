"""`windowed` against the oracle `dense`: ragged grids, every reach, guide, gradients."""

import pytest
import torch

from atlasvid_core.attention import BACKENDS, dense, pick, windowed
from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import REACHES, align
from atlasvid_core.rope import ALIGNMENTS, proxy_axes
from atlasvid_core.units import Grid

RAGGED = Grid(5, 9, 10)
CUBES = [Grid(4, 8, 8), Grid(2, 3, 3), Grid(1, 2, 4), Grid(9, 9, 10)]
PROXY = Grid(2, 3, 4)


def tokens(count, batch=2, dtype=torch.float64):
    return torch.randn(batch, count, 2, 8, dtype=dtype, generator=torch.manual_seed(count))


def case(cube, guide, alignment="ratio", time_scale=None, dtype=torch.float64):
    layout = CubeLayout(RAGGED, cube)
    q, k, v = (tokens(layout.grid.count, dtype=dtype) * s for s in (1.0, 0.7, 1.3))
    k, v = k.roll(1, 1), v.roll(3, 1)
    if not guide:
        return (q, k, v), layout, None, None
    axes = proxy_axes(PROXY, RAGGED, alignment, time_scale)
    extra = tuple(tokens(PROXY.count, batch=1, dtype=dtype) * s for s in (0.9, 1.1))
    return (q, k, v), layout, extra, align(layout, axes)


@pytest.mark.parametrize("guide", [False, True])
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("cube", CUBES)
def test_windowed_equals_dense(cube, reach, guide):
    qkv, layout, extra, aligned = case(cube, guide)
    want = dense.attend(*qkv, layout, reach, extra, aligned)
    got = windowed.attend(*qkv, layout, reach, extra, aligned)
    assert torch.allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("time_scale", [None, 4.0])
@pytest.mark.parametrize("reach", REACHES)
def test_windowed_equals_dense_for_every_alignment(reach, time_scale, alignment):
    qkv, layout, extra, aligned = case(Grid(2, 3, 3), True, alignment, time_scale)
    want = dense.attend(*qkv, layout, reach, extra, aligned)
    got = windowed.attend(*qkv, layout, reach, extra, aligned)
    assert torch.allclose(got, want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("reach", REACHES)
def test_gradients_agree(reach):
    grads = []
    for attend in (dense.attend, windowed.attend):
        qkv, layout, extra, aligned = case(Grid(2, 3, 3), True)
        leaves = [x.requires_grad_() for x in (*qkv, *extra)]
        weight = tokens(layout.grid.count).flip(-1)
        (attend(*leaves[:3], layout, reach, tuple(leaves[3:]), aligned) * weight).sum().backward()
        grads.append([x.grad for x in leaves])
    for got, want in zip(*grads, strict=True):
        assert want.abs().max() > 0
        assert torch.allclose(got, want, rtol=0, atol=1e-11)


def test_small_batches_change_nothing(monkeypatch):
    qkv, layout, extra, aligned = case(Grid(2, 3, 3), True)
    want = windowed.attend(*qkv, layout, "faces", extra, aligned)
    monkeypatch.setattr(windowed, "BATCH_BYTES", 1)
    got = windowed.attend(*qkv, layout, "faces", extra, aligned)
    assert torch.allclose(got, want, rtol=0, atol=1e-12)


def test_windowed_is_as_exact_in_bfloat16_as_the_oracle():
    qkv, layout, extra, aligned = case(Grid(2, 3, 3), True, dtype=torch.float32)
    want = dense.attend(*qkv, layout, "all", extra, aligned)
    low, low_extra = ([x.bfloat16() for x in group] for group in (qkv, extra))
    allowed = (dense.attend(*low, layout, "all", low_extra, aligned) - want).abs().max()
    got = (windowed.attend(*low, layout, "all", low_extra, aligned) - want).abs().max()
    assert got <= 2 * allowed


def test_the_oracle_refuses_what_it_cannot_hold():
    grid = Grid(1, 100, 100)
    x = torch.zeros(1, grid.count, 1, 2)
    with pytest.raises(ValueError, match="10,000 tokens.*windowed"):
        dense.attend(x, x, x, CubeLayout(grid, Grid(1, 8, 8)), "own")


def test_backends_are_picked_by_name():
    assert pick("auto", "cpu") == (windowed.attend, None)
    assert pick("dense", "cpu") == (dense.attend, None)
    with pytest.raises(ValueError, match="'fast'.*" + BACKENDS[0]):
        pick("fast", "cpu")
